"""A dataset by its name: a folder, or `org/name@1.2.0` on the Hub, which is one commit for good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chatdata.publish import pull


@dataclass(frozen=True, slots=True)
class Located:
    """Where a dataset's files are, and what they are of, where they are of a published version:
    `repo`, `tag`, `commit`, `version` and `content_hash`."""

    folder: Path
    provenance: dict[str, str | None] | None = None

    def __str__(self) -> str:
        if self.provenance is None:
            return f"'{self.folder}'"
        own = self.provenance
        name = f"{own['repo']} {own['tag'] or own['version']}"
        return f"{name}, commit {own['commit']}, {own['content_hash']}"


def locate(
    dataset: str, allow_moving: bool = False, note: Callable[[str], None] = lambda text: None
) -> Located:
    """The folder that a dataset is in; a version on the Hub is downloaded, its hashes checked.

    What is in the Hub's cache is not asked for again, so each process may call this. Raises a
    ChatdataError for a branch, which moves, unless `allow_moving`; and for what is not there.
    """
    if not pull.is_published(dataset):
        return Located(Path(dataset))
    fetched = pull.fetch(dataset, allow_moving=allow_moving, note=note)
    return Located(fetched.folder, fetched.provenance())
