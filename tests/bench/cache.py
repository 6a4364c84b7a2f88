"""What a second build costs: python -m tests.bench.cache --input DUMP --tokenizer T --second T2

Builds the recipe `sharegpt` on records of a ShareGPT dump with an empty cache, then with one thing
changed after another, and prints the seconds of CPU and wall of each, what was reused, and whether
the bytes are those of a build without a cache. `--tree FOLDER` builds with an earlier checkout too,
in turn, with a cache of its own.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from tests.support.builds import files


class Run(NamedTuple):
    """The seconds of a build, and what it said of the cache."""

    cpu: float
    wall: float
    reused: str


def records(path: Path, number: int) -> list[dict[str, Any]]:
    """Records of a dump, chosen by chance, those that it ends in the middle of left out."""
    text, decoder = path.read_text(), json.JSONDecoder()
    at, read = text.index("[") + 1, []
    while True:
        while at < len(text) and text[at] in " \n\t\r,":
            at += 1
        try:
            record, at = decoder.raw_decode(text, at)
        except ValueError:
            return random.Random(1).sample(read, min(number, len(read)))
        read.append(record)


def build(
    out: Path,
    arguments: Sequence[str],
    cache: str,
    kill_after: float | None = None,
    tree: Path | None = None,
) -> Run:
    """Builds in a process of its own. Raises RuntimeError where the build fails."""
    command = [sys.executable, "-m", "chatdata", "build", *arguments, "--force", "--out", str(out)]
    begin = time.monotonic()
    with tempfile.TemporaryFile("w+") as told:
        environment = {**os.environ, "CHATDATA_CACHE": cache}
        if tree is not None:
            environment["PYTHONPATH"] = str(tree)
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=told, env=environment, text=True, cwd=tree
        )
        if kill_after is not None:
            time.sleep(kill_after)
            process.send_signal(signal.SIGKILL)
        _, status, usage = os.wait4(process.pid, 0)
        told.seek(0)
        lines = told.read().splitlines()
    if status and kill_after is None:
        raise RuntimeError("\n".join(lines))
    reused = "; ".join(
        line.replace(" parts from the cache", "") for line in lines if "from the cache" in line
    )
    return Run(usage.ru_utime + usage.ru_stime, time.monotonic() - begin, reused)


def cases(work: Path, tokenizer: Path, second: Path) -> Iterator[tuple[str, list[str], bool]]:
    """Yields the builds: a title, arguments, and whether the cache is to be emptied before."""
    recipe = ["sharegpt", "--set", "render.template=chatml", "--set", "split.test_percent=5"]
    base = [*recipe, "--set", f"render.tokenizer={tokenizer}"]
    data = ["--input", f"sharegpt={work / 'dump.json'}"]
    yield "first build", [*base, *data], True
    yield "the same again", [*base, *data], False
    yield "another tokenizer", [*recipe, "--set", f"render.tokenizer={second}", *data], False
    yield "another template", [*base, *data, "--set", "render.template=starchat"], False
    yield "a cap", [*base, *data, "--set", "source.sharegpt.cap=3000"], False
    yield "another split", [*base, *data, "--set", "split.test_percent=10"], False
    more = ["--set", "source.more={format: sharegpt, files: [x]}"]
    both = [f"--input=more={work / 'more.json'}"]
    yield "a new source of 300", [*base, *data, *more, *both], False
    yield "that source taken out", [*base, *data], False
    for place in ("end", "middle"):
        ten = ["--input", f"sharegpt={work / place / 'dump.json'}"]
        yield f"ten new records in the {place}", [*base, *ten], False
    yield "ten records taken out", [*base, *data], False


@click.command()
@click.option("--input", "path", type=click.Path(path_type=Path), required=True)
@click.option("--tokenizer", type=click.Path(path_type=Path, resolve_path=True), required=True)
@click.option("--second", type=click.Path(path_type=Path, resolve_path=True), required=True)
@click.option("--records", "number", default=6000, show_default=True)
@click.option("--tree", type=click.Path(path_type=Path), help="An earlier checkout.")
@click.option(
    "--only", multiple=True, help="The first build, and those whose title has these words."
)
@click.option("--check/--no-check", default=True, help="Compare with builds without a cache.")
def main(
    path: Path,
    tokenizer: Path,
    second: Path,
    number: int,
    tree: Path | None,
    only: tuple[str, ...],
    check: bool,
) -> None:
    """Prints the seconds of each build."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        _write_inputs(work, records(path, number + 310), number)
        click.echo("| build | CPU s | wall s | from the cache | bytes |\n|---|--:|--:|---|---|")
        every = list(cases(work, tokenizer, second))
        made = [c for c in every if c[2] or not only or any(words in c[0] for words in only)]
        walls: dict[Path | None, float] = {}
        trees = [None] if tree is None else [tree, None]
        for title, arguments, is_empty in made:
            for place in trees:
                run = _run(work, title, arguments, is_empty, check, place)
                walls.setdefault(place, run.wall)
        for place in trees:
            shutil.rmtree(_cache(work, place))
            after = walls[place] * 0.6
            build(work / "out", made[0][1], str(_cache(work, place)), after, place)
            _run(work, "after a kill at 60 %", made[0][1], False, check, place)


def _write_inputs(work: Path, drawn: list[dict[str, Any]], number: int) -> None:
    """Writes records, the same with ten more at the end and in the middle, and some others."""
    half, ten = number // 2, drawn[number : number + 10]
    inputs = {
        "dump.json": drawn[:number],
        "end/dump.json": drawn[: number + 10],
        "middle/dump.json": [*drawn[:half], *ten, *drawn[half:number]],
        "more.json": drawn[number + 10 :],
    }
    for name, of_file in inputs.items():
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_text(json.dumps(of_file))


def _cache(work: Path, tree: Path | None) -> Path:
    return work / ("cache" if tree is None else "cache-before")


def _run(
    work: Path, title: str, arguments: list[str], is_empty: bool, check: bool, tree: Path | None
) -> Run:
    """A build, printed."""
    cache = _cache(work, tree)
    if is_empty:
        shutil.rmtree(cache, ignore_errors=True)
    run = build(work / "out", arguments, str(cache), tree=tree)
    words = "not compared"
    if check:
        build(work / "without", arguments, "off", tree=tree)
        words = "the same" if files(work / "out") == files(work / "without") else "OTHER"
    title = f"{title}, before" if tree else title
    click.echo(f"| {title} | {run.cpu:.1f} | {run.wall:.1f} | {run.reused} | {words} |")
    return run


if __name__ == "__main__":
    main()
