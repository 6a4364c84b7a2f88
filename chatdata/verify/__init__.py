"""Checks of a built folder: its bytes and rows, rows rendered again, new builds, differences."""

__all__ = ["dataset_diff", "rebuild", "recount", "verification"]
