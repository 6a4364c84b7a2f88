"""Files to JSON records, read as a stream, and what could not be read.

`.jsonl` and `.ndjson` hold a value on each line, `.json` an array (or values one after another),
`.parquet` rows; each of the text forms may be gzipped. A bad line costs that line. A broken
element of an array costs that element: reading goes on at the next element that has the shape of
a record. A file that ends within a record gives all whole records and an `Unreadable` for the tail.
"""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core.errors import SourceError
from chatdata.sources import _tables
from chatdata.sources.batches import File, Problem

SUFFIXES = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz", ".parquet")
_CHUNK = 1 << 22
_BUFFER = 1 << 20  # lines of conversations are long
_PARQUET_ROWS = 1024
_SEPARATORS = re.compile(r"[\s,]*")
_NEXT_ELEMENT = re.compile(r"\}\s*,\s*(?=\{)")


@dataclass(frozen=True, slots=True)
class Record:
    """A JSON value and its place: `<file>:<line>`, `<file>@<byte>` or `<file>#<row>`."""

    where: str
    value: Any


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A part of a file that holds no JSON value, and why."""

    where: str
    reason: str
    detail: str


IsRecord = Callable[[object], bool]


def read_files(files: Sequence[File], is_record: IsRecord) -> Iterator[Record | Problem]:
    """Yields the records of all files in order, and a Problem for each value that is no record."""
    for file in files:
        for item in read(file.path, file.label, is_record):
            if isinstance(item, Unreadable):
                yield Problem("record", item.where, item.reason, item.detail)
            elif is_record(item.value):
                yield item
            else:
                yield Problem("record", item.where, "unknown_record", _describe(item.value))


def _describe(value: object) -> str:
    if isinstance(value, dict):
        names = [str(key)[:40] for key in list(value)[:8]]
        keys = ", ".join(names).encode(errors="backslashreplace").decode()
        return f"no known shape; its keys: {keys or 'none'}"
    return f"no known shape: {type(value).__name__}"


def read(path: Path, label: str, is_record: IsRecord) -> Iterator[Record | Unreadable]:
    """Yields the values of a file in order, each with its place, which begins with `label`.

    `is_record` decides where reading goes on after a broken element of an array. Raises
    SourceError where the file cannot be read at all.
    """
    try:
        yield from _read(path, label, is_record)
    except OSError as error:
        raise SourceError(f"cannot read '{path}': {error.strerror or error}.") from None


def _read(path: Path, label: str, is_record: IsRecord) -> Iterator[Record | Unreadable]:
    if path.stat().st_size == 0:
        raise SourceError(f"'{path}' is empty; name a file with conversations in it.")
    if path.suffix == ".parquet":
        yield from _rows(path, label)
        return
    with _open(path) as file:
        start = _start(file, path)
        if path.name.removesuffix(".gz").endswith(".json") and not _is_line(start):
            yield from _values(_text(file), label, is_record)
        else:
            yield from _lines(file, label)


def _open(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return path.open("rb", buffering=_BUFFER)


def _start(file: BinaryIO, path: Path) -> bytes:
    """The first bytes of a text file. Raises SourceError where the bytes are not UTF-8 text."""
    try:
        start = file.read(_CHUNK)
        file.seek(0)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        start = _salvage(file)
    if not start:
        raise SourceError(f"'{path}' holds no data; it may be cut off or not gzipped at all.")
    binary_at = _binary_at(start.partition(b"\n")[0])
    if binary_at is not None:
        raise SourceError(
            f"'{path}' is not a text file (byte {binary_at} is {start[binary_at]:#04x}); "
            f"chatdata reads {', '.join(SUFFIXES)}."
        )
    return start


def _binary_at(line: bytes) -> int | None:
    """Where a line stops being text: at a NUL or at a byte that is not UTF-8."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(line)
    except UnicodeDecodeError as error:
        return error.start
    return line.index(b"\0") if b"\0" in line else None


def _salvage(file: BinaryIO) -> bytes:
    """The bytes that can be unpacked from the beginning of a damaged gzip file."""
    file.seek(0)
    try:
        return file.read(1024)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return b""
    finally:
        file.seek(0)


def _is_line(start: bytes) -> bool:
    """Whether the first line is a JSON object by itself, as in a `.json` file of lines."""
    line, newline, rest = start.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")
    if not newline or not rest.strip() or not line.startswith(b"{"):
        return False
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


# ------------------------------------------------------------------------ a value on each line


def _lines(file: BinaryIO, label: str) -> Iterator[Record | Unreadable]:
    number = 0
    try:
        for number, line in enumerate(file, start=1):
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if text.strip():
                yield _line(text, f"{label}:{number}")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        yield Unreadable(f"{label}:{number + 1}", "damaged", f"the file is damaged: {error}")


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
        return Unreadable(where, "bad_json", f"byte {error.start} is not UTF-8")
    except json.JSONDecodeError as error:
        problem = error.msg.removesuffix(" at")
        return Unreadable(where, "bad_json", f"{problem} at column {error.colno}")
    except RecursionError:
        return Unreadable(where, "bad_json", "nested too deeply")


# ------------------------------------------------------- an array, or values one after another


def _text(file: BinaryIO) -> Iterator[tuple[str, str]]:
    """Yields (text, problem): pieces of a file; a problem ends the file."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while chunk := file.read(_CHUNK):
            yield decoder.decode(chunk), ""
        yield decoder.decode(b"", final=True), ""
    except UnicodeDecodeError as error:
        yield error.object[: error.start].decode(errors="ignore"), "the file is not UTF-8 from here"
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        yield "", f"the file is damaged: {error}"


class _Window:
    """The part of a text stream that is being parsed, and the place of the part in the file."""

    def __init__(self, pieces: Iterator[tuple[str, str]]) -> None:
        self.pieces = pieces
        self.text = ""
        self.at = 0
        self.problem = ""
        self.ended = False
        self._counted, self._bytes = 0, 0  # the bytes of the file before text[_counted]

    def read_on(self) -> bool:
        """Forgets what was parsed and reads on. Returns whether the stream had more text."""
        self.byte()
        self.text, self.at, self._counted = self.text[self.at :], 0, 0
        size = len(self.text)
        while not self.ended and len(self.text) < max(2 * size, _CHUNK):
            piece = next(self.pieces, None)
            self.ended = piece is None
            if piece:
                self.text += piece[0]
                self.problem = self.problem or piece[1]
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

    def byte(self) -> int:
        """The place in the file at which parsing is, in bytes."""
        parsed = self.text[self._counted : self.at]
        self._bytes += len(parsed.encode(errors="surrogatepass"))
        self._counted = self.at
        return self._bytes


def _values(
    pieces: Iterator[tuple[str, str]], label: str, is_record: IsRecord
) -> Iterator[Record | Unreadable]:
    window = _Window(pieces)
    window.read_on()
    window.text = window.text.removeprefix("\ufeff")
    in_array = window.skip_separators() == "["
    window.at += in_array
    while (character := window.skip_separators()) and not (in_array and character == "]"):
        where = f"{label}@{window.byte()}"
        try:
            yield Record(where, _value(window))
        except (json.JSONDecodeError, RecursionError) as error:
            resumed, detail = _skip(window, is_record, error)
            yield Unreadable(where, "bad_json", detail)
            if not resumed:
                return
    if in_array and not character:
        detail = window.problem or "the file ends before the array is closed"
        yield Unreadable(f"{label}@{window.byte()}", "bad_json", detail)
    elif in_array:
        window.at += 1
        if window.skip_separators():
            where = f"{label}@{window.byte()}"
            yield Unreadable(where, "bad_json", "text behind the end of the array")


def _value(window: _Window) -> Any:
    """Parses the value at the window's place and moves the place to the end of the value."""
    value, window.at = _peek(window)
    return value


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


def _skip(window: _Window, is_record: IsRecord, error: Exception) -> tuple[bool, str]:
    """Moves to the next record after a broken element.

    Returns whether a record follows, and what is wrong, in words.
    """
    problem = "nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        problem = error.msg.removesuffix(" at").removesuffix(" starting")
    if _resume(window, is_record):
        return True, f"{problem}; reading goes on at byte {window.byte()}"
    return False, f"{window.problem or problem}; nothing behind it could be read"


def _resume(window: _Window, is_record: IsRecord) -> bool:
    """Moves to the next element that is a record. Returns whether a record follows."""
    while True:
        boundary = _NEXT_ELEMENT.search(window.text, window.at)
        if boundary is None:
            window.at = max(window.at, len(window.text) - 64)  # a boundary may straddle pieces
            if window.read_on():
                continue
            window.at = len(window.text)
            return False
        window.at = boundary.end()
        if _is_next(window, is_record):
            return True


def _is_next(window: _Window, is_record: IsRecord) -> bool:
    try:
        return is_record(_peek(window)[0])
    except (json.JSONDecodeError, RecursionError):
        return False


# ---------------------------------------------------------------------------------------- rows


def _rows(path: Path, label: str) -> Iterator[Record]:
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            read_row = _tables.reader(file.schema_arrow)
            for batch in file.iter_batches(_PARQUET_ROWS):
                for row in batch.to_pylist():
                    yield Record(f"{label}#{number}", read_row(row))
                    number += 1
    except pa.ArrowException as error:
        raise SourceError(f"'{path}' is not a readable Parquet file ({error}).") from None
