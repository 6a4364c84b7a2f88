"""Files with values one after another: in an array, in an object that has one, or in none.

A broken value costs that value: reading goes on at the next that has the shape of a record.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator
from typing import Any

from chatdata.sources import _shape
from chatdata.sources._record import TOO_LARGE, Record, Unreadable, damage_of
from chatdata.sources._shape import IsRecord
from chatdata.sources.batches import Cut, Place
from chatdata.sources.values import excerpt, excerpt_of_bytes

_CHUNK = 1 << 20  # larger ones leave the processor's cache, and take half as long again
_AHEAD = 4096
BOUNDARY = 64  # characters, that may stand between two values
_EXCERPT = 1 << 16  # characters of a broken value
_SEPARATORS = re.compile(r"[\s,]*")
_NEXT_ELEMENT = re.compile(r"(?:[,}\]]\s*|\n)(?=[\[{])")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # as `surrogateescape` decodes such bytes
_BRACE = re.compile(r"[\[{]")
_DECODER = json.JSONDecoder()


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


def values_of(
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
        if not is_last or not damage_of(file):
            yield item
        if is_last:
            in_array = False
    yield from _unfinished(file, f"{label}@{window.byte()}", in_array)
    if cut is not None:
        cut.reached[:] = [place, None]


def _unfinished(file: io.BufferedReader, where: str, in_array: bool) -> Iterator[Unreadable]:
    """Yields what is wrong with the end of a file, if anything is."""
    if damage := damage_of(file):
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
        window.look_ahead(4 * _CHUNK)  # how a file is arranged may be told by a long record
        window.text = window.text.removeprefix("\ufeff")
    return window


def guessed_values(
    file: io.BufferedReader, label: str, is_record: IsRecord, cut: Cut
) -> Iterator[Record | Unreadable]:
    """Yields the values of a piece of a file from the first on that looks like a record; nothing
    where none does."""
    assert cut.place is not None
    window = _window(file, cut.place._replace(byte=max(0, cut.start - BOUNDARY)))
    if _guess(window, is_record, cut):
        place = cut.place._replace(byte=window.byte())
        yield from values_of(file, label, is_record, cut, place)


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


def first_place(file: io.BufferedReader, is_record: IsRecord) -> Place:
    """How the first value of a file of values is read: in a list, and that in an object, or not."""
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
        window.look_ahead(_EXCERPT + 1)  # as many words, wherever the window ends
        ahead = window.text[window.at : window.at + _EXCERPT + 1].encode(errors="surrogateescape")
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


def _may_go_on(error: json.JSONDecodeError) -> bool:
    """Whether a parse failed for want of text rather than for a mistake in the text."""
    return error.msg.startswith("Unterminated string") or error.pos >= len(error.doc) - 16


def _skip(window: _Window, is_record: IsRecord, error: Exception) -> str:
    """Moves to the next record behind a broken element, or to the end. Returns what is wrong."""
    problem = "nested too deeply" if isinstance(error, RecursionError) else TOO_LARGE
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
    return max(window.at, min(len(window.text) - BOUNDARY, len(window.text.rstrip()) - 1))


def _is_next(window: _Window, is_record: IsRecord) -> bool:
    try:
        return is_record(_peek(window)[0])
    except (ValueError, RecursionError):
        return False
