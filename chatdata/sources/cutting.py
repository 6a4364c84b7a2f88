"""How files are cut into pieces that are read by themselves, and what such a piece is.

Lines are cut at their ends, tables of Parquet between row groups, and the values of a list where
the next one begins, which is guessed and proved when the piece before has been read. What is packed
(`.gz`, `.zst`), in UTF-16 or a table of text is read whole, and so is a file that cannot be looked
at: its reading says what is wrong. The pieces of a file hold what the file holds, in its order,
whatever their size.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from chatdata.core.errors import SourceError
from chatdata.sources import _containers, records
from chatdata.sources._shape import IsRecord, is_lines
from chatdata.sources.batches import Cut, File

SPLIT_BYTES = 16 * 2**20  # of a file, about; of a table, unpacked
_BLOCK = 1 << 20
_MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16


@dataclass(frozen=True, slots=True)
class Split:
    """What is read at a time: a file, or a piece of a file. `shape` is the name of its shape, where
    the source has recognised that."""

    file: File
    shape: str | None = None


def splits(files: Sequence[File], folder: Path, is_record: IsRecord) -> Iterator[Split]:
    """Yields what the records of files are read in, one after the other; archives are unpacked into
    a folder.

    Raises SourceError for an archive that cannot be read, behind what stands before it.
    """
    for file in records.unpack(files, folder):
        yield from map(Split, pieces(file, is_record))


def pieces(file: File, is_record: IsRecord) -> Iterator[File]:
    """Yields a file in pieces, in their order; the file itself where it is small, or not cut."""
    try:
        cuts = list(_cuts(file.path, is_record))
    except (OSError, SourceError):  # reading says so, in its order
        cuts = []
    if len(cuts) < 2:
        yield file
        return
    for cut in cuts:
        yield File(file.path, file.label, cut)


def _cuts(path: Path, is_record: IsRecord) -> Iterator[Cut]:
    if path.name.endswith(".parquet"):
        yield from _row_groups(path)
        return
    size = path.stat().st_size
    if size <= SPLIT_BYTES or path.suffix in _WHOLE or path.name.endswith(_containers.ARCHIVES):
        return
    with path.open("rb") as file:
        mark = file.read(3)
        start = records.start(path)
        if mark[:2] in _MARKS:
            return
        if is_lines(start, is_record, by_name=not path.name.endswith(".json")):
            yield from _lines(file, size)
        elif mark != codecs.BOM_UTF8:
            yield from _values(path, size, is_record)


_WHOLE = (".gz", ".zst", ".arrow", ".csv", ".tsv")


def _lines(file: BinaryIO, size: int) -> Iterator[Cut]:
    """Yields pieces that end with a line."""
    start = number = 0
    while start < size:
        end = _end_of_line(file, start + SPLIT_BYTES - 1)
        yield Cut("lines", start, end, number)
        number += _line_ends(file, start, end)
        start = end


def _end_of_line(file: BinaryIO, byte: int) -> int:
    """The place behind the line that has a byte; behind the file, where it has no more lines."""
    file.seek(byte)
    while (part := file.readline(_BLOCK)) and not part.endswith(b"\n"):
        pass
    return file.tell()


def _line_ends(file: BinaryIO, start: int, end: int) -> int:
    file.seek(start)
    sizes = (min(_BLOCK, end - at) for at in range(start, end, _BLOCK))
    return sum(file.read(size).count(b"\n") for size in sizes)


def _values(path: Path, size: int, is_record: IsRecord) -> Iterator[Cut]:
    """Yields pieces of as many bytes; but for the first, where they begin is guessed."""
    place = records.first_place(path, is_record)
    yield Cut("values", 0, min(SPLIT_BYTES, size))
    for start in range(SPLIT_BYTES, size, SPLIT_BYTES):
        end = min(start + SPLIT_BYTES, size)
        yield Cut("values", start, end, place=place, is_guessed=True)


def _row_groups(path: Path) -> Iterator[Cut]:
    """Yields pieces of whole row groups."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        facts = pq.read_metadata(path)
    except pa.ArrowException:
        return
    groups = [facts.row_group(number) for number in range(facts.num_row_groups)]
    start = size = number = rows = 0
    for end, group in enumerate(groups, start=1):
        size, rows = size + group.total_byte_size, rows + group.num_rows
        if size >= SPLIT_BYTES or end == len(groups):
            yield Cut("rows", start, end, number)
            start, size, number = end, 0, rows
