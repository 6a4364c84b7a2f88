"""A family on two CPU ranks: the losses of a single process.

`python -m tests.bench.families_on_ranks` trains all families by all strategies.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.support.forked_ranks import ROOT, ForkedRanks
from tests.support.later import need
from tests.support.model_families import save_base
from trainer import config, train

need("deepspeed")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

RECIPE = ROOT / "recipes" / "train" / "sample.yaml"


def settings(sample: Path, base: Path, out: Path, strategy: str, batch: int) -> list[str]:
    return [
        f"dataset={sample}",
        f"model={{path: {base}}}",
        f"output={out}",
        f"strategy={strategy}",
        "allow_new_tokenizer=true",
        "report_to=[]",
        *(["deepspeed=null"] if strategy != "zero3" else []),
        "training.max_steps=2",
        "training.learning_rate=1e-2",
        f"training.per_device_train_batch_size={batch}",
    ]


def losses(out: Path) -> list[float]:
    entries = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return [entry["loss"] for entry in entries if "loss" in entry]


def test_a_mixture_of_experts_that_zero3_spreads_has_the_losses_of_a_single_process(
    sample: Path, tmp_path: Path, two_ranks: ForkedRanks
) -> None:
    """Each rank may use other experts of a layer."""
    base = save_base("mixtral", tmp_path / "base")
    train.train(config.load(RECIPE, settings(sample, base, tmp_path / "alone", "single", 2)))
    spread = settings(sample, base, tmp_path / "spread", "zero3", 1)
    two_ranks.finish(tmp_path, {"spread": {"recipe": str(RECIPE), "settings": spread}})
    assert losses(tmp_path / "spread") == pytest.approx(losses(tmp_path / "alone"), abs=2e-6)
