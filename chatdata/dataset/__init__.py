"""A built folder: its manifest, tables, shards, pack index, card and report."""
