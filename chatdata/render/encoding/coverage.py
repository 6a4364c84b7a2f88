"""A coverage sampler: it picks the parts of a stream of texts that have a shape not seen before.

A fast tokenizer that is wrong is wrong where characters meet that rarely meet: a contraction after
a tab, a run of 256 dashes. A random sample misses what is rare. So characters are sorted into 32
classes, along the lines that pre-tokenizers cut, and a text is new where three classes meet that
have not met in this way before, or where a run of letters, digits, white space or other
characters has a length not seen before. What is new does not depend on how a stream is cut into
calls.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Classes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

CODE_POINTS = 0x110000
NEEDS_FALLBACK = 0x80  # a flag beside the class: a text with the character is not for the library

_MARGIN = 32  # characters on each side of what is new

_SEPARATOR = "\x7f"
_ASCII = {
    "edge": _SEPARATOR,
    "contraction": "smtdlrve",
    "digit": "0123456789",
    "space": " ",
    "line": "\n",
    "return": "\r",
    "tab": "\t",
    "control space": "\x0b\x0c\x1c\x1d\x1e\x1f",
    "apostrophe": "'",
    "angle": "<|>",
}
_ASCII_CATEGORIES = {"Ll": "lower", "Lu": "upper", "Cc": "control"}  # others: punctuation
_CATEGORIES = {
    **dict.fromkeys(("Lu", "Ll", "Lt"), "cased"),
    **dict.fromkeys(("Mn", "Mc", "Me"), "mark"),
    **dict.fromkeys(("Zs", "Zl", "Zp"), "wide space"),
    **dict.fromkeys(("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"), "wide punctuation"),
    **dict.fromkeys(("Sm", "Sc", "Sk", "So"), "symbol"),
    **dict.fromkeys(("Cn", "Cs"), "unassigned"),
    "Lm": "modifier",
    "Lo": "letter",
    "Nd": "decimal",
    "Nl": "letter number",
    "No": "other number",
    "Cc": "control",
    "Cf": "format",
    "Co": "private",
}
_BLOCKS = (  # (first, end, a class of the block, the narrower class that takes its place)
    (0x80, 0x250, "cased", "latin"),
    (0x3040, 0x3400, "letter", "syllable"),
    (0x3400, 0xA000, "letter", "han"),
    (0xAC00, 0xD7B0, "letter", "syllable"),
    (0xF900, 0xFB00, "letter", "han"),
    (0x10000, 0x20000, "letter", "far letter"),
    (0x10000, 0x20000, "cased", "far letter"),
    (0x10000, 0x20000, "symbol", "emoji"),
    (0x20000, 0x40000, "letter", "han"),
)
_ASSIGNED = ((0x80, 0x40000), (0xE0000, 0xE1000))  # the rest is unassigned or private
_GROUPS = (
    ("edge",),
    ("digit", "decimal", "letter number", "other number"),
    ("space", "line", "return", "tab", "control space", "wide space"),
    (
        *("contraction", "lower", "upper", "cased", "modifier", "letter", "latin", "syllable"),
        *("han", "far letter"),
    ),
    (
        *("apostrophe", "angle", "punctuation", "control", "mark", "wide punctuation", "symbol"),
        *("emoji", "format", "private", "unassigned"),
    ),
)
_NUMBERS = {name: number for number, name in enumerate(name for group in _GROUPS for name in group)}

# The group of each class, for `bytes.translate`; flagged classes are in the last group.
_GROUP_OF = bytes(
    sum(number >= _NUMBERS[group[0]] for group in _GROUPS[1:]) for number in range(256)
)

_SHORTEST_RUN = 16
_ALL_ALIKE = np.uint64(0x0101010101010101)
_RUN_LENGTHS = np.asarray([round(2 ** (quarter / 4)) for quarter in range(16, 96)])
_TRIGRAMS = 32**3
_RUNS = 32 * 128
_OCTAVES = 64
_LONGEST = 2**15  # characters


_EDGE = _NUMBERS["edge"]


class Excerpt(NamedTuple):
    """A part of a text: `texts[text][start:end]`."""

    text: int
    start: int
    end: int


class ClassifiedTexts(NamedTuple):
    """Texts as one array of classes; `starts[i]` is the place before the first of text `i`."""

    classes: Classes
    starts: Ints

    def flagged(self) -> list[int]:
        """The numbers of the texts in which a character has the flag NEEDS_FALLBACK."""
        places = np.flatnonzero(self.classes >= NEEDS_FALLBACK)
        numbers: list[int] = np.unique(self.text_at(places)).tolist()
        return numbers

    def blank(self, numbers: Sequence[int]) -> ClassifiedTexts:
        """The same texts, with nothing but edges in those with these numbers."""
        if not numbers:
            return self
        classes = self.classes.copy()
        for number in numbers:
            classes[self.starts[number] : self.starts[number + 1]] = _EDGE
        return ClassifiedTexts(classes, self.starts)

    def text_at(self, places: Ints) -> Ints:
        """The number of the text in which each place is."""
        return np.searchsorted(self.starts, places, "right") - 1


@functools.cache
def class_table() -> Classes:
    """The class of every code point: an array of CODE_POINTS numbers below 32."""
    table = np.full(CODE_POINTS, _NUMBERS["unassigned"], np.uint8)
    for first, end in _ASSIGNED:
        table[first:end] = [
            _NUMBERS[_CATEGORIES[unicodedata.category(chr(point))]] for point in range(first, end)
        ]
    for first, end, wide, narrow in _BLOCKS:
        block = table[first:end]
        block[block == _NUMBERS[wide]] = _NUMBERS[narrow]
    table[0x85] = _NUMBERS["control space"]
    table[:0x80] = [_NUMBERS[_ascii_class(chr(point))] for point in range(0x80)]
    table.flags.writeable = False
    return table


def _ascii_class(character: str) -> str:
    for name, characters in _ASCII.items():
        if character in characters:
            return name
    return _ASCII_CATEGORIES.get(unicodedata.category(character), "punctuation")


def numeric_or_unassigned() -> Bools:
    """For every code point beyond ASCII, whether some version of Unicode may call it a number.

    A later version may call a number what an earlier version calls unassigned: both classes
    together hold the numbers of all versions.
    """
    names = ("decimal", "letter number", "other number", "unassigned")
    return np.isin(class_table(), [_NUMBERS[name] for name in names])


def classify(texts: Sequence[str], table: Classes) -> ClassifiedTexts:
    """Texts with the class of each character, by a table of all code points."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    starts = np.concatenate([[0], np.cumsum(lengths + 1)])
    classes = _classes(_SEPARATOR.join(["", *texts, ""]), table)
    classes[starts] = _EDGE
    return ClassifiedTexts(classes, starts)


def _classes(text: str, table: Classes) -> Classes:
    """The class of each character. Most texts have few characters beyond the first 256."""
    narrow = table[:256].tobytes()
    if text.isascii():
        # What is made of a bytearray can be written to.
        return np.frombuffer(bytearray(text.encode("ascii")).translate(narrow), np.uint8)
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    low_bytes = bytearray(points.astype(np.uint8))
    classes = np.frombuffer(low_bytes.translate(narrow), np.uint8)
    wide = np.flatnonzero(points > 255)
    classes[wide] = table.take(points[wide])
    return classes


class CoverageSampler:
    """The shapes that a stream of texts has shown. A shape is new in the first text with it."""

    def __init__(self) -> None:
        self._is_new = np.ones(_TRIGRAMS + _RUNS + _OCTAVES, np.bool_)
        between_texts = self._is_new[:_TRIGRAMS].reshape(32, 32, 32)[:, _EDGE, :]
        between_texts[...] = False

    def state(self) -> Any:
        """The state that `restore` goes back to."""
        return self._is_new.copy()

    def restore(self, state: Any) -> None:
        """Forgets what the sampler has seen since `state`."""
        self._is_new = state

    def first_of_their_length(self, texts: Sequence[str]) -> set[int]:
        """The numbers of the texts that are the first of the stream with a length between two
        powers of two.

        The longest texts, which cost most, are left out: what is new in them is compared anyway.
        """
        octaves, first = np.unique([len(text).bit_length() for text in texts], return_index=True)
        is_new = self._is_new[_TRIGRAMS + _RUNS :]
        new = [n for octave, n in zip(octaves, first, strict=True) if is_new[octave]]
        is_new[octaves] = False
        return {int(number) for number in new if len(texts[number]) <= _LONGEST}

    def excerpts(self, texts: ClassifiedTexts) -> list[Excerpt]:
        """Where texts are new, with _MARGIN characters on both sides. Counts them as seen."""
        shapes = [self._trigrams(texts.classes), self._runs(texts.classes)]
        codes, first, end = (np.concatenate(column) for column in zip(*shapes, strict=True))
        if not len(codes):
            return []
        new = self._first_of_each(codes)
        numbers = texts.text_at(first[new])
        origin = texts.starts[numbers] + 1
        limits = np.diff(texts.starts)[numbers] - 1
        starts = np.maximum(first[new] - origin - _MARGIN, 0)
        ends = np.minimum(end[new] - origin + _MARGIN, limits)
        places = zip(numbers.tolist(), starts.tolist(), ends.tolist(), strict=True)
        return list(_merged(sorted(Excerpt(*place) for place in places)))

    def _trigrams(self, classes: Classes) -> tuple[Ints, Ints, Ints]:
        """New meetings of three classes: code, place of the middle, place after the middle."""
        wide = classes.astype(np.uint16)
        codes = wide[:-2] << 5
        codes |= wide[1:-1]
        codes <<= 5
        codes |= wide[2:]
        new = np.flatnonzero(_taken(self._is_new[:_TRIGRAMS], codes))
        return codes[new].astype(np.int64), new + 1, new + 2

    def _runs(self, classes: Classes) -> tuple[Ints, Ints, Ints]:
        """Long runs of new lengths: code, place of the first character, place after the last."""
        first, end = _long_runs(_groups(classes))
        is_text = classes[first] != _EDGE  # a run of edges is a text that was made blank
        first, end = first[is_text], end[is_text]
        bucket = np.searchsorted(_RUN_LENGTHS, end - first, "right")
        codes = _TRIGRAMS + classes[end - 1].astype(np.int64) * 128 + bucket
        new = self._is_new[codes]
        return codes[new], first[new], end[new]

    def _first_of_each(self, codes: Ints) -> Ints:
        """The numbers of the shapes that are the first with their code. None of them is new
        afterwards."""
        first = np.empty(len(self._is_new), np.int64)
        first[codes[::-1]] = np.arange(len(codes))[::-1]  # the last that is written stays
        self._is_new[codes] = False
        return np.unique(first[codes])


def _taken(values: Bools, places: npt.NDArray[Any]) -> Bools:
    """The values at some places, given as uint16. numpy takes twice the time of pyarrow."""
    flags = pa.Array.from_buffers(pa.uint8(), len(values), [None, pa.py_buffer(values.tobytes())])
    indices = pa.Array.from_buffers(pa.uint16(), len(places), [None, pa.py_buffer(places)])
    taken = pc.take(flags, indices)
    return np.frombuffer(taken.buffers()[1], np.bool_, len(taken))


def _groups(classes: Classes) -> Classes:
    """The group of each class: the classes of a group have numbers in a row."""
    return np.frombuffer(classes.tobytes().translate(_GROUP_OF), np.uint8)


def _long_runs(groups: Classes) -> tuple[Ints, Ints]:
    """Where _SHORTEST_RUN or more of a group stand in a row: places of the first, and after the
    last.

    Wherever so long a run begins, 8 places that are alike stand in it from a multiple of 8 on.
    Few of a text are, and only from these are the ends of a run looked for.
    """
    alike = np.zeros(len(groups) // 8 * 8 + 16, np.bool_)  # as the place before; none at the ends
    np.equal(groups[1:], groups[:-1], out=alike[9 : len(groups) + 8])
    words = alike.reshape(-1, 8)
    full = np.flatnonzero(alike.view(np.uint64) == _ALL_ALIKE)
    begins, stops = full[np.diff(full, prepend=-2) > 1], full[np.diff(full, append=-2) != 1]
    before = words[begins - 1, ::-1].argmin(1)  # how many in a row stand before the first word
    behind = words[stops + 1].argmin(1)
    first, end = begins * 8 - before - 9, stops * 8 + behind
    is_long = end - first >= _SHORTEST_RUN
    return first[is_long], end[is_long]


def _merged(excerpts: Sequence[Excerpt]) -> Iterator[Excerpt]:
    """Yields sorted excerpts, those that overlap merged."""
    if not excerpts:
        return
    current = excerpts[0]
    for _, excerpt in pairwise(excerpts):
        if excerpt.text == current.text and excerpt.start <= current.end:
            current = current._replace(end=max(current.end, excerpt.end))
        else:
            yield current
            current = excerpt
    yield current
