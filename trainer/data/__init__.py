"""Rows of a dataset as the batches of a run: padded, packed, or as trees."""
