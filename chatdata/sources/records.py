"""Files to JSON records, read as a stream, and what could not be read.

`.jsonl` and `.ndjson` hold a value on each line, `.json` an array (or several, or values one after
another, or an object with a list of records), `.parquet`, `.arrow`, `.csv` and `.tsv` rows. Each of
the text forms may be packed (`.gz`, `.zst`) and in UTF-16, and the forms of `.json` are read by any
of these names. `.zip` and `.tar` hold files of any of these kinds.

A bad line costs that line. A broken element of an array costs that element: reading goes on at the
next element that has the shape of a record. A file that ends within a record gives all whole
records and an `Unreadable` for the tail; so does a gzip file that is damaged. A byte that is not
UTF-8 costs the record that holds the byte.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chatdata.core.errors import SourceError
from chatdata.sources import _array, _containers, _lines, _preference, _shape, _tables
from chatdata.sources._gzip import Gunzip
from chatdata.sources._record import Record, Unreadable, damage_of
from chatdata.sources._shape import IsRecord
from chatdata.sources._streams import Unzstd, UnzstdFrames, as_utf8
from chatdata.sources.batches import Cut, File, Place, Problem
from chatdata.sources.values import excerpt

__all__ = [
    "READABLE",
    "SUFFIXES",
    "Record",
    "Unreadable",
    "first_place",
    "of_record",
    "read",
    "read_files",
    "start",
    "unpack",
    "unpacked",
]

if TYPE_CHECKING:
    import pyarrow as pa

_TEXTS = tuple(
    f"{kind}{packed}" for packed in ("", ".gz", ".zst") for kind in (".json", ".jsonl", ".ndjson")
)
SUFFIXES = (*_TEXTS, ".parquet")
ARROW, arrow_batches = _containers.ARROW, _containers.arrow_batches
READABLE = (*SUFFIXES, *_containers.TABLES, ARROW, *_containers.ARCHIVES)
_START = 1 << 22
_SAMPLE = 1 << 16
_NO_TEXT = frozenset(["\ufffd", "\x7f", *map(chr, {*range(32)} - {9, 10, 12, 13})])
_BUFFER = 1 << 20  # lines of conversations are long
_PARQUET_ROWS = 1024


def read_files(
    files: Sequence[File], is_record: IsRecord, keys: Collection[str] = ()
) -> Iterator[Record | Problem]:
    """Yields the records of all files in order, and a Problem for each value that is no record.

    `keys` are those that a recipe names, beside the keys that sources read.
    """
    for file in files:
        for item in read(file.path, file.label, is_record, keys, file.cut):
            if isinstance(item, Unreadable):
                where = item.where
                yield Problem("record", where, item.reason, item.detail, where, item.text)
            elif is_record(item.value):
                yield item
            elif choice := _preference.choice(item.value):
                yield of_record(item, "preference", choice)
            else:
                yield of_record(item, "unknown_record", _describe(item.value))


def of_record(record: Record, reason: str, detail: str) -> Problem:
    """What a source cannot use a whole record for, with the words of the record."""
    words = excerpt(record.value)
    return Problem("record", record.where, reason, detail, record.where, words)


def _describe(value: object) -> str:
    if isinstance(value, dict):
        names = [str(key)[:40] for key in list(value)[:8]]
        keys = ", ".join(names).encode(errors="backslashreplace").decode()
        return f"no known shape; its keys: {keys or 'none'}"
    return f"no known shape: {type(value).__name__}"


def read(
    path: Path,
    label: str,
    is_record: IsRecord,
    keys: Collection[str] = (),
    cut: Cut | None = None,
) -> Iterator[Record | Unreadable]:
    """Yields the values of a file in order, or of a piece of it, each with its place, which begins
    with `label`.

    `is_record` decides where reading goes on after a broken element of an array; `keys` are columns
    of a table that are read beside those that sources read. Raises
    SourceError where the file cannot be read at all.
    """
    try:
        if cut is not None:
            yield from _read_cut(path, label, is_record, keys, cut)
            return
        with unpacked([File(path, label)]) as files:
            for file in files:
                yield from _read(file.path, file.label, is_record, keys)
    except OSError as error:
        raise SourceError(f"cannot read '{path}': {error.strerror or error}.") from None


@contextlib.contextmanager
def unpacked(files: Sequence[File]) -> Iterator[Sequence[File]]:
    """The files, and in place of archives the files that they hold, unpacked for the time being.

    Raises SourceError for an archive that cannot be read, or holds no file that can be.
    """
    if not any(_is_archive(file) for file in files):
        yield files
        return
    with tempfile.TemporaryDirectory(prefix="chatdata-") as folder:
        yield list(unpack(files, Path(folder)))


def unpack(files: Sequence[File], folder: Path) -> Iterator[File]:
    """Yields the files, and in place of archives the files that they hold, unpacked into a folder.

    Raises SourceError for an archive that cannot be read, or holds no file that can be.
    """
    for number, file in enumerate(files):
        yield from _inside(file, folder, number)


def _is_archive(file: File) -> bool:
    return file.path.name.endswith(_containers.ARCHIVES)


def _inside(file: File, folder: Path, number: int) -> list[File]:
    if not _is_archive(file):
        return [file]
    place = folder / str(number)
    place.mkdir(parents=True)
    inner = [suffix for suffix in READABLE if suffix not in _containers.ARCHIVES]
    members = _containers.members(file.path, tuple(inner), place)
    files = [File(path, f"{file.label}/{name}") for path, name in members if path.stat().st_size]
    if not files:
        raise SourceError(f"'{file.path}' holds no {', '.join(inner)} file; name one that does.")
    return files


def _read(
    path: Path, label: str, is_record: IsRecord, keys: Collection[str]
) -> Iterator[Record | Unreadable]:
    if path.stat().st_size == 0:
        raise SourceError(f"'{path}' is empty; name a file with conversations in it.")
    if path.suffix in (".parquet", ARROW):
        yield from _rows(path, label, keys)
        return
    beginning = start(path)
    with _open(path) as file:
        if path.name.endswith(_containers.TABLES):
            yield from _cells(file, path.name, label)
            return
        by_name = not path.name.removesuffix(".gz").removesuffix(".zst").endswith(".json")
        if _shape.is_lines(beginning, is_record, by_name=by_name):
            yield from _lines.values_of(file, label)
        else:
            yield from _array.values_of(file, label, is_record)


def _read_cut(
    path: Path, label: str, is_record: IsRecord, keys: Collection[str], cut: Cut
) -> Iterator[Record | Unreadable]:
    """Yields the values of a piece of a file that is not in UTF-16."""
    if cut.form == "rows":
        yield from _rows(path, label, keys, cut)
        return
    with _open_cut(path, cut) as file:
        if cut.form == "lines":
            yield from _lines.values_of(_lines.piece(file, cut), label, cut.number)
        elif cut.is_guessed:
            yield from _array.guessed_values(file, label, is_record, cut)
        else:
            yield from _array.values_of(file, label, is_record, cut, cut.place)


def _open(path: Path) -> io.BufferedReader:
    readers = {".gz": Gunzip, ".zst": Unzstd}
    raw = readers.get(path.suffix, io.FileIO)(path)
    return as_utf8(io.BufferedReader(raw, _BUFFER), _BUFFER)


def _open_cut(path: Path, cut: Cut) -> io.BufferedReader:
    raw = UnzstdFrames(path, cut.frame) if cut.frame else io.FileIO(path)
    return io.BufferedReader(raw, _BUFFER)


def first_place(path: Path, is_record: IsRecord) -> Place:
    """How the first value of a file of values is read: in a list, and that in an object, or not."""
    with _open(path) as file:
        return _array.first_place(file, is_record)


def start(path: Path) -> bytes:
    """The first bytes of a text file. Raises SourceError where the file holds no text."""
    with _open(path) as file:
        beginning = file.read(_START)
    if not beginning:
        raise SourceError(f"'{path}' holds no data; it may be cut off or not packed at all.")
    binary_at = _binary_at(beginning)
    if binary_at is not None:
        raise SourceError(
            f"'{path}' is not a text file (byte {binary_at} is {beginning[binary_at]:#04x}); "
            f"chatdata reads {', '.join(READABLE)}."
        )
    return beginning


def _binary_at(start: bytes) -> int | None:
    """Where a file stops being text; None where it begins like JSON, or is text but for some bytes
    that are damaged."""
    if start.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"{", b"["):
        return None
    text = start[:_SAMPLE].decode(errors="replace")
    odd = [at for at, character in enumerate(text) if character in _NO_TEXT]
    if len(odd) * 4 < len(text):
        return None
    return len(text[: odd[0]].encode())


# ---------------------------------------------------------------------------------------- rows


def _rows(
    path: Path, label: str, keys: Collection[str], cut: Cut | None = None
) -> Iterator[Record | Unreadable]:
    number = cut.number if cut else 0
    for schema, batch in _batches(path, cut):
        read_row = _tables.reader(schema)
        for row, fault in _tables.rows(batch, keys):
            where = f"{label}#{number}"
            value = Record(where, read_row(row))
            yield Unreadable(where, "bad_value", fault) if fault else value
            number += 1


def _batches(path: Path, cut: Cut | None) -> Iterator[tuple[pa.Schema, pa.RecordBatch]]:
    if path.suffix == ARROW:
        for batch in arrow_batches(path):
            parts = range(0, batch.num_rows, _PARQUET_ROWS)
            yield from ((batch.schema, batch.slice(at, _PARQUET_ROWS)) for at in parts)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            groups = range(cut.start, cut.end) if cut else None
            for batch in file.iter_batches(_PARQUET_ROWS, groups):
                yield file.schema_arrow, batch
    except pa.ArrowException as error:
        raise SourceError(f"'{path}' is not a readable Parquet file ({error}).") from None


def _cells(file: io.BufferedReader, name: str, label: str) -> Iterator[Record | Unreadable]:
    """Yields the rows of a table of text; where the file is damaged, not the row that it cuts."""
    number = 0
    waiting: Record | Unreadable | None = None
    for number, row in enumerate(_containers.csv_rows(file, name), start=1):
        if waiting:
            yield waiting
        where = f"{label}#{number - 1}"
        waiting = Record(where, row)
        if isinstance(row, str):
            waiting = Unreadable(where, "bad_value", row)
    if damage := damage_of(file):
        yield Unreadable(f"{label}#{max(number - 1, 0)}", "damaged", damage)
    elif waiting:
        yield waiting
