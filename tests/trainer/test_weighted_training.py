"""Weighted training: the loss and gradients of a plain loop over rows, however rows are batched."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import DataCollatorForSeq2Seq

from chatdata import build_dataset, load_recipe
from chatdata.core.errors import ConfigError
from chatdata.dataset.pack import pack
from tests.support.forked_ranks import ForkedRanks
from tests.support.steps import RATE, stepped, weights_of
from tests.support.tiny import (
    KINDS,
    Row,
    assert_same,
    conversation,
    loss_and_gradients,
    model,
    one_by_one,
    targets_of,
)
from trainer import config, train
from trainer.data import batching, dataset, weighting
from trainer.data.packing import PackedRows, PackingCollator, prepare
from trainer.model import load
from trainer.run.trainer import Trainer

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # other people's deprecations

ROOT = Path(__file__).parent.parent.parent
ONES = (1.0,)
SEVERAL = (0.25, 0.5, 1.0, 3.0)


def weighted(seed: int, choices: Sequence[float] = SEVERAL, number: int = 7) -> list[Any]:
    """Random conversations, each trained token with a weight out of few."""
    draw = random.Random(seed)
    rows = [conversation(draw, draw.randrange(2, 7)) for _ in range(number)]
    return [
        {**row, "weights": [draw.choice(choices) if label >= 0 else 0.0 for label in row["labels"]]}
        for row in rows
    ]


def by_a_loop(network: Any, rows: Sequence[Any]) -> Any:
    """The weighted loss of rows, and its gradients, label by label and without a batch."""
    network.zero_grad()
    losses, total = torch.zeros((), dtype=torch.float64), 0.0
    for row in rows:
        logits = network(input_ids=torch.tensor([row["input_ids"]])).logits[0]
        for place in range(1, len(row["labels"])):
            if row["labels"][place] != -100:
                chance = torch.softmax(logits[place - 1].double(), -1)[row["labels"][place]]
                losses = losses - row["weights"][place] * torch.log(chance)
                total += row["weights"][place]
    (losses / total).backward()
    gradients = {name: p.grad.clone() for name, p in network.named_parameters()}
    return float(losses / total), gradients


def by_batches(network: Any, batches: Sequence[dict[str, Any]]) -> Any:
    """The weighted loss of batches and its gradients, as the trainer has them."""
    network.zero_grad()
    total = weighting.total(batches)
    losses = []
    for batch in batches:
        inputs = {key: value for key, value in batch.items() if key not in ("labels", "weights")}
        logits = network(**inputs).logits
        losses.append(weighting.loss(logits, batch["labels"], batch["weights"], total))
    sum(losses).backward()  # type: ignore[union-attr]
    gradients = {name: p.grad.clone() for name, p in network.named_parameters()}
    return float(sum(losses)), gradients


class Padding:
    """Pads as the collator of transformers does, which needs a tokenizer, with token 0."""

    def __init__(self, side: str) -> None:
        self.side = side

    def __call__(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        size = max(len(row["input_ids"]) for row in rows)
        fill = {"input_ids": 0, "attention_mask": 0, "labels": -100}
        given = [{**row, "attention_mask": [1] * len(row["input_ids"])} for row in rows]
        return {
            key: torch.tensor([self.line(row[key], value, size) for row in given])
            for key, value in fill.items()
        }

    def line(self, values: list[int], fill: int, size: int) -> list[int]:
        more = [fill] * (size - len(values))
        return values + more if self.side == "right" else more + values


def padded(rows: Sequence[Any], size: int, side: str = "right") -> list[dict[str, Any]]:
    starts = range(0, len(rows), size)
    return [weighting.padded(Padding(side), rows[at : at + size], side) for at in starts]


def packed(rows: Sequence[Any], max_tokens: int) -> list[dict[str, Any]]:
    bins = pack([len(row["input_ids"]) for row in rows], max_tokens)
    items = PackedRows(Dataset.from_list(list(rows)), bins)
    return [PackingCollator(flash=False)([items[number]]) for number in range(len(items))]


# ------------------------------------------------------------------------- loss and gradients


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_batches_have_the_loss_of_a_plain_loop(kind: str, seed: int) -> None:
    rows = weighted(seed)
    network = model(kind, seed)
    assert not prepare(network, half=False)
    expected = by_a_loop(network, rows)
    for batches in (padded(rows, 1), padded(rows, 3), padded(rows, 7), packed(rows, 60)):
        assert_same(expected, by_batches(network, batches))
    if kind == "llama":  # whose positions do not count padding on the left
        assert_same(expected, by_batches(network, padded(rows, 3, "left")))


def test_weights_that_are_ignored_or_stand_elsewhere_are_seen() -> None:
    rows, network = weighted(0), model("llama", 0)
    expected = by_a_loop(network, rows)
    ones = [{**row, "weights": [float(label >= 0) for label in row["labels"]]} for row in rows]
    moved = [{**row, "weights": [*row["weights"][1:], 0.0]} for row in rows]
    for wrong in (ones, moved):
        with pytest.raises(AssertionError):
            assert_same(expected, by_batches(network, padded(wrong, 3)))


@pytest.mark.parametrize("kind", KINDS)
def test_where_all_weigh_alike_it_is_the_loss_of_transformers(kind: str) -> None:
    network = model(kind, 1)
    for choices in (ONES, (4.0,)):
        rows = weighted(1, choices)
        plain = [{key: row[key] for key in ("input_ids", "labels")} for row in rows]
        expected = loss_and_gradients(network, one_by_one(plain), targets_of(plain))
        assert_same(expected, by_batches(network, padded(rows, 3)))


def test_rows_without_weights_have_none() -> None:
    rows: list[Any] = [conversation(random.Random(0), 2)]
    assert "weights" not in weighting.padded(Padding("right"), rows, "right")
    assert "weights" not in PackingCollator(flash=False)([rows])


# --------------------------------------------------------------------------------- the trainer


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_the_trainer_is_that_of_a_plain_loop(kind: str, tmp_path: Path) -> None:
    """Whatever is accumulated, padded or packed."""
    rows = weighted(2)
    bins = pack([len(row["input_ids"]) for row in rows], 60)
    pad = partial(weighting.padded, Padding("right"), side="right")
    packing = PackingCollator(flash=False)
    plain = Dataset.from_list(rows)

    def fresh() -> Any:
        network = model(kind, 2, torch.float32)
        assert not prepare(network, half=False)
        return network

    before = fresh()
    loss, gradients = by_a_loop(before, rows)
    for items, collator, size in (
        (plain, pad, 1),
        (plain, pad, 3),
        (plain, pad, len(rows)),
        (PackedRows(plain, bins), packing, 1),
        (PackedRows(plain, bins), packing, len(bins)),
    ):
        network = fresh()
        trainer = stepped(
            Trainer, network, items, collator, size, tmp_path, remove_unused_columns=False
        )
        assert trainer.state.log_history[-1]["train_loss"] == pytest.approx(loss, abs=1e-5)
        after = weights_of(network)
        for name, parameter in before.named_parameters():
            expected = parameter - RATE * gradients[name]
            torch.testing.assert_close(after[name], expected, rtol=0, atol=2e-6)


# ------------------------------------------------------------------------------ a built folder

TALKS = [[0.5, 1], [2], [1, 0.25, 3], [1]]
TINY = {
    "model_type": "gpt_bigcode",
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 32,
    "n_positions": 512,
    "attn_pdrop": 0,
    "resid_pdrop": 0,
    "embd_pdrop": 0,
}
ZERO3 = str(ROOT / "trainer" / "zero3_bf16.json")
RATE_OF_RUNS, DECAY = 1e-2, 0.5
RATES = (0.0, RATE_OF_RUNS, RATE_OF_RUNS / 2)  # a step of warm-up, then half a cosine's way down


def talk(number: int, weights: Sequence[float]) -> dict[str, Any]:
    turns = [
        message
        for turn, weight in enumerate(weights)
        for message in (
            {"role": "user", "content": f"How heavy is {number}-{turn}?"},
            {"role": "assistant", "content": f"{number + turn} tons.", "weight": weight},
        )
    ]
    return {"id": f"t/{number}", "messages": turns}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four rows with weights, and the model that all runs begin with."""
    folder = tmp_path_factory.mktemp("weighted")
    talks = [talk(number, weights) for number, weights in enumerate(TALKS)]
    (folder / "talks.jsonl").write_text("\n".join(map(json.dumps, talks)))
    (folder / "r.yaml").write_text(
        f"name: scales\nversion: 1.0.0\nsource: {{jsonl: {{files: [{folder}/talks.jsonl]}}}}\n"
        "render: {tokenizer: bytes, template: chatml, max_tokens: 400}\npack: {max_tokens: 400}\n"
    )
    build_dataset(load_recipe(folder / "r.yaml"), folder / "data")
    tokenizer = load.load_tokenizer(folder / "data", dataset.find(str(folder / "data")).rendering)
    base = load.load_model(config.Model(config=TINY), tokenizer, seed=7)
    base.save_pretrained(folder / "base")
    return folder


def settings(built: Path, name: str, batch: int, accumulation: int, *more: str) -> list[str]:
    """Three steps over all rows."""
    return [
        f"dataset={built / 'data'}",
        f"model={{path: {built / 'base'}}}",
        f"output={built / name}",
        "deepspeed=null",
        "report_to=[]",
        "training.max_steps=3",
        f"training.learning_rate={RATE_OF_RUNS}",
        "training.lr_scheduler_type=cosine",
        "training.warmup_steps=1",
        f"training.weight_decay={DECAY}",
        f"training.per_device_train_batch_size={batch}",
        f"training.gradient_accumulation_steps={accumulation}",
        *more,
    ]


RECIPE = ROOT / "recipes" / "train" / "sample.yaml"


def logged(folder: Path, key: str) -> list[float]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [entry[key] for entry in map(json.loads, lines) if "loss" in entry]


def offloading(folder: Path) -> Path:
    """The trainer's configuration that offloads, with PyTorch's AdamW: DeepSpeed's is compiled."""
    values = json.loads((ROOT / "trainer" / "zero3_cpu_offload.json").read_text())
    path = folder / "offloading.json"
    path.write_text(json.dumps({**values, "zero_force_ds_cpu_optimizer": False}))
    return path


def trained_by_a_loop(network: Any, rows: Sequence[Any], with_norms: bool = False) -> list[float]:
    """The losses of steps over all rows. Only matrices decay, or norms and biases `with_norms`."""
    decaying = [p for p in network.parameters() if p.dim() > 1 or with_norms]
    still = [p for p in network.parameters() if p.dim() == 1 and not with_norms]
    groups = [{"params": decaying}, {"params": still, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, weight_decay=DECAY)
    losses = []
    for rate in RATES:
        losses.append(by_a_loop(network, rows)[0])
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    return losses


def differs(weights: dict[str, Any], network: Any) -> float:
    """The largest difference between saved weights and those of a model."""
    pairs = ((weights[name], weight) for name, weight in network.named_parameters())
    return max(float((saved - weight).abs().max()) for saved, weight in pairs)


def test_rows_are_loaded_with_their_weights(built: Path) -> None:
    rows = dataset.train_rows(dataset.find(str(built / "data")))
    assert rows.column_names == ["input_ids", "attention_mask", "labels", "weights", "length"]
    weights = sorted({weight for row in rows["weights"] for weight in row})
    assert weights == [0, 0.25, 0.5, 1, 2, 3]


def test_trees_are_refused_by_name(built: Path) -> None:
    source = dataset.find(str(built / "data"))
    chosen = config.load(RECIPE, settings(built, "trees", 1, 1, "tree_packing=true"))
    tokenizer = load.load_tokenizer(source.folder, source.rendering)
    with pytest.raises(ConfigError, match=r"tree_packing: .* has weights.*tree_packing=false"):
        batching.make_batches(
            chosen, source, dataset.train_rows(source), model("llama", 0), tokenizer
        )
    repeats = source.manifest.model_copy(update={"repeats": 2})
    rows = dataset.train_rows(source).remove_columns("weights")
    with pytest.raises(ConfigError, match=r"has 2 repeats .*tree_packing=false"):
        batching.make_batches(
            chosen, replace(source, manifest=repeats), rows, model("llama", 0), tokenizer
        )


@pytest.mark.slow
def test_runs_are_those_of_a_plain_loop_however_rows_are_distributed(
    built: Path, two_ranks: ForkedRanks
) -> None:
    """Losses, learning rates and weights: all rows at once, row by row, packed, and by two ranks of
    each strategy."""
    pytest.importorskip("deepspeed")
    for name, batch, accumulation, *more in (
        ("four", 4, 1),
        ("accumulated", 1, 4),
        ("packed", 1, 4, "packing=true"),
    ):
        chosen = settings(built, name, batch, accumulation, *more)  # type: ignore[arg-type]
        train.train(config.load(RECIPE, chosen))
    jobs = {
        name: {"recipe": str(RECIPE), "settings": settings(built, name, 2, 1, *more)}
        for name, *more in (
            ("ddp",),
            ("fsdp", "strategy=fsdp", "training.gradient_checkpointing=true"),
            ("zero3", f"deepspeed={ZERO3}"),
            ("offloaded", f"deepspeed={offloading(built)}"),
        )
    }
    jobs["ddp-accumulated"] = {
        "recipe": str(RECIPE),
        "settings": settings(built, "ddp-accumulated", 1, 2),
    }
    two_ranks.finish(built, jobs)
    rows = dataset.train_rows(dataset.find(str(built / "data"))).to_list()
    assert len(rows) == len(TALKS)
    tokenizer = load.load_tokenizer(built / "data", dataset.find(str(built / "data")).rendering)
    base, wrong = (
        load.load_model(config.Model(path=str(built / "base")), tokenizer, seed=7).eval()
        for _ in range(2)
    )
    expected = trained_by_a_loop(base, rows)
    trained_by_a_loop(wrong, rows, with_norms=True)
    for name in ("four", "accumulated", "packed", *jobs):
        assert logged(built / name, "loss") == pytest.approx(expected, abs=2e-5)
        assert logged(built / name, "learning_rate") == pytest.approx(RATES)
        weights = load_file(built / name / "model.safetensors")
        assert differs(weights, base) < 2e-5
        assert differs(weights, wrong) > 1e-3  # norms would be seen


def test_the_collator_of_a_run_pads_weights_with_their_labels(built: Path) -> None:
    source = dataset.find(str(built / "data"))
    tokenizer: Any = load.load_tokenizer(source.folder, source.rendering)
    rows = dataset.train_rows(source).select_columns(["input_ids", "labels", "weights"]).to_list()
    batch = weighting.padded(DataCollatorForSeq2Seq(tokenizer), rows, tokenizer.padding_side)
    assert batch["weights"].shape == batch["labels"].shape
    assert torch.equal(batch["weights"] > 0, batch["labels"] != -100)
