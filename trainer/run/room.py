"""Room on the disk for what a run writes: looked at before the run, and named where it is short."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from chatdata.core import disk
from chatdata.core.errors import ChatdataError, OutputError
from trainer.config import TrainConfig
from trainer.run import checkpoints

_ADAM = 8  # bytes that AdamW keeps of a parameter, at least; others keep less
_WHOLE_ADAM = (None, "adamw_torch", "adamw_torch_fused")
_LITTLE = 2**20  # bytes: a disk with less is taken for full
_OF_TORCH = "inline_container"  # torch.save names this file where the system does not write


def check(config: TrainConfig, trained: int, planned: int) -> int:
    """The bytes that a run will write at least: its model, and the checkpoints that it keeps at a
    time, of `planned`. Raises OutputError where the disk has less room."""
    output, training = Path(config.output), config.training
    limit, is_adam = training.save_total_limit, training.optim in _WHOLE_ADAM
    at_a_time = planned if limit is None else min(planned, limit + 1)  # a new one, then an old goes
    left = max(at_a_time - len(list(output.glob("checkpoint-*"))), 0)
    model = trained * (2 if training.bf16 else 4)
    needed = model + left * (model + trained * (_ADAM if is_adam else 0))
    disk.check_room(
        output, needed, "make room, choose another output, or set training.save_total_limit"
    )
    return needed


@contextlib.contextmanager
def in_words(what: str, output: Path, ranks: int) -> Iterator[None]:
    """Raises OutputError where the disk of `output` fails while the block writes `what`, with the
    checkpoint that the run can go on from."""
    try:
        yield
    except ChatdataError:
        raise
    except Exception as error:
        if (reason := disk.problem(error, [output]) or _of_torch(error, output)) is None:
            raise
        folder, _ = checkpoints.choose(output, ranks)
        goes_on = f"--resume goes on from '{folder}'" if folder else "there is no whole checkpoint"
        raise OutputError(f"{what} is not saved: {reason.rstrip('.')}; {goes_on}.") from error


def _of_torch(error: Exception, output: Path) -> str | None:
    """What torch.save did not say: its error names neither the disk nor the reason."""
    if _OF_TORCH not in str(error):
        return None
    if shutil.disk_usage(output).free < _LITTLE:
        full = OSError(errno.ENOSPC, "", str(output / "file"))
        return disk.problem(full)
    return f"files cannot be written to '{output}'; look at its disk, and at your quota"
