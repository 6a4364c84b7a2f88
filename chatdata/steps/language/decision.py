"""From a text to its language: what of the text has a say, and who is asked.

The numbers here and beside were set by hand, on the labelled texts that `tests/bench/language.py`
measures; each says what it weighs. A change of any of them changes the bytes of builds.
"""

from __future__ import annotations

import polars as pl

from chatdata.steps.language import votes
from chatdata.steps.language.instruction import by_instruction
from chatdata.steps.language.prose import prose, unquoted, words
from chatdata.steps.language.votes import ANSWERS, LONG_LOOK, LOOK, PER_WORD, first_words

UNKNOWN = votes.UNKNOWN

# How much of a text is looked at, in characters.
_HEAD = 500  # of the text; a language shows early, and patterns for code cost time
_FEW = 40  # of words, below which more words are looked for further on
_FRAME = 12  # of words around a quotation, from which on the quotation has no say


def decide(texts: pl.Series) -> pl.DataFrame:
    """The language of each text, a row a text: ANSWERS. `language.detect` says what they mean."""
    rows = _spoken(texts)
    answers = pl.concat([rows, votes.vote(rows)], how="horizontal")
    return by_instruction(answers).select(ANSWERS.keys())


def _spoken(texts: pl.Series) -> pl.DataFrame:
    """What has a say of each text: `prose`, and `look`, the first words of the prose.

    Quotations have no say in the first words where other words are left.
    """
    rows = texts.alias("text").to_frame().with_row_index("row")
    rows = rows.with_columns(prose=prose(pl.col("text").str.head(_HEAD)))
    rows = rows.with_columns(begin="prose", look=first_words(unquoted(pl.col("prose"))))
    is_short = pl.col("look").str.len_chars() < _FEW
    short = _look_further(rows.filter(is_short))
    return pl.concat([rows.filter(is_short.not_()), short]).sort("row")


def _look_further(rows: pl.DataFrame) -> pl.DataFrame:
    """For texts that begin with few words, or with none but quotations."""
    text, prose_ = pl.col("text"), pl.col("prose")
    is_long = text.str.len_chars() > PER_WORD * LOOK
    short = rows.filter(is_long.not_()).with_columns(quoted=first_words(prose_))
    long = rows.filter(is_long).with_columns(prose=prose(text))
    long = long.with_columns(
        prose=words(prose_).str.head(PER_WORD * LONG_LOOK),
        look=words(unquoted(prose_)).str.head(LOOK),
    )
    both = pl.concat([short, long.with_columns(quoted=prose_.str.head(LOOK))])
    is_frame = pl.col("look").str.len_chars() >= _FRAME
    look = pl.when(is_frame).then("look").otherwise("quoted")
    return both.select("row", "text", "prose", "begin", look=look)
