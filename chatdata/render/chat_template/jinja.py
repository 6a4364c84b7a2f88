"""The environment in which transformers renders chat templates, its clock stopped."""

from __future__ import annotations

import datetime
import functools
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jinja2
import jinja2.ext
import jinja2.meta

from chatdata.core.errors import RenderError
from chatdata.render.chat_template import limits, meter
from chatdata.render.conversation import Messages, Tools, UnrenderableError, spoken, texts_of

_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
# Private-use characters that stand around what {% generation %} blocks write, with `marks`.
_OPEN, _CLOSE = "\U0010fffc", "\U0010fffd"
_MARK = re.compile(f"[{_OPEN}{_CLOSE}]")


class _Generation(jinja2.ext.Extension):
    """`{% generation %}...{% endgeneration %}`: what the assistant writes."""

    tags = {"generation"}  # noqa: RUF012 (Jinja's own name and type)

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Any) -> str:
        return str(caller())


class _MarkedGeneration(_Generation):
    """The same, between two marks."""

    def _mark(self, caller: Any) -> str:
        return f"{_OPEN}{caller()}{_CLOSE}"


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


@functools.lru_cache(maxsize=8)
def _compile(source: str, date: datetime.date | None, marks: bool) -> jinja2.Template:
    """A chat template in the environment of transformers, the clock stopped at `date`.

    With `marks`, private characters stand around what the generation blocks write. Raises
    RenderError where the source is not valid Jinja.
    """
    generation = _MarkedGeneration if marks else _Generation
    environment = limits.LimitedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.limit_filters()
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = functools.partial(_strftime, date)
    try:
        return environment.from_string(source)
    except jinja2.TemplateError as error:
        raise RenderError(f"the chat template is not valid Jinja: {error}.") from None
    except (RecursionError, SyntaxError):
        raise RenderError("the chat template is nested too deeply; write fewer levels.") from None


_LATE = datetime.time(23, 59, 59, 999999)


def _strftime(date: datetime.date | None, format: str) -> str:
    if date is None:
        raise RenderError(
            "the chat template writes today's date, and a build has no clock; set render.date, "
            "for example --set render.date=2026-01-31."
        )
    text = date.strftime(format)
    if text != datetime.datetime.combine(date, _LATE).strftime(format):
        raise UnrenderableError(
            "the chat template writes the time of day, which render.date cannot fix (remove the "
            "time from the template)"
        )
    return text


def render(
    source: str,
    variables: Mapping[str, Any],
    date: datetime.date | None,
    messages: Messages,
    add_generation_prompt: bool = False,
    tools: Tools | None = None,
    marks: bool = False,
) -> str:
    """A conversation as a chat template writes it, with the tools that are offered in it.

    Raises UnrenderableError where the template refuses the conversation.
    """
    values = {"tools": None, "documents": None, **variables}
    if tools is not None:
        values["tools"] = tools
    template = _compile(source, date, marks)
    meter.restart()
    try:
        return template.render(
            messages=list(messages), add_generation_prompt=add_generation_prompt, **values
        )
    except (RenderError, UnrenderableError):
        raise
    except meter.TooMuchError as error:
        raise UnrenderableError(f"the chat template is over a limit: {error}") from None
    except Exception as error:  # a template can raise anything
        given = {k: v for k, v in values.items() if not k.endswith("_token")}
        words = _without_content(str(error), messages, given)
        raise UnrenderableError(f"the chat template says: {words}") from None


_OF_THE_FORMAT = frozenset(
    [
        *("function", "name", "type", "arguments", "description", "parameters", "properties"),
        *("required", "object", "string", "number", "integer", "boolean", "array", "items", "text"),
    ]
)
_TELLING = 4  # characters from which on a content that an error quotes is left out


def _without_content(error: str, messages: Messages, given: Mapping[str, Any]) -> str:
    """The words of an error without texts of messages, tools and variables.

    A ledger is published. Words of the format, such as `function`, stay.
    """
    texts = itertools.chain(*map(spoken, messages), *map(texts_of, given.values()))
    contents = {text.strip() for text in texts} - _OF_THE_FORMAT
    for content in sorted(contents, key=lambda text: (-len(text), text)):
        error = error.replace(content, "…") if len(content) >= _TELLING else error
    return error


def render_generation(
    source: str, variables: Mapping[str, Any], date: datetime.date | None, messages: Messages
) -> tuple[str, list[int]]:
    """A conversation as a chat template writes it, and the places where generation blocks begin.

    Raises UnrenderableError where the template refuses the conversation, or where a content holds
    the characters that mark the blocks.
    """
    if any(_MARK.search(text) for message in messages for text in spoken(message)):
        raise UnrenderableError("its content holds characters for private use (U+10FFFC ff.)")
    marked = render(source, variables, date, messages, marks=True)
    places = [match.start() for match in _MARK.finditer(marked)]
    starts = [place - 2 * i for i, place in enumerate(places[::2])]
    return _MARK.sub("", marked), starts


def strings(source: str) -> list[str]:
    """The strings in the code of a template, each once, in their order."""
    tree = jinja2.Environment(extensions=[_Generation, jinja2.ext.loopcontrols]).parse(source)
    values = (constant.value for constant in tree.find_all(jinja2.nodes.Const))
    return list(dict.fromkeys(value for value in values if isinstance(value, str) and value))


def read_variables(source: str) -> list[str]:
    """The variables that a template reads and nobody always gives, sorted."""
    environment = jinja2.Environment(extensions=[_Generation, jinja2.ext.loopcontrols])
    tree = environment.parse(source)
    first: dict[str, str] = {}
    for name in _in_order(tree):
        first.setdefault(name.name, name.ctx)
    made = {name for name, use in first.items() if use != "load"}
    return sorted(jinja2.meta.find_undeclared_variables(tree) - made - _GIVEN)


def _in_order(node: jinja2.nodes.Node) -> Iterator[jinja2.nodes.Name]:
    """Yields the names below a node in the order in which a template uses them: what is assigned
    is read before it is stored."""
    if isinstance(node, jinja2.nodes.Name):
        yield node
    children = list(node.iter_child_nodes())
    if isinstance(node, jinja2.nodes.Assign):
        children.reverse()
    for child in children:
        yield from _in_order(child)


@functools.lru_cache(maxsize=64)
def reads(source: str, variable: str) -> bool:
    """Whether a template reads a variable anywhere."""
    tree = jinja2.Environment(extensions=[_Generation, jinja2.ext.loopcontrols]).parse(source)
    names = tree.find_all(jinja2.nodes.Name)
    return any(name.name == variable and name.ctx == "load" for name in names)


_GIVEN = {
    *("messages", "tools", "documents", "add_generation_prompt", "raise_exception"),
    *("strftime_now", "range", "dict", "namespace", "lipsum", "cycler", "joiner"),
    *("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"),
}


def has_generation(source: str) -> bool:
    """Whether a template tags what the assistant writes."""
    return _GENERATION.search(source) is not None
