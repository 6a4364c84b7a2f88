"""Files of a source that a function of a Python file reads: written as JSON lines, which a source
of chatdata then reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from chatdata.core.errors import ExtensionError
from chatdata.pipeline import python_code
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.inputs import Input
from chatdata.pipeline.recipe_parts import PythonRecords
from chatdata.sources import File


def files(context: BuildContext, source: Input, options: PythonRecords) -> tuple[File, ...]:
    """Files of JSON lines with the records that the function makes of the files of a source.

    The records are numbered as lines of the file that they are of. Raises ExtensionError where the
    function fails, or yields what is no record.
    """
    make = python_code.records_of(options.model_dump(), context.recipe.code())
    folder = context.files.folder / f"records-{list(context.recipe.source).index(source.key)}"
    folder.mkdir(exist_ok=True)
    written = []
    for number, file in enumerate(source.files):
        path = folder / f"{number:05d}.jsonl"
        what = f"source '{source.name}' ({options.function})"
        with path.open("wb") as lines:
            lines.writelines(_lines(make, file, what))
        written.append(File(path, file.label))
    return tuple(written)


def _lines(make: Callable[[Path], Iterable[Any]], file: File, what: str) -> Iterator[bytes]:
    """Yields a line for each record of a file."""
    number = 0
    try:
        for record in make(file.path):
            number += 1
            if not isinstance(record, Mapping):
                raise ExtensionError(
                    f"{what} yielded a value of type {type(record).__name__} as record {number} of "
                    f"'{file.label}'; yield dictionaries, as lines of JSON hold them."
                )
            yield orjson.dumps(record) + b"\n"
    except ExtensionError:
        raise
    except Exception as error:
        raise ExtensionError(
            f"{what} failed on '{file.label}' behind record {number} "
            f"({type(error).__name__}: {error})."
        ) from error
