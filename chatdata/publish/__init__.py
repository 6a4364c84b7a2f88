"""Versions of a dataset on the Hub: push, pull, doctor."""

__all__ = ["doctor", "published_diff", "pull", "push", "release", "versions"]
