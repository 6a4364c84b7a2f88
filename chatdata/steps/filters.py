"""Filters: Boolean Polars expressions, named for what they remove. True means remove.

A function's name is its name in a recipe and the reason in the ledger, the card and the report;
its keyword arguments are its options. There are three kinds, and a recipe lists them in this
order, because that is the order in which they can run:

    message       looks at a message; runs on trees, before they are made conversations
    conversation  looks at the turns of a conversation
    corpus        needs all conversations; its expression is the text of a conversation that is
                  compared (`duplicates`, `likeness`)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from chatdata.core import ledger
from chatdata.core.extensions import Registry
from chatdata.core.schema import ROLES, SPOKEN
from chatdata.steps import (
    endings,
    filter_options,
    functions,
    labels,
    language,
    quality_filters,
    redact,
    secrets,
)
from chatdata.steps.figures import Figures, Nothing
from chatdata.steps.filtering import Column, Drop, Files, Filter, Options, Unit, define
from chatdata.steps.language import codes
from chatdata.steps.secrets import KINDS


def _adopt(name: str, thing: Any, package: str) -> Filter:
    """The filter that a package adds, as a `Filter` or as a function."""
    if isinstance(thing, Filter):
        return replace(thing, name=name, packages=(*thing.packages, package))
    return functions.as_filter(name, thing, f"package {package}", package)


FILTERS: Registry[Filter] = Registry({}, "filter", "chatdata.filters", _adopt)


def _removes(
    unit: Unit, needs: Sequence[str] = (), **declared: Any
) -> Callable[[Callable[..., pl.Expr]], Callable[..., pl.Expr]]:
    """Enters the filter of a function in FILTERS, with what it declares."""

    def register(function: Callable[..., pl.Expr]) -> Callable[..., pl.Expr]:
        FILTERS[function.__name__] = define(unit, function, needs, **declared)
        return function

    return register


# -------------------------------------------------------------------------------------- one message


@_removes("message", can_stay=False)
def bad_content() -> pl.Expr:
    """Content that is not text: a number, null, a lone surrogate, parts that are no text.

    A message without words that thinks or calls a tool is none of them.
    """
    is_silent = pl.all_horizontal(pl.col(name).is_null() for name in SPOKEN)
    return pl.col("content").is_null() & (is_silent | pl.col("note").is_not_null())


@_removes("message", can_stay=False)
def unknown_role() -> pl.Expr:
    """Roles that no template knows; the ledger names them."""
    return pl.col("role").is_null()


@_removes("message", needs=["deleted"])
def deleted() -> pl.Expr:
    """Messages that the source marks as deleted."""
    return pl.col("deleted")


@_removes("message", needs=["review_result"])
def not_reviewed() -> pl.Expr:
    """Messages that failed their review or had none."""
    return pl.col("review_result").fill_null(False).not_()


@_removes("message", needs=["synthetic"])
def synthetic() -> pl.Expr:
    """Messages that a model wrote."""
    return pl.col("synthetic")


@_removes("message", needs=["tree_state"])
def unfinished_tree() -> pl.Expr:
    """Messages of trees that name a state other than ready_for_export."""
    return pl.col("tree_state") != "ready_for_export"


_IS_INSTRUCTION = pl.col("role").is_in(["system", "developer"])
_HAS_CALLS = pl.col("tool_calls").is_not_null()


@_removes("message", skips=_IS_INSTRUCTION)
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


@_removes("message")
def error_answer() -> pl.Expr:
    """Answers that are an error of the service: `Too many requests in 1 hour`, `network error`.

    Short answers that begin so; what an answer says about errors stays.
    """
    text = pl.col("content").str.strip_chars(" \t\r\n!\u200b")
    begins = text.str.contains("^(?i:" + "|".join(_ERRORS) + ")")
    is_answer = (pl.col("role") == "assistant") & _HAS_CALLS.not_()
    return is_answer & (text.str.len_chars() < 400) & begins


@_removes("message")
def tool_use() -> pl.Expr:
    """Calls of tools, their results, and system messages that list tools, in tags or not."""
    is_call = pl.col("content").str.contains(r"^\s*<tool_(?:call|response)>")
    ends_so = pl.col("content").str.contains(r"(?ms)^<tool_call>$.*</tool_call>\s*\z")
    is_call |= ends_so & (pl.col("role") == "assistant")
    lists = pl.col("content").str.contains(r"(?m)^<tools>$") | pl.col("tools").is_not_null()
    is_tagged = is_call | (lists & _IS_INSTRUCTION)
    return is_tagged.fill_null(False) | _HAS_CALLS | (pl.col("role") == "tool")


@_removes("message")
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


@_removes(
    "message",
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


@_removes(
    "message",
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


@_removes(
    "message",
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
_removes("message", column=_ASKED_ON)(quality_filters.truncated)

_LABELS = Column(labels.WHY, labels.with_why, lambda options, files, folder: Nothing())
FILTERS[labels.KEY] = Filter(
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
    _removes("message")(_function)


# --------------------------------------------------------------------------------- one conversation


def _is_spoken() -> pl.Expr:
    return _IS_INSTRUCTION.not_()


# The roles that may follow each role; None: the beginning of a conversation.
_MAY_FOLLOW = {
    None: ("system", "developer", "user"),
    "system": ("developer", "user"),
    "developer": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("tool", "assistant"),
}


def _pair(before: str | None, role: str) -> int:
    """The number of two roles that follow each other; that of the beginning is -1."""
    return (ROLES.index(before) if before else -1) * len(ROLES) + ROLES.index(role)


_PAIRS = [_pair(before, role) for before, roles in _MAY_FOLLOW.items() for role in roles]


@_removes("conversation")
def not_alternating() -> pl.Expr:
    """Conversations that are not user, assistant, user, ... after an optional system message.

    Between a call of the assistant and the answer stand the results of tools, in any number.
    """
    number = pl.col("role").to_physical().cast(pl.Int16)
    pair = number.shift(1).fill_null(-1) * len(ROLES) + number  # of the turns of a conversation
    is_pair = pair.is_in(_PAIRS).fill_null(False)
    is_uncalled = (pair == _pair("assistant", "tool")) & _HAS_CALLS.shift(1).not_()
    return (is_pair.not_() | is_uncalled).any().over("conversation")


@_removes("conversation")
def no_assistant() -> pl.Expr:
    """Conversations in which no assistant speaks."""
    return (pl.col("role") == "assistant").any().over("conversation").not_()


@_removes("conversation")
def too_few_turns(below: filter_options.FewestTurns = 2) -> pl.Expr:
    """Conversations of fewer turns than `below`, system messages not counted."""
    return _is_spoken().sum().over("conversation") < below


for _function in quality_filters.CONVERSATION:
    _removes("conversation")(_function)


# -------------------------------------------------------------------------------- all conversations


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


def _turn() -> pl.Expr:
    """All of a message that two equal messages have in common, white space aside."""
    role, content = pl.col("role").cast(pl.String), pl.col("content").fill_null("")
    reasoning, calls, *around = _parts("tools", "variables")
    parts = [role, _folded(content), _folded(reasoning), calls, *around]
    return pl.concat_str(parts, separator="\t")


@_removes("corpus", siblings=True, repeats="says the same as ")
def duplicate() -> pl.Expr:
    """Conversations that say the same, white space aside, as another that comes first.

    First is what is of the source that the recipe names first, and of a source the smallest id.
    """
    return _turn().str.join("\n")


@_removes("corpus", is_prefix=True, repeats="is the beginning of ")
def prefix_of_another() -> pl.Expr:
    """Conversations that another one begins with: its first turns are all of their turns.

    Turns are compared as `duplicate` compares them. The longest conversation stays. Paths of one
    tree are not compared.
    """
    return _turn()


@_removes("corpus", repeats="begins like ")
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


NEAR_PACKAGES = ("numpy",)  # whose version may change which conversations are alike
_NEAR: dict[str, Any] = {"is_near": True, "key": "near_duplicates", "packages": NEAR_PACKAGES}


@_removes("corpus", against=_spoken(["user", "tool"]).first(), **_NEAR)
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


@_removes("corpus", **_NEAR)
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


# -------------------------------------------------------------------------------------- all of them


def always() -> list[Drop]:
    """What every build removes first, since no template can write it."""
    return [Drop(FILTERS[name], {}, "cut") for name in ("bad_content", "unknown_role")]


def about(reason: str) -> str:
    """A reason of the ledger in words: what the filter of that name removes, or what went wrong."""
    if reason in ledger.REASONS:
        return ledger.REASONS[reason]
    return FILTERS[reason].about if reason in FILTERS else reason
