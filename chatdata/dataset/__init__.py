"""A built folder: its manifest, tables, shards, pack index, card and report."""

__all__ = [
    "card",
    "card_merge",
    "croissant",
    "entries",
    "histogram",
    "hub_configs",
    "limitations",
    "manifest",
    "manifest_diff",
    "pack",
    "plots",
    "published",
    "reader",
    "report",
    "rows",
    "schemas",
    "shards",
    "tables",
]
