"""All ratios of a build's speed in one run, on the same input.

python tests/bench/ratios.py --input "$CHATDATA_SHAREGPT" --tokenizer data/tokenizers/starcoder

Prints how many times as fast as an earlier commit the recipe `sharegpt` is, by the recipe of each
and by the earlier recipe for both; what the second core gives; how many times as fast `chatdata
render` is as a build; the floor; and how many times as fast a build is as the chain that a user
would run instead, which runs on the first conversations and is scaled by their characters.
On an idle machine: seconds of the clock say nothing beside other work, and the second core least.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _sides
import click
import pyarrow as pa
import speed

HERE = Path(__file__).parent
RECIPE = "recipes/data/sharegpt.yaml"
Way = tuple[_sides.Side, list[str]]


def sides(before: str) -> tuple[_sides.Side, _sides.Side]:
    """The chatdata of an earlier commit, which has datasketch beside it, and the working tree's."""
    commit = _sides.resolve(before)
    cache = Path(tempfile.gettempdir()).resolve() / "chatdata-same-bytes" / commit
    earlier = _sides.earlier(commit, cache / "venv")
    if not (earlier.root / "datasketch").exists():
        install = ["install", "--quiet", "--no-deps", "--target", str(earlier.root), "datasketch"]
        subprocess.run([sys.executable, "-m", "pip", *install], check=True)
    return earlier, _sides.working_tree()


def ways_of(
    earlier: _sides.Side, now: _sides.Side, recipe: Path, given: list[str], tokenizer: str
) -> dict[str, Way]:
    """The commands to time, by name; each but the last word, which says where it writes."""
    ways: dict[str, Way] = {}
    for workers in ("1", "2"):
        more = ["--workers", workers, "--out"]
        for name, side, chosen in (
            ("before", earlier, "sharegpt"),
            ("now", now, "sharegpt"),
            ("now, earlier recipe", now, str(recipe)),
        ):
            ways[f"{name}, {workers}"] = side, ["build", chosen, *given, *more]
        ways[f"render, {workers}"] = now, ["render", f"now, {workers}", *more]
        ways[f"render, {workers}"][1][2:2] = ["--tokenizer", tokenizer, "--force"]
    return ways


def run_all(ways: dict[str, Way], rounds: int, out: Path) -> dict[str, list[speed.Run]]:
    """The runs of each way, the ways in turn in each round."""
    runs: dict[str, list[speed.Run]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (side, words) in ways.items():
            placed = [str(out / word) if word in ways else word for word in words]
            runs[name].append(speed.measure(side, [*placed, str(out / name)]))
            print(f"  {name}: {runs[name][-1]}", file=sys.stderr)
    return runs


def floor(path: Path) -> float:
    """Seconds of CPU to read the bytes of a file, to compress and unpack them, and to hash them."""
    begin = time.process_time()
    data = path.read_bytes()
    codec = pa.Codec("zstd")
    codec.decompress(codec.compress(data), len(data))
    hashlib.sha256(data).digest()
    return time.process_time() - begin


def beginning(path: Path, number: int, sample: Path) -> float:
    """Writes the first conversations of a ShareGPT file that can be read. Returns their share of
    the characters of the file."""
    text, decoder = path.read_text(encoding="utf-8", errors="replace"), json.JSONDecoder()
    place, records = text.index("[") + 1, list[Any]()
    while len(records) < number:
        while text[place] in " \n\r\t,":
            place += 1
        record, place = decoder.raw_decode(text, place)
        records.append(record)
    sample.write_text(json.dumps(records), encoding="utf-8")
    return place / len(text)


def chain(sample: Path, tokenizer: Path, packages: Path) -> dict[str, list[float]]:
    """What each step of the chain takes on a sample: [wall, CPU] seconds."""
    environment = {**os.environ, "HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parents[1]), str(packages)])
    command = [sys.executable, "-W", "ignore", str(HERE / "_chain.py"), str(sample), str(tokenizer)]
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    taken: dict[str, list[float]] = json.loads(ended.stdout.splitlines()[-1])
    return taken


def report(runs: dict[str, list[speed.Run]]) -> speed.Run:
    """Prints the seconds and their ratios. Returns the median run of the working tree on two."""
    medians = {
        name: speed.Run(
            *(statistics.median(column) for column in zip(*map(_row, some), strict=True))
        )
        for name, some in runs.items()
    }
    for name, run in medians.items():
        print(f"| {name} | {run.wall:.1f} | {run.cpu:.1f} | {run.peak:.0f} |")
    for above, below in (
        ("before, 2", "now, 2"),
        ("before, 1", "now, 1"),
        ("before, 2", "now, earlier recipe, 2"),
        ("before, 1", "now, earlier recipe, 1"),
        ("now, 1", "now, 2"),
        ("now, 1", "render, 1"),
        ("now, 2", "render, 2"),
    ):
        first, second = medians[above], medians[below]
        wall, cpu = first.wall / second.wall, first.cpu / second.cpu
        print(f"{above} / {below}: {wall:.2f} times by the clock, {cpu:.2f} of CPU")
    return medians["now, 2"]


def _row(run: speed.Run) -> tuple[float, float, float]:
    return run.wall, run.cpu, run.peak


@click.command()
@click.option("--input", "path", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--tokenizer", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--before", default="b78d2ec", show_default=True, metavar="COMMIT")
@click.option("--rounds", default=3, show_default=True)
@click.option("--sample", default=200, show_default=True, help="Conversations for the chain.")
def main(path: Path, tokenizer: Path, before: str, rounds: int, sample: int) -> None:
    """Times all ways in turn, and prints every ratio."""
    earlier, now = sides(before)
    spec = str(tokenizer.resolve())
    given = ["--input", str(path.resolve()), "--set", f"render.tokenizer={spec}"]
    given += ["--set", "max_dropped=1"]
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "sharegpt.yaml"
        shown = ["git", "-C", str(_sides.ROOT), "show", f"{_sides.resolve(before)}:{RECIPE}"]
        recipe.write_bytes(subprocess.run(shown, stdout=subprocess.PIPE, check=True).stdout)
        ways = ways_of(earlier, now, recipe, given, spec)
        print(f"| way, workers | s | CPU s | peak MB of one process |  {rounds} rounds")
        ours = report(run_all(ways, rounds, Path(folder)))
        print(f"floor: {floor(path):.1f} s of CPU to read, compress, unpack and hash the input")
        part = Path(folder) / "first.json"
        share = beginning(path, sample, part)
        taken = chain(part, tokenizer, earlier.root)
    wall, cpu = (sum(seconds) / share for seconds in zip(*taken.values(), strict=True))
    print(f"chain on {100 * share:.2f} % of the characters: {taken}")
    print(
        f"scaled to all: {wall:.0f} s, {cpu:.0f} s of CPU: "
        f"{wall / ours.wall:.1f} times ours on two by the clock, {cpu / ours.cpu:.1f} of CPU"
    )


if __name__ == "__main__":
    main()
