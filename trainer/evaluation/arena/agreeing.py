"""How far people agree with each other, and with judges that have compared the same answers.

An outcome is of two answers to a prompt: A for the first model, B for the second, or a tie.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chatdata.core.errors import ConfigError
from trainer.evaluation import agreement, answers, statistics
from trainer.evaluation.arena.contest import LETTERS, SETTINGS, Contest

FIRST, TIE, SECOND = "A", "tie", "B"
_VOTES = {FIRST: 1, TIE: 0, SECOND: -1}
_ELECTED = {vote: outcome for outcome, vote in _VOTES.items()}
_INCONSISTENT = "inconsistent"  # a judge that prefers either answer in its turn prefers none

Outcomes = dict[str, dict[str, str]]  # by who says it, and by `key`


def key(id: str, first: str, second: str) -> str:
    """What is compared: the answers of two models to a prompt."""
    return json.dumps([id, first, second])


def between_people(people: Outcomes) -> dict[str, Any] | None:
    """Krippendorff's alpha of all annotators, and Cohen's kappa of each two; None for a single."""
    between = agreement.between(people)
    if between is None:
        return None
    twos = [dict(of) for of in between["pairs_of_judges"]]
    named = [{"annotators": of.pop("judges"), **of} for of in twos]
    return {"alpha": between["alpha"], "pairs_of_annotators": named}


def with_judges(
    contest: Contest, people: Outcomes, verdicts: Sequence[Path]
) -> dict[str, dict[str, Any]]:
    """How far each judge agrees with each annotator, and with all annotators together."""
    judges: Outcomes = defaultdict(dict)
    for path in verdicts:
        for judge, key, outcome in _verdicts(contest, path):
            judges[judge][key] = outcome
    together = _together(people)
    return {
        judge: {
            "with_people": _of_two(contest, together, of),
            "with_annotators": {name: _of_two(contest, people[name], of) for name in people},
        }
        for judge, of in sorted(judges.items())
    }


def _together(people: Outcomes) -> dict[str, str]:
    """What most annotators say of each two answers; a tie where as many say the contrary."""
    votes: dict[str, int] = defaultdict(int)
    for of in people.values():
        for key, outcome in of.items():
            votes[key] += _VOTES[outcome]
    return {key: _ELECTED[int(np.sign(sum_))] for key, sum_ in votes.items()}


def _of_two(
    contest: Contest, people: Mapping[str, str], judge: Mapping[str, str]
) -> dict[str, Any]:
    """Cohen's kappa of people and a judge, and the share of equal outcomes with its interval."""
    between = agreement.between({"people": people, "judge": judge}) or {}
    numbers = {key: between["pairs_of_judges"][0][key] for key in ("pairs", "equal", "kappa")}
    common = [key for key in people if key in judge]
    if not common:
        return numbers | {"equal_interval": None}
    prompts = {item.id: item.prompt for item in contest.items}
    places = statistics.numbered(prompts[json.loads(key)[0]] for key in common)
    equal = np.array([[people[key] == judge[key]] * 2 for key in common], dtype=np.float64)
    ends = statistics.interval(equal, places, contest.settings["seed"])
    return numbers | {"equal_interval": list(ends)}


def _verdicts(contest: Contest, path: Path) -> Iterator[tuple[str, str, str]]:
    """Yields judge, item with pair, and outcome of a file of verdicts; faults are no outcomes."""
    models = _compared(contest, path)
    first, second = sorted(models.values())
    swapped = {FIRST: SECOND, SECOND: FIRST} if models["A"] == second else {}
    ids = {item.id for item in contest.items}
    for number, line in answers.lines(path):
        values = answers.objects(line, f"'{path}', line {number}")
        outcome = values.get("outcome")
        outcome = TIE if outcome == _INCONSISTENT else outcome
        if values.get("id") in ids and outcome in (FIRST, SECOND, TIE):
            compared = key(values["id"], first, second)
            yield str(values.get("judge")), compared, swapped.get(outcome, outcome)


def _compared(contest: Contest, path: Path) -> dict[str, str]:
    """The models that a judge calls A and B, by the hashes of their answers.

    Without settings beside the verdicts they are the first two. Raises ConfigError where the judge
    has compared other answers.
    """
    settings = path.with_name(SETTINGS)
    if not settings.exists():
        return {"A": LETTERS[0], "B": LETTERS[1]}
    hashes = json.loads(settings.read_text(encoding="utf-8")).get("answers", {})
    ours = {digest: letter for letter, digest in contest.settings["answers"].items()}
    models = {name: ours.get(hashes.get(name)) for name in ("A", "B")}
    known = {name: letter for name, letter in models.items() if letter is not None}
    if len(set(known.values())) < 2:
        raise ConfigError(
            f"the verdicts in '{path}' are on other answers than those of this contest; "
            "judge the same files."
        )
    return known
