"""Limits of what a chat template may do: steps, characters that it makes, and digits.

A template of a stranger can loop for hours, or write more than a machine has memory. Here, each
step of a loop and each call is counted, and each text, list and number is measured before it is
made. What is counted does not depend on the clock, so the same template is refused everywhere.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jinja2
import jinja2.nodes
import jinja2.runtime
import jinja2.sandbox
import jinja2.utils
import jinja2.visitor

MOST_STEPS = 20_000_000  # of loops, and calls, in a conversation
MOST_CHARACTERS = 1 << 28  # that are made for a conversation, and items of lists
MOST_BITS = 1 << 12  # of a whole number
WIDEST = 100_000  # a text that is padded, and how many parts a list is cut into

# Names of filters that templates do not write by chance.
_STEPS, _CONCAT = "chatdata_steps", "chatdata_concat"
_NUMBER = re.compile(r"\d+")
_PADS = frozenset(["center", "ljust", "rjust", "zfill", "expandtabs", "to_bytes"])
_FORMATS = frozenset(["format", "format_map"])
# Filters whose numbers are widths, and filters that write all of what they are given.
_SIZED = frozenset(
    ["batch", "center", "indent", "round", "slice", "tojson", "truncate", "wordwrap"]
)
_WRITING = frozenset(
    ["escape", "e", "forceescape", "join", "pprint", "string", "tojson", "xmlattr"]
)
# Those that can make much of little; what the rest makes is no longer than what they are given.
_LIMITED = _SIZED | _WRITING | {"format", "replace", "list", "sum", "urlize"}
_MEASURED = _PADS | _FORMATS | {"join", "replace"}  # methods
_PLAIN = (str, int, float, type(None))


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


def _step() -> None:
    _meter.steps += 1
    if _meter.steps > MOST_STEPS:
        raise TooMuchError(f"it takes more than {MOST_STEPS} steps")


def _charge(characters: int) -> None:
    _meter.characters += characters
    if _meter.characters > MOST_CHARACTERS:
        raise TooMuchError(f"it makes more than {MOST_CHARACTERS} characters")


def _charge_all(value: Any) -> None:
    """Charges for all that stands in a value, each time that it does."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            _charge(len(item))
        elif isinstance(item, Mapping):
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item
        _charge(1)


def _steps(items: Iterable[Any]) -> Iterator[Any]:
    """Yields the items of a loop, and counts them."""
    for item in items:
        _step()
        yield item


def _concat(pieces: Iterable[str]) -> str:
    """The pieces of a text as a whole."""
    pieces = list(pieces)
    _charge(sum(map(len, pieces)))
    return "".join(pieces)


def _concat_values(values: list[Any]) -> str:
    """What `~` makes of values."""
    return _concat(map(str, map(_finalize, values)))


def _finalize(value: Any) -> Any:
    """A value that is written, measured where it holds others."""
    if type(value) is not str and not isinstance(value, _PLAIN):
        _charge_all(value)
    return value


# ----------------------------------------------------------------------------------- filters, calls


def _widths(values: Iterable[Any]) -> None:
    for value in values:
        if isinstance(value, int) and abs(value) > WIDEST:
            raise TooMuchError(f"it asks for a width of {value}, and {WIDEST} is the most")


def _limited(name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose widths and texts are counted."""

    @functools.wraps(filter_)
    def limited(*args: Any, **kwargs: Any) -> Any:
        if name in _SIZED:
            _widths([*args[1:], *kwargs.values()])
        if name in _WRITING:
            args = tuple(list(a) if isinstance(a, Iterator) else a for a in args)
            _charge_writing(args, kwargs)
        if name in ("replace", "format"):
            texts = [a for a in (*args, *kwargs.values()) if not isinstance(a, _CONTEXTS)]
            (_charge_replacing if name == "replace" else _charge_formatting)(texts)
        made = filter_(*args, **kwargs)
        if isinstance(made, str | list | tuple):
            _charge(len(made))
        return made

    return limited


_CONTEXTS = (jinja2.runtime.Context, jinja2.nodes.EvalContext, jinja2.Environment)


def _charge_writing(args: Iterable[Any], kwargs: Mapping[str, Any]) -> None:
    """Charges for a filter that writes its values, a separator as often as there are items."""
    values = [arg for arg in (*args, *kwargs.values()) if not isinstance(arg, _CONTEXTS)]
    items = len(values[0]) if values and isinstance(values[0], list | tuple | dict) else 1
    _charge_all(values[:1])
    _charge(items * sum(len(value) for value in values[1:] if isinstance(value, str)))


def _charge_replacing(texts: list[Any]) -> None:
    """Charges for a text, an old word and a new word, which stands wherever the old word did."""
    words = [text for text in texts[:3] if isinstance(text, str)]
    if len(words) == 3:
        _charge(len(words[0]) + words[0].count(words[1]) * len(words[2]))


def _charge_formatting(values: list[Any]) -> None:
    """Charges for a format and its values: the widths in the format, and numbers as widths."""
    _charge_all(values)
    formats = [value for value in values[:1] if isinstance(value, str)]
    _widths(int(number[:9]) for text in formats for number in _NUMBER.findall(text))
    has_nested = any("*" in text or re.search(r":[^}]*\{", text) for text in formats)
    _widths(value for value in values[1:] if has_nested)


def _charge_call(name: str, method: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Charges for a method of a text before it is called."""
    text = getattr(method, "__self__", None)
    if name in _PADS:
        _widths([*args, *kwargs.values()])
    if not isinstance(text, str):
        text = getattr(getattr(method, "__wrapped__", None), "__self__", None)
    if not isinstance(text, str):
        return
    if name == "replace":
        _charge_replacing([text, *args, *kwargs.values()])
    elif name == "join" and args and isinstance(args[0], list | tuple | dict):
        _charge(len(text) * len(args[0]))
        _charge_all(list(args[0]))
    elif name in _FORMATS:
        _charge_formatting([text, *args, *kwargs.values()])


# --------------------------------------------------------------------------------------- operators


def _charge_operator(operator: str, left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        _charge_number(operator, left, right)
    elif operator == "*":
        sized, times = (left, right) if isinstance(right, int) else (right, left)
        if isinstance(times, int) and isinstance(sized, str | list | tuple):
            _charge(len(sized) * max(0, times))
    elif operator == "%" and isinstance(left, str):
        _charge_formatting([left, *(right if isinstance(right, tuple) else [right])])
    elif operator == "+" and isinstance(left, str | list | tuple):
        _charge(len(left) + (len(right) if isinstance(right, str | list | tuple) else 0))


def _charge_number(operator: str, left: int, right: int) -> None:
    bits = max(left.bit_length(), right.bit_length())
    if operator == "*":
        bits = left.bit_length() + right.bit_length()
    elif operator == "**":
        bits = left.bit_length() * max(0, right)
    if bits > MOST_BITS:
        raise TooMuchError(f"it makes a number of {bits} bits, and {MOST_BITS} are the most")


# ------------------------------------------------------------------------------------- environment


class _Counting(jinja2.visitor.NodeTransformer):
    """A template in which loops count their steps, and texts that are joined are measured."""

    def visit_For(self, node: jinja2.nodes.For) -> jinja2.nodes.Node:
        self.generic_visit(node)
        node.iter = jinja2.nodes.Filter(node.iter, _STEPS, [], [], None, None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: jinja2.nodes.Concat) -> jinja2.nodes.Node:
        self.generic_visit(node)
        parts = jinja2.nodes.List(node.nodes, lineno=node.lineno)
        return jinja2.nodes.Filter(parts, _CONCAT, [], [], None, None, lineno=node.lineno)


_OF_DICTS = frozenset(dir(dict))
_OF_JINJA = frozenset([jinja2.utils.Namespace, jinja2.runtime.LoopContext])


class LimitedEnvironment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """The sandbox of transformers, within the limits of this module."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])
    concat = staticmethod(_concat)

    def __init__(self, **options: Any) -> None:
        super().__init__(finalize=_finalize, **options)

    def limit_filters(self) -> None:
        """Limits the filters that the environment has by now."""
        limited = {name: _limited(name, self.filters[name]) for name in _LIMITED}
        self.filters = {**self.filters, **limited, _STEPS: _steps, _CONCAT: _concat_values}
        self.globals["lipsum"] = _no_lipsum

    def _parse(self, source: str, name: str | None, filename: str | None) -> jinja2.nodes.Template:
        tree = super()._parse(source, name, filename)
        counting: jinja2.nodes.Template = _Counting().visit(tree)
        return counting

    def getattr(self, obj: Any, attribute: str) -> Any:
        """What the sandbox gives for `obj.attribute`; of messages, loops and namespaces at once.

        A dict has no attributes but its methods, and values that are not called are safe.
        """
        kind = type(obj)
        if kind is dict and attribute not in _OF_DICTS:
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        if kind in _OF_JINJA and not attribute.startswith("_"):
            value = getattr(obj, attribute, None)
            if value is not None and not callable(value):
                return value
        return super().getattr(obj, attribute)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """What an object gives that a template calls."""
        _step()
        name = getattr(__obj, "__name__", "")
        if name in _MEASURED:
            _charge_call(name, __obj, args, kwargs)
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """What an operator gives."""
        if type(left) is str and operator == "+" and type(right) is str:
            _charge(len(left) + len(right))
            return left + right
        _charge_operator(operator, left, right)
        return self.binop_table[operator](left, right)


def _no_lipsum(*_: Any, **__: Any) -> str:
    raise TooMuchError("it writes random words")
