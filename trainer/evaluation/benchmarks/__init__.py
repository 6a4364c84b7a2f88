"""Benchmarks: models beside each other on the same items, by EleutherAI's lm-eval."""
