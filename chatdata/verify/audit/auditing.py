"""An audit: every check over every file, batch by batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from chatdata.core import html
from chatdata.pipeline.progress import Progress, silent
from chatdata.verify.audit import inputs
from chatdata.verify.audit.checks import CHECKS
from chatdata.verify.audit.findings import MARKS, Cases, Check, Comparison, Gather, Kind, Result
from chatdata.verify.audit.inputs import Batch, Located, Messages, Records
from chatdata.verify.audit.known import Known
from chatdata.verify.audit.token_rows import TokenRows


@dataclass(frozen=True, slots=True)
class Audit:
    """The results of all checks, and what was read."""

    results: tuple[Result, ...]
    files: tuple[str, ...]
    unknown: tuple[str, ...]  # files that hold neither conversations nor rows of tokens
    read: Counter[str]  # conversations, messages, rows, tokens

    @property
    def faults(self) -> int:
        """How many checks found faults."""
        return sum(result.outcome == "fault" for result in self.results)

    def _repr_html_(self) -> str:
        """The result of each check with an example, as notebooks show it."""
        rows = [
            (
                f"{MARKS[result.outcome]} {result.check.name}",
                result.headline,
                example.words if (example := result.cases.example) else "",
                "" if result.outcome in ("ok", "skipped") else result.check.way_out,
            )
            for result in self.results
        ]
        return html.table(("check", "what it found", "example", "way out"), rows)

    def as_json(self) -> dict[str, Any]:
        """The audit as plain values."""
        return {
            "files": list(self.files),
            "unknown_files": list(self.unknown),
            "read": dict(self.read),
            "faults": self.faults,
            "checks": [result.as_json() for result in self.results],
        }


def audit(paths: Sequence[Path], known: Known, progress: Progress = silent) -> Audit:
    """What the datasets in files and folders really train.

    Raises SourceError for a path that is not there, and for one that holds nothing to audit.
    """
    return audit_located(inputs.locate(paths), known, progress)


def audit_located(located: Located, known: Known, progress: Progress) -> Audit:
    """What the located files really train."""
    tally = _Tally(known)
    for number, part in enumerate(located.parts):
        progress(f"auditing {part.file.label}", number, len(located.parts))
        for batch in inputs.batches(part):
            tally.add(batch)
    files = tuple(part.file.label for part in located.parts)
    return Audit(tuple(tally.results()), files, located.unknown, tally.read)


class _Tally:
    """What was found so far: the cases of each check, and the small tables of comparisons."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.read: Counter[str] = Counter()
        self.kinds: set[Kind] = set()
        self._cases: dict[tuple[Kind, str], Cases] = {}
        self._tables: dict[Gather, list[pl.DataFrame]] = {}

    def add(self, batch: Batch) -> None:
        """Adds what the checks find in a batch."""
        kind = _KINDS[type(batch)]
        self.kinds.add(kind)
        self.read.update(_read(batch))
        for check in CHECKS[kind]:
            if isinstance(check, Check):
                cases = Cases() if self.known.unmet(check.needs) else check.look(batch, self.known)
                self._cases[kind, check.name] = self._cases.get((kind, check.name), Cases()) + cases
        gathers = [check.gather for check in CHECKS[kind] if isinstance(check, Comparison)]
        for gather in dict.fromkeys(gathers):
            self._tables.setdefault(gather, []).append(gather(batch))

    def results(self) -> list[Result]:
        """The result of each check of what was read, in the order of the list."""
        kinds = [kind for kind in CHECKS if kind in self.kinds]
        return [self._result(kind, check) for kind in kinds for check in CHECKS[kind]]

    def _result(self, kind: Kind, check: Check | Comparison) -> Result:
        if isinstance(check, Comparison):
            cases = check.conclude(pl.concat(self._tables[check.gather]))
        else:
            cases = self._cases[kind, check.name]
        why = self.known.unmet(check.needs)
        why = why or ("" if cases.of else cases.why or f"no {check.unit}")
        return Result(kind, check, cases, why)


_KINDS: dict[type[Batch], Kind] = {
    Messages: "messages",
    Records: "records",
    TokenRows: "tokens",
}


def _read(batch: Batch) -> dict[str, int]:
    if isinstance(batch, Messages):
        rows = batch.rows
        return {"conversations": rows["talk"].n_unique(), "messages": rows.height}
    if isinstance(batch, Records):
        return {}
    return {"rows": len(batch) + len(batch.uneven), "tokens": len(batch.ids)}
