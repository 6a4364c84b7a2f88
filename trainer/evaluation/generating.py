"""Prompts made by a model: asked for until enough of them are of use, or enough has been spent.

Beside `OUT.jsonl`, whose lines `answer` reads, stand `OUT.replies.jsonl` (what the model wrote, as
it came, which is never asked again), `OUT.dropped.jsonl` (what is not used, and why) and
`OUT.summary.json` (the words of the requests, settings, versions, counts, cost). All but the
replies follow from the replies.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from chatdata.core.errors import HubError, OutputError
from chatdata.core.hashing import sha256_file
from trainer.evaluation import prompt_replies, prompt_requests
from trainer.evaluation.endpoint import Endpoint, Question, Reply
from trainer.evaluation.journal import Lines, read
from trainer.evaluation.prompt_replies import Reading
from trainer.evaluation.prompt_requests import KINDS, Kind
from trainer.evaluation.sifting import REASONS, Candidate, Outcome, Sieve
from trainer.evaluation.writing import write_json, write_lines

_CHARACTERS = 4  # of a token, about

Progress = Callable[[int, int], object]  # prompts that are there, and all


class Asked(NamedTuple):
    """A request: of its kind the `number`-th."""

    kind: Kind
    number: int


@dataclass(frozen=True, slots=True)
class Job:
    """How many prompts of which kinds are asked for, whom, and how."""

    wanted: dict[Kind, int]
    endpoint: Endpoint
    model: str
    sieve: Sieve
    per_request: int = 5
    most_requests: int = 100
    seed: int = 0

    def asking(self) -> dict[str, Any]:
        """All that decides what the model is asked."""
        return {
            "model": self.model,
            "endpoint": self.endpoint.address,
            "temperature": self.endpoint.temperature,
            "max_tokens": self.endpoint.max_tokens,
            "per_request": self.per_request,
            "seed": self.seed,
            "words": f"sha256:{prompt_requests.sha256()}",
        }

    def question(self, asked: Asked) -> Question:
        """The messages of a request."""
        messages = prompt_requests.messages(*asked, self.per_request, self.seed)
        return Question(f"{asked.kind}-{asked.number}", self.model, messages)


class Estimate(NamedTuple):
    """What a run will ask for: requests at least and at most, tokens that are read (about), and
    written at most, for each request."""

    fewest: int
    most: int
    read: int
    written: int


class Result(NamedTuple):
    """The summary of a run, and whether as many prompts came as were wanted."""

    summary: dict[str, Any]
    is_complete: bool


def quotas(number: int, kinds: Sequence[Kind]) -> dict[Kind, int]:
    """How many prompts of each kind: all of a kind alone; of both three that ask for code to each
    review."""
    if len(kinds) == 1:
        return {kinds[0]: number}
    return {"write": number - number // 4, "review": number // 4}


def estimate(job: Job, out: Path) -> Estimate:
    """What is still to be asked."""
    state = _State(job, read(_beside(out, "replies"))[1:])
    fewest = sum(math.ceil(missing / job.per_request) for missing in state.missing().values())
    left = max(0, job.most_requests - len(state.given))
    messages = [job.question(Asked(kind, 0)).messages for kind in job.wanted]
    read_ = max(sum(len(each["content"]) for each in message) for message in messages)
    return Estimate(min(fewest, left), left, read_ // _CHARACTERS, job.endpoint.max_tokens)


def generate(job: Job, out: Path, progress: Progress = lambda done, of: None) -> Result:
    """Asks for prompts, and writes `out` and what stands beside it.

    Raises OutputError where the replies beside `out` are those of a run with other settings, and
    HubError where the endpoint says that requests are wrong, or answers none.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with Lines(_beside(out, "replies")) as lines:
        identity = lines.kept[0] if lines.kept else job.asking()
        if not lines.kept:
            lines.add(identity)
        _check_same(identity, job, out)
        state = _State(job, lines.kept[1:])
        try:
            asyncio.run(_ask(job, state, lines, progress))
        finally:
            summary = _write(job, state, out)
    return Result(summary, not any(state.missing().values()))


def _check_same(before: Any, job: Job, out: Path) -> None:
    """Raises OutputError for replies to other requests. The endpoint may have moved."""
    now = job.asking()
    differing = [key for key in now if key != "endpoint" and before.get(key) != now[key]]
    if differing:
        raise OutputError(
            f"'{_beside(out, 'replies')}' is of another run: {', '.join(differing)} differ; "
            "choose another --out."
        )


# ---------------------------------------------------------------------------------------- asking


class _State:
    """The replies so far, and what of them is of use."""

    def __init__(self, job: Job, kept: Sequence[dict[str, Any]]) -> None:
        self.job = job
        self.given = {Asked(line["kind"], line["number"]): line for line in kept}
        self.failed = dict[Asked, Reply]()
        self.outcomes = list[Outcome]()
        self.sift()

    def sift(self) -> None:
        """Reads all replies: first those that ask for code, in the order of their numbers."""
        candidates = [
            Candidate(f"{asked.kind}-{asked.number:04}-{place}", asked.kind, prompt)
            for asked, reading in self.readings()
            for place, prompt in enumerate(reading.prompts, 1)
        ]
        self.outcomes = self.job.sieve.sift(candidates, self.job.wanted)

    def readings(self) -> Iterator[tuple[Asked, Reading]]:
        """Yields what each reply says, for the kinds that are wanted."""
        for kind in KINDS:
            numbers = sorted(asked.number for asked in self.given if asked.kind == kind)
            for asked in (Asked(kind, n) for n in numbers if kind in self.job.wanted):
                yield asked, prompt_replies.read(self.given[asked]["text"])

    def missing(self) -> dict[Kind, int]:
        """How many prompts of each kind are still wanted."""
        used = Counter(each.candidate.kind for each in self.outcomes if each.reason is None)
        return {kind: number - used[kind] for kind, number in self.job.wanted.items()}

    def spent(self) -> int:
        """How many requests have been made, by this run and earlier ones."""
        return len(self.given) + len(self.failed)

    def next(self) -> list[Asked]:
        """The requests of the next round: as many as will do at the rate of use so far."""
        wanted = [
            asked
            for kind, missing in self.missing().items()
            for asked in self._next_of(kind, self._needed(kind, missing))
        ]
        room = min(self.job.endpoint.concurrency, self.job.most_requests - self.spent())
        return wanted[: max(0, room)]

    def _needed(self, kind: Kind, missing: int) -> int:
        asked = sum(each.kind == kind for each in self.given)
        used = self.job.wanted[kind] - missing
        rate = used / asked if asked else self.job.per_request
        return math.ceil(missing / max(rate, 0.5))

    def _next_of(self, kind: Kind, number: int) -> list[Asked]:
        numbered = (Asked(kind, place) for place in range(self.spent() + number))
        free = (each for each in numbered if each not in self.given and each not in self.failed)
        return [each for each, _ in zip(free, range(number), strict=False)]


async def _ask(job: Job, state: _State, lines: Lines, progress: Progress) -> None:
    """Asks round by round. Raises HubError where no request of a round is answered."""
    total = sum(job.wanted.values())
    progress(total - sum(state.missing().values()), total)
    while round_ := state.next():
        asked = {job.question(each).key: each for each in round_}
        failed = 0
        async for reply in job.endpoint.ask([job.question(each) for each in round_]):
            if reply.failure is not None or reply.text is None:
                state.failed[asked[reply.key]] = reply
                failed += 1
                continue
            line = _line(job, asked[reply.key], reply)
            lines.add(line)
            state.given[asked[reply.key]] = line
        state.sift()
        progress(total - sum(state.missing().values()), total)
        if failed == len(round_):
            raise HubError(
                f"the endpoint {job.endpoint.address} answers none of {failed} requests "
                f"({reply.failure}); run the command again when it does."
            )


def _line(job: Job, asked: Asked, reply: Reply) -> dict[str, Any]:
    """What is kept of a reply, and who wrote it."""
    who = {"model": job.model, "endpoint": job.endpoint.address}
    return {**asked._asdict(), **who, **reply._asdict()}


# --------------------------------------------------------------------------------------- writing


def _write(job: Job, state: _State, out: Path) -> dict[str, Any]:
    """Writes what follows from the replies. Returns the summary."""
    used = [each.candidate for each in state.outcomes if each.reason is None]
    write_lines(out, (_prompt(state, candidate) for candidate in used))
    write_lines(_beside(out, "dropped"), _dropped(state))
    summary = _summary(job, state, used, out)
    write_json(_beside(out, "summary", "json"), summary)
    return summary


def _prompt(state: _State, candidate: Candidate) -> dict[str, Any]:
    """A line of `out`: the prompt, and who made it in which request."""
    number = int(candidate.id.split("-")[1])
    line = state.given[Asked(candidate.kind, number)]
    who = {"model": line["model"], "endpoint": line["endpoint"], "request": number}
    return {"id": candidate.id, "kind": candidate.kind, "prompt": candidate.prompt, **who}


def _dropped(state: _State) -> Iterator[dict[str, Any]]:
    """Yields what is not used, each with its reason."""
    for candidate, reason, detail in state.outcomes:
        if reason is not None:
            yield {"id": candidate.id, "reason": reason, "detail": detail, "text": candidate.prompt}
    for asked, reading in state.readings():
        id = f"{asked.kind}-{asked.number:04}"
        for text in reading.unread:
            yield {"id": id, "reason": "unread", "detail": "half a line", "text": text}
        if reading.fault:
            whole = state.given[asked]["text"]
            yield {"id": id, "reason": reading.fault, "detail": "the whole reply", "text": whole}


def _summary(job: Job, state: _State, used: Sequence[Candidate], out: Path) -> dict[str, Any]:
    readings = [reading for _, reading in state.readings()]
    reasons = Counter(each.reason for each in state.outcomes if each.reason is not None)
    replies = {
        "read": sum(reading.fault is None for reading in readings),
        "refused": sum(reading.fault == "refused" for reading in readings),
        "empty": sum(reading.fault == "empty" for reading in readings),
        "unread": sum(reading.fault == "unread" for reading in readings),
        "failed": len(state.failed),
    }
    return {
        "prompts": len(used),
        "kinds": dict(Counter(candidate.kind for candidate in used)),
        "wanted": job.wanted,
        "sha256": sha256_file(out),
        "read": len(state.outcomes),
        "dropped": {reason: reasons[reason] for reason in REASONS},
        "unread_lines": sum(len(reading.unread) for reading in readings),
        "replies": replies,
        "usage": _usage(state),
        "asking": job.asking(),
        "asked": prompt_requests.words(),
        "sieve": job.sieve.settings(),
        "versions": {name: metadata.version(name) for name in ("numpy", "openai", "polars")},
    }


def _usage(state: _State) -> dict[str, int]:
    """What all replies have cost, those too of which nothing is used."""
    given = list(state.given.values())
    return {
        "requests": len(given),
        "tokens_read": sum(line["read"] for line in given),
        "tokens_written": sum(line["written"] for line in given),
    }


def _beside(out: Path, name: str, suffix: str = "jsonl") -> Path:
    return out.with_name(f"{out.stem}.{name}.{suffix}")
