"""Filters and cleaners made of plain functions, of a user's file or of an installed package.

The first parameter of a function says what a filter looks at:

    message       a message, as a dictionary of its columns
    conversation  the messages of a conversation, as a list of such dictionaries
    messages      all messages of a part, as a Polars table: a value for each
    (none)        nothing: the function returns a Polars expression

Its keyword arguments are options of a recipe. A filter returns whether the message or conversation
goes, or a text, which then goes with that text in the ledger, or a number, which goes where it is
`above` or `below` what the recipe says.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl
from pydantic import create_model

from chatdata.core.config import Strict, arguments_model
from chatdata.core.errors import ExtensionError
from chatdata.steps.clean import Cleaner
from chatdata.steps.figures import Figures, Nothing
from chatdata.steps.filtering import Column, Filter, Options

_Form = Literal["message", "conversation", "messages", "expression"]
_LIMITS = ("above", "below")
_WAYS = "True, False, a text, or a number with `above` or `below`"


def as_filter(name: str, function: Callable[..., Any], place: str, package: str = "") -> Filter:
    """The filter of a function of `place`, a file or a package.

    Raises ExtensionError where the function has not the form of a filter.
    """
    form = _form(function, place)
    goes, why = f"{name}__goes", f"{name}__why"

    def make(
        messages: pl.DataFrame, options: Options, folder: Path
    ) -> tuple[pl.DataFrame, Figures]:
        judge = _Judge(name, function, place, form, options)
        return messages.with_columns(judge.columns(messages, goes, why)), Nothing()

    return Filter(
        name,
        "conversation" if form == "conversation" else "message",
        lambda **options: pl.col(goes),
        frozenset(),
        _options(name, function, form, place),
        _about(function, place),
        detail=why,
        column=Column(goes, make, lambda options, files, folder: Nothing()),
        packages=(package,) if package else (),
    )


def as_cleaner(name: str, function: Callable[..., Any], place: str, package: str) -> Cleaner:
    """The cleaner of a function of `place`: a text to a text.

    Raises ExtensionError where the function has not the form of a cleaner.
    """
    if not _parameters(function):
        raise ExtensionError(
            f"cleaner '{name}' ({place}) takes no text; write `def {name}(text):`."
        )

    def cleaned(text: str, **options: Any) -> str:
        result = _called(f"cleaner '{name}' ({place})", "a text", function, text, **options)
        if not isinstance(result, str):
            raise ExtensionError(
                f"cleaner '{name}' ({place}) returned {_kind(result)} for a text; return a text."
            )
        return result

    model = arguments_model(function, skip=1)
    return Cleaner(name, cleaned, "", model, _about(function, place), (package,))


def _form(function: Callable[..., Any], place: str) -> _Form:
    parameters = _parameters(function)
    first = parameters[0] if parameters else None
    if first is None or first.kind is inspect.Parameter.KEYWORD_ONLY:
        return "expression"
    if first.name not in get_args(_Form)[:3]:
        raise ExtensionError(
            f"filter '{function.__name__}' ({place}) begins with the parameter '{first.name}'; "
            "call it `message`, `conversation` or `messages`, after what the filter looks at, and "
            "put `*` before its options."
        )
    form: _Form = first.name  # type: ignore[assignment]
    return form


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def _options(name: str, function: Callable[..., Any], form: _Form, place: str) -> type[Strict]:
    model = arguments_model(function, skip=0 if form == "expression" else 1)
    if clash := {*_LIMITS, "function", "sha256", "on_removed"} & set(model.model_fields):
        raise ExtensionError(
            f"filter '{name}' ({place}) has an option '{min(clash)}', which every filter of a "
            "function has; call it otherwise."
        )
    limits: Any = dict.fromkeys(_LIMITS, (float | None, None))
    return create_model(name, __base__=model, **limits)


def _about(function: Callable[..., Any], place: str) -> str:
    lines = (inspect.getdoc(function) or "").splitlines()
    return lines[0] if lines else f"{function.__name__}, of {place}."


def _kind(value: Any) -> str:
    return "nothing (None)" if value is None else f"a value of type {type(value).__name__}"


def _called(
    what: str, where: str, function: Callable[..., Any], *arguments: Any, **options: Any
) -> Any:
    """What a function returns. Raises ExtensionError, which says where it was, for its failure."""
    try:
        return function(*arguments, **options)
    except Exception as error:
        raise ExtensionError(
            f"{what} failed on {where} ({type(error).__name__}: {error})."
        ) from error


class _Judge:
    """A function with its options, asked about messages or conversations."""

    def __init__(
        self, name: str, function: Callable[..., Any], place: str, form: _Form, options: Options
    ) -> None:
        self._what = f"filter '{name}' ({place})"
        self._function, self._form = function, form
        self._above, self._below = (options.get(key) for key in _LIMITS)
        self._options = {key: value for key, value in options.items() if key not in _LIMITS}

    def columns(self, messages: pl.DataFrame, goes: str, why: str) -> list[pl.Series]:
        """Whether each message goes, and what the ledger says of it."""
        verdicts = [self._verdict(*asked) for asked in self._asked(messages)]
        return [
            pl.Series(goes, [verdict[0] for verdict in verdicts], pl.Boolean),
            pl.Series(why, [verdict[1] for verdict in verdicts], pl.String),
        ]

    def _asked(self, messages: pl.DataFrame) -> Iterator[tuple[Any, str]]:
        """Yields what the function returned for each message, and where that was."""
        if self._form == "message":
            for row in messages.iter_rows(named=True):
                place = f"message '{row['message']}' in {row['where']}"
                yield self._call(place, row), place
        elif self._form == "conversation":
            yield from self._of_conversations(messages)
        else:
            yield from zip(self._of_table(messages), _places(messages), strict=True)

    def _of_conversations(self, messages: pl.DataFrame) -> Iterator[tuple[Any, str]]:
        for turns in messages.partition_by("conversation", maintain_order=True):
            rows = turns.to_dicts()
            place = f"conversation '{rows[0]['conversation']}' in {rows[0]['where']}"
            yield from [(self._call(place, rows), place)] * len(rows)

    def _of_table(self, messages: pl.DataFrame) -> Sequence[Any]:
        """What the function says of each message of a table, by a column or an expression."""
        place = f"{messages.height} messages"
        arguments = [messages] if self._form == "messages" else []
        made = self._call(place, *arguments)
        if isinstance(made, pl.Expr):
            made = _called(self._what, place, messages.select, value=made)["value"]
        if isinstance(made, str) or not isinstance(made, Iterable):
            raise ExtensionError(
                f"{self._what} returned {_kind(made)}; return a Polars expression."
            )
        values = list(made)
        if len(values) != messages.height:
            raise ExtensionError(
                f"{self._what} returned {len(values)} values for {messages.height} messages; "
                "return a value for each."
            )
        return values

    def _call(self, place: str, *arguments: Any) -> Any:
        return _called(self._what, place, self._function, *arguments, **self._options)

    def _verdict(self, value: Any, place: str) -> tuple[bool, str | None]:
        """Whether something goes, and the words for the ledger."""
        value = value.item() if hasattr(value, "item") else value  # of NumPy
        has_limits = self._above is not None or self._below is not None
        if isinstance(value, bool) and not has_limits:
            return value, None
        if isinstance(value, str) and value.strip() and not has_limits:
            return True, value
        if type(value) in (int, float) and has_limits:
            return self._is_beyond(float(value)), f"{float(value):.4g}"
        limits = " and the recipe gives `above` or `below`" if has_limits else ""
        raise ExtensionError(
            f"{self._what} returned {_kind(value)} for {place}{limits}; return {_WAYS}."
        )

    def _is_beyond(self, value: float) -> bool:
        is_above = self._above is not None and value > self._above
        return is_above or (self._below is not None and value < self._below)


def _places(messages: pl.DataFrame) -> Iterator[str]:
    for message, where in messages.select("message", "where").iter_rows():
        yield f"message '{message}' in {where}"
