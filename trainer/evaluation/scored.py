"""What judges gave to answers that were run: do high scores go to programs that work?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from chatdata.core.errors import ConfigError
from trainer.evaluation import answers


def read(path: Path, side: str) -> dict[str, float]:
    """The mean score of each answer of A or of B, over judges and orders, by id.

    `path` is a `verdicts.jsonl`. Raises ConfigError for any other file.
    """
    scores: dict[str, list[float]] = {}
    for number, line in answers.lines(path):
        values = answers.objects(line, f"'{path}', line {number}")
        try:
            given = [order["scores"][side] for order in values["orders"] if order["scores"]]
            scores.setdefault(str(values["id"]), []).extend(map(float, given))
        except (KeyError, TypeError, ValueError):
            raise ConfigError(
                f"'{path}', line {number}: no verdict; name the verdicts.jsonl of a judge."
            ) from None
    return {id: fmean(of) for id, of in scores.items() if of}


def table(results: Sequence[Mapping[str, Any]], side: str) -> dict[str, Any]:
    """The scores of answers that passed, failed, and have no test: means, and how many of each."""
    kinds = {"passed": True, "failed": False, "no_test": None}
    scores = {
        name: [line["judge_score"] for line in results if _is(line, passed)]
        for name, passed in kinds.items()
    }
    rounded = sorted({round(score) for of in scores.values() for score in of})
    counts = {
        str(value): {
            name: sum(round(score) == value for score in of) for name, of in scores.items()
        }
        for value in rounded
    }
    return {
        "side": side,
        "n": sum(map(len, scores.values())),
        "mean_score": {name: fmean(of) if of else None for name, of in scores.items()},
        "scores": counts,
    }


def _is(line: Mapping[str, Any], passed: bool | None) -> bool:
    return line["judge_score"] is not None and line["passed"] is passed
