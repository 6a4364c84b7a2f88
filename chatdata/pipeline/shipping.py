"""What travels to a node for a task, and what comes back: a task runs in a scratch folder of its
node, which holds what it reads, and into which it writes.

Files of a task alone travel with the task. What many tasks read (`Shared`) travels once a node.
What other tasks alone read stays with the nodes.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chatdata.pipeline import partitions
from chatdata.pipeline.engines import Result
from chatdata.pipeline.partitions import Batches

Given = TypeVar("Given", contravariant=True)
Content = npt.NDArray[np.uint8]
Made = dict[str, Content]  # what a task wrote, by names in its folder


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a file of the scratch folder, by its name there; the file is as long as `size`."""

    name: str
    content: Content
    offset: int = 0
    size: int | None = None  # None: as the bytes


@dataclass(frozen=True, slots=True)
class Shared:
    """Files that many tasks read, by their names below a folder of the first process."""

    root: Path
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parcel:
    """What travels for a task. `left` are names of files that tasks may have left with the nodes,
    since the first process does not have them."""

    pieces: tuple[Piece, ...]
    shared: tuple[Shared, ...] = ()
    left: tuple[str, ...] = ()


class Portable(Protocol[Given, Result]):
    """A function of tasks that can run where the files of the first process are not."""

    def __call__(self, task: Given) -> Result:
        """The result of a task in this process, with the files where they are."""

    def known(self, task: Given) -> tuple[Result | None, str]:
        """The result, where it is known without running the task, and the key of the task. Makes
        the files ready."""

    def parcel(self, task: Given) -> Parcel:
        """What the task reads."""

    def leaves(self, task: Given) -> tuple[str, ...]:
        """The names of files that the task may write, and that no process but a worker reads."""

    def there(self, folder: Path, places: Mapping[Shared, Path], task: Given) -> Result:
        """The result of a task whose files are in a scratch folder and in `places`."""

    def arrived(self, task: Given, key: str, result: Result, made: Made) -> Result:
        """The result of a task that ran elsewhere, once what it made is in this process's files."""


def content(path: Path) -> Content:
    """The bytes of a file."""
    return np.fromfile(path, np.uint8)


def mapped(path: Path) -> Content:
    """The bytes of a file that nobody changes, memory-mapped."""
    if not path.stat().st_size:
        return np.empty(0, np.uint8)
    return np.asarray(np.memmap(path, np.uint8, "r")).view(np.ndarray)


def chunks(path: Path, size: int) -> Iterator[Content]:
    """Yields the bytes of a file, so many at a time."""
    for offset in range(0, path.stat().st_size, size):
        yield np.fromfile(path, np.uint8, size, offset=offset)


def shared(root: Path) -> Shared:
    """All files of a folder, or a file."""
    if root.is_dir():
        files = sorted(path for path in root.rglob("*") if path.is_file())
        return Shared(root, tuple(path.relative_to(root).as_posix() for path in files))
    return Shared(root.parent, (root.name,))


def batch_pieces(batches: Batches, root: Path) -> Iterator[Piece]:
    """Yields batches as files below `root` that hold one batch. At least one travels: a source
    without rows in a part has a schema."""
    last, has_any = None, False
    for last in partitions.each(batches):
        if last[1].num_rows:
            has_any = True
            yield _piece(*last, root)
    if last is not None and not has_any:
        yield _piece(*last, root)


def _piece(path: Path, batch: pa.RecordBatch, root: Path) -> Piece:
    return Piece(path.relative_to(root).as_posix(), _file_of(batch))


def _file_of(batch: pa.RecordBatch) -> Content:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return np.frombuffer(sink.getvalue(), np.uint8)


def unpack(pieces: Iterable[Piece], folder: Path) -> set[str]:
    """Writes pieces into a folder. Returns the names of their files."""
    names = set()
    for piece in pieces:
        path = folder / piece.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("r+b" if piece.name in names else "xb") as file:
            file.seek(piece.offset)
            file.write(piece.content.tobytes())
            if piece.size is not None:
                file.truncate(piece.size)
        names.add(piece.name)
    return names


def collect(folder: Path, given: set[str]) -> Made:
    """What a task has written into a folder, beside what it was given; links are not."""
    made = {}
    for home, _, names in os.walk(folder):
        for path in sorted(Path(home) / name for name in names):
            name = path.relative_to(folder).as_posix()
            if name not in given and not path.is_symlink():
                made[name] = content(path)
    return made


def save(made: Made, folder: Path) -> None:
    """Writes what a task made into the folder of the first process."""
    for name, data in made.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        data.tofile(path)


def place(home: Path, contents: Mapping[str, Iterable[Any]]) -> Path:
    """The folder `home` with files of these contents, whole or not there."""
    if home.is_dir():
        return home
    new = home.with_name(f"{home.name}-{uuid.uuid4().hex}")
    new.mkdir(parents=True)
    for name, parts in contents.items():
        path = new / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for part in parts:
                file.write(part.tobytes())
    try:
        new.rename(home)
    except OSError:  # another process of the node was first
        if not home.is_dir():
            raise
    return home
