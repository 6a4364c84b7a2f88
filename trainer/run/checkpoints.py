"""The checkpoints of a run: what they hold, and which of them the run can go on from.

run.json                        what was started: the recipe, the data's hash, the number of ranks
checkpoint-N/chatdata-files.json    size and sha256 of each file of the checkpoint, written last
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from chatdata.core.errors import ConfigError
from chatdata.core.files import place_file
from chatdata.core.hashing import sha256_file
from chatdata.core.mappings import flatten
from trainer.config import TrainConfig

STARTED = "run.json"
LISTED = "chatdata-files.json"
# One of these holds the state of the optimizer, by the strategy.
_OPTIMIZERS = ("optimizer*", "global_step*/*optim*")

# What may change under the name that a recipe gives it.
_FILES = {"content_hash": "the dataset has changed", "base": "the model of model.path has changed"}

# Keys that may differ when a run goes on: they change nothing of what is trained.
_MAY_DIFFER = ("output", "license", "report_to", "samples")
_MAY_DIFFER_IN_TRAINING = (
    "per_device_eval_batch_size",
    "logging_steps",
    "eval_strategy",
    "eval_steps",
    "save_steps",
    "save_total_limit",
    "dataloader_num_workers",
    "run_name",
    "project",
)


def begin(output: Path, started: dict[str, Any]) -> None:
    """Writes what is started to `run.json`, for a later run with `--resume`."""
    with place_file(output / STARTED) as new:
        new.write_text(json.dumps(started, indent=2) + "\n", encoding="utf-8")


def check_output(output: Path, started: dict[str, Any], resume: bool) -> str:
    """Raises ConfigError for checkpoints of another run in the output folder, or of this run
    without `--resume`. Returns a line that says where the run begins."""
    if not resume and any(_checkpoints(output)):
        raise ConfigError(
            f"'{output}' holds checkpoints of an earlier run; continue from them with --resume, "
            "remove them, or choose another output."
        )
    folder, passed_over = choose(output, started["ranks"])
    damaged = "".join(f"; passed over: {words}" for words in passed_over)
    if folder is None:
        return f"starts from the beginning, into '{output}'{damaged}"
    key = _first_difference(_started(output), started)
    if key in _FILES:
        raise ConfigError(
            f"'{folder}' is a checkpoint of a run, and {_FILES[key]} since that run began; put it "
            "back as it was, or choose another output."
        )
    if key is not None:
        raise ConfigError(
            f"'{folder}' is a checkpoint of a run with another '{key}'; set '{key}' as it was, or "
            "choose another output."
        )
    return f"continues from '{folder}'{damaged}"


def _started(output: Path) -> dict[str, Any]:
    try:
        started: dict[str, Any] = json.loads((output / STARTED).read_text(encoding="utf-8"))
        return started
    except (OSError, ValueError):
        raise ConfigError(
            f"'{output}' has checkpoints and no {STARTED} that names their run; choose another "
            "output."
        ) from None


def choose(output: Path, ranks: int) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is whole, and what is wrong with those that are newer.

    Raises ConfigError for a checkpoint that lacks the state of the optimizer, from which a run
    would go on as another run.
    """
    passed_over: list[str] = []
    for folder in sorted(_checkpoints(output), key=_step, reverse=True):
        fault = _fault(folder, ranks)
        if fault is None:
            return folder, passed_over
        passed_over.append(f"'{folder.name}' ({fault})")
    return None, passed_over


def same_choice(output: Path, ranks: int) -> Path | None:
    """The folder of `choose`, as the first rank sees it. Must be called by all ranks."""
    if not torch.distributed.is_initialized():
        return choose(output, ranks)[0]
    chosen = [choose(output, ranks)[0] if torch.distributed.get_rank() == 0 else None]
    torch.distributed.broadcast_object_list(chosen)
    return chosen[0]


def _checkpoints(output: Path) -> list[Path]:
    return [path for path in output.glob("checkpoint-*") if re.fullmatch(r".*-\d+", path.name)]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _fault(checkpoint: Path, ranks: int) -> str | None:
    """What is wrong with a checkpoint; None where nothing is.

    One that was being written when the run was killed lacks the state of the run, which is written
    last, or the random numbers of a rank.
    """
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "it was not finished"
    random = list(checkpoint.glob("rng_state*.pth"))
    if len(random) != ranks or not all(zipfile.is_zipfile(path) for path in random):
        return f"it has the random numbers of {len(random)} whole ranks, and {ranks} train"
    _check_optimizer(checkpoint)
    return _difference(checkpoint)


def _check_optimizer(checkpoint: Path) -> None:
    if not any(path for pattern in _OPTIMIZERS for path in checkpoint.glob(pattern)):
        raise ConfigError(
            f"'{checkpoint}' has no state of the optimizer, without which the run would go on as "
            "another; put the file back, or remove the folder to go on from the one before."
        )


# ------------------------------------------------------------------------ the files of a checkpoint


class Listing(TrainerCallback):
    """Lists the files of each checkpoint, once all ranks have written theirs."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Writes the list."""
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        if state.is_world_process_zero:
            write_list(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def write_list(checkpoint: Path) -> None:
    """Writes the size and the hash of each file of a checkpoint beside them."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != LISTED)
    listed = {
        path.relative_to(checkpoint).as_posix(): [path.stat().st_size, sha256_file(path)]
        for path in files
    }
    with place_file(checkpoint / LISTED) as new:
        new.write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")


def _difference(checkpoint: Path) -> str | None:
    """The first file that is not as it was listed; None for a checkpoint without a list, whose run
    was killed before there was one."""
    try:
        listed = json.loads((checkpoint / LISTED).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return f"{LISTED} cannot be read"
    for name, (size, digest) in listed.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size:,} of {size:,} bytes"
        if _digest(path) != digest:
            return f"{name} is not what was saved"
    return None


_digests: dict[tuple[Path, int, int], str] = {}  # of files of this size and time: hashed once


def _digest(path: Path) -> str:
    stat = path.stat()
    key = (path, stat.st_size, stat.st_mtime_ns)
    if key not in _digests:
        _digests[key] = sha256_file(path)
    return _digests[key]


# ------------------------------------------------------------------------------- another run or not


def _first_difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """The first key that matters and differs between two runs; None where all are the same."""
    before, after = _compared({"base": new.get("base"), **old}), _compared(new)
    keys = [key for key in before | after if before.get(key) != after.get(key)]
    return keys[0] if keys else None


def _with_new_keys(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe as an earlier version wrote it, with the defaults of keys that it did not have."""
    try:
        return TrainConfig.model_validate(recipe).model_dump(mode="json")
    except ValueError:
        return recipe


def _compared(run: dict[str, Any]) -> dict[str, Any]:
    """The values that must not change when a run goes on, each under a key like `a.b`."""
    run = {**run, "recipe": _with_new_keys(run["recipe"])}
    recipe = {key: value for key, value in run["recipe"].items() if key not in _MAY_DIFFER}
    training = {
        key: value
        for key, value in recipe["training"].items()
        if key not in _MAY_DIFFER_IN_TRAINING
    }
    preference = dict(recipe["preference"])
    preference.pop("reference", None)  # where it is kept
    rest = {key: value for key, value in run.items() if key != "recipe"}
    return flatten({**rest, **recipe, "training": training, "preference": preference})
