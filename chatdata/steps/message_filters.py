"""Filters of messages: they look at a message, and run on trees too, before those are made
conversations."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from chatdata.core.schema import SPOKEN
from chatdata.steps import (
    endings,
    filter_options,
    labels,
    language,
    quality_filters,
    redact,
    secrets,
)
from chatdata.steps.figures import Figures, Nothing
from chatdata.steps.filtering import Column, Files, Filter, Filters, Options
from chatdata.steps.language import codes
from chatdata.steps.secrets import KINDS

MESSAGE = Filters("message")


@MESSAGE.removes(can_stay=False)
def bad_content() -> pl.Expr:
    """Content that is not text: a number, null, a lone surrogate, parts that are no text.

    A message without words that thinks or calls a tool is none of them.
    """
    is_silent = pl.all_horizontal(pl.col(name).is_null() for name in SPOKEN)
    return pl.col("content").is_null() & (is_silent | pl.col("note").is_not_null())


@MESSAGE.removes(can_stay=False)
def unknown_role() -> pl.Expr:
    """Roles that no template knows; the ledger names them."""
    return pl.col("role").is_null()


@MESSAGE.removes(needs=["deleted"])
def deleted() -> pl.Expr:
    """Messages that the source marks as deleted."""
    return pl.col("deleted")


@MESSAGE.removes(needs=["review_result"])
def not_reviewed() -> pl.Expr:
    """Messages that failed their review or had none."""
    return pl.col("review_result").fill_null(False).not_()


@MESSAGE.removes(needs=["synthetic"])
def synthetic() -> pl.Expr:
    """Messages that a model wrote."""
    return pl.col("synthetic")


@MESSAGE.removes(needs=["tree_state"])
def unfinished_tree() -> pl.Expr:
    """Messages of trees that name a state other than ready_for_export."""
    return pl.col("tree_state") != "ready_for_export"


_IS_INSTRUCTION = pl.col("role").is_in(["system", "developer"])
_HAS_CALLS = pl.col("tool_calls").is_not_null()


@MESSAGE.removes(skips=_IS_INSTRUCTION)
def empty() -> pl.Expr:
    """Messages of white space alone. A system message that says nothing goes alone.

    An answer that thinks or calls a tool says something, and so does a tool that returns nothing.
    """
    says_more = _HAS_CALLS | pl.col("reasoning").is_not_null() | (pl.col("role") == "tool")
    return (pl.col("content").str.strip_chars() == "") & says_more.fill_null(False).not_()


# What ChatGPT's page and others write in the place of an answer when none comes.
_ERRORS = (
    r"too many requests in \d+ hour",
    r"only one message at a time\. please allow any other responses",
    r"an error occurred\. (?:if this issue persists|either the engine you requested)",
    r"something went wrong(?:[.!]*$|[.,]? (?:if this issue persists|please try again))",
    r"hmm\.\.\.? ?something (?:seems to have gone|went) wrong",
    r"there was an error generating a response",
    r"error in (?:body|message) stream",
    r"error generating (?:a )?response",
    r"the server (?:had an error while processing your request|is currently overloaded)",
    r"our systems are a bit busy",
    r"(?:chatgpt|the model) is (?:at capacity|currently overloaded) (?:right now|with other)",
    r"you(?:'|\u2019)ve reached (?:our|the current) (?:limit of messages|usage cap)",
    r"the message you submitted was too long",
    r"conversation not found$",
    r"network error(?:$|\s*\n)",
    r"(?:internal server error|request timed out|load failed|failed to fetch)[.!]*$",
    r"emptymarkdowncontent$",
)


@MESSAGE.removes()
def error_answer() -> pl.Expr:
    """Answers that are an error of the service: `Too many requests in 1 hour`, `network error`.

    Short answers that begin so; what an answer says about errors stays.
    """
    text = pl.col("content").str.strip_chars(" \t\r\n!\u200b")
    begins = text.str.contains("^(?i:" + "|".join(_ERRORS) + ")")
    is_answer = (pl.col("role") == "assistant") & _HAS_CALLS.not_()
    return is_answer & (text.str.len_chars() < 400) & begins


@MESSAGE.removes()
def tool_use() -> pl.Expr:
    """Calls of tools, their results, and system messages that list tools, in tags or not."""
    is_call = pl.col("content").str.contains(r"^\s*<tool_(?:call|response)>")
    ends_so = pl.col("content").str.contains(r"(?ms)^<tool_call>$.*</tool_call>\s*\z")
    is_call |= ends_so & (pl.col("role") == "assistant")
    lists = pl.col("content").str.contains(r"(?m)^<tools>$") | pl.col("tools").is_not_null()
    is_tagged = is_call | (lists & _IS_INSTRUCTION)
    return is_tagged.fill_null(False) | _HAS_CALLS | (pl.col("role") == "tool")


@MESSAGE.removes()
def matches(pattern: filter_options.Patterns, role: filter_options.Speaker = None) -> pl.Expr:
    """Messages whose words match a pattern, or any of several, said by a role or by anybody.

    Patterns are those of Polars (Rust), which take time in proportion to the text whatever they
    are: `(?i)` for any case, `(?m)^` for lines. They look at words, not at reasoning or calls.
    """
    patterns = [pattern] if isinstance(pattern, str) else pattern
    is_match = pl.any_horizontal(pl.col("content").str.contains(each) for each in patterns)
    return is_match if role is None else is_match & (pl.col("role") == role)


def _no_disagreements(options: Options, files: Files, folder: Path) -> Figures:
    return language.Disagreements.none(options["decide"])


def _decide_language(
    messages: pl.DataFrame, options: Options, folder: Path
) -> tuple[pl.DataFrame, Figures]:
    labelled = language.label(messages, options["decide"])
    return labelled, language.disagreements(labelled, options["decide"])


@MESSAGE.removes(
    needs=["lang"],
    detail="lang",
    column=Column("lang", _decide_language, _no_disagreements),
    key="language_disagreements",
    packages=language.PACKAGES,
)
def wrong_language(
    allow: filter_options.Allowed = ["en"],  # noqa: B006 - read, never changed
    decide: filter_options.Decide = "declared",
) -> pl.Expr:
    """Messages in a language that is not allowed, by the source's label, a detector, or both.

    `declared` takes the source's label, and detects where it says nothing; `detected` detects;
    `both` wants label and detector to agree, or the detector to be very sure. What says nothing
    is in the language of its neighbours; `language.label` has the rules. A language that cannot
    be told is not wrong. An allowed `pt` covers `pt-BR`, an allowed `no` covers `nb`.
    """
    lang = pl.col("lang")
    regional = [code.lower() for code in allow if "-" in code]
    plain = pl.Series([code for code in allow if "-" not in code], dtype=pl.String)
    whole = plain.to_frame("code").select(codes.plain(pl.col("code"))).to_series().to_list()
    is_allowed = lang.str.to_lowercase().is_in(regional) | codes.plain(lang).is_in(whole)
    return is_allowed.not_()


def _no_secrets(options: Options, files: Files, folder: Path) -> Figures:
    return redact.Secrets()


def _label_secrets(
    messages: pl.DataFrame, options: Options, folder: Path
) -> tuple[pl.DataFrame, Figures]:
    return redact.label(messages, options["kinds"], options["countries"] or "all")


@MESSAGE.removes(
    detail="secret",
    column=Column("secret", _label_secrets, _no_secrets),
    key=redact.KEY,
    packages=secrets.PACKAGES,
)
def secret(
    kinds: filter_options.Kinds = list(KINDS),  # noqa: B006 - never changed
    countries: filter_options.PhonesOf = None,
) -> pl.Expr:
    """Messages that hold a key, a password, an e-mail address, a phone or a card number.

    National phone numbers are those of `countries`; a recipe fills them in by its languages.
    The `redact` of a recipe replaces these by placeholders, and then they are not here any more.
    """
    return pl.col("secret").is_not_null()


def _index_sets(options: Options, files: Files, folder: Path) -> Figures:
    from chatdata.steps import contamination, evaluation_sets

    sets = [evaluation_sets.read(file, options["fields"]) for file in files["against"]]
    rule = contamination.Rule(options["ngram"], options["min_words"], options["common"])
    return contamination.prepare(sets, rule, folder)


def _label_overlaps(
    messages: pl.DataFrame, options: Options, folder: Path
) -> tuple[pl.DataFrame, Figures]:
    from chatdata.steps import contamination

    return contamination.label(messages, contamination.load(folder))


@MESSAGE.removes(
    detail="overlap",
    on_removed="drop",
    column=Column("overlap", _label_overlaps, _index_sets),
    key="contamination",
    files=("against",),
)
def contaminated(
    against: filter_options.Against,
    ngram: filter_options.WordsInARow = 13,
    min_words: filter_options.WholeFrom = 8,
    common: filter_options.Common = 3,
    fields: filter_options.SetFields = [],  # noqa: B006 - never changed
) -> pl.Expr:
    """Messages that hold a question or an answer of an evaluation set, word for word.

    `against` are files of test questions. A message goes where it holds `ngram` words in a row of
    a question, or the whole of a shorter question of at least `min_words`. Runs of words that more
    than `common` texts of a set have are the frame of the set and do not count. `fields` are keys
    of the set's records.
    """
    return pl.col("overlap").is_not_null()


def _look_behind(
    messages: pl.DataFrame, options: Options, folder: Path
) -> tuple[pl.DataFrame, Figures]:
    return endings.with_asked_on(messages), Nothing()


_ASKED_ON = Column(endings.ASKED_ON, _look_behind, lambda options, files, folder: Nothing())
MESSAGE.removes(column=_ASKED_ON)(quality_filters.truncated)

_LABELS = Column(labels.WHY, labels.with_why, lambda options, files, folder: Nothing())
MESSAGE[labels.KEY] = Filter(
    labels.KEY,
    "message",
    labels.is_beyond,
    frozenset([labels.KEY]),
    labels.LabelOptions,
    (labels.is_beyond.__doc__ or "").splitlines()[0],
    detail=labels.WHY,
    column=_LABELS,
)

for _function in quality_filters.MESSAGE:
    MESSAGE.removes()(_function)
