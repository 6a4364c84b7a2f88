"""The model of a run: loaded, with adapters, and the memory that it needs."""

__all__ = [
    "adapters",
    "families",
    "generation_settings",
    "load",
    "memory",
    "ollama",
    "portable",
    "pretrained",
    "vocabulary",
]
