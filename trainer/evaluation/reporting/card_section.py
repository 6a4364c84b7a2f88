"""The results of an evaluation as a section of a model card."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.evaluation import card
from trainer.evaluation.reporting import page, texts
from trainer.evaluation.reporting.folders import Run

NAME = "evaluation"


def write(runs: Sequence[Run], model: Path) -> Path:
    """Puts the section into the card of a model's folder, in place of an earlier one.

    Returns the path of the card. Raises ConfigError for a folder without a model.
    """
    return card.put(model, NAME, text(page.values(runs)))


def text(values: Mapping[str, Any]) -> str:
    """The section, from what the page shows."""
    lines = ["## Evaluation", ""]
    for part in values["judgements"]:
        lines += _judged(part)
    if values["code"]:
        lines += _code(values["code"])
    for part in values["arenas"]:
        lines += _people(part)
    return texts.shown("\n".join(lines))


def _judged(part: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines on a folder of `judge`."""
    names = {side: card.words(name) for side, name in part["labels"].items()}
    yield f"Judges compared the answers of A ({names['A']}) and B ({names['B']}), in both orders."
    yield ""
    yield "| judge | | A wins | 95 % interval | at equal length | the place decided |"
    yield "|---|--:|--:|--:|--:|--:|"
    biases = {row["judge"]: row for row in part["biases"]}
    for row in part["strips"]:
        place = biases.get(row["name"], part["biases"][0])["place"]
        cells = [
            card.words(row["name"]),
            row["words"],
            texts.share(row["value"]),
            texts.between((row["low"], row["high"])) if row["value"] is not None else "–",
            texts.share(row["ring"]),
            texts.share(place and place["value"]),
        ]
        yield f"| {' | '.join(cells)} |"
    yield f"\n**{card.words(part['words'])}**\n"
    yield from _listed(part["remarks"])


def _code(code: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines on folders of `run-code`."""
    yield "Programs in the answers were run; they pass where the test of the prompt raises nothing."
    yield ""
    yield "| programs of | pass | 95 % interval | |"
    yield "|---|--:|--:|---|"
    yield from map(_strip, code["strips"])
    yield ""
    yield from _listed(
        f"{row['judge']} gives {row['high']} of {texts.counted(row['n'][False], 'answer')} that do "
        f"not pass a score of {code['high']} or more."
        for row in code["beside"]
        if row["high"]
    )


def _people(part: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines on a folder of `arena`."""
    yield f"**{card.words(part['words'])}**\n"
    yield "| people rank | before | 95 % interval | |"
    yield "|---|--:|--:|---|"
    yield from map(_strip, part["strips"])
    yield ""
    yield from _listed(part["remarks"])


def _strip(row: Mapping[str, Any]) -> str:
    ends = None if row["low"] is None else (row["low"], row["high"])
    cells = (row["name"], texts.share(row["value"]), texts.between(ends), row["words"])
    return f"| {' | '.join(map(card.words, cells))} |"


def _listed(remarks: Iterable[str]) -> Iterator[str]:
    lines = [f"- {card.words(remark)}" for remark in remarks]
    yield from [*lines, ""] if lines else []
