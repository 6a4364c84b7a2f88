"""What every package builds on: errors, strict YAML, hashes, the messages table, atomic files."""

__all__ = [
    "arrow",
    "config",
    "constants",
    "disk",
    "document",
    "errors",
    "files",
    "hashing",
    "interrupts",
    "ledger",
    "mappings",
    "paths",
    "row_id",
    "schema",
    "template_variables",
    "text",
    "train_parts",
    "yaml_values",
]
