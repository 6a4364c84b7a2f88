"""Runs that break: losses that are no numbers, and checkpoints that are not as they were saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from chatdata.core.errors import ChatdataError
from tests.support import bases
from tests.support.bases import TINY
from trainer import config, train
from trainer.run import checkpoints, strategy
from trainer.run.run import prepare

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # other people's deprecations
]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def recipe(sample: Path, out: Path, **training: Any) -> config.TrainConfig:
    steps = {"max_steps": 4, "per_device_train_batch_size": 1, "logging_steps": 1, "seed": 1}
    values = {"dataset": str(sample), "model": {"config": TINY}, "output": str(out)}
    return config.config.parse(config.TrainConfig, {**values, "training": steps | training}, "test")


# ------------------------------------------------------------------------------------- no numbers


@pytest.mark.parametrize("logging_steps", [1, 10])
def test_a_loss_that_is_not_a_number_ends_the_run(
    sample: Path, tmp_path: Path, logging_steps: int
) -> None:
    """The first step has a learning rate of 0, so that its checkpoint is good."""
    training = {"learning_rate": 1e38, "warmup_steps": 1, "save_steps": 1}
    with pytest.raises(ChatdataError, match="is not a number at step") as caught:
        train.train(recipe(sample, tmp_path, logging_steps=logging_steps, **training))
    assert f"'{tmp_path / 'checkpoint-1'}' is the last good checkpoint" in str(caught.value)
    assert not list(tmp_path.glob("*.safetensors"))
    reports = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert all(report["loss"] > 0 for report in reports if "loss" in report)


# ------------------------------------------------------------------------------------ checkpoints


@pytest.fixture(scope="module")
def run(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with two checkpoints."""
    folder = tmp_path_factory.mktemp("run")
    train.train(recipe(sample, folder, save_steps=2))
    return folder


def copied(run: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(run, tmp_path / "run"))


def test_the_newest_checkpoint_is_gone_on_from(run: Path) -> None:
    assert checkpoints.choose(run, 1) == (run / "checkpoint-4", [])


@pytest.mark.parametrize("name", ["optimizer.pt", "model.safetensors", "scheduler.pt"])
def test_a_file_that_was_cut_is_passed_over_with_its_checkpoint(
    run: Path, tmp_path: Path, name: str
) -> None:
    folder = copied(run, tmp_path)
    path = folder / "checkpoint-4" / name
    path.write_bytes(path.read_bytes()[:-1])
    chosen, passed_over = checkpoints.choose(folder, 1)
    assert chosen == folder / "checkpoint-2"
    assert passed_over[0].startswith(f"'checkpoint-4' ({name} has ")


def test_a_byte_that_has_changed_is_seen(run: Path, tmp_path: Path) -> None:
    folder = copied(run, tmp_path)
    path = folder / "checkpoint-4" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    chosen, passed_over = checkpoints.choose(folder, 1)
    assert chosen == folder / "checkpoint-2"
    assert passed_over == ["'checkpoint-4' (model.safetensors is not what was saved)"]


def test_a_missing_optimizer_is_refused(run: Path, tmp_path: Path) -> None:
    folder = copied(run, tmp_path)
    (folder / "checkpoint-4" / "optimizer.pt").unlink()
    with pytest.raises(ChatdataError, match="no state of the optimizer"):
        checkpoints.choose(folder, 1)


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(
    run: Path, sample: Path, tmp_path: Path
) -> None:
    folder = copied(run, tmp_path)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "checkpoint-4" / "optimizer.pt").write_bytes(b"")
    started = json.loads((folder / "run.json").read_text())
    started["recipe"]["output"] = str(folder)
    (folder / "run.json").write_text(json.dumps(started))
    train.train(recipe(sample, folder, save_steps=2), resume=True)
    assert (folder / "model.safetensors").read_bytes() == whole


# -------------------------------------------------------------------------- another dataset or base


@pytest.mark.parametrize(
    ("key", "words"), [("content_hash", "the dataset has"), ("base", "the model of model.path has")]
)
def test_what_has_changed_under_its_name_is_seen_before_a_run_goes_on(
    run: Path, key: str, words: str
) -> None:
    started = json.loads((run / "run.json").read_text())
    with pytest.raises(ChatdataError, match=f"{words} changed since that run began"):
        checkpoints.check_output(run, {**started, key: "another"}, resume=True)


def test_another_model_in_the_folder_of_the_base_is_another_base(
    sample: Path, tmp_path: Path
) -> None:
    folder = bases.save(sample, tmp_path / "base")
    model = config.Model(path=str(folder))
    made = recipe(sample, tmp_path / "out").model_copy(update={"model": model})

    def base() -> Any:
        return prepare(made, strategy.place()).started()["base"]

    before, path = base(), folder / "model.safetensors"
    assert before == base()
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    assert base() != before


def test_a_run_of_an_earlier_version_goes_on_without_the_keys_that_are_new(run: Path) -> None:
    started = json.loads((run / "run.json").read_text())
    old = {**started, "recipe": dict(started["recipe"])}
    del old["base"], old["recipe"]["rendering"]
    assert checkpoints._first_difference(old, started) is None
