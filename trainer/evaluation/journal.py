"""Replies on disk as they come: what was paid for is never asked again, whatever ends the run."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from chatdata.core.errors import OutputError
from trainer.evaluation.endpoint import Reply


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps other runs out of a folder. Raises OutputError where a run is in it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise OutputError(f"a run is writing to '{folder}'; wait for its end.") from None
    finally:
        os.close(handle)


class Journal:
    """The replies of a run, a line each, each on the disk before the next is taken."""

    def __init__(self, path: Path) -> None:
        self.replies: dict[str, Reply] = {}
        whole = path.read_bytes() if path.exists() else b""
        whole = whole[: whole.rfind(b"\n") + 1]  # the last line of a killed run may be half
        for line in whole.splitlines():
            values: dict[str, Any] = json.loads(line)
            self.replies[values["key"]] = Reply(**values)
        self._file = path.open("ab")
        self._file.truncate(len(whole))

    @staticmethod
    def keys_in(path: Path) -> set[str]:
        """The keys of the replies in a file, which need not be there."""
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        return {json.loads(line)["key"] for line in lines if line.endswith(b"\n")}

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, reply: Reply) -> None:
        """Keeps a reply; what failed is only kept in memory, and asked again by the next run."""
        self.replies[reply.key] = reply
        if reply.failure is None:
            line = json.dumps(reply._asdict(), ensure_ascii=True)
            self._file.write(line.encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
