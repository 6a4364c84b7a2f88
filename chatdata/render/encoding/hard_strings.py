"""Hard strings for a tokenizer: strings on which fast libraries were seen to differ, and their kin.

All strings are made from a seed and from the tokenizer itself: its tokens glued in new ways, its
added tokens broken, every number that Unicode knows, runs around the sizes of buffers.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import product
from random import Random

import tokenizers

_SPACES = (
    " ",
    "  ",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x85",
    "\xa0",
    "\u3000",
    "\u2028",
)
_ENDINGS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "'x", "'", "''t", "’s")
_WORDS = (
    "a",
    "The",
    "é",
    "日本",
    "12",
    "x1",
    "_",
    "-",
    "(",
    "\\_",
    "<|",
    "|>",
    "\x00",
    "👩‍👩‍👧",
    "",
)
_RUNS = (
    " ",
    "\n",
    "\t",
    " \n",
    "\r\n",
    "a",
    "-",
    "_",
    "\\_",
    "é",
    "日",
    "1",
    "'",
    "́",
    "\u200b",
    "👍",
)
_LENGTHS = (2, 15, 16, 17, 63, 255, 256, 257, 300, 1024, 1500)
_LONG = 10_001  # longer than the largest buffer that was seen to cut a word
_MARKED = (
    "e\u0301 \u0300\u0d3c \u0345\u0eba \u07ed\u1df7 \u1adc\u0334 n\u0303 \u1112\u1161\u11ab ﬁ Å"
)
_BATCH = 1200  # random strings of each kind


def strings(text: tokenizers.Tokenizer, seed: int = 0) -> list[str]:
    """About 15,000 strings, the same for the same tokenizer and seed."""
    draw = Random(seed)
    kinds = (
        _endings(),
        _runs(),
        _numbers(),
        _blocks(draw),
        _normal_forms(),
        _glued(draw, _tokens(text)),
        _broken(draw, [token.content for token in text.get_added_tokens_decoder().values()]),
        _mixed(draw),
    )
    return list(dict.fromkeys(string for kind in kinds for string in kind))


def _endings() -> Iterator[str]:
    """Yields contractions after and before every kind of white space and word."""
    for space, ending, word in product(_SPACES, _ENDINGS, _WORDS):
        yield f"{word}{space}{ending}{word}"
    for before, ending, after in product(_WORDS, _ENDINGS, _WORDS):
        yield f"{before}{ending}{after}"


def _runs() -> Iterator[str]:
    """Yields runs around the sizes of buffers, alone and inside words."""
    for run, length in product(_RUNS, _LENGTHS):
        yield run * length
        yield f"a{run * length}b"
        yield f"{run * length}'s\n{run}"
    for run in ("__" + "\\_", "-", "a"):
        yield run * _LONG
    for left, right, length in product(_SPACES, _SPACES, (1, 2, 7)):
        yield f"x{left * length}{right}y{right * length}{left}"


def _numbers() -> Iterator[str]:
    """Yields each numeric character of Unicode beside digits and letters."""
    points = (chr(point) for point in range(0x80, 0x20000))
    for character in points:
        if unicodedata.category(character).startswith("N"):
            yield f"1{character}2 {character}a"


def _blocks(draw: Random) -> Iterator[str]:
    """Yields two characters of each block of 256 code points, unassigned characters too."""
    for start in range(0x100, 0x110000, 0x100):
        if not 0xD800 <= start < 0xE000 and (start < 0x20000 or start % 0x1000 == 0):
            first, second = (chr(start + draw.randrange(0x100)) for _ in "ab")
            yield f"{first}{second} {first}'s\n{second}1"
            yield f"a{first}\xb4{second}"


def _normal_forms() -> Iterator[str]:
    """Yields combining marks as they are, in an order that only old tables know, and
    normalised."""
    yield from (_MARKED, *_MARKED.split())
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        for word in (_MARKED, *_MARKED.split()):
            yield unicodedata.normalize(form, word)
            yield f"<{unicodedata.normalize(form, word)}s"


def _tokens(text: tokenizers.Tokenizer) -> list[str]:
    """The texts of every seventh token, without those that are part of a character."""
    decoded = text.decode_batch([[id] for id in range(0, text.get_vocab_size(), 7)])
    return [token for token in decoded if token and "\ufffd" not in token]


def _glued(draw: Random, tokens: list[str]) -> Iterator[str]:
    """Yields tokens in an order in which nobody writes them."""
    for _ in range(2 * _BATCH if tokens else 0):
        yield "".join(draw.choices(tokens, k=draw.randint(2, 6)))


def _broken(draw: Random, added: list[str]) -> Iterator[str]:
    """Yields added tokens whole, torn, doubled and in the middle of words."""
    for token in added:
        for ending in ("", " ", "\n", "'s", "1"):
            yield f"x{token}{ending}{token}"
        cut = draw.randint(1, max(1, len(token) - 1))
        yield f"{token[:cut]} {token[cut:]}{token[:cut]}{token}"


def _mixed(draw: Random) -> Iterator[str]:
    """Yields words, white space, contractions and characters at random."""
    pieces = (*_SPACES, *_ENDINGS, *_WORDS)
    for _ in range(_BATCH):
        yield "".join(draw.choices(pieces, k=draw.randint(2, 12)))
    for limit in (0x100, 0x250, 0x3100, 0x10000, 0x110000):
        for _ in range(_BATCH // 2):
            points = [draw.randrange(limit) for _ in range(draw.randint(1, 12))]
            yield "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)
