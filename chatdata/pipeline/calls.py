"""The functions of a build that travel: a stage for its tasks, and the reading of splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic

import numpy as np

from chatdata.core.errors import ChatdataError
from chatdata.pipeline import shipping, split_reading, stage
from chatdata.pipeline.cache import Store
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.engines import Result, Task
from chatdata.pipeline.partitions import PartitionFiles
from chatdata.pipeline.shipping import Made, Parcel, Piece, Shared
from chatdata.pipeline.split_reading import SplitResult, SplitTask
from chatdata.pipeline.stage import Done, Stage
from chatdata.sources import File

_WITH_TASK = 64 * 2**20  # bytes of a file that travels with its task, at most
_HEAD = 16  # bytes by which an encoding is known


@dataclass(frozen=True, slots=True)
class StageCall(Generic[Task, Result]):
    """A stage in the context that it sees, and where its results are kept."""

    stage: Stage[Task, Result]
    context: BuildContext
    store: Store | None

    def __call__(self, task: Task) -> Done[Result]:
        """What the stage makes of a task here."""
        return stage.run(self.stage, self.context, self.store, task)

    def known(self, task: Task) -> tuple[Done[Result] | None, str]:
        """What is in the cache, and the key of the task there."""
        return stage.kept(self.stage, self.context, self.store, task)

    def parcel(self, task: Task) -> Parcel:
        """What the stage reads."""
        reads = self.stage.reads(self.context, task)
        files, folder = self.context.files, self.context.files.folder
        common = {files.forget, files.columns, files.tokenizer}
        alone = [path for path in reads.files if path.parent == folder and path not in common]
        pieces = [Piece(path.name, shipping.mapped(path)) for path in alone if path.is_file()]
        left = tuple(path.name for path in alone if not path.is_file())
        for messages in reads.batches:
            pieces += shipping.batch_pieces(messages, folder)
        whole = [shipping.shared(path) for path in reads.files if path in common]
        return Parcel(tuple(pieces), (*whole, *self._tokenizer(reads.files)), left)

    def leaves(self, task: Task) -> tuple[str, ...]:
        """What other stages alone read; nothing where a cache keeps what the stage makes."""
        if self.store is not None:
            return ()
        return tuple(path.name for path in self.stage.leaves(self.context, task))

    def _tokenizer(self, read: tuple[Path, ...]) -> Iterator[Shared]:
        """Yields what a tokenizer is loaded from."""
        root = _tokenizer_folder(self.context)
        if root is not None and root != self.context.files.tokenizer:
            names = [path.relative_to(root).as_posix() for path in read if root in path.parents]
            if names:
                yield Shared(root, tuple(names))

    def there(self, folder: Path, places: Mapping[Shared, Path], task: Task) -> Done[Result]:
        """What the stage makes of a task in a scratch folder."""
        before = self.context.files.folder
        for item, place in places.items():
            if item.root == before or before in item.root.parents:
                _link(item, place, folder / item.root.relative_to(before))
        context = replace(self.context, files=replace(self.context.files, folder=folder))
        source, root = context.tokenizer, _tokenizer_folder(self.context)
        place_of = {item.root: place for item, place in places.items()}
        if source is not None and source.folder is not None and root in place_of:
            home = place_of[root] / source.folder.relative_to(root)
            context = replace(context, tokenizer=replace(source, folder=home))
        return Done(self.stage.function(context, task), 0)

    def arrived(self, task: Task, key: str, result: Done[Result], made: Made) -> Done[Result]:
        """The result, once what the stage made is in the work folder and in the cache."""
        shipping.save(made, self.context.files.folder)
        stage.keep(self.stage, self.context, self.store, task, key, result.result)
        return result


def _tokenizer_folder(context: BuildContext) -> Path | None:
    folder = context.tokenizer.folder if context.tokenizer else None
    return folder.parent if folder is not None and folder.is_file() else folder


def _link(item: Shared, place: Path, folder: Path) -> None:
    """Makes the files of a place files of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in item.names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(place / name)


@dataclass(frozen=True, slots=True)
class ReadCall:
    """The reading of splits of sources."""

    files: PartitionFiles

    def __call__(self, task: SplitTask) -> SplitResult:
        """What is counted of a split that is read here."""
        return split_reading.read_split(self.files, task)

    def known(self, task: SplitTask) -> tuple[SplitResult | None, str]:
        """Nothing: what is read is not kept."""
        return None, ""

    def parcel(self, task: SplitTask) -> Parcel:
        """The bytes of the splits. Large files that are not lines, or packed, travel whole,
        once a node."""
        pieces: list[Piece] = []
        large: list[Shared] = []
        for number, file in enumerate(_inputs(task)):
            if _is_large(file):
                large.append(shipping.shared(file.path))
            else:
                pieces += _pieces(file, _name(number, file))
        return Parcel(tuple(pieces), tuple(dict.fromkeys(large)))

    def leaves(self, task: SplitTask) -> tuple[str, ...]:
        """Nothing: all rows of a part have to come together."""
        return ()

    def there(self, folder: Path, places: Mapping[Shared, Path], task: SplitTask) -> SplitResult:
        """What is counted of a split that is read in a scratch folder."""
        paths = [
            places[Shared(file.path.parent, (file.path.name,))] / file.path.name
            if _is_large_there(file, places)
            else folder / _name(number, file)
            for number, file in enumerate(_inputs(task))
        ]
        moved = _moved(task, paths)
        try:
            return split_reading.read_split(replace(self.files, folder=folder), moved)
        except ChatdataError as error:
            raise _in_words_of(error, paths, _inputs(task)) from None

    def arrived(self, task: SplitTask, key: str, result: SplitResult, made: Made) -> SplitResult:
        """The result, once the rows are in the work folder."""
        split_reading.discard(self.files, task.source, task.number)
        shipping.save(made, self.files.folder)
        return result


def _inputs(task: SplitTask) -> tuple[File, ...]:
    """The files that a task reads, or the pieces of them."""
    return tuple(split.file for split in task.splits) if task.splits else task.files


def _name(number: int, file: File) -> str:
    return f"input/{number}/{file.path.name}"


def _is_large(file: File) -> bool:
    if file.cut is not None:
        return file.cut.form != "lines" or file.cut.frame is not None
    return file.path.is_file() and file.path.stat().st_size > _WITH_TASK


def _is_large_there(file: File, places: Mapping[Shared, Path]) -> bool:
    return Shared(file.path.parent, (file.path.name,)) in places


def _pieces(file: File, name: str) -> Iterator[Piece]:
    """Yields the bytes of a file; of lines its first bytes, and the lines."""
    if file.cut is None:
        if file.path.is_file():
            yield Piece(name, shipping.content(file.path))
        return
    size = file.path.stat().st_size
    for start, end in ((0, min(_HEAD, size)), (file.cut.start, file.cut.end)):
        lines = np.fromfile(file.path, np.uint8, end - start, offset=start)
        yield Piece(name, lines, start, size)


def _moved(task: SplitTask, paths: list[Path]) -> SplitTask:
    """The task with its files at these paths."""
    if not task.splits:
        files = [replace(f, path=path) for f, path in zip(task.files, paths, strict=True)]
        return replace(task, files=tuple(files))
    splits = [
        replace(split, file=replace(split.file, path=path))
        for split, path in zip(task.splits, paths, strict=True)
    ]
    return replace(task, files=(), splits=tuple(splits))


def _in_words_of(error: ChatdataError, paths: list[Path], files: tuple[File, ...]) -> ChatdataError:
    """The error with the paths that the user knows."""
    for path, file in zip(paths, files, strict=True):
        error.args = tuple(
            word.replace(str(path), str(file.path)) if isinstance(word, str) else word
            for word in error.args
        )
    return error
