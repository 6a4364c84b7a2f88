"""What the page shows of judges: who is preferred, how sure that is, and what else decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from chatdata.core.errors import ConfigError
from trainer.evaluation import judging, statistics
from trainer.evaluation.reporting import charts, folders, texts
from trainer.evaluation.reporting.folders import Run
from trainer.evaluation.rubric import HIGHEST, LOWEST

Lines = Sequence[Mapping[str, Any]]

_FOR_A = {"A": 1.0, "B": 0.0, "tie": 0.5}
_SPAN = HIGHEST - LOWEST


class Judged(NamedTuple):
    """A folder of `judge`: its numbers, a line for each pair and judge, and the pairs by id."""

    run: Run
    summary: Mapping[str, Any]
    verdicts: Lines
    pairs: Mapping[str, Mapping[str, Any]]

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self.summary["settings"]["seed"])

    def of(self, judge: str) -> Lines:
        """The lines of a judge."""
        return [line for line in self.verdicts if line["judge"] == judge]


def read(run: Run) -> Judged:
    """The folder. Raises ConfigError where its summary is not that of its verdicts."""
    summary = folders.read(run.path / judging.SUMMARY)
    verdicts = folders.lines(run.path / judging.VERDICTS)
    pairs = {line["id"]: line for line in folders.lines(run.path / judging.PAIRS)}
    judged = Judged(run, summary, verdicts, pairs)
    rate = _rate(verdicts)
    if (rate is None) != (summary["win_rate"] is None) or (
        rate is not None and abs(rate - summary["win_rate"]) > 1e-9
    ):
        raise ConfigError(
            f"'{run.path}': {judging.SUMMARY} is not that of {judging.VERDICTS}; run judge again "
            "with the same settings, which asks for nothing that is there."
        )
    return judged


def values(judged: Judged) -> dict[str, Any]:
    """What the template shows of a folder, but for its examples."""
    summary = judged.summary
    return {
        "name": judged.run.name,
        "labels": labels(judged),
        "summary": summary,
        "words": _words(judged),
        "strips": list(_strips(judged)),
        "outcomes": _outcomes(judged),
        "biases": [_bias(judged, name) for name in (None, *_judges(judged))],
        "scores": [_scores(judged, name) for name in summary["judges"]],
        "remarks": list(remarks(judged)),
    }


def labels(judged: Judged) -> dict[str, str]:
    """The names of both models, for people."""
    return {side: texts.label(name) for side, name in judged.summary["models"].items()}


def _words(judged: Judged) -> str:
    """What the intervals allow to say of all judges together, and whose alone does not."""
    summary, side = judged.summary, _side(judged.summary)
    names = _judges(judged) if side else []
    differing = [name for name in names if _side(summary["judges"][name]) != side]
    does = "does" if len(differing) == 1 else "do"
    rest = f" Taken alone, {' and '.join(differing)} {does} not." if differing else ""
    return preferred(summary["win_rate"], summary["win_rate_interval"]) + rest


def _side(numbers: Mapping[str, Any]) -> str | None:
    """The side on which an interval is; None where it includes 50 %, or there is none."""
    if numbers["win_rate"] is None or is_open(numbers["win_rate_interval"]):
        return None
    return "A" if numbers["win_rate"] > 0.5 else "B"


def is_open(ends: Any) -> bool:
    """Whether an interval includes 50 %."""
    return bool(ends[0] <= 0.5 <= ends[1])


def preferred(rate: float | None, ends: Any) -> str:
    """What an interval of a win rate allows to say, and no more."""
    if rate is None:
        return "No pair has a verdict."
    if is_open(ends):
        return "The interval includes 50 %: these verdicts do not show which of the two is better."
    better = "A" if rate > 0.5 else "B"
    return (
        f"The interval is on the side of {better}: on prompts like these, such judges prefer "
        f"{better} more often than not."
    )


def _judges(judged: Judged) -> list[str]:
    """The judges, where there are several."""
    names = list(judged.summary["judges"])
    return names if len(names) > 1 else []


def _strips(judged: Judged) -> Iterator[dict[str, Any]]:
    numbers = judged.summary["judges"]
    rows = {"all judges": judged.summary, **numbers} if len(numbers) > 1 else numbers
    for name, row in rows.items():
        yield charts.strip(
            name,
            row["win_rate"],
            row["win_rate_interval"],
            texts.counted(row["n"], "pair"),
            row["length_controlled_win_rate"],
        )


def _outcomes(judged: Judged) -> list[dict[str, Any]]:
    """A row for each judge: how many pairs came out how."""
    rows = []
    for judge, row in judged.summary["judges"].items():
        counts = Counter(line["outcome"] for line in judged.of(judge))
        rows.append({"judge": judge, **row, "A": counts["A"], "B": counts["B"]})
    return rows


# --------------------------------------------------------------------------------------- numbers


def both(line: Mapping[str, Any]) -> tuple[float, float] | None:
    """The verdicts on a pair for A, with A and with B in front; None where there are not both."""
    with_a, with_b = (_FOR_A.get(order["verdict"]) for order in line["orders"])
    return None if with_a is None or with_b is None else (with_a, with_b)


def _rate(lines: Lines) -> float | None:
    read = [verdicts for line in lines if (verdicts := both(line)) is not None]
    return statistics.win_rate(np.array(read)) if read else None


def _prompts(judged: Judged, lines: Lines) -> statistics.Ints:
    """The number of the prompt of each line: pairs of the same prompt are not independent."""
    return statistics.numbered(judged.pairs[line["id"]]["prompt"] for line in lines)


def _mean(judged: Judged, lines: Lines, shares: Sequence[float]) -> dict[str, Any] | None:
    """The mean of a share of each line, with its interval, whole prompts drawn."""
    if not lines:
        return None
    column = np.array(shares, dtype=np.float64)
    ends = statistics.interval(
        np.stack([column, column], axis=1), _prompts(judged, lines), judged.seed
    )
    is_alike = float(np.ptp(column)) == 0
    return {
        "n": len(lines),
        "value": float(column.mean()),
        "ends": list(ends),
        "is_alike": is_alike,
    }


def _bias(judged: Judged, judge: str | None) -> dict[str, Any]:
    """What else than quality decided, of a judge or of all."""
    listed = judged.of(judge) if judge else judged.verdicts
    by_line = [(line, verdicts) for line in listed if (verdicts := both(line))]
    lines = [line for line, _ in by_line]
    by_place = [float(abs(with_a - with_b) == 1) for _, (with_a, with_b) in by_line]
    longer = [
        (line, is_longer)
        for line, verdicts in by_line
        for is_longer in _longer(judged.pairs[line["id"]], verdicts)
    ]
    numbers = judged.summary["judges"][judge] if judge else judged.summary
    return {
        "judge": judge or "all judges" if len(judged.summary["judges"]) > 1 else "",
        "place": _mean(judged, lines, by_place),
        "in_front": _mean(judged, lines, [in_front for _, (in_front, _) in by_line]),
        "behind": _mean(judged, lines, [behind for _, (_, behind) in by_line]),
        "longer": _mean(judged, [line for line, _ in longer], [share for _, share in longer]),
        "equal_length": numbers["length_controlled_win_rate"],
    }


def _longer(pair: Mapping[str, Any], verdicts: tuple[float, float]) -> Iterator[float]:
    """Yields for each verdict that decides whether it prefers the longer answer."""
    difference = len(pair["A"]) - len(pair["B"])
    for verdict in verdicts:
        if difference and verdict != _FOR_A["tie"]:
            yield float((verdict == 1) == (difference > 0))


def _scores(judged: Judged, judge: str) -> dict[str, Any]:
    """The scores of a judge: their histogram, their means and how far these are apart."""
    table = judged.summary["scores"][judge]
    lines = [line for line in judged.of(judge) if any(order["scores"] for order in line["orders"])]
    of = {side: [_score(line, side) for line in lines] for side in "AB"}
    means = {
        side: _mean(judged, lines, [(score - LOWEST) / _SPAN for score in of[side]]) for side in of
    }
    apart = [(a - b + _SPAN) / (2 * _SPAN) for a, b in zip(of["A"], of["B"], strict=True)]
    return {
        "judge": judge,
        "chart": charts.histogram({side: table[side]["histogram"] for side in "AB"}),
        "means": {side: _scaled(mean, _SPAN, LOWEST) for side, mean in means.items()},
        "apart": _scaled(_mean(judged, lines, apart), 2 * _SPAN, -_SPAN),
    }


def _score(line: Mapping[str, Any], side: str) -> float:
    """The mean of the scores that an answer has in both orders."""
    given = [order["scores"][side] for order in line["orders"] if order["scores"]]
    return float(sum(given) / len(given))


def _scaled(mean: dict[str, Any] | None, span: float, start: float) -> dict[str, Any] | None:
    """The mean of scores from that of shares; where all are alike, their spread is not known."""
    if mean is None:
        return None
    ends = None if mean["is_alike"] else [start + span * end for end in mean["ends"]]
    return {**mean, "value": start + span * mean["value"], "ends": ends}


# --------------------------------------------------------------------------------------- remarks

_FEW, _MUCH, _HUG, _LONGER = 30, 0.2, 0.6, 0.9
_NO_CONCLUSION = 0.667  # Krippendorff's: below it an agreement supports none


def remarks(judged: Judged) -> Iterator[str]:
    """Yields what a reader should know who would quote the win rate."""
    summary = judged.summary
    if summary["win_rate"] is None:
        return
    if summary["n"] < _FEW:
        yield f"{texts.counted(summary['n'], 'pair')} are few: a handful of prompts decides."
    if summary["position_bias"] > _MUCH:
        yield (
            f"The place decided {texts.share(summary['position_bias'])} of the pairs: the judge "
            "preferred the same place twice, whatever stood in it. Such pairs count half."
        )
    yield from _of_length(summary)
    yield from _of_judges(judged)
    lost = sum(summary[name] for name in ("unparsed", "refused", "failed"))
    if lost:
        of = texts.counted(len(judged.verdicts), "judgement")
        yield f"{lost:,} of {of} have no verdict, and count for nobody."


def _of_length(summary: Mapping[str, Any]) -> Iterator[str]:
    longer = summary["length_bias"]
    if longer is not None and longer > _LONGER:
        yield (
            f"{texts.share(longer)} of the verdicts that decide are for the longer answer. Where "
            "length may be all that decides, the win rate at equal length is a guess."
        )
    raw, equal = summary["win_rate"], summary["length_controlled_win_rate"]
    if (raw - 0.5) * (equal - 0.5) < 0 or abs(raw - equal) > 0.05:
        yield (
            f"At equal length the win rate is {texts.share(equal)} and not {texts.share(raw)}: "
            "part of the preference goes with the length of the answers."
        )


def _of_judges(judged: Judged) -> Iterator[str]:
    summary = judged.summary
    names = list(summary["judges"])
    if len(names) == 1:
        yield "One judge: how far another would agree is not known."
    alpha = (summary["agreement"] or {}).get("alpha")
    if alpha is not None and alpha < _NO_CONCLUSION:
        yield (
            f"The judges agree little (Krippendorff's alpha {texts.decimals(alpha)}; below "
            f"{_NO_CONCLUSION:.3f} no conclusion should rest on it)."
        )
    for name in names:
        if name in summary["models"].values():
            yield f"The judge {name} is one of the models that are compared."
        counts = Counter[str]()
        for side in "AB":
            counts.update(summary["scores"][name][side]["histogram"])
        if counts and (most := counts.most_common(1)[0])[1] / counts.total() >= _HUG:
            yield (
                f"{name} gives the score {most[0]} to "
                f"{texts.share(most[1] / counts.total())} of the answers, and so says little."
            )
