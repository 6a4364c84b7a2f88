"""What a chat template has done, counted against limits: steps, characters, widths and digits.

What is counted does not depend on the clock, so the same template is refused everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

MOST_STEPS = 20_000_000  # of loops, and calls, in a conversation
MOST_CHARACTERS = 1 << 28  # that are made for a conversation, and items of lists
MOST_BITS = 1 << 12  # of a whole number
WIDEST = 100_000  # a text that is padded, and how many parts a list is cut into
WALKED = 16  # characters of a text that are read, or copied, in the time in which one is made

_NUMBER = re.compile(r"\d+")


class TooMuchError(Exception):
    """A chat template does more than it may."""


class _Meter:
    """What the template that is being rendered has done; threads share it."""

    steps = 0
    characters = 0


_meter = _Meter()


def restart() -> None:
    """Counts from nothing again, for another conversation."""
    _meter.steps = _meter.characters = 0


def step() -> None:
    """Counts a step of a loop, or a call. Raises TooMuchError, as all of this module does."""
    _meter.steps += 1
    if _meter.steps > MOST_STEPS:
        raise TooMuchError(f"it takes more than {MOST_STEPS} steps")


def charge(characters: int) -> None:
    """Counts characters, or items of lists."""
    _meter.characters += characters
    if _meter.characters > MOST_CHARACTERS:
        raise TooMuchError(f"it makes more than {MOST_CHARACTERS} characters")


def charge_all(value: Any) -> None:
    """Charges for all that stands in a value, each time that it does."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            charge(len(item))
        elif isinstance(item, Mapping):
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item
        charge(1)


def charge_reading(value: Any) -> None:
    """Charges for all of a value that is compared, searched or copied."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            charge(len(item) // WALKED)
            continue
        charge(WALKED)
        if isinstance(item, Mapping):
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item


def check_widths(values: Iterable[Any]) -> None:
    """Compares widths that a template asks for with the widest."""
    for value in values:
        if isinstance(value, int) and abs(value) > WIDEST:
            raise TooMuchError(f"it asks for a width of {value}, and {WIDEST} is the most")


def charge_replacing(texts: list[Any]) -> None:
    """Charges for a text, an old word and a new word, which stands wherever the old word did."""
    words = [text for text in texts[:3] if isinstance(text, str)]
    if len(words) == 3:
        charge(len(words[0]) + words[0].count(words[1]) * len(words[2]))


def charge_formatting(values: list[Any]) -> None:
    """Charges for a format and its values: the widths in the format, and numbers as widths."""
    charge_all(values)
    formats = [value for value in values[:1] if isinstance(value, str)]
    check_widths(int(number[:9]) for text in formats for number in _NUMBER.findall(text))
    has_nested = any("*" in text or re.search(r":[^}]*\{", text) for text in formats)
    check_widths(value for value in values[1:] if has_nested)


def charge_ordering(args: Iterable[Any]) -> None:
    """Charges for values that are compared with one another."""
    for value in (arg for arg in args if isinstance(arg, list | tuple | Mapping)):
        for _ in range(len(value).bit_length()):
            charge_reading(value)


def charge_hashes(args: tuple[Any, ...]) -> None:
    """Charges for keys that are tuples, or stand in lists of pairs: a hash reads all of them."""
    for value in args:
        kind = type(value)
        if kind is tuple or kind is list:
            charge_reading(value)


def charge_operator(operator: str, left: Any, right: Any) -> None:
    """Charges for what an operator makes of two values."""
    if isinstance(left, int) and isinstance(right, int):
        _charge_number(operator, left, right)
    elif operator == "*":
        sized, times = (left, right) if isinstance(right, int) else (right, left)
        if isinstance(times, int) and isinstance(sized, str | list | tuple):
            charge(len(sized) * max(0, times))
    elif operator == "%" and isinstance(left, str):
        charge_formatting([left, *(right if isinstance(right, tuple) else [right])])
    elif operator == "+" and isinstance(left, str | list | tuple):
        charge(len(left) + (len(right) if isinstance(right, str | list | tuple) else 0))


def _charge_number(operator: str, left: int, right: int) -> None:
    bits = max(left.bit_length(), right.bit_length())
    if operator == "*":
        bits = left.bit_length() + right.bit_length()
    elif operator == "**":
        bits = left.bit_length() * max(0, right)
    if bits > MOST_BITS:
        raise TooMuchError(f"it makes a number of {bits} bits, and {MOST_BITS} are the most")
