"""Batches of built datasets: rows that share a sequence have the loss that they have alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import numpy as np
import pyarrow as pa
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdata import build_dataset, load_recipe
from chatdata.core import row_id
from chatdata.core.errors import ConfigError
from chatdata.dataset import reader
from tests.support.forked_ranks import ForkedRanks
from tests.support.tiny import one_by_one, targets_of
from trainer import config
from trainer.data import batching, dataset
from trainer.model import load as models

pytestmark = pytest.mark.filterwarnings("ignore")  # other people's deprecations

ROOT = Path(__file__).parent.parent.parent
ZERO_3 = ROOT / "trainer" / "zero3_bf16.json"
RECIPE = ROOT / "recipes" / "train" / "sample.yaml"
MODEL = (
    "{config: {model_type: gpt_bigcode, n_layer: 2, n_head: 2, n_embd: 16, n_positions: 2048, "
    "attn_pdrop: 0, resid_pdrop: 0, embd_pdrop: 0}}"
)


def layout_of(folder: Path, *settings: str) -> tuple[batching.Layout, Any, Any]:
    """The layout of a built dataset, its rows, and the model."""
    recipe = config.load(RECIPE, [f"dataset={folder}", f"model={MODEL}", *settings])
    source = dataset.find(str(folder))
    rows = dataset.train_rows(source)
    tokenizer = models.load_tokenizer(folder, source.rendering)
    network = models.load_model(recipe.model, tokenizer, seed=1).eval()
    return batching.make_batches(recipe, source, rows, network, tokenizer), rows, network


def of_rows(rows: Any) -> tuple[list[dict[str, torch.Tensor]], int]:
    """The rows one by one, and their targets."""
    plain_rows = rows.select_columns(["input_ids", "labels"]).to_list()
    return one_by_one(plain_rows), targets_of(plain_rows)


def loss(network: Any, batches: Iterable[dict[str, Any]], targets: int) -> float:
    with torch.no_grad():
        return sum(
            float(network(**batch, num_items_in_batch=torch.tensor(targets)).loss)
            for batch in batches
        )


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["packing=true", "packing=1024", "tree_packing=true"])
def test_the_sample_has_the_same_loss_in_every_layout(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded sample trains each answer once (`train_once`)."""
    monkeypatch.chdir(ROOT)
    options = ["render.max_tokens=300", "render.overflow=split", "split.test_percent=0"]
    build_dataset(load_recipe("sample", [*options, "pack.max_tokens=1024"]), tmp_path / "out")
    plain, rows, network = layout_of(tmp_path / "out")
    assert plain.items is rows
    batches, targets = of_rows(rows)
    assert targets == dataset.find(str(tmp_path / "out")).manifest.splits.train.trained_tokens
    wanted = loss(network, batches, targets)
    layout, _, network = layout_of(tmp_path / "out", setting)
    numbers = range(len(layout.items))  # type: ignore[arg-type]
    packed = [layout.collator([layout.items[number]]) for number in numbers]
    assert loss(network, packed, targets) == pytest.approx(wanted, abs=1e-6)
    assert layout.counts["sequences"] == len(packed)
    assert layout.counts.get("targets", targets) == targets
    assert f"{layout.counts['tokens']} tokens" in layout.summary
    for check in layout.callbacks:
        check.on_train_begin(None, None, None, model=network)  # type: ignore[arg-type]


@settings(max_examples=100, derandomize=True)
@given(st.lists(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=5), max_size=4))
def test_lists_are_those_of_the_column(chunks: list[list[list[int]]]) -> None:
    column = pa.chunked_array(chunks, pa.list_(pa.int32()))
    for array in (column, column.slice(1)):
        lists = dataset.Lists(array)
        assert [lists[row].tolist() for row in range(len(lists))] == array.to_pylist()
        assert lists.sizes().tolist() == [len(row) for row in array.to_pylist()]
        for step in (1, 2):
            numbers = np.arange(0, len(lists), step)
            wanted = [id for row in array.to_pylist()[::step] for id in row]
            assert lists.flat(numbers).tolist() == wanted


@pytest.mark.slow
def test_the_group_of_a_row_is_that_of_its_conversation(tmp_path: Path) -> None:
    """Also where a conversation has several rows, whose ids end in the numbers of their turns."""
    options = ["render.max_tokens=300", "render.overflow=split", "split.test_percent=0"]
    build_dataset(load_recipe("sample", options), tmp_path / "out")
    source = dataset.find(str(tmp_path / "out"))
    manifest = source.manifest
    groups = dataset.load_groups(tmp_path / "out", manifest, source.rendering, "train")
    ids = reader.scan(tmp_path / "out", "tokens", ["train"]).collect()["id"].to_list()
    assert any("#" in id for id in ids)
    assert len(groups) == len(ids) == manifest.splits.train.token_rows
    messages = reader.scan(tmp_path / "out", "messages", ["train"]).collect()
    names = dict(zip(messages["id"], messages["group"], strict=True))
    wanted = [names[id if id in names else row_id.conversation_of(id)] for id in ids]
    assert len(set(zip(groups.tolist(), wanted, strict=True))) == len(set(wanted))
    assert len(set(wanted)) == len(set(groups.tolist()))


def test_a_limit_that_a_row_exceeds_is_refused(
    sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ConfigError, match=r"a row has \d+ tokens and a tree may have 100"):
        layout_of(sample, "tree_packing=100")


@pytest.fixture(scope="module")
def english(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Some English trees of OASST1, each answer trained in every row and in the first."""
    folder = tmp_path_factory.mktemp("english")
    lines = (real_data / "oasst1-validation-en" / "en-validation.jsonl").read_text().splitlines()
    (folder / "en.jsonl").write_text("\n".join(lines[:120]) + "\n")
    stories = real_data / "models" / "stories260K"
    options = [f"render.tokenizer={stories}", "render.max_tokens=512", "render.overflow=cut"]
    for once in (False, True):
        recipe = load_recipe("oasst1-en", [*options, f"threads.train_once={str(once).lower()}"])
        build_dataset(recipe, folder / str(once), inputs=[str(folder / "en.jsonl")])
    return {once: folder / str(once) for once in (False, True)}


@pytest.mark.slow
def test_real_trees_have_the_loss_of_their_rows(
    english: dict[bool, Path], real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real model on real trees: fewer tokens, the same loss."""
    monkeypatch.chdir(ROOT)
    stories = f"model={{path: {real_data / 'models' / 'stories260K'}}}"
    _, rows, network = layout_of(english[True], stories)
    batches, targets = of_rows(rows)
    wanted = loss(network, batches, targets)
    for folder in english.values():
        layout, _, network = layout_of(folder, stories, "tree_packing=2048")
        assert layout.counts["targets"] == targets
        assert layout.counts["saved"] > 0.1
        numbers = range(len(layout.items))  # type: ignore[arg-type]
        packed = (layout.collator([layout.items[number]]) for number in numbers)
        assert loss(network, packed, targets) == pytest.approx(wanted, abs=1e-5)


# ------------------------------------------------------------------------------- real ZeRO-3


@pytest.mark.slow
def test_packed_and_trees_on_two_ranks_with_zero_3(tmp_path: Path, two_ranks: ForkedRanks) -> None:
    """A step over all items has the loss of the rows; ranks share an odd number of items."""
    pytest.importorskip("deepspeed")
    build_dataset(load_recipe("sample", ["pack.max_tokens=2048"]), tmp_path / "data")
    settings = [f"dataset={tmp_path / 'data'}", f"model={MODEL}", f"deepspeed={ZERO_3}"]
    settings += ["training.max_steps=-1", "training.per_device_train_batch_size=1"]
    whole = "training.gradient_accumulation_steps"
    runs = {  # what each rank has in its one step, of 22 rows, 4 bins, 2 trees; then 3 trees
        "rows": [f"{whole}=11"],
        "packed": ["packing=true", f"{whole}=2"],
        "trees": ["tree_packing=4096"],
        "odd": ["tree_packing=true"],
    }
    jobs = {
        name: {"recipe": str(RECIPE), "settings": [*settings, *more, f"output={tmp_path / name}"]}
        for name, more in runs.items()
    }
    two_ranks.finish(tmp_path, jobs)
    losses = {name: trained_losses(tmp_path / name) for name in runs}
    assert {name: len(values) for name, values in losses.items()} == {
        **dict.fromkeys(["rows", "packed", "trees"], 1),
        "odd": 2,
    }
    for name in ("packed", "trees"):
        assert losses[name][0] == pytest.approx(losses["rows"][0], abs=1e-5)


def trained_losses(folder: Path) -> list[float]:
    log = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in log if "loss" in entry]
