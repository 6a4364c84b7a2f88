"""Tools as text: calls, their results and lists of tools, in the form of Hermes and Qwen.

    system     <tools>\n[{"name": "weather", ...}]\n</tools>
    assistant  <tool_call>\n{"name": "weather", "arguments": {"city": "Lisbon"}}\n</tool_call>
    user       <tool_response>\n{"celsius": 19}\n</tool_response>

Any template can write them, and a call is learnt from like any answer. A template that has a form
of its own for tools writes other ids for `apply_chat_template(messages, tools=...)` than for these
texts. The filter `tool_use` removes them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from chatdata.sources import text

Text = tuple[str | None, str | None]  # the text, or None and what is in its place
CALLS = ("tool_calls", "function_calls", "function_call")
LISTS = ("tools", "functions")  # the second in older files, beside `function_call`
_ARGUMENTS = ("arguments", "parameters", "input")  # of OpenAI, of Cohere, of Anthropic


def call(value: object) -> Text:
    """A call, or several of them, as a message of the assistant; objects are written as JSON."""
    return _within("tool_call", value)


def response(value: object) -> Text:
    """The result of a call, as a message to the assistant."""
    return _within("tool_response", value)


def listing(value: object) -> Text:
    """What tools there are, as words for a system message; empty where there are none."""
    if value == "[]" or not is_there(value):
        return "", None
    return _within("tools", value)


def is_there(value: object) -> bool:
    """Whether a key holds something; nulls alone, as tables have them, are nothing."""
    if isinstance(value, Mapping):
        return any(value.values())
    return any(own is not None for own in value) if isinstance(value, list) else bool(value)


def calls(message: Mapping[str, Any]) -> Text:
    """The calls in a message as OpenAI has them, one below the other; empty where there are none.

    They stand in `tool_calls`, or the one of older files in `function_call`; one that stands in
    both is one.
    """
    functions: list[dict[str, Any] | None] = []
    for key in CALLS:
        given = _parsed(message.get(key))
        if is_there(given):
            several = given if isinstance(given, list) else [given]
            own = [_function(one) for one in several]
            functions += [one for one in own if one is None or one not in functions]
    texts = [None if own is None else call(own)[0] for own in functions]
    if None in texts:
        return None, "'tool_calls' cannot be carried as text"
    return "\n".join(own or "" for own in texts), None


def _function(own: object) -> dict[str, Any] | None:
    """Name and arguments of a call; arguments that are JSON in a string are parsed."""
    function = own.get("function", own) if isinstance(own, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        return None
    named = [key for key in _ARGUMENTS if function.get(key) is not None]
    return {"name": function["name"], "arguments": _parsed(function[named[0]] if named else None)}


def _parsed(value: object) -> object:
    """What a string holds as JSON; else the value as it is."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def _within(tag: str, value: object) -> Text:
    try:
        own = _json(value) if isinstance(value, dict | list) else value
    except (ValueError, RecursionError):
        return None, "nested too deeply"
    words, note = text(own)
    return (None, note) if words is None else (f"<{tag}>\n{words}\n</{tag}>", None)


def _json(value: object) -> str:
    """A value as JSON; what JSON has no form for (a date of a Parquet file) as its words."""
    return json.dumps(value, ensure_ascii=False, default=str)
