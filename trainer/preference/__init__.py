"""Training on pairs of answers, of which people preferred the first, and reward models."""

__all__ = ["preflight", "run"]
