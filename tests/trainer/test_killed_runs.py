"""Runs that are killed while they save, and disks that fill up: nothing half passes as whole."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

from chatdata.core.errors import ChatdataError
from tests.support.bases import TINY
from tests.support.disks import fill, small_disk
from tests.support.forked_ranks import ForkedRanks
from tests.support.killed_runs import Place, attempt
from tests.support.later import need
from trainer import config, train
from trainer.run import room

need("deepspeed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # other people's deprecations
]

Straight = tuple[Place, dict[str, float], dict[str | None, str]]


@pytest.fixture(scope="module")
def straight(
    sample: Path, tmp_path_factory: pytest.TempPathFactory, two_ranks: ForkedRanks
) -> Straight:
    place = Place(two_ranks, tmp_path_factory.mktemp("killed"), sample)
    return (place, *place.straight())


@pytest.mark.parametrize(("stage", "share", "which"), [("checkpoint", 0.6, 2), ("save", 0.4, 1)])
def test_a_run_that_is_killed_while_it_saves_goes_on_to_the_same_model(
    straight: Straight, stage: str, share: float, which: int
) -> None:
    """What is left is seldom the same, and has always to be whole."""
    place, seconds, models = straight
    left = attempt(place, [stage, share * seconds[stage], which], models)
    assert left.model in models.values()
    assert left.after == "the model"


def test_while_the_model_is_saved_no_description_says_that_it_is_whole(straight: Straight) -> None:
    place, _, models = straight
    assert place.earlier.joinpath("chatdata.json").is_file()
    assert attempt(place, ["save", 0, 1], models).model in ("no model", "the earlier model")


# -------------------------------------------------------------------------------------- full disks


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def recipe(sample: Path, out: Path) -> config.TrainConfig:
    training = {"max_steps": 3, "save_steps": 1, "per_device_train_batch_size": 1, "seed": 1}
    values = {"dataset": str(sample), "model": {"config": TINY}, "output": str(out)}
    return config.config.parse(
        config.TrainConfig, {**values, "training": training, "report_to": []}, "test"
    )


def test_a_disk_that_fills_up_is_named_and_the_run_goes_on_when_there_is_room(
    sample: Path, tmp_path: Path
) -> None:
    train.train(recipe(sample, tmp_path / "out"))
    whole = tmp_path / "out" / "model.safetensors"
    trained = whole.stat().st_size // 4
    little = room.check(recipe(sample, tmp_path / "new"), trained, planned=3) + 2**15
    with small_disk(tmp_path / "disk", little) as disk:
        made: Any = recipe(sample, disk / "out")
        with pytest.raises(
            ChatdataError, match=r"is not saved: the disk of '.*' is full"
        ) as caught:
            train.train(made)
        assert f"--resume goes on from '{disk / 'out'}/checkpoint-" in str(caught.value)
        assert not (disk / "out" / "chatdata.json").exists()
        subprocess.run(["mount", "-o", "remount,size=9m", str(disk)], check=True)
        train.train(made, resume=True)
        assert (disk / "out" / "model.safetensors").read_bytes() == whole.read_bytes()


def test_a_disk_without_room_for_the_run_is_refused_before_the_first_step(
    sample: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 2**20) as disk:
        fill(disk)
        with pytest.raises(
            ChatdataError, match=r"has room for 0\.0 kB, and at least .* are needed"
        ):
            train.train(recipe(sample, disk / "out"))
        assert not (disk / "out").exists()


def test_the_room_that_is_needed_is_that_of_the_checkpoints_kept_at_a_time(
    sample: Path, tmp_path: Path
) -> None:
    made = recipe(sample, tmp_path / "out")
    training = made.training.model_copy(update={"save_total_limit": 1})
    kept = made.model_copy(update={"training": training})
    assert room.check(made, 1000, planned=9) == 4000 + 9 * 12000
    assert room.check(kept, 1000, planned=9) == 4000 + 2 * 12000
    (tmp_path / "out" / "checkpoint-1").mkdir(parents=True)
    assert room.check(kept, 1000, planned=9) == 4000 + 12000
