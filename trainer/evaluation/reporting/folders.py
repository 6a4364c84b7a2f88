"""The folders that the commands of an evaluation have written, told apart by their files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from chatdata.core.errors import ConfigError
from chatdata.core.hashing import sha256_file
from trainer.evaluation import answers

Made = TypeVar("Made")

# The files that tell what has written a folder; the first kind of which all are there.
KINDS = {
    "judge": ("verdicts.jsonl", "summary.json"),
    "run-code": ("results.jsonl", "summary.json"),
    "benchmark": ("results.json",),
    "arena": ("clicks.jsonl", "summary.json"),
}
ANSWERS = "answers"


class Run(NamedTuple):
    """A folder of a run, or a file of answers; `kind` is the command that wrote it."""

    kind: str
    path: Path

    @property
    def name(self) -> str:
        """What the page calls it."""
        return self.path.resolve().name

    def files(self) -> list[dict[str, Any]]:
        """The files that the page is made of, with their hashes."""
        names = [self.path] if self.path.is_file() else [self.path / n for n in read_of(self.kind)]
        return [
            {"path": path.name, "bytes": path.stat().st_size, "sha256": sha256_file(path)}
            for path in names
            if path.exists()
        ]


def read_of(kind: str) -> tuple[str, ...]:
    """The files of a kind of run that the page is made of; the last has the settings."""
    before = {"judge": ("settings.json", "pairs.jsonl"), "arena": ("settings.json",)}
    return (*before.get(kind, ()), *KINDS[kind])


def runs(paths: Sequence[Path]) -> tuple[list[Run], list[Path]]:
    """The runs at these paths, in order, and what beside them was left out.

    A folder that is no run is looked into: its runs and files of answers count. Raises ConfigError
    for a folder in which nothing is known, and for a file that holds no answers.
    """
    taken: dict[Path, Run] = {}
    left: list[Path] = []
    for path in paths:
        run = _run(path)
        if run is not None:
            taken.setdefault(path.resolve(), run)
            continue
        inside = [(child, _inside(child)) for child in sorted(path.iterdir()) if _is_seen(child)]
        if not any(run for _, run in inside):
            raise ConfigError(
                f"'{path}' is no folder of an evaluation: {', '.join(map(_needs, KINDS))}, and "
                "it has none of them."
            )
        taken |= {child.resolve(): run for child, run in inside if run is not None}
        left += [child for child, run in inside if run is None]
    return list(taken.values()), left


def _run(path: Path) -> Run | None:
    if path.is_file():
        answers.read(path)
        return Run(ANSWERS, path)
    for kind, files in KINDS.items():
        if all((path / file).exists() for file in files):
            return Run(kind, path)
    return None


def _inside(path: Path) -> Run | None:
    """The run that a folder of runs holds here; not every file of lines is a file of answers."""
    if path.is_dir() or path.suffix == ".jsonl":
        try:
            return _run(path)
        except ConfigError:
            return None
    return None


def _is_seen(path: Path) -> bool:
    return not path.name.startswith(".") and (path.is_dir() or path.suffix == ".jsonl")


def _needs(kind: str) -> str:
    return f"{kind} writes {' and '.join(KINDS[kind])}"


# ------------------------------------------------------------------------------------------ files


def read(path: Path) -> Any:
    """The values of a file of JSON. Raises ConfigError for a file that has none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"'{path}' cannot be read ({error}).") from None


def lines(path: Path) -> list[Mapping[str, Any]]:
    """The objects of a file of lines. Raises ConfigError for a line that is none."""
    return [
        answers.objects(line, f"'{path}', line {number}") for number, line in answers.lines(path)
    ]


def whole(run: Run, make: Callable[[Run], Made]) -> Made:
    """What `make` makes of a run. Raises ConfigError where a value of its files is missing, or is
    of another kind."""
    try:
        return make(run)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ConfigError(
            f"'{run.path}' is not what this version's {run.kind} writes "
            f"({type(error).__name__}: {error}); run that command again."
        ) from None
