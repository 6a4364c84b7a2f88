"""Families of models on two ranks: python -m tests.bench.families_on_ranks llama qwen3 mixtral

Each family, made small, trains four steps of the sample on one rank, and on two ranks by ddp, fsdp
and zero3, from the same weights. Prints how far losses are from those of one rank, or why a run
was refused before its first step. Ends with status 1 where losses are further than 2e-5, or a run
ended in another way.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import click

from chatdata import build_dataset, load_recipe
from tests.support import forked_ranks
from tests.support.forked_ranks import ROOT, ForkedRanks
from tests.support.killed_runs import STRATEGIES
from tests.support.model_families import SHAPES, save_base

WITHIN = 2e-5
LONGEST = 512  # tokens of a row


class Seen(NamedTuple):
    """The losses of a run, or why it ended before its first step, or what else it said last."""

    losses: list[float]
    refused: str = ""
    failed: str = ""


def trained(ranks: ForkedRanks, work: Path, base: Path, strategy: str) -> Seen:
    """What became of a run of a base."""
    out = work / f"{base.name}-{strategy}"
    settings = [
        f"dataset={work / 'sample'}",
        f"model={{path: {base}}}",
        f"output={out}",
        f"strategy={strategy}",
        "allow_new_tokenizer=true",
        "report_to=[]",
        *(["deepspeed=null"] if strategy != "zero3" else []),
        "training.max_steps=4",
        "training.learning_rate=1e-2",
        f"training.per_device_train_batch_size={4 // STRATEGIES[strategy]}",
    ]
    recipe = str(ROOT / "recipes" / "train" / "sample.yaml")
    jobs = {"run": {"recipe": recipe, "settings": settings}}
    done = ranks.run(work, jobs, ranks=STRATEGIES[strategy])
    if not any(done.codes):
        entries = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
        return Seen([entry["loss"] for entry in entries if "loss" in entry])
    lines = done.errors.strip().splitlines()
    refused = [line.partition("ConfigError: ")[2] for line in lines if "ConfigError: " in line]
    return Seen([], *refused[-1:]) if refused else Seen([], failed=lines[-1])


def gap(alone: Seen, seen: Seen) -> float:
    """The largest difference of a loss."""
    pairs = zip(alone.losses, seen.losses, strict=True)
    return max(abs(first - second) for first, second in pairs)


@click.command()
@click.argument("families", nargs=-1)
@click.option("--show", is_flag=True, help="What a run that failed wrote at last.")
def main(families: tuple[str, ...], show: bool) -> None:
    """Trains families of models on two ranks, by default all."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    is_bad = False
    with tempfile.TemporaryDirectory() as name, forked_ranks.start() as ranks:
        work = Path(name)
        build_dataset(load_recipe("sample", [f"render.max_tokens={LONGEST}"]), work / "sample")
        for family in families or SHAPES:
            base = save_base(family, work / family)
            words = []
            for strategy in STRATEGIES:
                seen = trained(ranks, work, base, strategy)
                if strategy == "single":
                    alone = seen
                if seen.losses and alone.losses:
                    words.append(f"{strategy} {gap(alone, seen):.1e}")
                    is_bad |= gap(alone, seen) > WITHIN
                else:
                    words.append(f"{strategy} {seen.refused or 'FAILED: ' + seen.failed}")
                    is_bad |= bool(seen.failed)
                if seen.failed and show:
                    click.echo((work / "stderr").read_text()[-4000:])
            click.echo(f"{family}: {'; '.join(words)}")
    sys.exit(is_bad)


if __name__ == "__main__":
    main()
