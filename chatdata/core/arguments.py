"""Functions as users of Python call them: an argument of another type is named, with what it is."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import numbers
import os
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from chatdata.core import forks
from chatdata.core.errors import ArgumentError

_SHOWN = 60  # characters of a value
_WORDS: dict[Any, str] = {
    str: "a text",
    Path: "a Path",
    int: "a whole number",
    bool: "True or False",
    types.NoneType: "None",
    collections.abc.Callable: "a function",
    collections.abc.Sequence: "a list",
}


def checked(function: Callable[..., Any], module: str, name: str) -> Callable[..., Any]:
    """The function, to be called as `name` of a module, with a check of its arguments.

    The function raises ArgumentError for a value that is not of the type of its parameter, and
    EngineError in a process that was forked when it could not be any more.
    """
    signature = inspect.signature(function)
    hints = functools.cache(lambda: typing.get_type_hints(function))

    @functools.wraps(function)
    def called(*given: Any, **options: Any) -> Any:
        forks.check(name)
        for parameter, value in _bound(signature, given, options).items():
            hint = hints().get(parameter, Any)
            if not _fits(value, hint):
                raise ArgumentError(
                    f"{name}: '{parameter}' is {_short(value)}; give {_in_words(hint)}."
                )
        return function(*given, **options)

    called.__module__, called.__qualname__, called.__name__ = module, name, name  # for pickle
    return called


def _bound(
    signature: inspect.Signature, given: tuple[Any, ...], options: dict[str, Any]
) -> dict[str, Any]:
    """The arguments by the names of their parameters; none where they do not go together, which
    Python says better when the function is called."""
    try:
        return signature.bind(*given, **options).arguments
    except TypeError:
        return {}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type, as far as a type can be looked at."""
    kinds = list(_kinds(hint))
    return any(_is(value, kind) for kind in kinds) or not kinds


def _is(value: Any, kind: Any) -> bool:
    outer = typing.get_origin(kind) or kind
    if outer is collections.abc.Sequence:
        (item,) = typing.get_args(kind)
        is_list = isinstance(value, outer) and not isinstance(value, str | bytes)
        return is_list and all(_fits(each, item) for each in value)
    if outer is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if outer is Path:
        return isinstance(value, os.PathLike)
    return not isinstance(outer, type) or isinstance(value, outer)


def _kinds(hint: Any) -> Iterator[Any]:
    """Yields the types of which a value may be one."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        for part in typing.get_args(hint):
            yield from _kinds(part)
    elif hint is not Any:
        yield hint


def _in_words(hint: Any) -> str:
    return " or ".join(_kind_in_words(kind) for kind in _kinds(hint))


def _kind_in_words(kind: Any) -> str:
    outer = typing.get_origin(kind) or kind
    words = _WORDS.get(outer, f"a {outer.__name__}")
    if outer is collections.abc.Sequence:
        items = (_kind_in_words(each) for each in _kinds(typing.get_args(kind)[0]))
        return f"{words} of which each is {' or '.join(items)}"
    return words


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
