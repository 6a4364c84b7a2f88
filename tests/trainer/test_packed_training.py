"""Packed training: the loss and gradients of single rows, and a guard that can fail."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from datasets import Dataset
from transformers import default_data_collator

from chatdata import build_dataset, load_recipe
from chatdata.core.errors import ChatdataError, ConfigError, OutputError
from chatdata.dataset.pack import pack, repack
from tests.support.steps import step
from tests.support.tiny import (
    KINDS,
    Row,
    assert_same,
    conversation,
    joined,
    loss_and_gradients,
    model,
    one_by_one,
    targets_of,
)
from trainer import config
from trainer.data import dataset
from trainer.data.isolation import ALLOWED, CheckIsolation, leak
from trainer.data.packing import PackedRows, PackingCollator, counts, prepare, read_bins

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # other people's deprecations

ROOT = Path(__file__).parent.parent.parent
RECIPE = ROOT / "recipes" / "train" / "sample.yaml"


def conversations(seed: int, number: int = 7) -> list[Row]:
    rng = random.Random(seed)
    return [conversation(rng, rng.randrange(2, 7)) for _ in range(number)]


def batches(rows: list[Row], max_tokens: int) -> list[dict[str, Any]]:
    """The rows as they are trained: packed, a bin in each batch."""
    bins = pack([len(row["input_ids"]) for row in rows], max_tokens)
    items = PackedRows(Dataset.from_list(rows), bins)
    return [PackingCollator(flash=False)([items[number]]) for number in range(len(items))]


def packing(network: Any) -> Any:
    """The network, made to keep packed rows apart."""
    assert not prepare(network, half=False)
    return network


# ------------------------------------------------------------------------- loss and gradients


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_packed_rows_have_the_loss_that_they_have_alone(kind: str, seed: int) -> None:
    rows = conversations(seed)
    network, targets = packing(model(kind, seed)), targets_of(rows)
    alone = loss_and_gradients(network, one_by_one(rows), targets)
    assert_same(alone, loss_and_gradients(network, batches(rows, 60), targets))
    assert_same(alone, loss_and_gradients(network, batches(rows, 1000), targets))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_predicts_the_first_token_of_a_row(kind: str) -> None:
    """With every token trained, the first token of a row would be predicted from the row before."""
    rows = [{**row, "labels": row["input_ids"]} for row in conversations(0)]
    network, targets = packing(model(kind, 0)), targets_of(rows)
    (batch,) = batches(rows, 1000)
    counted = int((batch["labels"][:, 1:] != -100).sum())  # as transformers' Trainer counts
    assert counted == targets == sum(len(row["labels"]) - 1 for row in rows)
    alone = loss_and_gradients(network, one_by_one(rows), targets)
    assert_same(alone, loss_and_gradients(network, [batch], targets))
    naive = {**batch, "labels": torch.tensor([joined(row["labels"] for row in rows)])}
    with pytest.raises(AssertionError):
        assert_same(alone, loss_and_gradients(network, [naive], targets))


def test_plain_rows_are_evaluated_as_without_packing() -> None:
    rows = conversations(1)
    network, targets = packing(model("llama", 1)), targets_of(rows)
    flat = [PackingCollator(flash=False)(rows)]
    alone = loss_and_gradients(network, one_by_one(rows), targets)
    assert_same(alone, loss_and_gradients(network, flat, targets))


def test_flash_attention_is_told_where_rows_begin() -> None:
    """The kernels need a GPU; without a GPU the model keeps its attention."""
    rows = conversations(0, number=3)
    sizes = [len(row["input_ids"]) for row in rows]
    batch = PackingCollator(flash=True)([rows])
    starts = [0, sizes[0], sizes[0] + sizes[1], sum(sizes)]
    assert batch["cu_seq_lens_q"].tolist() == batch["cu_seq_lens_k"].tolist() == starts
    assert batch["max_length_q"] == max(sizes)
    assert (batch["position_ids"][0] == 0).nonzero().flatten().tolist() == starts[:-1]
    network = model("llama", 0)
    if not torch.cuda.is_available():
        assert not prepare(network, half=True)
        assert network.config._attn_implementation == "sdpa"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_the_trainer_is_that_of_the_rows(kind: str, tmp_path: Path) -> None:
    """Each token counts as every other, whatever shares its bin or its batch."""
    rows = conversations(2)
    bins = pack([len(row["input_ids"]) for row in rows], 60)
    items = PackedRows(Dataset.from_list(rows), bins)
    assert len(items) >= 3

    def fresh() -> Any:
        return packing(model(kind, 2, torch.float32))

    plain = step(fresh(), Dataset.from_list(rows), default_data_collator, 1, tmp_path)
    before = dict(fresh().named_parameters())
    assert any(not torch.allclose(plain[name], before[name], atol=1e-3) for name in plain)
    for size in (1, len(items)):
        packed = step(fresh(), items, PackingCollator(flash=False), size, tmp_path)
        for name, weight in plain.items():
            torch.testing.assert_close(packed[name], weight, rtol=0, atol=2e-6)


# ---------------------------------------------------------------------------------- the guard


@pytest.mark.parametrize("kind", KINDS)
def test_with_a_cache_conversations_leak_and_training_does_not_begin(kind: str) -> None:
    network = model(kind, 0, use_cache=True)

    def packed(rows: list[Row]) -> dict[str, Any]:
        return PackingCollator(flash=False)([rows])

    assert leak(network, packed) > 0.1
    check = CheckIsolation("packing", packed)
    with pytest.raises(ConfigError, match="packing: in this model a token sees other convers"):
        check.on_train_begin(None, None, None, model=network)
    assert leak(packing(network), packed) == 0
    check.on_train_begin(None, None, None, model=network)


def test_positions_that_run_on_are_caught() -> None:
    def run_on(rows: list[Row]) -> dict[str, Any]:
        batch = PackingCollator(flash=False)([rows])
        return {**batch, "position_ids": torch.arange(batch["input_ids"].shape[1])[None]}

    assert leak(packing(model("llama", 0)), run_on) > ALLOWED


def test_a_model_that_remembers_is_caught() -> None:
    """A recurrent model carries its state over into the next row, whatever the positions are."""
    network = model("mamba", 0, torch.float32, hidden_size=16, num_hidden_layers=2, state_size=4)
    assert leak(packing(network), lambda rows: PackingCollator(flash=False)([rows])) > ALLOWED


def test_the_check_leaves_the_model_as_it_was() -> None:
    network = packing(model("gpt_bigcode", 0, attn_pdrop=0.5)).train()
    state = torch.get_rng_state()
    assert leak(network, lambda rows: PackingCollator(flash=False)([rows])) == 0
    assert network.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in network.parameters())


# ------------------------------------------------------------------------------ a built folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packs") / "out"
    build_dataset(load_recipe("sample", ["render.max_tokens=700", "render.overflow=split"]), out)
    return out


def test_bins_are_those_of_the_index(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(built, folder)

    def bins(max_tokens: int | None = None) -> Any:
        return read_bins(folder, dataset.find(str(folder)).rendering, "train", number, max_tokens)

    rows = dataset.train_rows(dataset.find(str(folder)))
    number = len(rows)
    with pytest.raises(ConfigError, match=r"no index of bins; run chatdata pack .* --max-tokens N"):
        bins()
    repack(folder, 900)
    assert bins().max_tokens == 900
    repack(folder, 2048)
    assert bins(900).max_tokens == 900
    with pytest.raises(ConfigError, match=r"packed for 900, 2048 tokens; write packing: 2048"):
        bins()
    with pytest.raises(ConfigError, match=r"no index of bins of 64 tokens; .* --max-tokens 64"):
        bins(64)
    number += 1
    with pytest.raises(OutputError, match="does not hold each of the"):
        bins(900)


def test_every_row_is_trained_once_and_as_it_is(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(built, folder)
    repack(folder, 900)
    source = dataset.find(str(folder))
    manifest, rows = source.manifest, dataset.train_rows(source)
    bins = read_bins(folder, source.rendering, "train", len(rows))
    items = PackedRows(rows, bins)
    packed = [row for number in range(len(items)) for row in items[number]]
    whole = rows.select_columns(["input_ids", "labels"]).to_list()
    assert [packed[at] for at in bins.rows.argsort().tolist()] == whole
    counted = counts(bins)
    assert counted["rows"] == len(rows)
    assert counted["tokens"] == manifest.splits.train.tokens
    assert counted["fill"] == next(pack.fill for pack in manifest.packs if pack.split == "train")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["packing=true", "tree_packing=true"], "choose `packing` or `tree_packing`"),
        (["packing=0"], "'packing"),
        (["tree_packing='yes'"], "'tree_packing"),
    ],
)
def test_what_is_wrong_is_named(
    settings: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ChatdataError, match=words):
        config.load(RECIPE, settings)


def test_bins_are_named_by_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert config.load(RECIPE, ["packing=true"]).packing is True
    assert config.load(RECIPE, ["packing=2048"]).packing == 2048
    assert config.load(RECIPE).tree_packing is False
