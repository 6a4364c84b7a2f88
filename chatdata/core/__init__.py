"""What every package builds on: errors, strict YAML, hashes, the messages table, atomic files."""

__all__ = [
    "arrow",
    "config",
    "constants",
    "errors",
    "files",
    "hashing",
    "ledger",
    "mappings",
    "paths",
    "schema",
    "text",
]
