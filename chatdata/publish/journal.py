"""The files that a push has uploaded, noted beside the folder for the next push.

Nothing depends on the journal: a file that it misses is offered to the Hub again, which has it.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from chatdata.core.hashing import sha256_json


@dataclass
class Journal:
    """The hashes of the files that were uploaded to a repository."""

    path: Path
    target: str
    done: set[str] = field(default_factory=set)

    @classmethod
    def beside(cls, folder: Path, endpoint: str, repo: str) -> Journal:
        """The journal of a folder for a repository, with the uploads of earlier pushes."""
        target = sha256_json([endpoint, repo])  # a hash: an address may hold a password
        journal = cls(folder.resolve().with_name(f".{folder.resolve().name}.push.jsonl"), target)
        with contextlib.suppress(OSError, ValueError):
            for line in journal.path.read_text(encoding="utf-8").splitlines():
                journal._read(line)
        return journal

    def _read(self, line: str) -> None:
        with contextlib.suppress(ValueError):  # a kill may cut a line short
            entry = json.loads(line)
            if isinstance(entry, dict) and entry.get("target") == self.target:
                self.done.add(str(entry.get("sha256")))

    def add(self, sha256: str) -> None:
        """Notes an upload. A disk that is full or read-only does not stop the push."""
        self.done.add(sha256)
        line = json.dumps({"target": self.target, "sha256": sha256}) + "\n"
        with contextlib.suppress(OSError), self.path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def forget(self) -> None:
        """Removes the journal, once the version is published."""
        with contextlib.suppress(OSError):
            self.path.unlink()
