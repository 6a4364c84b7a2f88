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

Classes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

CODE_POINTS = 0x110000
NEEDS_FALLBACK = 0x80  # a flag beside the class: a text with the character is not for the library

_TIMES = 1  # a shape is new in so many texts of a session; a build has many sessions
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
_GROUP_OF = np.asarray(
    [number for number, group in enumerate(_GROUPS) for _ in group], dtype=np.uint8
)

_SHORTEST_RUN = 16
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
    joined = _SEPARATOR.join(["", *texts, ""])
    if joined.isascii():
        translated = joined.encode("ascii").translate(table[:256].tobytes())
        classes = np.frombuffer(bytearray(translated), np.uint8)  # a bytearray can be written to
    else:
        classes = table.take(np.frombuffer(joined.encode("utf-32-le"), np.uint32))
    classes[starts] = _EDGE
    return ClassifiedTexts(classes, starts)


class CoverageSampler:
    """The shapes that a stream of texts has shown, each counted up to _TIMES."""

    def __init__(self) -> None:
        self._times = np.zeros(_TRIGRAMS + _RUNS + _OCTAVES, np.uint8)
        between_texts = self._times[:_TRIGRAMS].reshape(32, 32, 32)[:, _EDGE, :]
        between_texts[...] = _TIMES

    def state(self) -> Any:
        """The state that `restore` goes back to."""
        return self._times.copy()

    def restore(self, state: Any) -> None:
        """Forgets what the sampler has seen since `state`."""
        self._times = state

    def first_of_their_length(self, texts: Sequence[str]) -> set[int]:
        """The numbers of the texts that are the first of the stream with a length between two
        powers of two.

        The longest texts, which cost most, are left out: what is new in them is compared anyway.
        """
        octaves, first = np.unique([len(text).bit_length() for text in texts], return_index=True)
        times = self._times[_TRIGRAMS + _RUNS :]
        new = [n for octave, n in zip(octaves, first, strict=True) if not times[octave]]
        times[octaves] = _TIMES
        return {int(number) for number in new if len(texts[number]) <= _LONGEST}

    def excerpts(self, texts: ClassifiedTexts) -> list[Excerpt]:
        """Where texts are new, with _MARGIN characters on both sides. Counts them as seen."""
        shapes = [self._trigrams(texts.classes), self._runs(texts.classes)]
        codes, first, end = (np.concatenate(column) for column in zip(*shapes, strict=True))
        numbers = texts.text_at(first)
        new = self._count(codes, numbers)
        origin = texts.starts[numbers[new]] + 1
        limits = np.diff(texts.starts)[numbers[new]] - 1
        starts = np.maximum(first[new] - origin - _MARGIN, 0)
        ends = np.minimum(end[new] - origin + _MARGIN, limits)
        places = zip(numbers[new].tolist(), starts.tolist(), ends.tolist(), strict=True)
        return list(_merged(sorted(Excerpt(*place) for place in places)))

    def _trigrams(self, classes: Classes) -> tuple[Ints, Ints, Ints]:
        """New meetings of three classes: code, place of the middle, place after the middle."""
        wide = classes.astype(np.uint16)
        codes = (((wide[:-2] << 5) | wide[1:-1]) << 5) | wide[2:]
        new = np.flatnonzero(self._is_new()[:_TRIGRAMS].take(codes))
        return codes[new].astype(np.int64), new + 1, new + 2

    def _runs(self, classes: Classes) -> tuple[Ints, Ints, Ints]:
        """Long runs of new lengths: code, place of the first character, place after the last."""
        groups = _GROUP_OF.take(classes)
        last = np.flatnonzero(groups[1:] != groups[:-1])
        lengths = np.diff(last)
        # A run of edges is a text that was made blank.
        is_text = groups[last[:-1] + 1] != _GROUP_OF[_EDGE]
        long = np.flatnonzero((lengths >= _SHORTEST_RUN) & is_text)
        first, end = last[long] + 1, last[long + 1] + 1
        bucket = np.searchsorted(_RUN_LENGTHS, lengths[long], "right")
        codes = _TRIGRAMS + classes[end - 1].astype(np.int64) * 128 + bucket
        new = self._is_new()[codes]
        return codes[new], first[new], end[new]

    def _is_new(self) -> Bools:
        new: Bools = self._times < _TIMES
        return new

    def _count(self, codes: Ints, texts: Ints) -> Ints:
        """The numbers of the shapes that are new in their text. Counts each shape once a text."""
        number_of_texts = int(texts.max(initial=0)) + 1
        _, pairs = np.unique(codes * number_of_texts + texts, return_index=True)
        sorted_codes = codes[pairs]
        earlier = np.arange(len(pairs)) - np.searchsorted(sorted_codes, sorted_codes, "left")
        new: Ints = pairs[self._times[sorted_codes] + earlier < _TIMES]
        np.add.at(self._times, codes[new], 1)
        return new


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
