"""A look at files of conversations: what a recipe that fits them should say.

The first messages of the files are read as `auto` reads them, and each cleaner is tried on them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from chatdata import sources
from chatdata.core import schema
from chatdata.core.errors import SourceError
from chatdata.pipeline.inputs import locate
from chatdata.pipeline.recipe import Recipe
from chatdata.steps import cleaning, language, redact
from chatdata.steps.cleaning import CLEANERS
from chatdata.steps.language import codes
from chatdata.steps.secrets import KINDS

_MESSAGES = 2000  # that are looked at
_DETECTED = 500  # whose language is
_TELLING = 40  # characters of a message, whose language can be told
# The cleaners that are tried, in the order in which a recipe lists them.
_TRIED = (
    *("lift_reasoning", "lift_tools", "html", "entities", "escapes", "artefacts"),
    *("invisible", "white_space"),
)
_HELD = ("reasoning", "tool_calls", "tools")  # columns


@dataclass(frozen=True, slots=True)
class Look:
    """What the first messages of files are like.

    `shapes` are those of the files, `languages` shares of messages by code, `cleaned` and `secrets`
    numbers of messages by cleaner and by kind, `holds` which of reasoning, calls and tools occur
    before anything is lifted.
    """

    shapes: tuple[str, ...]
    messages: int
    languages: Mapping[str, float]
    is_declared: bool
    cleaned: Mapping[str, int]
    secrets: Mapping[str, int]
    holds: tuple[str, ...]
    has_trees: bool
    has_lists: bool
    has_ranks: bool


def at(files: Sequence[str]) -> Look:
    """What the conversations in files are like, which are named as in a recipe.

    Raises SourceError for files that are missing, that have no known shape, or hold no messages.
    """
    least = {"name": "look", "version": "0.0.0", "source": {"auto": {"files": list(files)}}}
    (located,) = locate(Recipe.model_validate(least), ())
    shapes: dict[str, str] = {}
    rows: list[pl.DataFrame] = []
    for batch in sources.get("auto").read(located.files, "look", "look"):
        shapes |= batch.shapes
        rows.append(batch.rows)
        if sum(table.height for table in rows) >= _MESSAGES:
            break
    messages = pl.concat(rows).head(_MESSAGES) if rows else schema.empty(schema.EITHER)
    if messages.is_empty():
        raise SourceError(
            f"'{files[0]}' holds no conversations that can be read; docs/formats.md has the shapes "
            "that are known."
        )
    return _look(messages, tuple(dict.fromkeys(shapes.values())))


def _look(messages: pl.DataFrame, shapes: tuple[str, ...]) -> Look:
    kinds = schema.by_kind(messages)
    is_node = messages["conversation"].is_null()
    languages, is_declared = _languages(kinds)
    return Look(
        shapes=shapes,
        messages=messages.height,
        languages=languages,
        is_declared=is_declared,
        cleaned=_cleaned(kinds),
        secrets=_secrets(kinds),
        holds=tuple(name for name in _HELD if messages[name].is_not_null().any()),
        has_trees=bool(is_node.any()),
        has_lists=not is_node.all(),
        has_ranks=bool(messages["rank"].is_not_null().any()),
    )


def _languages(kinds: Sequence[pl.DataFrame]) -> tuple[dict[str, float], bool]:
    """The share of each language, the largest first, and whether the source declares any.

    Of a short text no detector can tell the language, so it counts for none unless it is declared.
    """
    counts: Counter[str] = Counter()
    is_declared = False
    for messages in kinds:
        some = messages.head(_DETECTED)
        is_declared = is_declared or bool(some["lang"].is_not_null().any())
        is_told = some["lang"].is_not_null() | (some["content"].str.len_chars() >= _TELLING)
        labelled = language.label(some, "declared").select(codes.plain(pl.col("lang"))).to_series()
        counts.update(labelled.filter(is_told.fill_null(False)).drop_nulls().to_list())
    counts.pop(language.UNKNOWN, None)
    total = counts.total()
    return {name: number / total for name, number in counts.most_common()}, is_declared


def _cleaned(kinds: Sequence[pl.DataFrame]) -> dict[str, int]:
    """How many messages each cleaner changes, those before it having been at work."""
    counts: Counter[str] = Counter()
    for messages in kinds:
        for name in _TRIED:
            options = CLEANERS[name].options().model_dump(mode="json")
            messages, done = cleaning.run(messages, [cleaning.step(name, options)])
            counts[name] += done.by_cleaner.get(name, {}).get("messages", 0)
    return {name: number for name, number in counts.items() if number}


def _secrets(kinds: Sequence[pl.DataFrame]) -> dict[str, int]:
    """How many messages hold each kind of secrets."""
    return dict(_count_secrets(kinds))


def _count_secrets(kinds: Sequence[pl.DataFrame]) -> Iterator[tuple[str, int]]:
    counts: Counter[str] = Counter()
    for messages in kinds:
        _, found_in = redact.replace(messages, list(KINDS))
        counts.update({kind: numbers["messages"] for kind, numbers in found_in.by_kind.items()})
    yield from ((kind, number) for kind, number in counts.items() if number)
