"""Files to JSON records, read as a stream, and what could not be read.

`.jsonl` and `.ndjson` hold one value a line, `.json` one array (or values one after another),
`.parquet` rows; each of the text forms may be gzipped. A bad line costs that line. A broken
element of an array costs that element: reading goes on at the next one that has the shape of a
record. A file that ends in mid-record gives all whole records and one `Unreadable` for the tail.
"""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core.errors import SourceError

SUFFIXES = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz", ".parquet")
_CHUNK = 1 << 22
_BUFFER = 1 << 20  # lines of conversations are long
_PARQUET_ROWS = 1024
_GLUE = re.compile(r"[\s,]*")
_NEXT_ELEMENT = re.compile(r"\}\s*,\s*(?=\{)")


@dataclass(frozen=True, slots=True)
class Record:
    """A JSON value and where it stands: `<file>:<line>`, `<file>@<byte>` or `<file>#<row>`."""

    where: str
    value: Any


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A stretch of a file that holds no JSON value, and why."""

    where: str
    reason: str
    detail: str


Shape = Callable[[object], bool]


def read(path: Path, label: str, is_record: Shape) -> Iterator[Record | Unreadable]:
    """Yields the records of one file in order, each with its place, named by `label`.

    `is_record` recognises the source's records; it decides where reading goes on behind a
    broken element of an array. Raises SourceError where the file cannot be read at all.
    """
    try:
        yield from _read(path, label, is_record)
    except OSError as error:
        raise SourceError(f"cannot read '{path}': {error.strerror or error}.") from None


def _read(path: Path, label: str, is_record: Shape) -> Iterator[Record | Unreadable]:
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
    """The first bytes of a text file. Raises SourceError where they are no UTF-8 text."""
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
    """What can be unpacked of the first bytes of a damaged gzip file."""
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


# ------------------------------------------------------------------------------ one value a line


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


# --------------------------------------------------------------- one array, or values in a row


def _text(file: BinaryIO) -> Iterator[tuple[str, str]]:
    """Yields (text, problem): pieces of a file; a problem ends it."""
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
    """The part of a text stream that is being parsed, and its place in the file."""

    def __init__(self, pieces: Iterator[tuple[str, str]]) -> None:
        self.pieces = pieces
        self.text = ""
        self.at = 0
        self.problem = ""
        self.ended = False
        self._counted, self._bytes = 0, 0  # the bytes of the file before text[_counted]

    def more(self) -> bool:
        """Forgets what was parsed and reads on. Returns whether there was more."""
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

    def skip_glue(self) -> str:
        """Skips spaces and commas. Returns the next character, or nothing at the end."""
        while True:
            glue = _GLUE.match(self.text, self.at)
            self.at = glue.end() if glue else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def byte(self) -> int:
        """The offset in the file of the place where parsing stands, in bytes."""
        stretch = self.text[self._counted : self.at]
        self._bytes += len(stretch.encode(errors="surrogatepass"))
        self._counted = self.at
        return self._bytes


def _values(
    pieces: Iterator[tuple[str, str]], label: str, is_record: Shape
) -> Iterator[Record | Unreadable]:
    window = _Window(pieces)
    window.more()
    window.text = window.text.removeprefix("\ufeff")
    in_array = window.skip_glue() == "["
    window.at += in_array
    while (character := window.skip_glue()) and not (in_array and character == "]"):
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
        if window.skip_glue():
            where = f"{label}@{window.byte()}"
            yield Unreadable(where, "bad_json", "text behind the end of the array")


def _value(window: _Window) -> Any:
    """Parses the value at the window's place and steps behind it."""
    value, window.at = _peek(window)
    return value


def _peek(window: _Window) -> tuple[Any, int]:
    """Parses the value at the window's place, reading on while it may be incomplete."""
    while True:
        try:
            value, end = _DECODER.raw_decode(window.text, window.at)
        except json.JSONDecodeError as error:
            if _may_go_on(error) and window.more():
                continue
            raise
        if end == len(window.text) and window.more():
            continue  # a number may go on in the next piece
        return value, end


_DECODER = json.JSONDecoder()


def _may_go_on(error: json.JSONDecodeError) -> bool:
    """Whether a parse failed for want of text rather than for a mistake in it."""
    return error.msg.startswith("Unterminated string") or error.pos >= len(error.doc) - 16


def _skip(window: _Window, is_record: Shape, error: Exception) -> tuple[bool, str]:
    """Moves to the next record behind a broken element.

    Returns whether there is any, and what was wrong, in words.
    """
    problem = "nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        problem = error.msg.removesuffix(" at").removesuffix(" starting")
    if _resume(window, is_record):
        return True, f"{problem}; reading goes on at byte {window.byte()}"
    return False, f"{window.problem or problem}; nothing behind it could be read"


def _resume(window: _Window, is_record: Shape) -> bool:
    """Moves to the next element that is a record. Returns whether there is any."""
    while True:
        glue = _NEXT_ELEMENT.search(window.text, window.at)
        if glue is None:
            window.at = max(window.at, len(window.text) - 64)  # a glue may straddle two pieces
            if window.more():
                continue
            window.at = len(window.text)
            return False
        window.at = glue.end()
        if _is_next(window, is_record):
            return True


def _is_next(window: _Window, is_record: Shape) -> bool:
    try:
        return is_record(_peek(window)[0])
    except (json.JSONDecodeError, RecursionError):
        return False


# ---------------------------------------------------------------------------------------- rows


def _rows(path: Path, label: str) -> Iterator[Record]:
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(_PARQUET_ROWS):
                for row in batch.to_pylist():
                    yield Record(f"{label}#{number}", row)
                    number += 1
    except pa.ArrowException as error:
        raise SourceError(f"'{path}' is not a readable Parquet file ({error}).") from None
