"""Judging: both answers to each prompt, in both orders, by each judge; verdicts and their summary.

A folder holds `pairs.jsonl` (what is judged), `replies.jsonl` (what the judges wrote, as it came),
`verdicts.jsonl` (what the replies say, a line for each pair and judge, in the order of the
prompts), `summary.json`, `settings.json` and `rubric.md` (the words of the requests).
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chatdata.core.hashing import sha256_file, sha256_json
from trainer.evaluation import agreement, answers, replies, rubric, statistics
from trainer.evaluation.answers import Pair, Paired
from trainer.evaluation.endpoint import Endpoint, Question, Reply
from trainer.evaluation.journal import SETTINGS, Lines, alone, check_same_run, read
from trainer.evaluation.replies import Reading
from trainer.evaluation.writing import write_json, write_lines, write_text

REPLIES, VERDICTS, SUMMARY = "replies.jsonl", "verdicts.jsonl", "summary.json"
RUBRIC, PAIRS = "rubric.md", "pairs.jsonl"
_CHARACTERS = 4  # of a token, about
_ORDERS = ("A", "B")  # whose answer is in front

Progress = Callable[[int, int], object]  # replies that are there, and all


class Request(NamedTuple):
    """A pair that a judge is asked about, with the answer of A or of B in front."""

    pair: Pair
    judge: str
    first: str
    question: Question


class Judged(NamedTuple):
    """What a judge says of a pair with A in front, and with B in front."""

    pair: Pair
    judge: str
    readings: tuple[Reading, Reading]
    replies: tuple[Reply | None, Reply | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """What is judged, by whom, and how."""

    first: Path
    second: Path
    endpoint: Endpoint
    judges: tuple[str, ...]
    seed: int = 0

    def settings(self) -> dict[str, Any]:
        """All that decides what the judges are asked, and how the numbers are made."""
        hashes = {"A": sha256_file(self.first), "B": sha256_file(self.second)}
        return {
            "answers": {name: f"sha256:{digest}" for name, digest in hashes.items()},
            "judges": list(self.judges),
            "endpoint": self.endpoint.address,
            "temperature": self.endpoint.temperature,
            "max_tokens": self.endpoint.max_tokens,
            "rubric": f"sha256:{rubric.sha256()}",
            "seed": self.seed,
        }


class Estimate(NamedTuple):
    """What a run will ask for: requests, tokens that judges read (about), and write at most."""

    requests: int
    read: int
    written: int


# ---------------------------------------------------------------------------------------- asking


def plan(job: Job) -> tuple[Paired, list[Request]]:
    """The pairs of a job and all its requests. Raises ConfigError for files that do not go
    together."""
    paired = answers.pair(job.first, job.second)
    return paired, list(_requests(job, paired.pairs))


def _requests(job: Job, pairs: Sequence[Pair]) -> Iterator[Request]:
    for judge in job.judges:
        for pair in pairs:
            for first in _ORDERS:
                texts = (pair.first, pair.second) if first == "A" else (pair.second, pair.first)
                messages = rubric.request(pair.prompt, *texts, pair.reference)
                asked = [judge, messages, job.endpoint.temperature, job.endpoint.max_tokens]
                question = Question(sha256_json([pair.id, first, asked]), judge, messages)
                yield Request(pair, judge, first, question)


def estimate(job: Job, requests: Sequence[Request], journal: Path) -> Estimate:
    """What the requests cost that no run has asked yet; tokens are characters / 4."""
    known = {values["key"] for values in read(journal)}
    left = [request for request in requests if request.question.key not in known]
    characters = sum(
        len(message["content"]) for request in left for message in request.question.messages
    )
    return Estimate(len(left), characters // _CHARACTERS, len(left) * job.endpoint.max_tokens)


def judge(job: Job, out: Path, progress: Progress = lambda done, of: None) -> dict[str, Any]:
    """Asks the judges for what `out` does not hold yet, and writes verdicts and summary.

    Returns the summary. Raises ConfigError for answers that do not go together, OutputError where
    `out` holds another run, and HubError where the endpoint says that requests are wrong.
    """
    paired, requests = plan(job)
    out.mkdir(parents=True, exist_ok=True)
    with alone(out):
        _settle(job, out)
        with Lines(out / REPLIES) as lines:
            given = {values["key"]: Reply(**values) for values in lines.kept}
            asyncio.run(_ask(job.endpoint, requests, given, lines, progress))
        write_lines(out / PAIRS, map(_pair, paired.pairs))
        judged = list(_judged(requests, given))
        summary = _summary(job, paired, judged)
        write_lines(out / VERDICTS, map(_verdict, judged))
        write_json(out / SUMMARY, summary)
    return summary


def _settle(job: Job, out: Path) -> None:
    """Writes the settings of a run. Raises OutputError where the folder has others."""
    settings = job.settings()
    check_same_run(settings, out)
    write_text(out / RUBRIC, rubric.page())
    write_text(out / SETTINGS, json.dumps(settings, indent=2) + "\n")


async def _ask(
    endpoint: Endpoint,
    requests: Sequence[Request],
    given: dict[str, Reply],
    lines: Lines,
    progress: Progress,
) -> None:
    """Adds replies to those that are given; what failed is not written, and asked again by the next
    run."""
    missing = [request.question for request in requests if request.question.key not in given]
    progress(len(given), len(requests))
    async for reply in endpoint.ask(missing):
        given[reply.key] = reply
        if reply.failure is None:
            lines.add(reply._asdict())
        progress(len(given), len(requests))


# -------------------------------------------------------------------------------------- verdicts


def _judged(requests: Sequence[Request], given: dict[str, Reply]) -> Iterator[Judged]:
    """Yields what each judge says of each pair; requests stand in twos."""
    for front, behind in zip(requests[::2], requests[1::2], strict=True):
        both = given.get(front.question.key), given.get(behind.question.key)
        read = [replies.read(reply.text if reply else None) for reply in both]
        yield Judged(front.pair, front.judge, (read[0], read[1]), both)


def _for_a(reading: Reading, first: str) -> float | None:
    """1 where a reading prefers the answer of A, 0 where it prefers that of B, 1/2 for a tie."""
    if reading.verdict is None:
        return None
    if reading.verdict == "tie":
        return 0.5
    return float((reading.verdict == "first") == (first == "A"))


def _verdicts_for_a(judged: Judged) -> tuple[float, float] | None:
    """Both verdicts on a pair; None where a reply has none."""
    with_a, with_b = map(_for_a, judged.readings, _ORDERS)
    return None if with_a is None or with_b is None else (with_a, with_b)


def outcome(judged: Judged) -> str:
    """What a judge makes of a pair: A, B, tie, inconsistent; or why there is no verdict."""
    if any(reply is None or reply.failure for reply in judged.replies):
        return "failed"
    verdicts = _verdicts_for_a(judged)
    if verdicts is None:
        faults = {reading.fault for reading in judged.readings}
        return "refused" if faults <= {"refused", None} else "unparsed"
    if verdicts[0] != verdicts[1]:
        return "inconsistent"
    return {1.0: "A", 0.0: "B", 0.5: "tie"}[verdicts[0]]


def _scores(judged: Judged) -> Iterator[tuple[str, float]]:
    """Yields the scores that a judge gives in a pair, with A or B."""
    for reading, first in zip(judged.readings, _ORDERS, strict=True):
        if reading.scores is not None:
            second = "B" if first == "A" else "A"
            yield from zip((first, second), reading.scores, strict=True)


def _pair(pair: Pair) -> dict[str, Any]:
    """A line of `pairs.jsonl`."""
    line = {"id": pair.id, "prompt": pair.prompt, "A": pair.first, "B": pair.second}
    return line | ({} if pair.reference is None else {"reference": pair.reference})


def _verdict(judged: Judged) -> dict[str, Any]:
    """A line of `verdicts.jsonl`."""
    orders = []
    for reading, reply, first in zip(judged.readings, judged.replies, _ORDERS, strict=True):
        names = (first, "B" if first == "A" else "A")
        prefers = {"first": names[0], "second": names[1], "tie": "tie", None: None}
        scores = dict(zip(names, reading.scores, strict=True)) if reading.scores else None
        orders.append(
            {
                "first": first,
                "verdict": prefers[reading.verdict],
                "scores": scores,
                "fault": (reply.failure if reply else "not asked") or reading.fault,
                "is_by_scores": reading.is_by_scores,
                "is_contradictory": reading.is_contradictory,
                "reply": reply.text if reply else None,
            }
        )
    pair = judged.pair
    return {"id": pair.id, "judge": judged.judge, "outcome": outcome(judged), "orders": orders}


# --------------------------------------------------------------------------------------- summary


def _summary(job: Job, paired: Paired, judged: Sequence[Judged]) -> dict[str, Any]:
    by_judge = {name: [j for j in judged if j.judge == name] for name in job.judges}
    return {
        **_numbers(judged, job.seed),
        "models": {"A": answers.model(job.first), "B": answers.model(job.second)},
        "pairs": len(paired.pairs),
        "only_in_a": paired.only_first,
        "only_in_b": paired.only_second,
        "scores": {name: _score_table(of) for name, of in by_judge.items()},
        "judges": {name: _numbers(of, job.seed) for name, of in by_judge.items()},
        "agreement": agreement.between(
            {name: {j.pair.id: outcome(j) for j in of} for name, of in by_judge.items()}
        ),
        "usage": _usage(judged),
        "settings": job.settings(),
        "versions": {name: metadata.version(name) for name in ("numpy", "openai")},
    }


def _numbers(judged: Sequence[Judged], seed: int) -> dict[str, Any]:
    """The numbers of a judge, or of several together; n counts the pairs with two verdicts."""
    read = [(j, verdicts) for j in judged if (verdicts := _verdicts_for_a(j)) is not None]
    outcomes = Counter(map(outcome, judged))
    readings = [reading for j in judged for reading in j.readings]
    counts = {
        "n": len({j.pair.id for j, _ in read}),
        "ties": outcomes["tie"],
        "inconsistent": outcomes["inconsistent"],
        "unparsed": outcomes["unparsed"],
        "refused": outcomes["refused"],
        "failed": outcomes["failed"],
        "contradictory": sum(reading.is_contradictory for reading in readings),
        "by_scores": sum(reading.is_by_scores for reading in readings),
    }
    return counts | _rates(read, seed)


def _rates(read: Sequence[tuple[Judged, tuple[float, float]]], seed: int) -> dict[str, Any]:
    if not read:
        names = ("win_rate", "win_rate_interval", "length_controlled_win_rate")
        return dict.fromkeys((*names, "position_bias", "length_bias"))
    verdicts = np.array([both for _, both in read], dtype=np.float64)
    lengths = np.array([(len(j.pair.first), len(j.pair.second)) for j, _ in read], dtype=np.int64)
    prompts = statistics.numbered(j.pair.prompt for j, _ in read)
    return {
        "win_rate": statistics.win_rate(verdicts),
        "win_rate_interval": list(statistics.interval(verdicts, prompts, seed)),
        "length_controlled_win_rate": statistics.length_controlled(verdicts, lengths),
        "position_bias": statistics.position_bias(verdicts),
        "length_bias": statistics.length_bias(verdicts, lengths),
    }


def _score_table(judged: Sequence[Judged]) -> dict[str, Any]:
    """The mean and the histogram of the scores that a judge gives to A and to B."""
    given: dict[str, list[float]] = {name: [] for name in _ORDERS}
    for j in judged:
        for name, score in _scores(j):
            given[name].append(score)
    return {
        name: {
            "mean": sum(scores) / len(scores) if scores else None,
            "histogram": {
                f"{score:g}": number for score, number in sorted(Counter(scores).items())
            },
        }
        for name, scores in given.items()
    }


def _usage(judged: Sequence[Judged]) -> dict[str, int]:
    given = [reply for j in judged for reply in j.replies if reply is not None]
    return {
        "replies": sum(reply.failure is None for reply in given),
        "tokens_read": sum(reply.read for reply in given),
        "tokens_written": sum(reply.written for reply in given),
    }
