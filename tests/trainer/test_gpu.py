"""Tests that need a GPU: kernels of FlexAttention, sums of 16 bits, DeepSpeed with NCCL."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from chatdata.dataset.pack import pack
from tests.support.forests import batch_of, forest, planned
from tests.support.tiny import Gradients, Row, conversation, model, one_by_one, targets_of
from trainer.data import tree_attention
from trainer.data.isolation import ALLOWED, leak
from trainer.data.packing import PackingCollator
from trainer.data.tree_packing import TreeCollator, tree_of

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
    pytest.mark.filterwarnings("ignore"),  # other people's deprecations
]

ROOT = Path(__file__).parent.parent.parent
# Heads of 16, FlexAttention's least, and two queries for each key.
SIZES = {"hidden_size": 64, "intermediate_size": 96}
ALLOWED_DISTANCE = {False: 1e-4, True: 5e-2}  # shares of the norm, in 32 bits and in 16


def network() -> Any:
    return model("llama", 0, torch.float32, **SIZES).cuda().train()


def weigh(network_: Any, batches: list[dict[str, Any]], targets: int, half: bool) -> Gradients:
    """The gradients of some batches; in 16 bits as Trainer does, by autocast."""
    network_.zero_grad()
    for batch in batches:
        inputs = {key: value.cuda() for key, value in batch.items()}
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            loss = network_(**inputs, num_items_in_batch=torch.tensor(targets).cuda()).loss
        loss.backward()
    return {name: parameter.grad.clone() for name, parameter in network_.named_parameters()}


def distance(gradients: Gradients, expected: Gradients) -> float:
    """How far gradients are from the expected gradients, as a share of their norm."""
    gap = sum(float((grad - expected[name]).pow(2).sum()) for name, grad in gradients.items())
    return float((gap / sum(float(grad.pow(2).sum()) for grad in expected.values())) ** 0.5)


@pytest.mark.parametrize("half", [False, True])
def test_flex_attention_has_the_gradients_of_the_rows(half: bool) -> None:
    always, once, groups = forest(0, trees=8)
    targets = targets_of(once)
    alone = weigh(network(), one_by_one(once), targets, half=False)
    batch = batch_of(always, planned(always, groups))
    assert batch["input_ids"].shape[1] > 2 * tree_attention.BLOCK  # some of its blocks are left out
    trained = network()
    assert tree_attention.prepare(trained) == tree_attention.FLEX
    assert distance(weigh(trained, [batch], targets, half), alone) < ALLOWED_DISTANCE[half]
    trained.set_attn_implementation(tree_attention.SDPA)
    assert distance(weigh(trained, [batch], targets, half), alone) < ALLOWED_DISTANCE[half]
    del batch["attention_mask"]  # the equality is not one that anything would pass
    assert distance(weigh(trained, [batch], targets, half), alone) > 5 * ALLOWED_DISTANCE[half]


def test_branches_do_not_see_each_other() -> None:
    trained = network()
    tree_attention.prepare(trained)

    def packed(rows: Any) -> dict[str, Any]:
        return TreeCollator(pad_id=0)([tree_of(rows)])

    with torch.autocast("cuda", torch.bfloat16):
        assert leak(trained, packed) < ALLOWED


@pytest.mark.parametrize("half", [False, True])
def test_packed_rows_weigh_what_they_weigh_alone(half: bool) -> None:
    rng = random.Random(0)
    rows: list[Row] = [conversation(rng, 6) for _ in range(9)]
    targets = targets_of(rows)
    alone = weigh(network(), one_by_one(rows), targets, half=False)
    bins = pack([len(row["input_ids"]) for row in rows], 120)
    collator = PackingCollator(flash=False)
    batches = [collator([[rows[number] for number in numbers]]) for numbers in bins_of(bins)]
    trained = network()
    trained.config.use_cache = False
    assert distance(weigh(trained, batches, targets, half), alone) < ALLOWED_DISTANCE[half]


def bins_of(bins: Any) -> list[list[int]]:
    ends = zip(bins.offsets[:-1], bins.offsets[1:], strict=True)
    return [bins.rows[start:end].tolist() for start, end in ends]


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_one_rank_of_zero3_trains_and_saves(adapter: str, tmp_path: Path) -> None:
    """With NCCL and bf16; only a GPU can gather the rows of an adapter's tokens."""
    pytest.importorskip("deepspeed")
    from chatdata import build_dataset, load_recipe

    build_dataset(load_recipe("sample"), tmp_path / "data")
    values = {
        "dataset": tmp_path / "data",
        "output": tmp_path / "model",
        "adapter": adapter,
        "training.bf16": "true",
        "training.max_steps": 4,
        "training.warmup_steps": 1,
    }
    settings = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"]
    command = [*launch, "-m", "trainer.train", "recipes/train/sample.yaml", *settings]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "0"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=300)
    description = json.loads((tmp_path / "model" / "chatdata.json").read_text())
    assert description["run"] == {"steps": 4, "ranks": 1, "zero_stage": 3}
    assert description["results"]["after"]["loss"] < description["results"]["before"]["loss"]
    name = "model.safetensors" if adapter == "none" else "adapter_model.safetensors"
    assert (tmp_path / "model" / name).stat().st_size > 1000
