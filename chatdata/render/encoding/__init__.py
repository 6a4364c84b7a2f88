"""Texts to token ids: by `tokenizers`, or by a faster library that is proved the same."""

__all__ = ["admission", "audit", "byte_level", "encoded", "encoder", "libraries"]
