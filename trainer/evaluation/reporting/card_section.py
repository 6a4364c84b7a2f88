"""The results of an evaluation as a section of a model card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    return texts.shown("\n".join(lines))


def _judged(part: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines on a folder of `judge`."""
    names = {side: card.words(name) for side, name in part["labels"].items()}
    yield f"Judges compared the answers of A ({names['A']}) and B ({names['B']}), in both orders."
    yield ""
    yield "| judge | pairs | A wins | 95 % interval | at equal length | the place decided |"
    yield "|---|--:|--:|--:|--:|--:|"
    biases = {row["judge"]: row for row in part["biases"]}
    for row in part["strips"]:
        place = biases.get(row["name"], part["biases"][0])["place"]
        cells = [
            card.words(row["name"]),
            texts.number(row["n"]),
            texts.share(row["value"]),
            texts.between((row["low"], row["high"])) if row["value"] is not None else "–",
            texts.share(row["equal_length"]),
            texts.share(place and place["value"]),
        ]
        yield f"| {' | '.join(cells)} |"
    yield f"\n**{part['words']}**\n"
    yield from (f"- {card.words(remark)}" for remark in part["remarks"])
