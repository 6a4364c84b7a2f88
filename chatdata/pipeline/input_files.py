"""The files of a build as they were before it read them: their entries for the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chatdata.core.errors import SourceError
from chatdata.core.hashing import sha256_file
from chatdata.dataset.entries import SourceFile
from chatdata.pipeline.inputs import Input


@dataclass(frozen=True, slots=True)
class InputFiles:
    """What a manifest says of the files of a build, and the state of each file when it was said."""

    entries: tuple[SourceFile, ...]
    states: dict[Path, tuple[int, int]]

    @property
    def text_bytes(self) -> int:
        """The bytes of the files that are read whole. Tables do not count, of which columns
        (images) may stay unread.
        """
        return sum(entry.bytes for entry in self.entries if not entry.path.endswith(".parquet"))

    def check_unchanged(self) -> None:
        """Raises SourceError where a file has changed since: what was read is unknown then."""
        for path, state in self.states.items():
            if _state(path) != state:
                raise SourceError(f"'{path}' changed while it was read; build again.")


def look_at(inputs: Sequence[Input]) -> InputFiles:
    """The files of the inputs of a build, before they are read."""
    states = {file.path: _state(file.path) for source in inputs for file in source.files}
    return InputFiles(tuple(entry for source in inputs for entry in _entries(source)), states)


def refuse_input_in(out: Path, inputs: Sequence[Input]) -> None:
    """Raises SourceError for an input file in the folder that a build replaces."""
    for source in inputs:
        for file in source.files:
            if file.path.resolve().is_relative_to(out.resolve()):
                raise SourceError(
                    f"the input '{file.path}' lies in '{out}', which the build replaces; name the "
                    "files that are meant, or choose an --out outside the input."
                )


def _state(path: Path) -> tuple[int, int]:
    """The size and the time of the last change of a file; (-1, 0) where the file is gone."""
    try:
        facts = path.stat()
    except OSError:
        return -1, 0
    return facts.st_size, facts.st_mtime_ns


def _entries(source: Input) -> Iterator[SourceFile]:
    place = {"repo": source.repo, "revision": source.revision} if source.repo else {}
    for file in source.files:
        yield SourceFile(
            name=source.name,
            path=file.label,
            sha256=sha256_file(file.path),
            bytes=file.path.stat().st_size,
            **place,
        )
