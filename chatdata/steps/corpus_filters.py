"""Filters of all conversations together: each is the text of a conversation that is compared with
those of the others (`duplicates`, `likeness`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from chatdata.steps import filter_options
from chatdata.steps.figures import Figures, Nothing
from chatdata.steps.filtering import Column, Filters, Options

CORPUS = Filters("corpus")

# White space that is no single space: four times as fast as to replace each space by a space.
_WIDE = r"[\s&&[^ ]]\s*|\s\s+"


def _folded(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all(_WIDE, " ").str.strip_chars()


def _parts(*beside: str) -> list[pl.Expr]:
    """The reasoning and the calls of a message, and other columns, as texts."""
    return [pl.col(name).fill_null("") for name in ("reasoning", "tool_calls", *beside)]


def _first_prompt(min_words: int) -> pl.Expr:
    """The first user turn, null where it has fewer words."""
    from chatdata.steps.ngrams import WORD

    prompt = pl.col("content").filter(pl.col("role") == "user").first()
    return pl.when(prompt.str.count_matches(WORD) >= min_words).then(prompt)


def _with_turns(
    messages: pl.DataFrame, options: Options, folder: Path
) -> tuple[pl.DataFrame, Figures]:
    """Adds `turn`: all of a message that two equal messages have in common, white space aside."""
    role, content = pl.col("role").cast(pl.String), pl.col("content").fill_null("")
    reasoning, calls, *around = _parts("tools", "variables")
    parts = [role, _folded(content), _folded(reasoning), calls, *around]
    return messages.with_columns(turn=pl.concat_str(parts, separator="\t")), Nothing()


_TURN = Column("turn", _with_turns, lambda options, files, folder: Nothing())


@CORPUS.removes(siblings=True, repeats="says the same as ", column=_TURN)
def duplicate() -> pl.Expr:
    """Conversations that say the same, white space aside, as another that comes first.

    First is what is of the source that the recipe names first, and of a source the smallest id.
    """
    return pl.col("turn").str.join("\n")


@CORPUS.removes(is_prefix=True, repeats="is the beginning of ", column=_TURN)
def prefix_of_another() -> pl.Expr:
    """Conversations that another one begins with: its first turns are all of their turns.

    Turns are compared as `duplicate` compares them. The longest conversation stays. Paths of one
    tree are not compared.
    """
    return pl.col("turn")


@CORPUS.removes(repeats="begins like ")
def duplicate_prompt(min_words: filter_options.PromptWords = 1) -> pl.Expr:
    """Conversations that begin with the same user turn, white space aside, as another.

    The conversation of the first source, and of it with the smallest id, stays, with all paths of
    its tree. A turn of fewer than
    `min_words` words ("continue") is not compared.
    """
    return _folded(_first_prompt(min_words))


def _spoken(roles: Sequence[str]) -> pl.Expr:
    """All that some roles say, think and call, as a text; null where they say nothing."""
    beside = [pl.lit("\n") + pl.col(name) for name in ("reasoning", "tool_calls")]
    spoken = pl.concat_str("content", *beside, ignore_nulls=True)
    is_theirs = pl.col("role").is_in(roles)
    return pl.when(is_theirs.any()).then(spoken.filter(is_theirs).str.join("\n"))


_NEAR_PACKAGES = ("numpy",)  # whose version may change which conversations are alike
_NEAR: dict[str, Any] = {"is_near": True, "key": "near_duplicates", "packages": _NEAR_PACKAGES}


@CORPUS.removes(against=_spoken(["user", "tool"]).first(), **_NEAR)
def near_duplicate(
    threshold: filter_options.Threshold = 0.8,
    permutations: filter_options.Permutations = 128,
    ngram: filter_options.RunLength = 3,
    seed: filter_options.Seed = 1,
    keep: filter_options.Keep = "longest",
) -> pl.Expr:
    """Conversations whose answers share runs of words, and whose questions hardly differ.

    Alike: the runs of `ngram` words that both answers have are at least a share of `threshold` of
    all that either has, where each word that the questions of one alone have counts as a run that
    is not shared. What both questions have counts for nothing, so that different questions about
    one pasted document are not alike. `keep` is the `longest` (of equally long conversations that
    of the first source, then the smallest id), the `smallest_id`, or `all`, which leaves all of
    them and keeps their groups in the same split. What goes is alike one that stays.
    """
    return _spoken(["assistant"])


@CORPUS.removes(**_NEAR)
def near_duplicate_prompt(
    threshold: filter_options.Threshold = 0.8,
    permutations: filter_options.Permutations = 128,
    ngram: filter_options.RunLength = 3,
    min_words: filter_options.PromptWords = 5,
    seed: filter_options.Seed = 1,
    keep: filter_options.Keep = "longest",
) -> pl.Expr:
    """Conversations whose first user turns are alike in their runs of words.

    Alike: of the runs of `ngram` words that either has, both have a share of `threshold` or more.
    `keep` is as for `near_duplicate`. A turn of fewer than `min_words` words is not compared.
    """
    return _first_prompt(min_words)
