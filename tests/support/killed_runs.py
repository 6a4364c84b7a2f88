"""Runs of the trainer that are killed at any time, and go on with `--resume`.

What must hold: where a folder has a `chatdata.json`, the model in it is the earlier one or the
run's, to the byte; and the model, after the run went on, is that of the run without a kill.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.bases import TINY
from tests.support.forked_ranks import ROOT, ForkedRanks

STRATEGIES = {"single": 1, "ddp": 2, "fsdp": 2, "zero3": 2}  # and their ranks
STEPS, EVERY = 6, 2  # the steps of a run, and those between checkpoints


class Place(NamedTuple):
    """Where runs of a strategy are made."""

    ranks: ForkedRanks
    work: Path
    sample: Path
    strategy: str = "single"

    @property
    def out(self) -> Path:
        return self.work / self.strategy

    def run(self, **job: Any) -> list[int]:
        """The exit codes of a run into `out`."""
        settings = [
            f"dataset={self.sample}",
            f"model={json.dumps({'config': TINY})}",
            f"output={self.out}",
            f"strategy={self.strategy}",
            *(["deepspeed=null"] if self.strategy != "zero3" else []),
            f"training.max_steps={STEPS}",
            f"training.save_steps={EVERY}",
            "training.save_total_limit=2",
            "training.per_device_train_batch_size=1",
        ]
        recipe = str(ROOT / "recipes" / "train" / "sample.yaml")
        jobs = {"run": {"recipe": recipe, "settings": settings, **job}}
        return self.ranks.run(self.work, jobs, ranks=STRATEGIES[self.strategy]).codes

    def straight(self) -> tuple[dict[str, float], dict[str | None, str]]:
        """The seconds of the stages of a run that nobody kills, and names of the models that may be
        in its folder, by their hashes."""
        self.begin()
        assert not any(self.run()), self.errors()
        seconds = json.loads((self.work / "rank-0.json").read_text())["run"]["seconds"]
        made = {model_in(self.out): "the model"}
        if not self.earlier.exists():
            self._make_earlier()
        return seconds, made | {None: "no model", model_in(self.earlier): "the earlier model"}

    @property
    def earlier(self) -> Path:
        """The folder of an earlier model, which runs find in theirs."""
        return self.work / "earlier"

    def begin(self) -> None:
        """Leaves nothing but an earlier model in `out`."""
        shutil.rmtree(self.out, ignore_errors=True)
        if self.earlier.exists():
            shutil.copytree(self.earlier, self.out)

    def errors(self) -> str:
        """What the ranks wrote last."""
        return (self.work / "stderr").read_text()[-3000:]

    def _make_earlier(self) -> None:
        left_out = shutil.ignore_patterns("checkpoint-*", "runs", "run.json")
        shutil.copytree(self.out, self.earlier, ignore=left_out)
        path = self.earlier / "model.safetensors"
        content = bytearray(path.read_bytes())
        content[-2] ^= 1
        path.write_bytes(content)


def model_in(folder: Path) -> str | None:
    """A hash of the model in a folder; None where its description is missing."""
    if not (folder / "chatdata.json").is_file():
        return None
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


class Left(NamedTuple):
    """What a kill left, and what became of the run that went on."""

    was_killed: bool
    model: str
    checkpoints: int
    after: str


def attempt(place: Place, kill: list[Any], models: dict[str | None, str]) -> Left:
    """What a kill left. `kill` is as in `stages`, `models` as of `straight`."""
    place.begin()
    was_killed = any(place.run(kill=kill))
    model = models.get(model_in(place.out), "HALF A MODEL")
    checkpoints = len(list(place.out.glob("checkpoint-*")))
    if any(place.run(resume=True)):
        return Left(was_killed, model, checkpoints, f"NOT RESUMED: {place.errors()}")
    is_same = models.get(model_in(place.out)) == "the model"
    return Left(was_killed, model, checkpoints, "the model" if is_same else "ANOTHER MODEL")
