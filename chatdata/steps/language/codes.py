"""Codes of languages, of which some mean the same."""

from __future__ import annotations

import polars as pl

# What detectors and sources call one language: parts of a macrolanguage of ISO 639-3, and codes
# that ISO 639-1 has given up.
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
    """The codes without case and region, one for those that mean the same."""
    return lang.str.to_lowercase().str.extract("^([^-_]*)").replace(_SAME)
