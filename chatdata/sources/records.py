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
import json
import re
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from chatdata.core.errors import SourceError
from chatdata.sources import _containers, _preference, _shape, _tables
from chatdata.sources._gzip import Gunzip
from chatdata.sources._shape import IsRecord
from chatdata.sources._streams import Unzstd, as_utf8
from chatdata.sources.batches import Cut, File, Place, Problem
from chatdata.sources.values import excerpt, excerpt_of_bytes

if TYPE_CHECKING:
    import pyarrow as pa

_TEXTS = tuple(
    f"{kind}{packed}" for packed in ("", ".gz", ".zst") for kind in (".json", ".jsonl", ".ndjson")
)
SUFFIXES = (*_TEXTS, ".parquet")
READABLE = (*SUFFIXES, *_containers.TABLES, _containers.ARROW, *_containers.ARCHIVES)
_CHUNK = 1 << 22
_START = 1 << 22
_SAMPLE = 1 << 16
_BOM = b"\xef\xbb\xbf"
_NO_TEXT = frozenset(["\ufffd", "\x7f", *map(chr, {*range(32)} - {9, 10, 12, 13})])
_AHEAD = 4096
_BOUNDARY = 64  # characters, that may stand between two values
_BUFFER = 1 << 20  # lines of conversations are long
_PARQUET_ROWS = 1024
_SEPARATORS = re.compile(r"[\s,]*")
_NEXT_ELEMENT = re.compile(r"(?:[,}\]]\s*|\n)(?=[\[{])")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # as `surrogateescape` decodes such bytes
_BRACE = re.compile(r"[\[{]")


@dataclass(frozen=True, slots=True)
class Record:
    """A JSON value and its place: `<file>:<line>`, `<file>@<byte>` or `<file>#<row>`.

    `beside` are the keys before the list in an object in which it is the first.
    """

    where: str
    value: Any
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A part of a file that holds no JSON value, why, and the text where that is known."""

    where: str
    reason: str
    detail: str
    text: str | None = None


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
    if path.suffix in (".parquet", _containers.ARROW):
        yield from _rows(path, label, keys)
        return
    beginning = start(path)
    with _open(path) as file:
        if path.name.endswith(_containers.TABLES):
            yield from _cells(file, path.name, label)
            return
        by_name = not path.name.removesuffix(".gz").removesuffix(".zst").endswith(".json")
        if _shape.is_lines(beginning, is_record, by_name=by_name):
            yield from _lines(file, label)
        else:
            yield from _values(file, label, is_record)


def _read_cut(
    path: Path, label: str, is_record: IsRecord, keys: Collection[str], cut: Cut
) -> Iterator[Record | Unreadable]:
    """Yields the values of a piece of a file that is neither packed nor in UTF-16."""
    if cut.form == "rows":
        yield from _rows(path, label, keys, cut)
        return
    with _open(path) as file:
        if cut.form == "lines":
            yield from _lines(_piece(file, cut), label, cut.number)
        elif cut.is_guessed:
            yield from _guessed_values(file, label, is_record, cut)
        else:
            yield from _values(file, label, is_record, cut, cut.place)


def _open(path: Path) -> io.BufferedReader:
    readers = {".gz": Gunzip, ".zst": Unzstd}
    raw = readers.get(path.suffix, io.FileIO)(path)
    return as_utf8(io.BufferedReader(raw, _BUFFER), _BUFFER)


def _damage(file: io.BufferedReader | Iterator[bytes]) -> str:
    """What is wrong with a packed file that was read to its end; nothing where nothing is."""
    damage = getattr(getattr(file, "raw", None), "damage", "")
    return f"the file is damaged: {damage}" if damage else ""


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
    if start.removeprefix(_BOM).lstrip()[:1] in (b"{", b"["):
        return None
    text = start[:_SAMPLE].decode(errors="replace")
    odd = [at for at, character in enumerate(text) if character in _NO_TEXT]
    if len(odd) * 4 < len(text):
        return None
    return len(text[: odd[0]].encode())


# ------------------------------------------------------------------------ a value on each line


def _piece(file: io.BufferedReader, cut: Cut) -> Iterator[bytes]:
    """Yields the lines of a piece of a file."""
    left = cut.end - file.seek(cut.start)
    while left > 0 and (line := file.readline()):
        left -= len(line)
        yield line


def _lines(
    file: io.BufferedReader | Iterator[bytes], label: str, before: int = 0
) -> Iterator[Record | Unreadable]:
    """Yields the values of lines, `before` of which stand before them."""
    number = before
    for number, line in enumerate(file, start=before + 1):
        text = line.removeprefix(_BOM) if number == 1 else line
        if text.isspace() or not text:
            continue
        item = _line(text, f"{label}:{number}")
        if isinstance(item, Unreadable) and not line.endswith(b"\n") and _damage(file):
            number -= 1  # the damage cut the line
            continue
        handed = [item]
        del line, text, item  # nobody needs them while the record is used, and they may be large
        yield handed.pop()
    if damage := _damage(file):
        yield Unreadable(f"{label}:{number + 1}", "damaged", damage)


def _line(text: bytes, where: str) -> Record | Unreadable:
    try:
        return Record(where, orjson.loads(text))
    except orjson.JSONDecodeError:
        return _line_by_json(text, where)


def _line_by_json(text: bytes, where: str) -> Record | Unreadable:
    """Reads what orjson refuses and JSON allows: lone surrogates, large numbers."""
    try:
        return Record(where, json.loads(text))
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} is not UTF-8"
    except json.JSONDecodeError as error:
        problem = f"{error.msg.removesuffix(' at')} at column {error.colno}"
    except RecursionError:
        problem = "nested too deeply"
    except ValueError:
        problem = _TOO_LARGE
    return Unreadable(where, "bad_json", problem, excerpt_of_bytes(text))


# ------------------------------------------------------- an array, or values one after another


_TOO_LARGE = "a number of too many digits"


def _text(file: io.BufferedReader) -> Iterator[str]:
    """Yields pieces of a file; bytes that are not UTF-8 are those of `_NOT_UTF8`."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    while chunk := file.read(_CHUNK):
        yield decoder.decode(chunk)
    yield decoder.decode(b"", final=True)


class _Window:
    """The part of a text stream that is being parsed, and the place of the part in the file."""

    def __init__(self, pieces: Iterator[str], place: Place) -> None:
        self.pieces = pieces
        self.text = ""
        self.at = 0
        self.in_object = place.in_object  # does the list of records stand in an object?
        self.beside = place.beside  # keys before that list, until a record has them
        self.is_utf8 = True  # what was read until now
        self.ended = False
        self._counted, self._bytes = 0, place.byte  # the bytes of the file before text[_counted]

    def read_on(self) -> bool:
        """Forgets what was parsed and reads on. Returns whether the stream had more text."""
        self.byte()
        self.text, self.at, self._counted = self.text[self.at :], 0, 0
        size = len(self.text)
        while not self.ended and len(self.text) < max(2 * size, _CHUNK):
            piece = next(self.pieces, None)
            self.ended = piece is None
            if piece:
                self.text += piece
                self.is_utf8 = self.is_utf8 and (piece.isascii() or not _NOT_UTF8.search(piece))
        return len(self.text) > size

    def skip_separators(self) -> str:
        """Skips spaces and commas. Returns the next character, or nothing at the end."""
        while True:
            separators = _SEPARATORS.match(self.text, self.at)
            self.at = separators.end() if separators else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.read_on():
                return ""

    def look_ahead(self, characters: int = _AHEAD) -> None:
        """Reads on until so many characters are known: by default, until a bracket, and what stands
        beside the bracket, can be told."""
        while len(self.text) - self.at < characters and self.read_on():
            pass

    def close(self) -> int:
        """The place behind a closing bracket and, where it stands in an object, behind that."""
        behind = _shape.behind_list(self.text, self.at + 1) if self.in_object else None
        self.in_object = self.in_object and behind is not None and self.text[behind - 1] != "}"
        return self.at + 1 if behind is None else behind

    def place(self, in_array: bool) -> Place:
        """Where parsing is, `in_array`: in a list of records."""
        return Place(self.byte(), in_array, self.in_object, self.beside)

    def byte(self) -> int:
        """The place in the file at which parsing is, in bytes."""
        parsed = self.text[self._counted : self.at]
        self._bytes += len(parsed.encode(errors="surrogateescape"))
        self._counted = self.at
        return self._bytes


def _values(
    file: io.BufferedReader,
    label: str,
    is_record: IsRecord,
    cut: Cut | None = None,
    place: Place | None = None,
) -> Iterator[Record | Unreadable]:
    """Yields the values of a file, or those that begin in a piece of it, from a place on."""
    window, in_array = _window(file, place), place.in_array if place else False
    while window.skip_separators():
        if cut is not None and window.byte() >= cut.end:
            cut.reached[:] = [place, window.place(in_array)]
            return
        if (behind := _bracket(window, in_array, is_record)) is not None:
            in_array = not in_array
            window.at = behind
            continue
        item = _element(window, label, is_record)
        is_last = isinstance(item, Unreadable) and window.at == len(window.text)
        if not is_last or not _damage(file):
            yield item
        if is_last:
            in_array = False
    yield from _unfinished(file, f"{label}@{window.byte()}", in_array)
    if cut is not None:
        cut.reached[:] = [place, None]


def _unfinished(file: io.BufferedReader, where: str, in_array: bool) -> Iterator[Unreadable]:
    """Yields what is wrong with the end of a file, if anything is."""
    if damage := _damage(file):
        yield Unreadable(where, "damaged", damage)
    elif in_array:
        yield Unreadable(where, "bad_json", "the file ends before the array is closed")


def _window(file: io.BufferedReader, place: Place | None) -> _Window:
    """The window at a place in a file, or at its beginning."""
    if place is not None:
        file.seek(place.byte)
    window = _Window(_text(file), place or Place(0))
    window.read_on()
    if place is None:
        window.text = window.text.removeprefix("\ufeff")
    return window


def _guessed_values(
    file: io.BufferedReader, label: str, is_record: IsRecord, cut: Cut
) -> Iterator[Record | Unreadable]:
    """Yields the values of a piece of a file from the first on that looks like a record; nothing
    where none does."""
    assert cut.place is not None
    window = _window(file, cut.place._replace(byte=max(0, cut.start - _BOUNDARY)))
    if _guess(window, is_record, cut):
        place = cut.place._replace(byte=window.byte())
        yield from _values(file, label, is_record, cut, place)


def _guess(window: _Window, is_record: IsRecord, cut: Cut) -> bool:
    """Moves to the first value that begins in a piece and looks like a record. Returns whether a
    value does."""
    while True:
        match = _NEXT_ELEMENT.search(window.text, window.at)
        window.at = match.end() if match else _end_of_search(window)
        byte = window.byte()
        if byte >= cut.end or not (match or window.read_on()):
            return False
        if match and byte >= cut.start and _is_next(window, is_record):
            return True


def first_place(path: Path, is_record: IsRecord) -> Place:
    """How the first value of a file of values is read: in a list, and that in an object, or not."""
    with _open(path) as file:
        window, in_array = _window(file, None), False
        while window.skip_separators():
            if (behind := _bracket(window, in_array, is_record)) is None:
                break
            in_array, window.at = not in_array, behind
        return Place(0, in_array, window.in_object)


def _bracket(window: _Window, in_array: bool, is_record: IsRecord) -> int | None:
    """The place behind what opens or closes a list of records; None where a value stands.

    A list may stand by itself, or in an object.
    """
    window.look_ahead()
    text, at = window.text, window.at
    if in_array:
        return window.close() if text[at] == "]" else None
    if text[at] == "[":
        return at + 1 if _shape.is_list_of_records(text, at, is_record) else None
    place = _shape.list_within(text, at, is_record) if text[at] == "{" else None
    window.in_object = place is not None
    if place is not None:
        window.beside = _shape.keys_before_list(text, at)
    return place


def _element(window: _Window, label: str, is_record: IsRecord) -> Record | Unreadable:
    """The value at the window's place; behind a value that is none the place is that of the next
    record, or the end."""
    start = window.byte()
    where = f"{label}@{start}"
    try:
        value, end = _peek(window)
    except (ValueError, RecursionError) as error:
        window.look_ahead(_SAMPLE + 1)  # as many words, wherever the window ends
        ahead = window.text[window.at : window.at + _SAMPLE + 1].encode(errors="surrogateescape")
        problem = _skip(window, is_record, error)
        return Unreadable(
            where, "bad_json", problem, excerpt_of_bytes(ahead[: window.byte() - start])
        )
    bad = None if window.is_utf8 else _NOT_UTF8.search(window.text, window.at, end)
    if bad:
        words = excerpt(window.text[window.at : end])
        window.at = bad.start()
        detail = f"byte {window.byte()} is not UTF-8"
        window.at = end
        return Unreadable(where, "bad_json", detail, words)
    window.at = end
    beside, window.beside = window.beside, ()
    return Record(where, value, beside)


def _peek(window: _Window) -> tuple[Any, int]:
    """Parses the value at the window's place, reading on while it may be incomplete."""
    while True:
        try:
            value, end = _DECODER.raw_decode(window.text, window.at)
        except json.JSONDecodeError as error:
            if _may_go_on(error) and window.read_on():
                continue
            raise
        if end == len(window.text) and window.read_on():
            continue  # a number may go on in the next piece
        return value, end


_DECODER = json.JSONDecoder()


def _may_go_on(error: json.JSONDecodeError) -> bool:
    """Whether a parse failed for want of text rather than for a mistake in the text."""
    return error.msg.startswith("Unterminated string") or error.pos >= len(error.doc) - 16


def _skip(window: _Window, is_record: IsRecord, error: Exception) -> str:
    """Moves to the next record behind a broken element, or to the end. Returns what is wrong."""
    problem = "nested too deeply" if isinstance(error, RecursionError) else _TOO_LARGE
    if isinstance(error, json.JSONDecodeError):
        problem = error.msg.removesuffix(" at").removesuffix(" starting")
    if _resume(window, is_record):
        return f"{problem}; reading goes on at byte {window.byte()}"
    return f"{problem}; nothing behind it could be read"


def _resume(window: _Window, is_record: IsRecord) -> bool:
    """Moves to the next element that is a record. Returns whether a record follows."""
    boundary = _NEXT_ELEMENT if window.text[window.at] in "{[" else _BRACE
    while True:
        match = boundary.search(window.text, window.at)
        if match is None:
            window.at = _end_of_search(window)
            if window.read_on():
                continue
            window.at = len(window.text)
            return False
        window.at = match.start() if boundary is _BRACE else match.end()
        if _is_next(window, is_record):
            return True
        boundary = _NEXT_ELEMENT


def _end_of_search(window: _Window) -> int:
    """Where the search for a boundary goes on when more text is known: a boundary may straddle."""
    return max(window.at, min(len(window.text) - _BOUNDARY, len(window.text.rstrip()) - 1))


def _is_next(window: _Window, is_record: IsRecord) -> bool:
    try:
        return is_record(_peek(window)[0])
    except (ValueError, RecursionError):
        return False


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
    if path.suffix == _containers.ARROW:
        for batch in _containers.arrow_batches(path):
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
    if damage := _damage(file):
        yield Unreadable(f"{label}#{max(number - 1, 0)}", "damaged", damage)
    elif waiting:
        yield waiting
