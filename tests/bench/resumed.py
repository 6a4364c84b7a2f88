"""Builds that are killed at random times and built again: python -m tests.bench.resumed --each 40

A build is killed with SIGKILL, its first process or a worker, at a time drawn by a seed; whatever
it left is in the cache. The next build goes on from there, and every file of its folder is compared
with that of a build in one go. Prints a line for each input; ends with status 1 where a byte
differs, where a folder is neither whole nor missing, or where anything is left beside it.
"""

from __future__ import annotations

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
from chatdata.pipeline import prepare
from tests.bench.cache import records
from tests.support.builds import files

BYTES = ["--set", "render.tokenizer=bytes", "--set", "max_dropped=1"]
ALL = ["--set", "render.template=chatml", *BYTES]


class Case(NamedTuple):
    """A build by its arguments, and the bytes of its parts."""

    title: str
    arguments: list[str]
    part_bytes: int


def cases(work: Path, data: Path, dump: Path | None, number: int) -> Iterator[Case]:
    """Yields the builds."""
    yield Case("sample", ["sample"], 40_000)
    trees = data / "oasst1-en-100-trees" / "en_100_tree.jsonl"
    yield Case("OASST, 100 trees", ["oasst1-en", "--input", str(trees), *BYTES], 400_000)
    if dump is not None:
        title = f"dump, {number} records"
        cut = work / "dump.json"
        cut.write_text(json.dumps(records(dump, number)))
        case = ["sharegpt", "--input", str(cut), *ALL]
        yield Case(title, case, cut.stat().st_size // 4)


def start(case: Case, out: Path, workers: int) -> int:
    """The number of a process that builds; what must be imported is imported."""
    number = os.fork()
    if number:
        return number
    os.setpgid(0, 0)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    prepare.PART_BYTES = case.part_bytes
    command = ["build", *case.arguments, "--out", str(out), "--workers", str(workers)]
    try:
        chatdata(command, standalone_mode=False)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def straight(case: Case, out: Path, workers: int) -> float:
    """The seconds of a build. Raises RuntimeError where the build fails."""
    begin = time.monotonic()
    _, status = os.waitpid(start(case, out, workers), 0)
    if status:
        raise RuntimeError(f"{case.title}: the build failed")
    return time.monotonic() - begin


def workers_of(number: int) -> list[int]:
    """The processes that work for a build: all of its children but the tracker of resources."""
    children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    lines = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return [int(child) for child, line in lines.items() if b"spawn_main" in line]


def killed(case: Case, out: Path, workers: int, seconds: float, draw: random.Random) -> str:
    """Who was killed after some seconds: the `first` process, a `worker`, or nobody (`ended`)."""
    number = start(case, out, workers)
    time.sleep(seconds)
    ended, _ = os.waitpid(number, os.WNOHANG)
    if ended:
        return "ended"
    try:
        chosen = draw.choice([number, *workers_of(number)])
        os.kill(chosen, signal.SIGKILL)
    except OSError:  # it ends just now
        chosen = number
        os.kill(number, signal.SIGKILL)
    _, status = os.waitpid(number, 0)
    return "first" if chosen == number else f"worker{'' if status else ', not missed'}"


def attempt(
    case: Case, work: Path, workers: int, seconds: float, draw: random.Random
) -> tuple[str, int, str]:
    """Who was killed, how many results were kept, and what is wrong after the next build."""
    cache, place = Path(os.environ[VARIABLE]), work / "place"
    for folder in (cache, place):
        shutil.rmtree(folder, ignore_errors=True)
    place.mkdir()
    who = killed(case, place / "out", workers, seconds, draw)
    kept = len(list(cache.glob("*/*/*.entry")))
    wrong = ""
    if (place / "out").exists() and files(place / "out") != files(work / "straight"):
        wrong = "HALF"
    straight(case, place / "out", workers)
    if files(place / "out") != files(work / "straight"):
        wrong += " OTHER BYTES"
    if os.listdir(place) != ["out"]:
        wrong += f" LEFT {os.listdir(place)}"
    return who, kept, wrong


def run(case: Case, work: Path, workers: int, each: int, draw: random.Random) -> Counter[str]:
    """Kills a build so many times. Returns what came of it."""
    for name in ("straight", "place", "cache"):
        shutil.rmtree(work / name, ignore_errors=True)
    os.environ[VARIABLE] = str(work / "cache")
    longest = straight(case, work / "straight", workers)
    results, kept = Counter[str](), list[int]()
    while results.total() - results["ended"] < each:
        who, left, wrong = attempt(case, work, workers, draw.uniform(0, longest), draw)
        results[who] += 1
        longest *= 0.9 if who == "ended" else 1
        kept.append(left)
        if wrong:
            results["WRONG"] += 1
            click.echo(f"{case.title}: {who} killed: {wrong}")
    by_who = ", ".join(f"{who} {number}" for who, number in sorted(results.items()))
    click.echo(f"| {case.title} | {workers} | {by_who} | {min(kept)} to {max(kept)} |")
    return results


@click.command()
@click.option("--each", type=int, default=40, show_default=True, help="Kills of each build.")
@click.option("--workers", multiple=True, type=int, default=[1, 2], show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--data", envvar="CHATDATA_REAL_DATA", required=True, type=click.Path(path_type=Path))
@click.option("--dump", type=click.Path(path_type=Path))
@click.option("--records", "number", default=150, show_default=True, help="Of the dump.")
@click.option("--only", default="", help="Builds whose title has these words.")
def main(
    each: int,
    workers: tuple[int, ...],
    seed: int,
    data: Path,
    dump: Path | None,
    number: int,
    only: str,
) -> None:
    """Kills builds at random times, and goes on."""
    draw, total = random.Random(seed), Counter[str]()
    for module in ("matplotlib.figure", "chatdata.pipeline.build"):
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as name:
        for case in cases(Path(name), data, dump, number):
            for count in workers if only in case.title else ():
                total += run(case, Path(name), count, each, draw)
    click.echo(f"{total.total() - total['ended'] - total['WRONG']} kills, {total['WRONG']} wrong")
    sys.exit(bool(total["WRONG"]))


if __name__ == "__main__":
    main()
