"""The environment in which transformers renders chat templates, its clock stopped."""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Mapping
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox

from chatdata.core.errors import RenderError
from chatdata.render.conversation import Messages, UnrenderableError

_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
# Private-use characters around what stands in {% generation %} blocks, where marks are asked for.
_OPEN, _CLOSE = "\U0010fffc", "\U0010fffd"
MARK = re.compile(f"[{_OPEN}{_CLOSE}]")


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
    """The same, with a mark before and behind it."""

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
def compile(source: str, date: datetime.date | None, marks: bool = False) -> jinja2.Template:
    """A chat template in the environment that transformers gives it, its clock stopped at `date`.

    With `marks`, there are private characters around what its generation blocks write.

    Raises RenderError where it is no Jinja.
    """
    generation = _MarkedGeneration if marks else _Generation
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = functools.partial(_strftime, date)
    try:
        return environment.from_string(source)
    except jinja2.TemplateError as error:
        raise RenderError(f"the chat template is no Jinja that can be used: {error}.") from None


def _strftime(date: datetime.date | None, format: str) -> str:
    if date is None:
        raise RenderError(
            "the chat template writes today's date, and a build has no clock; set render.date, "
            "for example --set render.date=2026-01-31."
        )
    return date.strftime(format)


def render(
    source: str,
    variables: Mapping[str, Any],
    date: datetime.date | None,
    messages: Messages,
    add_generation_prompt: bool = False,
    marks: bool = False,
) -> str:
    """What a chat template writes. Raises UnrenderableError where it refuses the conversation."""
    values = {"tools": None, "documents": None, **variables}
    try:
        return compile(source, date, marks).render(
            messages=list(messages), add_generation_prompt=add_generation_prompt, **values
        )
    except RenderError:
        raise
    except Exception as error:  # a template can raise anything
        raise UnrenderableError(f"the chat template says: {error}") from None


def strings(source: str) -> list[str]:
    """The strings in a template's code, each once, in their order."""
    tree = jinja2.Environment(extensions=[_Generation, jinja2.ext.loopcontrols]).parse(source)
    found = (own.value for own in tree.find_all(jinja2.nodes.Const))
    return list(dict.fromkeys(own for own in found if isinstance(own, str) and own))


def has_generation(source: str) -> bool:
    """Whether a template tags what the assistant writes."""
    return _GENERATION.search(source) is not None
