"""Codes of languages; some codes mean the same language."""

from __future__ import annotations

import polars as pl

# What detectors and sources call a single language: parts of a macrolanguage of ISO 639-3, and
# codes that ISO 639-1 has given up.
_SAME = {
    "nb": "no",
    "nn": "no",
    "arz": "ar",
    "wuu": "zh",
    "yue": "zh",
    "iw": "he",
    "in": "id",
    "ji": "yi",
    "mo": "ro",
}


def plain(lang: pl.Expr) -> pl.Expr:
    """The codes without case and region, and the same code for the same language."""
    return lang.str.to_lowercase().str.extract("^([^-_]*)").replace(_SAME)
