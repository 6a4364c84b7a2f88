r"""Texts with what was broken over two lines put together again, to look for keys in.

A key is broken by a program that wraps lines at a fixed width, by a `\` or `=` at the end of a
line, or by strings that are added (`"sk-..." + "..."`). A wrap leaves no sign, so lines are joined
only where a line is as long as a wrapped one and the next begins with what looks like the rest.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator
from typing import NamedTuple

from chatdata.core.patterns import lazy

_KEY = r"[A-Za-z0-9_+/=.-]"
_QUOTE = r"[\"'`]"
_BREAK = lazy(
    rf"(?<={_KEY})(?:(?P<added>{_QUOTE}[ \t]{{0,8}}(?:[+.&]|\\)?[ \t]{{0,8}}"
    rf"(?:\r?\n[ \t>]{{0,40}}(?:[+.&][ \t]{{0,8}})?)?{_QUOTE})"
    rf"|(?P<signed>[\\=]\r?\n[ \t]{{0,40}})|(?P<wrapped>\r?\n[ \t>|]{{0,40}}))(?={_KEY})"
)
_LONG, _LONGEST = 56, 160  # characters of a line that a program may have wrapped
_LONGEST_KEY = 400
_RUN = lazy(rf"{_KEY}{{1,{_LONGEST_KEY}}}\Z")
_REST = lazy(r"([A-Za-z0-9_+/.-]{4,200}={0,2})(?=[\"'`,;)\s]|\Z)")
# Keys whose length is known, so that a part of one is known for a part.
_KNOWN = lazy(
    r"gh[pousr]_[A-Za-z0-9]{36}|npm_[A-Za-z0-9]{36}|AIza[A-Za-z0-9_-]{35}|AKIA[A-Z0-9]{16}"
    r"|hf_[A-Za-z]{34}|glpat-[A-Za-z0-9_-]{20}|[sr]k_live_[A-Za-z0-9]{24}|dop_v1_[a-f0-9]{64}"
    r"|SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"
)
_KNOWN_START = lazy(r"(?:gh[pousr]_|npm_|AIza|AKIA|hf_|glpat-|[sr]k_live_|dop_v1_|SG\.)")

# What a text has in which a key may be broken so early that no half of it looks like a key.
_END = r"(?:[\"'`][ \t]*[+.&\\]?[ \t]*[\r\n\"'`]|[\"'`][ \t]*[+.&][ \t]*[\"'`]|[\\=]?\r?\n)"
HINTS = (
    r"(?:sk-|hf_|AIza|gh[pousr]_|glpat-|npm_|[sr]k_live_|dop_v1_|AKIA|xox[abps]-|eyJ)"
    rf"[A-Za-z0-9_.-]{{4,}}{_END}",
    r"(?i:key|secret|token|bearer)[\"'\]]{0,3}[ \t]{0,3}(?:=>|=|:| )[ \t]{0,3}[\"'`]?"
    rf"[A-Za-z0-9_+/.-]{{7,}}[0-9][A-Za-z0-9_+/.-]{{0,9}}{_END}",
)


class Joined(NamedTuple):
    """A text without the breaks in what may be keys, and where they were."""

    text: str
    starts: list[int]  # of the pieces, in this text
    places: list[int]  # of the same pieces, in the text with breaks

    def span(self, start: int, end: int) -> tuple[int, int] | None:
        """Where a stretch stands in the text with breaks; None where no break is in it."""
        first = bisect.bisect_right(self.starts, start) - 1
        last = bisect.bisect_left(self.starts, end) - 1
        if first == last:
            return None
        begin = self.places[first] + start - self.starts[first]
        return begin, self.places[last] + end - self.starts[last]


def join(text: str) -> Joined | None:
    """The text with broken keys put together; None where nothing looks broken."""
    breaks: list[tuple[int, int]] = []
    for match in _BREAK.finditer(text):
        start = match.start()
        goes_on = bool(breaks) and start - breaks[-1][1] <= _width(text, start)
        if _is_inside(text, match, goes_on=goes_on):
            breaks.append(match.span())
    if not breaks:
        return None
    ends = [*(start for start, _ in breaks), len(text)]
    places = [0, *(end for _, end in breaks)]
    pieces = [text[place:end] for place, end in zip(places, ends, strict=True)]
    return Joined("".join(pieces), list(_sums(pieces)), places)


def _sums(pieces: list[str]) -> Iterator[int]:
    total = 0
    for piece in pieces:
        yield total
        total += len(piece)


def _is_inside(text: str, match: re.Match[str], *, goes_on: bool) -> bool:
    """Whether a break is in a key rather than between two things.

    `goes_on` says that the line before goes on with what was broken before.
    """
    if match["signed"]:
        return True
    if match["added"]:
        return bool(re.search(r"[+.&\\\n]", match["added"]))
    start, end = match.span()
    before = _RUN.search(text, max(0, start - _LONGEST_KEY), start)
    after = _REST.match(text, end)
    if before is None or after is None or _KNOWN_START.match(after[0]):
        return False
    is_list = not goes_on and _is_list(before[0], after[1])
    is_wrapped = not is_list and _is_wrapped(_width(text, start), after[1])
    return is_wrapped or _is_known(before[0], after[1])


def _is_known(before: str, after: str) -> bool:
    """Whether two parts are together a key whose length is known, and not each by itself."""
    start = _KNOWN_START.search(before)
    part = before[start.start() :] if start else ""
    return bool(part and not _KNOWN.fullmatch(part) and _KNOWN.fullmatch(part + after))


def _width(text: str, end: int) -> int:
    """How long the line is that ends here; no longer than it matters."""
    least = max(0, end - _LONGEST)
    return end - max(least, text.rfind("\n", least, end) + 1)


def _is_wrapped(width: int, after: str) -> bool:
    """Whether a line is as long as wrapped ones, and what follows is the rest of a random value."""
    if not _LONG <= width < _LONGEST or len(after) > width:
        return False
    digits = sum(c.isdigit() for c in after)
    is_hex = all(c in "0123456789abcdef" for c in after)
    has_cases = after != after.lower() and after != after.upper()
    return digits > 1 and (is_hex or has_cases or digits > len(after) // 5)


def _is_list(before: str, after: str) -> bool:
    """Whether two values stand below each other: they are equally long."""
    value = re.split(r"[=:]", before.rstrip("="))[-1]
    return len(value) == len(after)
