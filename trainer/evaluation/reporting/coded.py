"""What the page shows of programs that were run: how many pass, beside what judges say of them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from trainer.evaluation import statistics
from trainer.evaluation.reporting import charts, folders, pictures, texts
from trainer.evaluation.reporting.folders import Run
from trainer.evaluation.reporting.judged import Judged
from trainer.evaluation.sandbox import STATUSES

HIGH = 7  # a score from which on an answer is called right, or right with a blemish

Row = Mapping[str, Any]


class Coded(NamedTuple):
    """A folder of `run-code`: its numbers, and a line for each answer by id."""

    run: Run
    summary: Row
    results: Mapping[str, Row]

    @property
    def name(self) -> str:
        """The model, for people."""
        return texts.label(str(self.summary["settings"]["name"]))

    @property
    def answers(self) -> str:
        """The hash of the answers that were run."""
        return str(self.summary["settings"]["answers"])

    def passed(self, id: str) -> bool | None:
        """Whether an answer passes; None where it was not tested."""
        passed: bool | None = self.results.get(id, {}).get("passed")
        return passed

    def shown(self, id: str) -> dict[str, Any] | None:
        """What became of an answer, for people."""
        line = self.results.get(id)
        if line is None:
            return None
        kind = {True: "pass", False: "fail"}.get(line["passed"], "")
        error = f": {line['error']}" if line["error"] else ""
        return {
            "kind": kind or ("" if line["status"] == "ran" else "fail"),
            "passed": line["passed"],
            "short": f"{str(line['status']).replace('_', ' ')}{error}",
            "words": STATUSES.get(line["status"], line["status"]),
        }


def read(run: Run) -> Coded:
    """The folder."""
    results, summary = (run.path / file for file in folders.KINDS["run-code"])
    by_id = {str(line["id"]): line for line in folders.lines(results)}
    return Coded(run, folders.read(summary), by_id)


def of_sides(judged: Judged, runs: Sequence[Coded]) -> dict[str, Coded]:
    """The runs of the answers that a judge calls A and B."""
    hashes = judged.summary["settings"]["answers"]
    by_hash = {coded.answers: coded for coded in runs}
    return {side: by_hash[hashes[side]] for side in "AB" if hashes[side] in by_hash}


def ordered(runs: Sequence[Coded], judgements: Sequence[Judged]) -> list[Coded]:
    """The runs, those of A and of B before the rest."""
    first = [coded for judged in judgements for coded in of_sides(judged, runs).values()]
    return list({coded.run.path: coded for coded in [*first, *runs]}.values())


def values(runs: Sequence[Coded], judgements: Sequence[Judged]) -> dict[str, Any]:
    """What the template shows of all folders of `run-code`."""
    statuses = [status for status in STATUSES if any(status in r.summary["statuses"] for r in runs)]
    return {
        "strips": [_strip(coded) for coded in runs],
        "statuses": [(status, STATUSES[status]) for status in statuses],
        "counts": [
            [coded.name, *(str(coded.summary["statuses"].get(s, 0)) for s in statuses)]
            for coded in runs
        ],
        "differences": [_difference(*two) for two in itertools.combinations(runs, 2)],
        "missing": [
            f"{coded.name}: {package} ({texts.counted(times, 'program')})"
            for coded in runs
            for package, times in coded.summary["missing_packages"].items()
        ],
        "beside": [row for judged in judgements for row in _beside(judged, runs)],
        "gallery": pictures.gallery(runs, _prompts(judgements, runs)),
        "isolation": sorted({str(c.summary["settings"]["isolation"]) for c in runs}),
        "high": HIGH,
    }


def _strip(coded: Coded) -> dict[str, Any]:
    summary = coded.summary
    return charts.strip(
        coded.name,
        summary["pass_rate"],
        summary["pass_rate_interval"],
        f"{summary['passed']:,} of {summary['with_test']:,} tested",
    )


def _difference(first: Coded, second: Coded) -> dict[str, Any]:
    """Two runs on the prompts for which both answers were tested."""
    passed = [
        (line["passed"], second.results[id]["passed"])
        for id, line in first.results.items()
        if id in second.results
    ]
    counts = Counter(pair for pair in passed if None not in pair)
    return {
        "names": (first.name, second.name),
        "n": counts.total(),
        "both": counts[True, True],
        "first": counts[True, False],
        "second": counts[False, True],
        "neither": counts[False, False],
        "p": statistics.mcnemar(counts[True, False], counts[False, True]),
    }


# -------------------------------------------------------------------------------- beside judges


def _beside(judged: Judged, runs: Sequence[Coded]) -> Iterator[dict[str, Any]]:
    """Yields for each judge what it says of answers that pass and of those that do not."""
    sides = of_sides(judged, runs)
    if not sides:
        return
    for judge in judged.summary["judges"]:
        scores = _scores_by_passing(judged.of(judge), sides)
        yield {
            "judge": judge,
            "scores": {key: fmean(of) if of else None for key, of in scores.items()},
            "n": {key: len(of) for key, of in scores.items()},
            "high": sum(score >= HIGH for score in scores[False]),
            "prefers": _prefers(judged.of(judge), sides),
        }


def _scores_by_passing(lines: Sequence[Row], sides: Mapping[str, Coded]) -> dict[bool, list[float]]:
    """The mean score of each answer that was tested, of those that pass and of those that do
    not."""
    scores: dict[bool, list[float]] = {True: [], False: []}
    for line, (side, coded) in itertools.product(lines, sides.items()):
        passed = coded.passed(line["id"])
        given = [order["scores"][side] for order in line["orders"] if order["scores"]]
        if passed is not None and given:
            scores[passed].append(fmean(given))
    return scores


def _prefers(lines: Sequence[Row], sides: Mapping[str, Coded]) -> dict[str, Any] | None:
    """How often a judge prefers the answer that passes, where the answer beside it does not."""
    if len(sides) < 2:
        return None
    outcomes: Counter[str] = Counter()
    for line in lines:
        passed = {side: sides[side].passed(line["id"]) for side in "AB"}
        if set(passed.values()) == {True, False} and line["outcome"] in {"A", "B"}:
            outcomes["right" if passed[line["outcome"]] else "wrong"] += 1
        elif set(passed.values()) == {True, False}:
            outcomes["neither"] += 1
    number = outcomes.total()
    rate = outcomes["right"] / number if number else None
    ends = None if rate is None else list(statistics.wilson(rate, number))
    return {"n": number, "value": rate, "ends": ends, "wrong": outcomes["wrong"]}


def _prompts(judgements: Sequence[Judged], runs: Sequence[Coded]) -> dict[tuple[str, str], str]:
    """The prompts that are known, by the hash of a file of answers and the id."""
    known: dict[tuple[str, str], str] = {}
    for judged in judgements:
        for coded in of_sides(judged, runs).values():
            known |= {(coded.answers, id): str(p["prompt"]) for id, p in judged.pairs.items()}
    return known
