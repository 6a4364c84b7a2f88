"""The sandbox of chat templates, within the limits of `meter`.

A template of a stranger can loop for hours, or write more than a machine has memory. Here, each
step of a loop and each call is counted, each text, list and number is measured before it is made,
and each text and list that is compared, searched or copied is counted as read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jinja2
import jinja2.nodes
import jinja2.runtime
import jinja2.sandbox
import jinja2.utils
import jinja2.visitor

from chatdata.render.chat_template import meter

# Names of filters that templates do not write by chance.
_STEPS, _CONCAT, _READ = "chatdata_steps", "chatdata_concat", "chatdata_read"
_SEARCHED, _WITHIN = "chatdata_searched", "chatdata_within"
_PADS = frozenset(["center", "ljust", "rjust", "zfill", "expandtabs", "to_bytes"])
_FORMATS = frozenset(["format", "format_map"])
# Filters whose numbers are widths, and filters that write all of what they are given.
_SIZED = frozenset(
    ["batch", "center", "indent", "round", "slice", "tojson", "truncate", "wordwrap"]
)
_WRITING = frozenset(
    ["escape", "e", "forceescape", "join", "pprint", "string", "tojson", "xmlattr"]
)
_ORDERING = frozenset(["sort", "dictsort", "unique", "min", "max", "groupby"])
# Those that can make much of little; what the rest makes is no longer than what they are given.
_LIMITED = _SIZED | _WRITING | _ORDERING | {"format", "replace", "list", "sum", "urlize"}
_COMPARING = frozenset(  # tests
    [
        *("eq", "equalto", "==", "ne", "!=", "lt", "lessthan", "<", "le", "<="),
        *("gt", "greaterthan", ">", "ge", ">=", "in"),
    ]
)
_MEASURED = _PADS | _FORMATS | {"join", "replace", "count", "index", "changed"}  # methods
_PLAIN = (str, int, float, type(None))


def _read(value: Any) -> Any:
    """A value that is compared, searched or copied."""
    if type(value) is str:
        meter.charge(len(value) // meter.WALKED)
    elif not isinstance(value, _PLAIN):
        meter.charge_reading(value)
    return value


def _searched(value: Any) -> Any:
    """A value that is looked through once, or cut: not what its items hold."""
    kind = type(value)
    if kind is str:
        meter.charge(len(value) // meter.WALKED)
    elif kind is list or kind is tuple:
        meter.charge(len(value))
    return value


def _within(value: Any) -> Any:
    """A value in which any value is looked for."""
    return value if type(value) is dict else _read(value)


def _steps(items: Iterable[Any]) -> Iterator[Any]:
    """Yields the items of a loop, and counts them."""
    for item in items:
        meter.step()
        yield item


def _concat(pieces: Iterable[str]) -> str:
    """The pieces of a text as a whole."""
    pieces = list(pieces)
    meter.charge(sum(map(len, pieces)))
    return "".join(pieces)


def _concat_values(values: list[Any]) -> str:
    """What `~` makes of values."""
    return _concat(map(str, map(_finalize, values)))


def _finalize(value: Any) -> Any:
    """A value that is written, measured where it holds others."""
    if type(value) is not str and not isinstance(value, _PLAIN):
        meter.charge_all(value)
    return value


# ----------------------------------------------------------------------------------- filters, calls


def _limited(name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose widths and texts are counted."""

    @functools.wraps(filter_)
    def limited(*args: Any, **kwargs: Any) -> Any:
        made = filter_(*_charged(name, args, kwargs), **kwargs)
        if isinstance(made, str | list | tuple):
            meter.charge(len(made))
        return made

    return limited


def _charged(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """The arguments of a filter, charged for before it is called; iterators of some as lists."""
    if name in _ORDERING:
        args = _listed(args)
        meter.charge_ordering(args)
    if name in _SIZED:
        meter.check_widths([*args[1:], *kwargs.values()])
    if name in _WRITING:
        args = _listed(args)
        _charge_writing(args, kwargs)
    if name == "replace":
        meter.charge_replacing(_values(args, kwargs))
    if name == "format":
        meter.charge_formatting(_values(args, kwargs))
    return args


def _listed(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(list(arg) if isinstance(arg, Iterator) else arg for arg in args)


def _reading(filter_: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that reads a text once."""

    @functools.wraps(filter_)
    def reading(*args: Any, **kwargs: Any) -> Any:
        for value in args[:2]:  # the first may be a context
            if type(value) is str:
                meter.charge(len(value) // meter.WALKED)
        return filter_(*args, **kwargs)

    return reading


def _comparing(test: Any) -> Any:
    """A test that compares its values."""

    @functools.wraps(test)
    def comparing(*args: Any) -> Any:
        for value in args:
            _read(value)
        return test(*args)

    return comparing


_CONTEXTS = (jinja2.runtime.Context, jinja2.nodes.EvalContext, jinja2.Environment)


def _values(args: Iterable[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The arguments of a filter without what Jinja gives it of the template."""
    return [arg for arg in (*args, *kwargs.values()) if not isinstance(arg, _CONTEXTS)]


def _charge_writing(args: Iterable[Any], kwargs: Mapping[str, Any]) -> None:
    """Charges for a filter that writes its values, a separator as often as there are items."""
    values = _values(args, kwargs)
    items = len(values[0]) if values and isinstance(values[0], list | tuple | dict) else 1
    meter.charge_all(values[:1])
    meter.charge(items * sum(len(value) for value in values[1:] if isinstance(value, str)))


def _charge_call(name: str, method: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Charges for a method of a text before it is called."""
    text = getattr(method, "__self__", None)
    if name in _PADS:
        meter.check_widths([*args, *kwargs.values()])
    if not isinstance(text, str):
        text = getattr(getattr(method, "__wrapped__", None), "__self__", None) or text
    for value in (text, *args):
        _read(value)
    if not isinstance(text, str):
        return
    if name == "replace":
        meter.charge_replacing([text, *args, *kwargs.values()])
    elif name == "join" and args and isinstance(args[0], list | tuple | dict):
        meter.charge(len(text) * len(args[0]))
        meter.charge_all(list(args[0]))
    elif name in _FORMATS:
        meter.charge_formatting([text, *args, *kwargs.values()])


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

    def visit_Compare(self, node: jinja2.nodes.Compare) -> jinja2.nodes.Node:
        self.generic_visit(node)
        values = [node.expr, *(operand.expr for operand in node.ops)]
        if any(operand.op in ("in", "notin") for operand in node.ops):
            is_quick = _is_written_out(node.expr)
            for operand in node.ops:
                operand.expr = _counted(operand.expr, _SEARCHED if is_quick else _WITHIN)
        elif any(map(_is_written_out, values)):
            return node
        else:
            for operand in node.ops:
                operand.expr = _counted(operand.expr)
        node.expr = _counted(node.expr)
        return node

    def visit_Pair(self, node: jinja2.nodes.Pair) -> jinja2.nodes.Node:
        self.generic_visit(node)
        node.key = _counted(node.key)
        return node

    def visit_Getitem(self, node: jinja2.nodes.Getitem) -> jinja2.nodes.Node:
        self.generic_visit(node)
        return _counted(node, _SEARCHED) if isinstance(node.arg, jinja2.nodes.Slice) else node


def _is_written_out(node: jinja2.nodes.Expr) -> bool:
    """Whether the template holds a value itself, so that comparing it takes no time."""
    if isinstance(node, jinja2.nodes.List | jinja2.nodes.Tuple):
        return all(map(_is_written_out, node.items))
    return isinstance(node, jinja2.nodes.Const)


def _counted(node: jinja2.nodes.Expr, how: str = _READ) -> jinja2.nodes.Expr:
    """A value of a template that is counted as read."""
    if _is_written_out(node):
        return node
    return jinja2.nodes.Filter(node, how, [], [], None, None, lineno=node.lineno)


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
        limited = {
            name: _limited(name, filter_) if name in _LIMITED else _reading(filter_)
            for name, filter_ in self.filters.items()
        }
        self.filters = {**limited, _STEPS: _steps, _CONCAT: _concat_values}
        self.filters |= {_READ: _read, _SEARCHED: _searched, _WITHIN: _within}
        self.tests = {
            name: _comparing(test) if name in _COMPARING else test
            for name, test in self.tests.items()
        }
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

    def getitem(self, obj: Any, argument: Any) -> Any:
        """What the sandbox gives for `obj[argument]`."""
        if type(argument) is tuple:  # its hash reads all of it
            _read(argument)
        return super().getitem(obj, argument)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """What an object gives that a template calls."""
        meter.step()
        name = getattr(__obj, "__name__", "")
        if name in _MEASURED:
            _charge_call(name, __obj, args, kwargs)
        elif type(text := getattr(__obj, "__self__", None)) is str:
            meter.charge(len(text) // meter.WALKED)
        elif args and (__obj is dict or __obj is jinja2.utils.Namespace or type(text) is dict):
            meter.charge_hashes(args)
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """What an operator gives."""
        if type(left) is str and operator == "+" and type(right) is str:
            meter.charge(len(left) + len(right))
            return left + right
        meter.charge_operator(operator, left, right)
        return self.binop_table[operator](left, right)


def _no_lipsum(*_: Any, **__: Any) -> str:
    raise meter.TooMuchError("it writes random words")
