"""The model of a run: loaded, with adapters, and the memory that it needs."""
