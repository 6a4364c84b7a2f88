"""How files are cut into pieces that are read by themselves, and what such a piece is.

Lines are cut at their ends, tables of Parquet between row groups, and the values of a list where
the next one begins, which is guessed and proved when the piece before has been read. What
Zstandard has packed in several frames (`.zst`) is cut behind the beginnings of frames. What is
packed as `.gz` or in a single frame, in UTF-16 or a table of text is read whole, and so is a file
that is damaged or cannot be looked at: its reading says what is wrong. The pieces of a file hold
what the file holds, in its order, whatever their size.
"""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from chatdata.core.errors import SourceError
from chatdata.sources import _containers, _frames, records
from chatdata.sources._array import BOUNDARY
from chatdata.sources._shape import IsRecord, is_lines
from chatdata.sources._streams import Unzstd
from chatdata.sources.batches import Cut, File, Frame

SPLIT_BYTES = 16 * 2**20  # of a file, about; of a table, unpacked
_BLOCK = 1 << 20
_MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16
_WHOLE = (".gz", _containers.ARROW, *_containers.TABLES, *_containers.ARCHIVES)
_SMALLER = 64  # a packed file of less than this part of SPLIT_BYTES is not looked at
_PLACES = 256  # of frames in so many packed bytes, at most, are kept
_Start = tuple[int, Frame | None]  # of a piece, and where unpacking begins


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
    if path.name.endswith(_WHOLE):
        return
    size = path.stat().st_size
    if path.suffix == ".zst":
        if size * _SMALLER > SPLIT_BYTES:
            yield from _of_frames(path, is_record)
        return
    form = _form(path, is_record) if size > SPLIT_BYTES else ""
    if form == "lines":
        with path.open("rb") as file:
            yield from _lines(file, size)
    elif form == "values":
        starts = [(start, None) for start in range(0, size, SPLIT_BYTES)]
        yield from _values(path, is_record, starts, size)


def _form(path: Path, is_record: IsRecord) -> str:
    """How a text file is cut: in `lines` or `values`; not at all where it is in UTF-16, or an array
    behind a mark. Raises SourceError where the file holds no text."""
    start = records.start(path)
    with Unzstd(path) if path.suffix == ".zst" else path.open("rb") as file:
        mark = file.read(3)
    if mark[:2] in _MARKS:
        return ""
    by_name = not path.name.removesuffix(".zst").endswith(".json")
    if is_lines(start, is_record, by_name=by_name):
        return "lines"
    return "values" if mark != codecs.BOM_UTF8 else ""


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


def _values(path: Path, is_record: IsRecord, starts: Sequence[_Start], size: int) -> Iterator[Cut]:
    """Yields pieces from each of these bytes up to the next; but for the first, where their values
    begin is guessed."""
    place = records.first_place(path, is_record)
    for (start, frame), (end, _) in itertools.pairwise([*starts, (size, None)]):
        guess = place if start else None
        yield Cut("values", start, end, place=guess, is_guessed=start > 0, frame=frame)


def _of_frames(path: Path, is_record: IsRecord) -> Iterator[Cut]:
    """Yields pieces of a packed file for which unpacking begins at a frame. All is unpacked to know
    their places. Raises OSError where the file is damaged."""
    frames = _frames.starts(path, SPLIT_BYTES // _PLACES)
    form = _form(path, is_record) if frames else ""
    if not form:
        return
    texts = _frames.unpacked(path, frames)
    if form == "lines":
        yield from _lines_of_frames(texts)
        return
    starts, size = _starts_of_values(texts)
    yield from _values(path, is_record, starts, size)


def _lines_of_frames(texts: Iterator[tuple[Frame, bytes]]) -> Iterator[Cut]:
    """Yields pieces that end with the first line that ends in a frame."""
    start = before = at = number = 0
    first = Frame(0, 0)
    is_due = False
    for frame, text in texts:
        is_due = is_due or (frame.unpacked == at and at - start >= SPLIT_BYTES)
        if is_due and (behind := text.find(b"\n") + 1):
            yield Cut("lines", start, at + behind, before, frame=first)
            start, before, first, is_due = at + behind, number + 1, frame, False
        number += text.count(b"\n")
        at += len(text)
    if start < at:
        yield Cut("lines", start, at, before, frame=first)


def _starts_of_values(texts: Iterator[tuple[Frame, bytes]]) -> tuple[list[_Start], int]:
    """Where pieces of values start, so far behind the beginning of a frame that what a guess looks
    at is in the frame; and the size of all."""
    starts: list[_Start] = [(0, Frame(0, 0))]
    at = 0
    for frame, text in texts:
        start = at + BOUNDARY
        if frame.unpacked == at and start - starts[-1][0] >= SPLIT_BYTES:
            starts.append((start, frame))
        at += len(text)
    return [start for start in starts if start[0] < at], at


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
