"""What every package builds on: errors, strict YAML, hashes, the messages table, atomic files."""

__all__ = [
    "arrow",
    "config",
    "constants",
    "disk",
    "document",
    "errors",
    "extensions",
    "files",
    "hashing",
    "interrupts",
    "ledger",
    "mappings",
    "paths",
    "python_files",
    "row_id",
    "schema",
    "template_variables",
    "text",
    "train_parts",
    "yaml_values",
]
