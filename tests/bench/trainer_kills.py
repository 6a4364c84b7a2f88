"""Kills runs of the trainer at random times: python -m tests.bench.trainer_kills --each 40

A run writes a checkpoint every second step, into a folder with an earlier model. Its first rank is
killed at any time of the run, in a step, while it saves a checkpoint, or while it saves the model.
Then the folder is looked at, and the run goes on with `--resume`. Ends with status 1 where what
must hold (`tests/support/killed_runs.py`) does not hold.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from chatdata import build_dataset, load_recipe
from tests.support import forked_ranks
from tests.support.killed_runs import EVERY, STEPS, STRATEGIES, Left, Place, attempt

TIMES = {"run": 1, "step": STEPS, "checkpoint": STEPS // EVERY, "save": 1}  # in a run


def attempts(place: Place, stage: str, each: int, draw: random.Random) -> Iterator[Left]:
    """Yields what kills in a stage of a run left."""
    seconds, models = place.straight()
    kills = 0
    while kills < each:
        kill = [stage, draw.uniform(0, seconds[stage]), draw.randint(1, TIMES[stage])]
        left = attempt(place, kill, models)
        kills += left.was_killed
        if left.was_killed or left.after != "the model":
            yield left


@click.command()
@click.option("--each", type=int, default=40, show_default=True, help="Kills of each stage.")
@click.option("--strategy", type=click.Choice(list(STRATEGIES)), multiple=True)
@click.option("--seed", type=int, default=1, show_default=True)
def main(each: int, strategy: tuple[str, ...], seed: int) -> None:
    """Kills runs at random times, and lets them go on."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    draw, is_bad = random.Random(seed), False
    with tempfile.TemporaryDirectory() as name, forked_ranks.start() as ranks:
        sample = Path(name) / "sample"
        build_dataset(load_recipe("sample"), sample)
        for chosen in strategy or ("single",):
            for stage in TIMES:
                place = Place(ranks, Path(name), sample, chosen)
                counts = Counter(attempts(place, stage, each, draw))
                show(f"{chosen}, killed in {stage}", counts)
                is_bad |= any(word.isupper() for left in counts for word in str(left).split())
    sys.exit(is_bad)


def show(title: str, counts: Counter[Left]) -> None:
    """Prints what kills left, a line for each kind."""
    click.echo(f"{title}:")
    for left, count in sorted(counts.items()):
        click.echo(f"  {count:3} x {left.model}, {left.checkpoints} checkpoints; {left.after}")


if __name__ == "__main__":
    main()
