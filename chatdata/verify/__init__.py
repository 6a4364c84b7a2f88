"""Checks of a built folder: its bytes and rows, rows rendered again, new builds, differences,
and audits of data by whomever it was made."""

__all__ = [
    "audit",
    "comparison",
    "damage",
    "dataset_diff",
    "pair_tokens",
    "pairs",
    "rebuild",
    "recount",
    "row_changes",
    "verification",
]
