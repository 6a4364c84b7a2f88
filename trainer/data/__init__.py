"""Rows of a dataset as the batches of a run: padded, packed, or as trees."""

__all__ = [
    "batching",
    "dataset",
    "isolation",
    "packing",
    "published",
    "tree_attention",
    "tree_packing",
    "tree_planning",
    "weighting",
]
