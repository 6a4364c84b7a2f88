"""One verdict a check on whether a folder is what its manifest says: bytes first, tokens last."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import polars as pl
import pyarrow as pa

from chatdata.core import disk, html
from chatdata.core.errors import ChatdataError, OutputError, VerifyError
from chatdata.pipeline.progress import Progress, silent
from chatdata.verify import checks
from chatdata.verify.checks import Check, Folder

_MOST_PROBLEMS = 20  # of one check; further problems are counted


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a check, which is ok, failed or skipped, and its problems in words."""

    check: str
    about: str  # what is right where the outcome is ok
    outcome: str
    problems: list[str] = field(default_factory=list)


class Verdicts(list[Verdict]):
    """The verdicts on a dataset, in the order of the checks, which notebooks show as a table."""

    def _repr_html_(self) -> str:
        """The verdicts with their problems, as notebooks show them."""
        marks = {"ok": "✓", "failed": "✗", "skipped": "–"}
        rows = [
            (
                f"{marks[verdict.outcome]} {verdict.check}",
                verdict.about,
                "; ".join(verdict.problems),
            )
            for verdict in self
        ]
        return html.table(("check", "what is right", "problems"), rows)


def verify_folder(folder: Path, *, everything: bool = False) -> list[Verdict]:
    """The verdicts on a folder that has no problem. See `verdicts_on` for `everything`.

    Raises VerifyError with the first problem, and OutputError where the folder has no manifest.
    """
    verdicts = verdicts_on(folder, everything=everything)
    demand(verdicts, str(folder))
    return verdicts


def demand(verdicts: Sequence[Verdict], name: str) -> None:
    """Raises VerifyError with the first problem of the folder of this name, if it has any."""
    failed = [verdict for verdict in verdicts if verdict.outcome == "failed"]
    if failed:
        more = "" if len(failed) == 1 else f" ({len(failed)} checks failed)"
        raise VerifyError(f"'{name}' fails its verification: {failed[0].problems[0]}{more}.")


def verdicts_on(
    folder: Path,
    *,
    everything: bool = False,
    progress: Progress = silent,
) -> list[Verdict]:
    """One verdict for each check. With `everything` all rows are rendered again, else a sample.

    Raises OutputError where the folder has no manifest that can be read, and where a disk is full
    or a file may not be opened.
    """
    checked = Folder(folder, everything)
    stages = checks.stages(checked)
    verdicts: list[Verdict] = []
    for stage in stages:
        is_sound = all(verdict.outcome == "ok" for verdict in verdicts)
        for name, check in stage.items():
            progress(f"verifying {name}", len(verdicts), sum(map(len, stages)))
            verdicts.append((_judge if is_sound else _skip)(name, check, checked))
    return verdicts


def unknown_files(folder: Path) -> list[str]:
    """The files of a folder that do not belong to the dataset, and that no reader takes for it."""
    return Folder(folder, False).unknown_files()


def _judge(name: str, check: Check, checked: Folder) -> Verdict:
    problems: list[str] = []
    try:
        remaining = iter(check(checked))
        problems += islice(remaining, _MOST_PROBLEMS)
        if more := sum(1 for _ in remaining):
            problems.append(f"and {more:,} more")
    except (
        ChatdataError,
        pa.ArrowException,
        pl.exceptions.PolarsError,
        OSError,
        ValueError,
    ) as error:
        if words := disk.problem(error):  # which says nothing of the dataset
            raise OutputError(words) from error
        problems.append(str(error).splitlines()[0].removesuffix("."))
    return Verdict(name, _about(check), "failed" if problems else "ok", problems)


def _skip(name: str, check: Check, checked: Folder) -> Verdict:
    return Verdict(name, _about(check), "skipped")


def _about(check: Check) -> str:
    return (inspect.getdoc(check) or "").splitlines()[0].removesuffix(".")
