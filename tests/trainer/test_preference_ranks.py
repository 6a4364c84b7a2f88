"""Pairs on two CPU ranks: the reference and the weights of a single process, by every strategy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import numpy as np
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file

from tests.support import preferences
from tests.support.forked_ranks import ForkedRanks
from tests.support.later import need
from trainer import train

need("deepspeed")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

STRATEGIES = ("ddp", "fsdp", "zero3")  # DeepSpeed comes last, and is not forgotten


class Runs:
    """A run in this process, and the same by each strategy on two ranks."""

    def __init__(self, folder: Path, ranks: ForkedRanks) -> None:
        self.folder = folder
        self.pairs = preferences.build(folder / "pairs")
        self.base = preferences.save_base(self.pairs, folder / "base")
        settings = self.settings("single", "training.per_device_train_batch_size=2")
        train.train(preferences.recipe(self.pairs, self.base, folder / "single", *settings))
        jobs: dict[str, Any] = {name: self.job(name, f"strategy={name}") for name in STRATEGIES}
        ranks.finish(folder, jobs)

    def settings(self, name: str, *more: str) -> list[str]:
        return [f"preference={{reference: {self.folder / name}.reference}}", *more]

    def job(self, name: str, *more: str) -> dict[str, Any]:
        size = "training.per_device_train_batch_size=1"
        settings = preferences.settings(self.pairs, self.base, self.folder / name)
        recipe = str(preferences.RECIPE)
        return {"recipe": recipe, "settings": [*settings, *self.settings(name, size, *more)]}

    def reference(self, name: str) -> Any:
        """What the base says of the pairs to train on."""
        files = [pq.read_table(path) for path in (self.folder / f"{name}.reference").iterdir()]
        (table,) = [file for file in files if file.num_rows > 1]
        return np.stack([table["chosen"].to_numpy(), table["rejected"].to_numpy()], 1)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, two_ranks: ForkedRanks) -> Runs:
    torch.set_num_threads(1)
    return Runs(tmp_path_factory.mktemp("ranks"), two_ranks)


@pytest.mark.parametrize("name", STRATEGIES)
def test_ranks_share_a_run_as_if_they_were_a_single_process(runs: Runs, name: str) -> None:
    """Each computes its part of the reference, in the order of the pairs; the weights moved."""
    assert np.allclose(runs.reference(name), runs.reference("single"), rtol=1e-5)
    base = load_file(runs.base / "model.safetensors")
    single = load_file(runs.folder / "single" / "model.safetensors")
    trained = load_file(runs.folder / name / "model.safetensors")
    assert trained.keys() == single.keys()
    for key, weight in single.items():
        assert torch.allclose(trained[key], weight, atol=5e-5), key
    assert max(float((single[key] - base[key]).abs().max()) for key in base) > 1e-2
