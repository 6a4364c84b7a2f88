"""The first lines of the page: a number of each part, with how sure it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from trainer.evaluation.reporting import texts


class Card(NamedTuple):
    """A number in large letters, what it is, and its interval or test."""

    figure: str
    words: str
    sure: str


def cards(values: Mapping[str, Any]) -> list[Card]:
    """The cards of a page; none where the page has a single part, which says it all."""
    made = [
        *(_judged(part, len(values["judgements"]) > 1) for part in values["judgements"]),
        *_code(values["code"]),
        *map(_people, values["arenas"]),
        *(card for part in values["benchmarks"] for card in _benchmark(part["differences"])),
    ]
    return made if len(made) > 1 else []


def _judged(part: Mapping[str, Any], is_named: bool) -> Card:
    summary, labels = part["summary"], part["labels"]
    return Card(
        texts.share(summary["win_rate"]),
        f"of pairs: judges prefer {labels['A']} to {labels['B']}"
        f"{' (' + part['name'] + ')' if is_named else ''}",
        f"{texts.between(summary['win_rate_interval'])}, {texts.counted(summary['n'], 'pair')}",
    )


def _code(code: Mapping[str, Any] | None) -> Iterator[Card]:
    strips: Sequence[Mapping[str, Any]] = code["strips"] if code else []
    for row in strips:
        yield Card(
            texts.share(row["value"]),
            f"of the programs of {row['name']} pass their test",
            f"{texts.between((row['low'], row['high'])) if row['low'] is not None else '–'}, "
            f"{row['words']}",
        )


def _people(part: Mapping[str, Any]) -> Card:
    first = part["strips"][0]
    ends = None if first["low"] is None else (first["low"], first["high"])
    return Card(
        texts.share(first["value"]),
        f"of rankings: people prefer {first['name'].replace(' against ', ' to ')}",
        f"{texts.between(ends)}, {first['words']}",
    )


def _benchmark(differences: Sequence[Mapping[str, Any]]) -> Iterator[Card]:
    clear = sum(row["is_clear"] for row in differences)
    if differences:
        of = texts.counted(len(differences), "paired difference")
        yield Card(
            f"{clear} of {len(differences)}",
            "differences on benchmarks have an interval without 0",
            f"{of}, of the metrics that are shown first",
        )
