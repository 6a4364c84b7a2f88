"""Lines on disk as they come: what was paid for is never asked again, whatever ends the run."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from chatdata.core import files
from chatdata.core.errors import OutputError

SETTINGS = "settings.json"  # of a run, in its folder


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps other runs out of a folder. Raises OutputError where a run is in it."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(files.locked(folder))
        except BlockingIOError:
            raise _taken(folder) from None
        yield


def check_same_run(settings: Mapping[str, Any], out: Path, what: str = "run") -> None:
    """Raises OutputError where a folder holds a run with other settings, or files of no run. `what`
    is what errors call a run."""
    path = out / SETTINGS
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        differing = [key for key in settings if before.get(key) != settings[key]]
        if differing:
            raise OutputError(
                f"'{out}' holds another {what}: {', '.join(differing)} differ; choose another "
                "--out."
            )
    elif any(out.iterdir()):
        raise OutputError(f"'{out}' holds other files; choose an empty folder with --out.")


def read(path: Path) -> list[Any]:
    """The values of a file of lines, which need not be there. Half a line, as a run leaves it that
    is killed in a write, is none."""
    whole = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in whole[: whole.rfind(b"\n") + 1].splitlines()]


class Lines:
    """A file of values, a line each, each on the disk before the next is taken.

    `kept` are the values that the file had. Raises OutputError where a run is writing to the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise _taken(path) from None
        self.kept = read(path)
        self._file.truncate(path.read_bytes().rfind(b"\n") + 1)

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, value: object) -> None:
        """Writes a value."""
        self._file.write(json.dumps(value).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _taken(path: Path) -> OutputError:
    return OutputError(f"a run is writing to '{path}'; wait for its end.")
