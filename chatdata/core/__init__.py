"""What every package builds on: errors, strict YAML, hashes, the messages table, atomic files."""
