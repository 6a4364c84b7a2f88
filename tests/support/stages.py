"""The stages of a run, timed, and a kill some time after the first rank has entered one of them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

from trainer.run import save, trainer


class Stages:
    """The seconds that each stage of a run has taken, the last time: `run`, `step`, `checkpoint`,
    `save`.

    `kill` is [stage, seconds, which]: the process ends so long after it has entered the stage for
    the time `which`, from 1. The kernel ends it, between any two instructions, as by `kill -9`.
    """

    def __init__(self, kill: list[Any] | None = None) -> None:
        self.kill = kill if os.environ.get("RANK", "0") == "0" else None
        self.seconds: dict[str, float] = {}
        self.entered: list[str] = []

    @contextlib.contextmanager
    def within(self, stage: str) -> Iterator[None]:
        """Times the block."""
        self.entered.append(stage)
        if self.kill and [stage, self.entered.count(stage)] == self.kill[::2]:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, max(self.kill[1], 1e-6))
        begin = time.monotonic()
        yield
        self.seconds[stage] = time.monotonic() - begin

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Times the stages of a run within the block."""

        def timed(stage: str, function: Any) -> Any:
            def call(*args: Any, **options: Any) -> Any:
                with self.within(stage):
                    return function(*args, **options)

            return call

        checkpoint = timed("checkpoint", trainer.Trainer._save_checkpoint)
        step = timed("step", trainer.Trainer.training_step)
        with (
            mock.patch.object(trainer.Trainer, "training_step", step),
            mock.patch.object(trainer.Trainer, "_save_checkpoint", checkpoint),
            mock.patch.object(save, "save", timed("save", save.save)),
            self.within("run"),
        ):
            yield
