"""A run: what is done on which processes, checked before it starts, logged and saved."""
