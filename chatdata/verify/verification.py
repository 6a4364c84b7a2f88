"""Is a folder what its manifest says? One verdict a check, from the bytes to the certificate."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import polars as pl
import pyarrow as pa

from chatdata.core.errors import ChatdataError, VerifyError
from chatdata.verify import checks
from chatdata.verify.checks import Check, Folder

Progress = Callable[[str, int, int], None]
_MOST_PROBLEMS = 20  # of one check


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found: its outcome is ok, failed, or skipped."""

    check: str
    about: str  # what is right, where it is ok
    outcome: str
    problems: list[str] = field(default_factory=list)


def verify_folder(folder: Path, *, everything: bool = False) -> list[Verdict]:
    """The verdicts on a folder in which all is well.

    Raises VerifyError for the first thing that is not, naming it, and OutputError where there is
    no manifest.
    """
    verdicts = verdicts_on(folder, everything=everything)
    demand(verdicts, str(folder))
    return verdicts


def demand(verdicts: Sequence[Verdict], name: str) -> None:
    """Raises VerifyError for the first thing that is wrong with the folder of this name."""
    failed = [own for own in verdicts if own.outcome == "failed"]
    if failed:
        more = "" if len(failed) == 1 else f" ({len(failed)} checks failed)"
        raise VerifyError(f"'{name}' is not what it should be: {failed[0].problems[0]}{more}.")


def verdicts_on(
    folder: Path,
    *,
    everything: bool = False,
    progress: Progress = lambda step, done, total: None,
) -> list[Verdict]:
    """One verdict a check. With `everything`, all rows are rendered again, else a sample.

    Raises OutputError where the folder has no manifest that can be read.
    """
    own = Folder(folder, everything)
    stages = checks.stages(own)
    verdicts: list[Verdict] = []
    for stage in stages:
        is_sound = all(verdict.outcome == "ok" for verdict in verdicts)
        for name, check in stage.items():
            progress(f"verifying {name}", len(verdicts), sum(map(len, stages)))
            verdicts.append((_judge if is_sound else _skip)(name, check, own))
    return verdicts


def strangers(folder: Path) -> list[str]:
    """The files of a folder that are none of the dataset's, nor stand among them."""
    return Folder(folder, False).strangers()


def _judge(name: str, check: Check, own: Folder) -> Verdict:
    problems: list[str] = []
    try:
        found = iter(check(own))
        problems += islice(found, _MOST_PROBLEMS)
        if more := sum(1 for _ in found):
            problems.append(f"and {more:,} more")
    except (
        ChatdataError,
        pa.ArrowException,
        pl.exceptions.PolarsError,
        OSError,
        ValueError,
    ) as error:
        problems.append(str(error).splitlines()[0].removesuffix("."))
    return Verdict(name, _about(check), "failed" if problems else "ok", problems)


def _skip(name: str, check: Check, own: Folder) -> Verdict:
    return Verdict(name, _about(check), "skipped")


def _about(check: Check) -> str:
    return (inspect.getdoc(check) or "").splitlines()[0].removesuffix(".")
