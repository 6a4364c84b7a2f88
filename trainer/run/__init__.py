"""A run: what is done on which processes, checked before it starts, logged and saved."""

__all__ = [
    "callbacks",
    "checkpoints",
    "log",
    "preflight",
    "run",
    "save",
    "schedule",
    "strategy",
    "trainer",
    "upload",
]
