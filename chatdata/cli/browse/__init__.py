"""A page at which a built folder is read, row by row, and the server of it."""

__all__ = ["queries", "server"]
