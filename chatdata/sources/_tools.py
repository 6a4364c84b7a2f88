"""Tools as text: calls, their results and lists of tools, in the form of Hermes and Qwen.

    system     <tools>\n[{"name": "weather", ...}]\n</tools>
    assistant  <tool_call>\n{"name": "weather", "arguments": {"city": "Lisbon"}}\n</tool_call>
    user       <tool_response>\n{"celsius": 19}\n</tool_response>

Any template can write these texts, and a call is trained like any answer. A template that has a
native form for tools writes other ids for `apply_chat_template(messages, tools=...)` than for
these texts. The filter `tool_use` removes them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from chatdata.sources.values import Text, text

CALLS = ("tool_calls", "function_calls", "function_call")
LISTS = ("tools", "functions")  # the second in older files, beside `function_call`
_ARGUMENTS = ("arguments", "parameters", "input")  # of OpenAI, of Cohere, of Anthropic

NOTHING = Text("")


def call(value: object) -> Text:
    """A call, or several calls, as a message of the assistant; objects are written as JSON."""
    return _tagged("tool_call", value)


def response(value: object) -> Text:
    """The result of a call, as a message to the assistant."""
    return _tagged("tool_response", value)


def listing(value: object) -> Text:
    """A list of tools, as words for a system message; empty where no tool is listed."""
    if value == "[]" or not is_given(value):
        return NOTHING
    return _tagged("tools", value)


def is_given(value: object) -> bool:
    """Whether a key holds something; nulls alone, as tables have them, are nothing."""
    if isinstance(value, Mapping):
        return any(value.values())
    return any(item is not None for item in value) if isinstance(value, list) else bool(value)


def calls(message: Mapping[str, Any]) -> Text:
    """The calls in a message of OpenAI's form, a line feed between; empty where it has none.

    The calls stand in `tool_calls`, or a single call of older files in `function_call`; a call
    that stands in both is written once.
    """
    functions: list[dict[str, Any] | None] = []
    for key in CALLS:
        value = _parsed(message.get(key))
        if is_given(value):
            listed = [_function(item) for item in (value if isinstance(value, list) else [value])]
            functions += [item for item in listed if item is None or item not in functions]
    texts = [None if function is None else call(function).text for function in functions]
    if None in texts:
        return Text(None, "'tool_calls' cannot be carried as text")
    return Text("\n".join(text or "" for text in texts))


def _function(value: object) -> dict[str, Any] | None:
    """Name and arguments of a call; arguments that are JSON in a string are parsed."""
    function = value.get("function", value) if isinstance(value, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        return None
    key = next((key for key in _ARGUMENTS if function.get(key) is not None), None)
    arguments = _parsed(function[key] if key else None)
    return {"name": function["name"], "arguments": arguments}


def _parsed(value: object) -> object:
    """The JSON that a string holds; any other value unchanged."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def _tagged(tag: str, value: object) -> Text:
    try:
        words = text(_json(value) if isinstance(value, dict | list) else value)
    except (ValueError, RecursionError):
        return Text(None, "nested too deeply")
    return words if words.text is None else Text(f"<{tag}>\n{words.text}\n</{tag}>")


def _json(value: object) -> str:
    """A value as JSON; a date of a Parquet file, for which JSON has no form, as a string."""
    return json.dumps(value, ensure_ascii=False, default=str)
