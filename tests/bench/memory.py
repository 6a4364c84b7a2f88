"""How much memory a build needs, all of its processes together, as its input grows.

    python tests/bench/memory.py --turns 125 --turns 1200 --short 300000 --long 200

Inputs are made of the real turns of $CHATDATA_SHAREGPT, recombined by a seed: `--turns` so many MB
of conversations, `--short` so many conversations of two short messages, `--long` such conversations
of 20 MB with one among them of so many MB. The peak is that of the sum of the proportional set
sizes (PSS) of all processes, read from /proc; `anonymous` leaves out the pages of mapped files,
which the system takes back when it needs room.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from chatdata.sources import records, sharegpt

RECIPE = """
name: memory
version: 1.0.0
source: {sharegpt: {}}
threads: {start: user, end: assistant}
drop: [empty, not_alternating, too_few_turns, duplicate]
split: {test_percent: 5}
max_dropped: 1.0
"""
RENDER = "render: {tokenizer: bytes, template: chatml, max_tokens: 4096, overflow: cut}\n"
MB = 10**6
_EVERY = 0.25  # seconds
Pair = tuple[str, str]


def pairs(dump: Path) -> list[Pair]:
    """Questions with their answers, as they stand in the dump."""
    made = []
    for item in records.read(dump, dump.name, sharegpt.is_record):
        turns = (
            item.value["conversations"]
            if isinstance(item, records.Record) and sharegpt.is_record(item.value)
            else []
        )
        for asked, answered in itertools.pairwise(turns):
            if (asked["from"], answered["from"]) == ("human", "gpt"):
                made.append((asked["value"], answered["value"]))
    return made


def conversation(id: str, turns: list[Pair]) -> str:
    """A line of a conversation."""
    spoken = [
        {"from": speaker, "value": words}
        for pair in turns
        for speaker, words in zip(("human", "gpt"), pair, strict=True)
    ]
    return json.dumps({"id": id, "conversations": spoken}, ensure_ascii=False) + "\n"


def of_turns(known: list[Pair], size: int) -> Iterator[str]:
    """Yields conversations until they are so many bytes."""
    draw, number = random.Random(1), 0
    while size > 0:
        turns = [draw.choice(known) for _ in range(draw.randint(1, 7))]
        line = conversation(f"c{number}", turns)
        size -= len(line.encode())
        number += 1
        yield line


def short(known: list[Pair], number: int) -> Iterator[str]:
    """Yields so many conversations of two short messages."""
    draw = random.Random(2)
    for n in range(number):
        asked, answered = draw.choice(known)
        yield conversation(f"s{n}", [(f"{n}: {asked[:40]}", answered[:60] or "-")])


def long(known: list[Pair], size: int) -> Iterator[str]:
    """Yields conversations of 20 MB, and one among them that is so many bytes."""
    draw, turns, reached = random.Random(3), list[Pair](), 0
    yield from of_turns(known, 10 * MB)
    while reached < size:
        turns.append(draw.choice(known))
        reached += sum(len(words.encode()) for words in turns[-1])
    yield conversation("long", turns)
    yield from (line.replace('"id": "c', '"id": "d', 1) for line in of_turns(known, 10 * MB))


@dataclass
class Peak:
    """The most memory that was seen, in bytes, of all processes together and of the first."""

    total: int = 0
    anonymous: int = 0
    first: int = 0
    spill: int = 0
    cpu: float = 0.0  # seconds of all processes, at their end

    def look(self, pid: int, folder: Path) -> None:
        """Looks at a process, its children, and the folder in which they write."""
        sizes = {process: _pss(process) for process in _family(pid)}
        self.total = max(self.total, sum(total for total, _ in sizes.values()))
        self.anonymous = max(self.anonymous, sum(anonymous for _, anonymous in sizes.values()))
        self.first = max(self.first, sizes.get(pid, (0, 0))[1])
        self.spill = max(self.spill, _bytes_in(folder))


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _family(int(child))


def _pss(pid: int) -> tuple[int, int]:
    """The proportional set size of a process, and that of its anonymous pages, in bytes."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: line.split()[1] for line in lines[1:]}
    return int(sizes.get("Pss", 0)) * 1024, int(sizes.get("Pss_Anon", 0)) * 1024


def _cpu() -> float:
    """The seconds of CPU of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _bytes_in(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except OSError:
                continue
    return total


def measure(
    lines: Iterator[str], workers: int, engine: str, recipe: str, place: Path
) -> tuple[int, Peak, float]:
    """The bytes of an input, what its build needed at most, and its seconds."""
    work = Path(tempfile.mkdtemp(prefix="memory-", dir=place))
    try:
        data = work / "data.jsonl"
        with data.open("w", encoding="utf-8") as file:
            file.writelines(lines)
        (work / "r.yaml").write_text(recipe)
        out = work / "out"
        out.mkdir()
        command = [sys.executable, "-m", "chatdata", "build", "r.yaml", "--input", str(data)]
        command += ["--out", "out/made", "--no-cache", "--workers", str(workers)]
        command += ["--engine", engine]
        started, before, peak = time.monotonic(), _cpu(), Peak()
        with (work / "log").open("w") as log:
            process = subprocess.Popen(command, cwd=work, stdout=log, stderr=log)
            while process.poll() is None:
                peak.look(process.pid, out)
                time.sleep(_EVERY)
        peak.cpu = _cpu() - before
        if process.returncode:
            sys.exit((work / "log").read_text()[-2000:])
        return data.stat().st_size, peak, time.monotonic() - started
    finally:
        shutil.rmtree(work)


@click.command()
@click.option("--dump", envvar="CHATDATA_SHAREGPT", required=True, type=click.Path(path_type=Path))
@click.option("--turns", multiple=True, type=int, metavar="MB")
@click.option("--short", "shorts", multiple=True, type=int, metavar="CONVERSATIONS")
@click.option("--long", "longs", multiple=True, type=int, metavar="MB")
@click.option("--workers", default=2, show_default=True)
@click.option("--engine", default="local", show_default=True)
@click.option("--render/--no-render", default=False, help="Make rows of tokens too.")
@click.option("--place", default=tempfile.gettempdir(), type=click.Path(path_type=Path))
def main(
    dump: Path,
    turns: tuple[int, ...],
    shorts: tuple[int, ...],
    longs: tuple[int, ...],
    workers: int,
    engine: str,
    render: bool,
    place: Path,
) -> None:
    """Prints the peak of each build."""
    known = pairs(dump)
    cases = [(f"turns, {size} MB", of_turns(known, size * MB)) for size in turns]
    cases += [(f"{number} short", short(known, number)) for number in shorts]
    cases += [(f"one of {size} MB", long(known, size * MB)) for size in longs]
    recipe = RECIPE + RENDER if render else RECIPE
    print("input          MB   peak  anonymous  first  spill/input  seconds  CPU s   (MB)")
    for name, lines in cases:
        size, peak, seconds = measure(lines, workers, engine, recipe, place)
        ratio = peak.spill / size
        facts = [peak.total, peak.anonymous, peak.first]
        columns = "".join(f"{fact // MB:9}" for fact in facts)
        print(
            f"{name:<14}{size // MB:5}{columns}{ratio:12.2f}{seconds:9.0f}{peak.cpu:7.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
