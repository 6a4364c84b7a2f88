"""Families of models on two ranks: python -m tests.bench.families_on_ranks llama qwen3 mixtral

Each family, made small, trains four steps of the sample on one rank, and on two ranks by ddp and by
zero3, from the same weights. Prints how far losses are from those of one rank, or why a run was
refused. Ends with status 1 where losses are further than 2e-5.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from chatdata import build_dataset, load_recipe
from tests.support import forked_ranks
from tests.support.bases import save
from tests.support.forked_ranks import ROOT, ForkedRanks
from tests.support.killed_runs import STRATEGIES
from tests.support.model_families import SHAPES

WITHIN = 2e-5
USUAL = ("llama", "qwen3", "gemma3_text", "gpt_neox", "mixtral", "phi3")
LONG = {"n_positions": 2048, "max_position_embeddings": 2048}


def shape(family: str) -> dict[str, Any]:
    """The sizes of a family, with room for the rows of the sample."""
    given = dict(SHAPES[family])
    given.setdefault("model_type", family)
    return {key: LONG.get(key, value) for key, value in given.items()}


def losses(ranks: ForkedRanks, work: Path, base: Path, strategy: str) -> tuple[list[float], str]:
    """The losses of a run; none and the reason where it failed."""
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
    if any(done.codes):
        return [], next(iter(reversed(done.errors.strip().splitlines())), "")[-150:]
    entries = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return [entry["loss"] for entry in entries if "loss" in entry], ""


@click.command()
@click.argument("families", nargs=-1)
def main(families: tuple[str, ...]) -> None:
    """Trains families of models on two ranks."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    is_bad = False
    with tempfile.TemporaryDirectory() as name, forked_ranks.start() as ranks:
        work = Path(name)
        build_dataset(load_recipe("sample"), work / "sample")
        for family in families or USUAL:
            base = save(work / "sample", work / family, shape(family))
            alone, reason = losses(ranks, work, base, "single")
            if reason:
                click.echo(f"{family}: {reason}")
            for strategy in ("ddp", "zero3"):
                trained, reason = losses(ranks, work, base, strategy)
                gap = max((abs(a - b) for a, b in zip(alone, trained, strict=False)), default=None)
                is_bad |= gap is None or gap > WITHIN
                click.echo(f"{family}, {strategy}: {reason or f'within {gap:.1e}'}")
    sys.exit(is_bad)


if __name__ == "__main__":
    main()
