"""A dataset by its name: a folder, or `org/name@1.2.0` on the Hub, which is always one commit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chatdata.dataset import remote_copy
from chatdata.hub.client import Note, quiet
from chatdata.publish import pull


@dataclass(frozen=True, slots=True)
class Located:
    """The folder with a dataset's files, and for a published version its `repo`, `tag`, `commit`,
    `version` and `content_hash`."""

    folder: Path
    provenance: dict[str, str | None] | None = None

    def __str__(self) -> str:
        if self.provenance is None:
            return f"'{self.folder}'"
        name = f"{self.provenance['repo']} {self.provenance['tag'] or self.provenance['version']}"
        return f"{name}, commit {self.provenance['commit']}, {self.provenance['content_hash']}"


def locate(dataset: str, allow_moving: bool = False, note: Note = quiet) -> Located:
    """The folder of a dataset. A version on the Hub, or a dataset behind a URL, is downloaded, and
    every hash checked.

    A commit in the Hub's cache is not asked for again, so each process may call this. Raises a
    ChatdataError for a branch, which moves, unless `allow_moving`, and for a version that does not
    exist.
    """
    if not pull.is_published(dataset):
        return Located(remote_copy.folder(dataset))
    fetched = pull.fetch(dataset, allow_moving=allow_moving, note=note)
    return Located(fetched.folder, fetched.provenance())
