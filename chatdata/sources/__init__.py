"""Sources: one file each, named as in a recipe.

A source is a module of this package that has

    SCHEMA   the table it yields: `schema.NODES` (trees) or `schema.MESSAGES` (conversations)
    IDS      the beginning of its ids
    read(files, name, ids) -> Iterator[Batch]

and, to be read by several workers, in pieces (`cutting`),

    splits(files, folder) -> Iterator[Split]
    read_split(split, name, names) -> Iterator[Batch]

and a docstring whose first line says what the source reads. To add a source is to add its file:
recipes, `chatdata list` and the build find the file by this rule. `batches`, `records`,
`tool_json`, `unread` and `values` have what sources share. Keys of records and messages that a
source does not look at stand in its batches, so that they are counted.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from chatdata.core.extensions import Registry
from chatdata.sources.batches import Batch, File, Problem, Schema

__all__ = [
    "ADDED",
    "EMBEDDED",
    "Batch",
    "File",
    "Problem",
    "Source",
    "about",
    "batches",
    "cutting",
    "embedded",
    "fields",
    "get",
    "is_known",
    "known",
    "names",
    "naming",
    "reads",
    "records",
    "tool_json",
    "unread",
    "values",
]

_PARTS = ("SCHEMA", "IDS", "read")
_IS_SOURCE = re.compile(r"^IDS = ", re.MULTILINE)  # in the text of a module
EMBEDDED = "chatdata:"  # before the name of a file that comes with the package


class Source(Protocol):
    """What a source module offers."""

    SCHEMA: Schema
    IDS: str
    __doc__: str

    def read(self, files: Sequence[File], name: str, ids: str, **options: Any) -> Iterator[Batch]:
        """Yields the messages of `files`, in order, in bounded batches.

        `name` is the value of the column `source`, and ids begin with `ids` and a slash. A source
        that `reads` `variables` takes the keys of records by variable, a source that `reads`
        `fields` where the parts of a conversation stand.
        """


def names() -> list[str]:
    """The names of all sources of chatdata, sorted."""
    return sorted(name for name, path in _modules().items() if _IS_SOURCE.search(_text(path)))


def about(name: str) -> str:
    """A line about the source of this name of chatdata: the first of its docstring."""
    return _text(_modules()[name]).partition("\n")[0].strip('"')


def get(name: str) -> Source:
    """The source of this name, which is one of `names()`, or that of a package."""
    return _import(name) if name in names() else ADDED[name]


def is_known(name: str) -> bool:
    """Whether chatdata, or an installed package, has a source of this name."""
    return name in names() or name in ADDED


def known() -> list[str]:
    """The names of all sources: those of chatdata, then those that packages add."""
    return [*names(), *(name for name in ADDED.added() if name not in names())]


def _adopt(name: str, thing: Any, package: str) -> Source:
    if missing := [part for part in _PARTS if not hasattr(thing, part)]:
        raise TypeError(f"a source has SCHEMA, IDS and read, and this has no {missing[0]}")
    source: Source = thing
    return source


ADDED: Registry[Source] = Registry({}, "source", "chatdata.sources", _adopt)


def reads(name: str, option: str) -> bool:
    """Whether a source takes an option of a recipe: `variables`, or `fields`."""
    return option in inspect.signature(get(name).read).parameters


def embedded(name: str) -> Path:
    """The file that comes with the package under a name that begins with EMBEDDED."""
    return Path(__file__).parent / name.removeprefix(EMBEDDED)


def _import(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def _modules() -> dict[str, Path]:
    """The files of the modules of this package that are no helpers, by name."""
    files = [path for folder in __path__ for path in Path(folder).glob("[!_]*.py")]
    return {path.stem: path for path in files}


@functools.cache
def _text(path: Path) -> str:
    """The text of a module, which is not imported: importing all of them to name the sources would
    take longer than the command `list`."""
    return path.read_text(encoding="utf-8")
