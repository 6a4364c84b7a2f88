"""Trains several recipes in turn in a single launch, for `forked_ranks`.

Processes are slow to start, so runs that are compared share them. A file holds runs by their names,
each {"recipe", "settings", "deepspeed", "resume", "kill_after", "kill"} (the last as in `stages`),
or {"digests"} to be compared; each rank writes the counts of its runs beside that file.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import torch
from accelerate.state import AcceleratorState, GradientState
from peft.tuners.trainable_tokens import layer
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from chatdata.core.errors import ChatdataError
from tests.support.stages import Stages
from trainer.config import load
from trainer.run import strategy, trainer
from trainer.train import train


def on_the_cpu(collect: Any) -> Any:
    """The function of peft that gathers the rows of tokens under ZeRO-3, made to run on a CPU."""
    cpu = torch.device("cpu")

    def collected(*args: Any) -> Any:
        with (
            mock.patch.object(layer.torch.cuda, "current_device", return_value=0),
            mock.patch.object(layer.torch, "device", return_value=cpu),
        ):
            return collect(*args)

    return collected


class Counting(trainer.Trainer):
    """Counts the batches that this rank has trained, and remembers the trainer of the run.

    `share` is the part of all weights that this rank has between its first two steps.
    """

    last: Any = None
    share = 0.0
    kill_after = 0  # the step after which the first rank is killed, as by `kill -9`

    def train(self, *args: Any, **options: Any) -> Any:
        Counting.last = self
        self.batches = 0
        return super().train(*args, **options)

    def training_step(self, *args: Any, **options: Any) -> Any:
        self.batches += 1
        if self.state.global_step == 1:
            self.share = share_here(self.model)
        if self.state.global_step == self.kill_after > 0 and self.is_world_process_zero():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().training_step(*args, **options)


def share_here(network: Any) -> float:
    """The part of a model's weights that this rank has in memory."""
    weights = list(network.parameters())
    parts = [trainer._local(getattr(weight, "ds_tensor", weight)) for weight in weights]
    whole = sum(getattr(w, "ds_numel", w.numel()) for w in weights)
    return round(sum(part.numel() for part in parts) / whole, 3)


def run(job: dict[str, Any]) -> Any:
    if "digests" in job:
        return compared(job["digests"])
    variables = dict(os.environ)
    Counting.kill_after = job.get("kill_after", 0)
    config = load(job["recipe"], job.get("settings", ()), job.get("deepspeed"))
    stages = Stages(job.get("kill"))
    with stages.watched():
        train(config, job.get("resume", False))
    counting = Counting.last
    facts = {
        "batches": counting.batches,
        "steps": counting.state.global_step,
        "max_steps": counting.state.max_steps,
        "scheduler": type(counting.lr_scheduler).__name__,
        "share": counting.share,
        "seconds": stages.seconds,
    }
    forget(variables)
    return facts


def compared(cases: list[list[str]]) -> list[str]:
    """What this rank finds in each case, where ranks have one hash each: 'same', or the error."""
    torch.distributed.init_process_group("gloo")
    outcomes = []
    for digests in cases:
        try:
            strategy.same_on_all_ranks("embeddings", digests[torch.distributed.get_rank()])
            outcomes.append("same")
        except ChatdataError as error:
            outcomes.append(str(error))
    return outcomes


def forget(variables: dict[str, str]) -> None:
    """Makes the next run begin as in a new process."""
    os.environ.clear()
    os.environ.update(variables)  # accelerate leaves its own behind
    Counting.last = None
    unset_hf_deepspeed_config()
    AcceleratorState._reset_state()
    GradientState._reset_state()
    gc.collect()


def run_all(file: Path) -> NoReturn:
    """Runs what a file lists, as the rank that the environment names, and ends the process."""
    programs: list[str] = []  # that the runs start
    sys.addaudithook(
        lambda event, args: programs.append(str(args[0])) if event == "subprocess.Popen" else None
    )
    trainer.Trainer = Counting  # type: ignore[misc]
    Layer = layer.TrainableTokensLayer
    Layer._collect_token_weights = on_the_cpu(Layer._collect_token_weights)
    strategy._check_adapter = lambda *_: None
    done = {name: run(job) for name, job in json.loads(file.read_text()).items()}
    done["programs"] = {"numactl": programs.count("numactl")}
    file.with_name(f"rank-{os.environ['RANK']}.json").write_text(json.dumps(done))
    strategy.run_to_the_end(strategy.leave)
