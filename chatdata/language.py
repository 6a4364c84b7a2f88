"""Which language is this message in?"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def label(messages: pl.DataFrame, decide: str) -> pl.DataFrame:
    """Returns the messages with `lang` and `lang_by` filled in.

    `detected` asks the detector for every message; `declared` only where the source says nothing.
    A message in which no language can be told (numbers, a lone emoji) has a null `lang`.
    """
    undecided = pl.lit(True) if decide == "detected" else pl.col("lang").is_null()
    ask = messages.select(undecided & pl.col("content").is_not_null()).to_series()
    if not ask.any():
        return messages
    distinct = messages["content"].filter(ask).unique(maintain_order=True)
    answers = pl.Series(detect(distinct.to_list()), dtype=pl.String)
    detected = pl.col("content").replace_strict(
        distinct, answers, default=None, return_dtype=pl.String
    )
    by = pl.when(detected.is_not_null()).then(pl.lit("detected"))
    return messages.with_columns(
        lang=pl.when(ask).then(detected).otherwise("lang"),
        lang_by=pl.when(ask).then(by).otherwise("lang_by"),
    )


def detect(texts: Sequence[str]) -> list[str | None]:
    """The ISO 639-1 code of each text by langdetect, or None where it sees no language.

    langdetect draws random numbers; with its seed fixed, which restarts them for every text, an
    answer depends on nothing but the text.
    """
    from langdetect import DetectorFactory

    DetectorFactory.seed = 0
    return [_detect(text) for text in texts]


def _detect(text: str) -> str | None:
    from langdetect import LangDetectException, detect

    try:
        return str(detect(text))
    except LangDetectException:  # no letters in it
        return None
