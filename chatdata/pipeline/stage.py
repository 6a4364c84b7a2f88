"""A stage of a build: what it does to a task, which files it reads and writes, and on what of the
recipe it depends.

A stage sees a context that holds nothing but what it depends on, so what it makes of a task is a
function of that context, of the task, and of the content of the files that it reads. Their hash is
the key under which a cache keeps the result.
"""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Generic

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import BaseModel

from chatdata.pipeline import partitions
from chatdata.pipeline.cache import Kept, Store
from chatdata.pipeline.context import BuildContext, EncoderChoice
from chatdata.pipeline.engines import Result, Task
from chatdata.pipeline.partitions import Batches, PartitionFiles
from chatdata.pipeline.recipe import Recipe
from chatdata.pipeline.recipe_parts import SourceOptions
from chatdata.steps.figures import FiguresByKey


@dataclass(frozen=True, slots=True)
class Reads:
    """What a stage reads for a task: files and folders as a whole, and batches of files."""

    files: tuple[Path, ...] = ()
    batches: tuple[Batches, ...] = ()


def _nothing(context: BuildContext, task: Any) -> tuple[Path, ...]:
    return ()


InLayers = Callable[["BuildContext", "Store", Task], "Done[Result] | None"]


@dataclass(frozen=True, slots=True)
class Stage(Generic[Task, Result]):
    """A stage, its `name` in words, and its `function` of a context and a task.

    `keys` are the keys of a recipe on which it depends; of the sources it sees the names alone.
    `parts_of_context` are the further fields of a context that it sees. `reads` and `writes` give
    the files of a task in the work folder; some that a stage may write may not be there afterwards.
    `leaves` gives those of the files it writes that only tasks of other stages read.
    `in_layers` does what `function` does and keeps less than a whole task at a time, or is None
    for a context in which it cannot.
    """

    name: str
    function: Callable[[BuildContext, Task], Result]
    keys: frozenset[str]
    reads: Callable[[BuildContext, Task], Reads]
    writes: Callable[[BuildContext, Task], tuple[Path, ...]] = _nothing
    in_layers: InLayers[Task, Result] | None = None
    parts_of_context: frozenset[str] = frozenset()
    leaves: Callable[[BuildContext, Task], tuple[Path, ...]] = _nothing

    def narrowed(self, context: BuildContext) -> BuildContext:
        """The context with nothing but what the stage depends on.

        The cache is no part of it: a stage that asks it gets what it would make itself.
        """
        kept = {"files", *self.parts_of_context}
        nothing: dict[str, Any] = {"figures": FiguresByKey(), "encoder": EncoderChoice()}
        changed = {
            item.name: nothing.get(item.name, item.default)
            for item in fields(context)
            if item.name not in kept and item.name != "recipe"
        }
        return replace(context, recipe=_narrowed(context.recipe, self.keys), **changed)


def _narrowed(recipe: Recipe, keys: frozenset[str]) -> Recipe:
    """The recipe with the values of some keys, and the names of the sources."""
    nothing: dict[str, Any] = {"name": "any", "version": "0.0.0"}
    update = {
        key: nothing.get(key, about.get_default(call_default_factory=True))
        for key, about in Recipe.model_fields.items()
        if key not in keys
    }
    update["source"] = {
        key: SourceOptions(format=options.format, name=options.name)
        for key, options in recipe.source.items()
    }
    return recipe.model_copy(update=update)


# ------------------------------------------------------------------------------------- running


@dataclass(frozen=True, slots=True)
class Done(Generic[Result]):
    """What a stage made of a task, and the share of it that was in the cache."""

    result: Result
    kept: float


def run(
    stage: Stage[Task, Result], context: BuildContext, store: Store | None, task: Task
) -> Done[Result]:
    """What a stage makes of a task, in the context that the stage sees; from the cache where it is
    there. The files that it writes are then those that it wrote before."""
    if stage.in_layers and store and (layered := stage.in_layers(context, store, task)):
        return layered
    done, digest = kept(stage, context, store, task)
    if done is not None:
        return done
    result = stage.function(replace(context, store=store), task)
    keep(stage, context, store, task, digest, result)
    return Done(result, 0)


def kept(
    stage: Stage[Task, Result], context: BuildContext, store: Store | None, task: Task
) -> tuple[Done[Result] | None, str]:
    """What the cache has of a task, whose files are then there, and its key; None where it has
    nothing. What an earlier run of the task wrote is removed."""
    for path in stage.writes(context, task):
        path.unlink(missing_ok=True)
    if store is None:
        return None, ""
    digest = key(stage, context, store.versions, task)
    entry = store.cache.load(stage.name.replace(" ", "-"), digest)
    if entry is None:
        return None, digest
    for name, content in entry.files.items():
        (context.files.folder / name).write_bytes(content)
    return Done(entry.result, 1), digest


def keep(
    stage: Stage[Task, Result],
    context: BuildContext,
    store: Store | None,
    task: Task,
    digest: str,
    result: Result,
) -> None:
    """Puts what a stage made of a task into the cache, under the key of the task."""
    if store is not None:
        written = stage.writes(context, task)
        made = {path.name: path.read_bytes() for path in written if path.is_file()}
        store.cache.save(stage.name.replace(" ", "-"), digest, Kept(result, made))


# ---------------------------------------------------------------------------------------- keys


def key(stage: Stage[Task, Any], context: BuildContext, versions: str, task: Task) -> str:
    """The hash of all that the result of a task depends on."""
    return key_of(stage.name, context, versions, task, stage.reads(context, task))


def key_of(name: str, context: BuildContext, versions: str, task: Any, reads: Reads) -> str:
    """The hash of a name, of all that a context holds, of a task and of the content of files."""
    total = hashlib.blake2b(digest_size=32)
    for piece in (name, versions, *_plain(context), *_plain(task)):
        total.update(f"{len(piece)}:{piece}".encode())
    for digest in _digests(reads):
        total.update(len(digest).to_bytes(1, "big") + digest)
    return total.hexdigest()


def _plain(value: Any) -> Iterator[str]:
    """Yields texts that are the same for equal values alone."""
    if isinstance(value, tuple | list):
        yield f"{type(value).__name__} of {len(value)}"
        for item in value:
            yield from _plain(item)
    elif is_dataclass(value) and not isinstance(value, type | PartitionFiles):
        yield type(value).__name__
        for item in fields(value):
            yield item.name
            yield from _plain(getattr(value, item.name))
    else:
        yield _text(value)


def _text(value: Any) -> str:
    """A text that is the same for equal values alone."""
    if isinstance(value, PartitionFiles):
        return f"parts {value.parts}"
    if isinstance(value, BaseModel):
        return f"{type(value).__name__} {value.model_dump_json()}"
    if isinstance(value, pl.DataFrame):
        return f"{value.schema} {value.rows()}"
    if isinstance(value, np.ndarray):  # numpy leaves out the middle of a long one
        return f"{value.dtype} {value.shape} {hashlib.blake2b(value.tobytes()).hexdigest()}"
    return "a path" if isinstance(value, Path) else repr(value)  # the files are hashed


def _digests(reads: Reads) -> Iterator[bytes]:
    """Yields hashes of the content that is read."""
    for path in reads.files:
        yield path.name.encode()[:200]
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            yield _file_digest(file) if file.is_file() else b""
    for batches in reads.batches:
        yield b"batches"
        for _, batch in partitions.each(batches):
            yield from _batch_digest(batch)


def _file_digest(path: Path) -> bytes:
    facts = path.stat()
    return _digest_of(path, facts.st_size, facts.st_mtime_ns, facts.st_ino)


@functools.lru_cache(maxsize=64)
def _digest_of(path: Path, *state: int) -> bytes:
    """The hash of a file in this state: a tokenizer is hashed once a process."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).digest()


def _batch_digest(batch: pa.RecordBatch) -> Iterator[bytes]:
    """Yields the hash of a batch, where it has rows."""
    if batch.num_rows:
        total = hashlib.blake2b(str(batch.schema).encode(), digest_size=32)
        for column in batch.columns:
            for piece in _column_bytes(column):
                total.update(piece)
        yield total.digest()


def _column_bytes(column: pa.Array) -> Iterator[Any]:
    """Yields buffers that are the same for equal values: those of Arrow hold more at their ends."""
    values = pl.Series(column)
    yield values.is_null().to_numpy().tobytes()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        yield values.str.len_bytes().fill_null(0).to_numpy().tobytes()
        yield "".join(values.drop_nulls()).encode()
    elif values.dtype.is_numeric():
        yield values.fill_null(0).to_numpy().tobytes()
    else:
        yield repr(values.to_list()).encode()


# ------------------------------------------------------------------------------------ versions

_PACKAGE = "chatdata-sft"


@functools.cache
def versions() -> str:
    """A hash of chatdata's files, of Python, and of the packages that chatdata names."""
    total = hashlib.blake2b(platform.python_version().encode(), digest_size=32)
    root = Path(__file__).parent.parent
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            total.update(path.relative_to(root).as_posix().encode() + b"\0")
            total.update(path.read_bytes())
    for name in sorted(_packages()):
        total.update(f"{name} {_version(name)}\n".encode())
    return total.hexdigest()


def _packages() -> Iterable[str]:
    """The packages that chatdata names as its requirements, of all extras."""
    try:
        named: Sequence[str] = metadata.requires(_PACKAGE) or ()
    except metadata.PackageNotFoundError:
        named = ()
    return {*map(_name, named), "polars", "pyarrow", "tokenizers", "transformers", "langdetect"}


def _name(requirement: str) -> str:
    end = next((n for n, c in enumerate(requirement) if not (c.isalnum() or c in "-_.")), None)
    return requirement[:end]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
