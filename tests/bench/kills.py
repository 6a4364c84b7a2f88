"""Kills commands at random times: python -m tests.bench.kills --each 60

After each kill the folder must be the old one or the new one, to the byte, and the next run must
leave the new one and nothing beside it. Prints, for each command, what was found. Ends with status
1 where a folder was neither.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from chatdata.cli import main as chatdata
from chatdata.core.cache_folder import VARIABLE
from chatdata.pipeline import prepare as planning
from tests.support.loopback import serve

RECIPE = """
name: talks
version: {version}
source: {{jsonl: {{}}}}
drop: [{{wrong_language: {{allow: [en]}}}}, duplicate]
split: {{test_percent: 20}}
render: {{tokenizer: bytes, template: chatml, max_tokens: 900, overflow: cut}}
pack: {{max_tokens: 1000}}
max_dropped: 1
"""
WORDS = (
    *("water", "fire", "is", "the", "colour", "of", "old", "houses", "and", "what", "we", "read"),
    *("about", "in", "books", "at", "night"),
)
TOKEN = "hf_adaMayWrite"


def start(arguments: list[str]) -> int:
    """The number of a process that runs a command; what must be imported is imported."""
    number = os.fork()
    if number:
        return number
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    try:
        chatdata(arguments, standalone_mode=False)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def run(arguments: list[str]) -> float:
    """The seconds that a command took. Raises RuntimeError where the command failed."""
    begin = time.monotonic()
    _, status = os.waitpid(start(arguments), 0)
    if status:
        raise RuntimeError(f"chatdata {' '.join(arguments)}: status {status}")
    return time.monotonic() - begin


def killed(arguments: list[str], seconds: float) -> bool:
    """Whether a command was still running after some seconds, and was killed."""
    number = start(arguments)
    time.sleep(seconds)
    ended, _ = os.waitpid(number, os.WNOHANG)
    if not ended:
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
    return not ended


def state(folder: Path) -> str:
    """What a folder holds; nothing where it is missing."""
    if not folder.exists():
        return ""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    facts = [(str(p.relative_to(folder)), p.read_bytes()) for p in paths]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


class Case(NamedTuple):
    """A command, and the folders before and after it: `before` is None where there is none. `cache`
    is emptied before each attempt, so that what is in it a kill has left."""

    command: list[str]
    before: Path | None
    after: Path
    cache: Path | None = None


def prepare(work: Path) -> Iterator[tuple[str, Case]]:
    """Yields commands that write `work/place/out`, with the folders before and after."""
    for version in ("1.0.0", "2.0.0"):
        (work / f"{version}.yaml").write_text(RECIPE.format(version=version))
        _write_talks(work / f"{version}.jsonl", version)
        run([*_build(work, version), "--out", str(work / version)])
    old, new, out = work / "1.0.0", work / "2.0.0", str(work / "place" / "out")
    yield "build", Case([*_build(work, "2.0.0"), "--force", "--out", out], old, new)
    twice = [*_build(work, "2.0.0"), "--force", "--workers", "2", "--out", out]
    yield "build, 2 workers", Case(twice, old, new)
    yield (
        "build, resumed",
        Case([*_build(work, "2.0.0"), "--force", "--out", out], old, new, work / "cache"),
    )
    yield "build, no folder before", Case([*_build(work, "2.0.0"), "--out", out], None, new)
    render = ["render", str(new), "--tokenizer", "bytes", "--template", "starchat", "--force"]
    run([*render, "--out", str(work / "rendered")])
    yield "render", Case([*render, "--out", out], old, work / "rendered")
    for name, command in (
        ("pack", ["pack", "OUT", "--max-tokens", "2000"]),
        ("report", ["report", "OUT"]),
    ):
        shutil.copytree(new, work / name)
        run([str(work / name) if word == "OUT" else word for word in command])
        yield name, Case([out if word == "OUT" else word for word in command], new, work / name)
    run(["push", str(new), "ada/talks", "--version", "2.0.0"])
    pull = ["pull", "ada/talks@2.0.0", "--out"]
    run([*pull, str(work / "pulled")])
    yield "pull", Case([*pull, out], None, work / "pulled")


def _build(work: Path, version: str) -> list[str]:
    files = [str(work / f"{version}.yaml"), "--input", str(work / f"{version}.jsonl")]
    return ["build", *files, "--workers", "1"]


def _write_talks(path: Path, seed: str) -> None:
    draw = random.Random(seed)
    with path.open("w") as file:
        for _ in range(200):
            texts = [" ".join(draw.choices(WORDS, k=draw.randrange(5, 40))) for _ in range(4)]
            roles = ["user", "assistant"] * 2
            turns = [{"role": r, "content": t} for r, t in zip(roles, texts, strict=True)]
            file.write(json.dumps({"messages": turns}) + "\n")


class Attempt(NamedTuple):
    """What a kill left: `old`, `new` or `half`, and how long the next run took."""

    result: str
    seconds: float
    left: int = 0  # results of stages that were kept for the next run


def attempt(case: Case, place: Path, seconds: float) -> Attempt:
    """Kills a command after some seconds, looks at the folder, and runs the command to its end."""
    out = place / "out"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    if case.before:
        shutil.copytree(case.before, out)
    before, after = state(out), state(case.after)
    if case.cache:
        shutil.rmtree(case.cache, ignore_errors=True)
    os.environ[VARIABLE] = str(case.cache or "off")
    was_killed = killed(case.command, seconds)
    left = len(list(case.cache.glob("*/*/*.entry"))) if case.cache else 0
    kind = {before: "old", after: "new"}.get(state(out), "half")
    duration = run(case.command)
    is_whole = state(out) == after and os.listdir(place) == ["out"]
    result = f"{kind}{'' if was_killed else ', ended'}{'' if is_whole else ', NOT MENDED'}"
    return Attempt(result, duration, left)


@contextlib.contextmanager
def hub(folder: Path) -> Iterator[None]:
    """A Hub on loopback in a process of its own, for the commands that are run."""
    told = folder / "endpoint"
    number = os.fork()
    if not number:
        with serve(folder / "hub") as served:
            served.store.add_user("ada", token=TOKEN)
            (folder / "new").write_text(served.endpoint)
            (folder / "new").rename(told)
            signal.pause()
    while not told.exists():
        time.sleep(0.05)
    endpoint = told.read_text()
    os.environ |= {"HF_ENDPOINT": endpoint, "HF_TOKEN": TOKEN, "HF_HOME": str(folder / "home")}
    try:
        yield
    finally:
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)


@click.command()
@click.option("--each", type=int, default=45, show_default=True, help="Kills of each command.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--only", default="", help="Only cases whose title has these words.")
def main(each: int, seed: int, only: str) -> None:
    """Kills build, render, pack, report and pull at random times."""
    planning.PART_BYTES = 20_000  # so that a build has parts to go on from
    os.environ[VARIABLE] = "off"
    draw, results = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as name, hub(Path(name)):
        for module in ("matplotlib.figure", "chatdata.pipeline.build", "chatdata.publish.pull"):
            importlib.import_module(module)
        place = Path(name) / "place"
        place.mkdir()
        for title, case in prepare(Path(name)):
            if only not in title:
                continue
            left: list[int] = []
            counts = Counter(_results(case, place, each, draw, left))
            title += f" (from {min(left)} to {max(left)} results kept)" if case.cache else ""
            shown = ", ".join(f"{count} x {result}" for result, count in sorted(counts.items()))
            click.echo(f"{title}: {shown}")
            results += counts
    sys.exit(any("half" in result or "NOT" in result for result in results))


def _results(
    case: Case, place: Path, each: int, draw: random.Random, left: list[int]
) -> Iterator[str]:
    """Yields what kills left, of which most come near the end of a run. Adds to `left` how many
    results were kept."""
    seconds = attempt(case, place, 0).seconds
    killed = 0
    while killed < each:
        made = attempt(case, place, draw.triangular(0, seconds, seconds))
        if not case.cache:
            seconds = made.seconds
        elif "ended" in made.result:  # a run that goes on is shorter, and says nothing
            seconds *= 0.8
        killed += "ended" not in made.result
        left.append(made.left)
        yield made.result


if __name__ == "__main__":
    main()
