"""Training on a rendering that was added to a dataset: its rows, its tokenizer, its bins."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chatdata import add_rendering, build_dataset, load_recipe
from chatdata.core.errors import ConfigError, OutputError
from chatdata.dataset import reader
from chatdata.dataset.pack import repack
from tests.support import tiny
from trainer import config
from trainer.data import batching, dataset, packing
from trainer.model import load
from trainer.run import run, strategy

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "train" / "sample.yaml"
SHORT = ["render.max_tokens=300", "max_dropped=1"]


@pytest.fixture(scope="module")
def folder(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, with shorter rows of another template."""
    out = tmp_path_factory.mktemp("renderings") / "out"
    add_rendering(sample, out, tokenizer="bytes", template="chatml", name="short", settings=SHORT)
    return out


def test_rows_and_tokenizer_are_those_of_the_rendering(folder: Path) -> None:
    source = dataset.find(str(folder), rendering="short")
    rows = dataset.train_rows(source)
    table = reader.scan(folder, "tokens-short", ["train"]).collect()
    assert rows["input_ids"][:] == table["input_ids"].to_list()
    assert rows["labels"][:] == table["labels"].to_list()
    assert len(rows) < len(dataset.train_rows(dataset.find(str(folder))))
    tokenizer = load.load_tokenizer(folder, source.rendering)
    assert tokenizer.eos_token == "<|im_end|>"
    groups = dataset.load_groups(folder, source.manifest, source.rendering, "train")
    assert len(groups) == len(rows)
    assert "tokens-short" in {
        path.split("/")[0] for path in dataset.token_files(source.rendering, "train")
    }
    described, entry = dataset.describe(source), source.manifest.renders["short"]
    assert described["rendering"] == {"name": "short", "content_hash": entry.content_hash}
    assert described["splits"]["train"]["token_rows"] == len(rows)
    assert (described["template"], described["max_tokens"]) == ("chatml", 300)


def test_bins_are_those_of_the_rendering(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    repack(copy, 3000)
    repack(copy, 600, "short")
    source = dataset.find(str(copy), rendering="short")
    rows, options = dataset.train_rows(source), ["packing=true", "tree_packing=false"]
    recipe = config.load(RECIPE, [f"dataset={copy}", "rendering=short", *options])
    network, tokenizer = tiny.model("llama", 0), load.load_tokenizer(copy, source.rendering)
    layout = batching.make_batches(recipe, source, rows, network, tokenizer)
    packed = [
        row["input_ids"] for number in range(len(layout.items)) for row in layout.items[number]
    ]
    assert sorted(packed) == sorted(rows["input_ids"][:])
    with pytest.raises(ConfigError, match="--max-tokens 700 --rendering short"):
        packing.read_bins(copy, source.rendering, "train", len(rows), 700)


def test_a_file_that_is_not_that_of_the_manifest_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    for name in ("tokens-short/train-00000-of-00001.parquet", "tokenizer-short/tokenizer.json"):
        path = copy / name
        held = path.read_bytes()
        path.write_bytes(held + b" ")
        dataset.check_files(dataset.find(str(copy)))
        with pytest.raises(OutputError, match="is not the file that the manifest names"):
            dataset.check_files(dataset.find(str(copy), rendering="short"))
        path.write_bytes(held)


def test_a_name_that_no_rendering_has_is_refused_with_those_there_are(
    folder: Path, sample: Path, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="has no rendering 'qwen'; it has short"):
        dataset.find(str(folder), rendering="qwen")
    with pytest.raises(OutputError, match=r"has no rendering 'qwen'; it has none: add it with"):
        dataset.find(str(sample), rendering="qwen")
    plain = tmp_path / "plain"
    build_dataset(load_recipe("sample", ["render=null"]), plain)
    add_rendering(plain, tokenizer="bytes", name="only")
    with pytest.raises(OutputError, match="name one of the renderings that were added: only"):
        dataset.find(str(plain))
    assert dataset.train_rows(dataset.find(str(plain), rendering="only"))


@pytest.mark.slow
def test_a_run_is_prepared_on_a_rendering(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    recipe = config.load(RECIPE, [f"dataset={folder}", "rendering=short"])
    prepared = run.prepare(recipe, strategy.place())
    assert prepared.source.rendering.name == "short"
    assert prepared.longest <= 300
    assert isinstance(prepared.layout, batching.Layout)
    tokenizer = prepared.tokenizer
    assert prepared.stop_ids[-1] == tokenizer.eos_token_id
