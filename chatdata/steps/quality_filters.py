"""Filters for what is seldom worth learning: expressions, named for what they remove.

All are off unless a recipe lists them. Answers are messages of the assistant. The phrases are
English; what is written in another language passes.
"""

from __future__ import annotations

import polars as pl

from chatdata.core.schema import SPOKEN
from chatdata.steps import endings, filter_options

_IS_ANSWER = pl.col("role") == "assistant"
_CONTENT = pl.col("content")
_HAS_CALLS = pl.col("tool_calls").is_not_null()

# An answer speaks of itself as a model, anywhere; or it begins by declining.
_MODEL = (
    r"(?:an?|just an?) (?:AI|artificial intelligence)(?: (?:language )?model| assistant| chatbot)?"
)
_LANGUAGE_MODEL = r"(?:an?|just an?) (?:large )?language model"
_SPEAKS_OF_ITSELF = (
    rf"\b(?:as|I am|I[’']m|since I am|since I[’']m|being) (?:{_MODEL}|{_LANGUAGE_MODEL})\b"
)
_CANNOT = (
    r"(?:can[’']?t|can ?not|am unable|[’']m unable|am not able|[’']m not able|won[’']t|will not)"
)
_DECLINES = (
    r"\A\W*(?:(?:I[’']m|I am|my apologies|apologies|I apologi[sz]e|sorry)[^.!?\n]{0,40}?)?"
    rf"\bI ?{_CANNOT} (?:to )?"
    r"(?:assist|help|fulfill?|comply|provide|generate|create|write|answer|engage|support|discuss"
    r"|complete|do that|continue|offer|participate|promote|access|browse|display|show)\b"
)


def refusal() -> pl.Expr:
    """Answers that decline, or that speak of themselves "as an AI language model"."""
    return _IS_ANSWER & _CONTENT.str.contains(rf"(?i)(?:{_SPEAKS_OF_ITSELF})|(?:{_DECLINES})")


_OPENING = (
    r"certainly|sure(?: thing)?|of course|absolutely|definitely|gladly|no problem|happy to help"
    r"|(?:great|good|excellent|that[’']?s an? (?:great|good|excellent|interesting)) question"
    r"|thank you for (?:your|the) question"
    r"|I[’']d be (?:happy|glad) to (?:help|assist)[^.!?\n]{0,60}"
)


def boilerplate_opening() -> pl.Expr:
    """Answers that begin with a formula: "Certainly!", "Sure, here is", "Great question!"."""
    return _IS_ANSWER & _CONTENT.str.contains(rf"(?i)\A\W*(?:{_OPENING})\s?[!,.:–—]")


def repetition(
    different: filter_options.Different = 0.4, words: filter_options.FromWords = 50
) -> pl.Expr:
    """Answers that go round in circles: few of their runs of five words are different.

    `different` is the share below which they are few. An answer of fewer than `words` words is
    left alone.
    """

    def circles(texts: pl.Series) -> pl.Series:
        from chatdata.steps import ngrams

        share, count = ngrams.variety(texts, 5)
        return pl.Series((share < different) & (count >= words))

    return pl.when(_IS_ANSWER).then(_CONTENT).map_batches(circles, return_dtype=pl.Boolean)


_MARK = "```|~~~"
_FENCE = rf"(?m)^[ \t]{{0,3}}(?:{_MARK})"
_SENTENCE_END = r"[.!?…][\"'”’)\]*_]*\s"
# The last line: prose of some length that stops at a letter, a comma, an open bracket.
_MID_SENTENCE = r"(?:\A|\n)[ \t]*[^\s*+•#|>\d-][^\n#]{30,}[\p{L}\p{M},;(\[–—-]\s*\z"


_ENDS_WELL = r"[.!?…。！？][\"'”’)\]*_`]*\s*\z"
_BARE_MARK = r"\n[ \t]*\d{1,3}\.\s*\z"


def truncated() -> pl.Expr:
    """Answers that stop in mid-sentence, within code, or where the user asks to go on.

    A line of prose is meant to go on where it stops at a letter or a comma, while sentences before
    it end with a full stop; so is a list whose items end so, a short row of a table, a bare number,
    and "Sure, here is". A block of code is cut where a bracket or a statement is open, also where a
    dump has closed its fence. Headings, tags and short lines may end as they like, and so may the
    words before a call of a tool.
    """
    fenced = pl.when(_IS_ANSWER & _CONTENT.str.contains(_MARK)).then(_CONTENT)  # of few texts
    open_fence = (fenced.str.count_matches(_FENCE) % 2 == 1).fill_null(False)
    cut_off = _CONTENT.str.contains(_SENTENCE_END) & _CONTENT.str.contains(_MID_SENTENCE)
    ends_well = _CONTENT.str.contains(_ENDS_WELL) & _CONTENT.str.contains(_BARE_MARK).not_()
    doubtful = pl.when(_IS_ANSWER & ends_well.not_()).then(_CONTENT)
    stops = doubtful.map_batches(_are_cut_off, return_dtype=pl.Boolean).fill_null(False)
    # The column is that of `endings.with_asked_on`; who judges single texts has none.
    asked = pl.any_horizontal(pl.lit(False), pl.col(f"^{endings.ASKED_ON}$")) & ends_well.not_()
    return _IS_ANSWER & _HAS_CALLS.not_() & (open_fence | cut_off | stops | asked)


def _are_cut_off(texts: pl.Series) -> pl.Series:
    cut = [text is not None and endings.is_cut_off(text) for text in texts]
    return pl.Series(cut, dtype=pl.Boolean)


def url_only() -> pl.Expr:
    """Messages that are addresses and nothing else; the result of a tool may be an address."""
    is_url = _CONTENT.str.contains(r"\A\s*(?:[<(\[*-]*\s*(?:https?://|www\.)\S+\s*)+\z")
    return is_url & _HAS_CALLS.not_() & (pl.col("role") != "tool")


def too_many_characters(above: filter_options.MostCharacters = 50_000) -> pl.Expr:
    """Conversations of more characters than `above`: words, thoughts and calls of all roles."""
    lengths = (pl.col(name).str.len_chars().fill_null(0) for name in SPOKEN)
    return pl.sum_horizontal(lengths).sum().over("conversation") > above


def too_many_turns(above: filter_options.MostTurns = 50) -> pl.Expr:
    """Conversations of more turns than `above`, system messages not counted."""
    is_turn = pl.col("role").is_in(["system", "developer"]).not_()
    return is_turn.sum().over("conversation") > above


MESSAGE = (refusal, boilerplate_opening, repetition, url_only)
CONVERSATION = (too_many_characters, too_many_turns)
