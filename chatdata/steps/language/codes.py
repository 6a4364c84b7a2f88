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


def checked(code: str) -> str:
    """The code, which is one that a message may have.

    Raises ValueError for what is no code of a language (BCP 47), and for a longer code of a
    language that has one of two letters, which neither sources nor detectors write.
    """
    import langcodes  # when a recipe is checked, not at every start
    from langcodes.tag_parser import LanguageTagError

    language, _, region = code.partition("-")
    example = "write codes such as en or pt-BR"
    try:
        is_known = langcodes.tag_is_valid(code)
        short = langcodes.standardize_tag(language)
    except LanguageTagError:
        raise ValueError(f"'{code}' is no code of a language; {example}") from None
    if not is_known or language == "und":
        raise ValueError(f"'{code}' is no code of a language; {example}")
    if len(short) < len(language):
        raise ValueError(f"'{code}' is written {short}{'-' if region else ''}{region}")
    return code


def plain(lang: pl.Expr) -> pl.Expr:
    """The codes without case and region, and the same code for the same language."""
    return lang.str.to_lowercase().str.extract("^([^-_]*)").replace(_SAME)
