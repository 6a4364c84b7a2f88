"""Versions of a dataset on the Hub: push, pull, doctor. What a name means, here or there, and what
`import chatdata` does with it."""

__all__ = [
    "audited",
    "datasets",
    "doctor",
    "published_diff",
    "pull",
    "push",
    "release",
    "rendered",
    "versions",
]
