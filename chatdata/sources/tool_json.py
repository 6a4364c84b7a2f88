"""Tools as JSON: calls of them and lists of them, as OpenAI's files write both.

    calls  [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {...}}}]
    tools  [{"type": "function", "function": {"name": "weather", "parameters": {...}}}]

Arguments are an object whose keys keep their order; a string that holds JSON is parsed, also when
it was encoded twice. Anthropic's `input` and `input_schema`, bare functions and bare calls are
brought into this form. What is no call or no tool is refused with its key and the reason.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from chatdata.sources.values import Text, identifier, shown, text

CALLS = ("tool_calls", "function_calls", "function_call", "tool_call")
LISTS = ("tools", "functions")  # the second in older files, beside `function_call`
_ARGUMENTS = ("arguments", "parameters", "input", "args")  # OpenAI, Cohere, Anthropic, LangChain
_IDS = ("id", "call_id", "tool_call_id")
_SCHEMAS = ("parameters", "input_schema", "inputSchema", "parameter_definitions")

NOTHING = Text(None)


class Refused(ValueError):
    """A call or a tool that cannot be carried; the message says why."""


def is_given(value: object) -> bool:
    """Whether a key holds something; nulls alone, as tables have them, are nothing."""
    if isinstance(value, Mapping):
        return any(value.values())
    return any(item is not None for item in value) if isinstance(value, list) else bool(value)


def calls(message: Mapping[str, Any]) -> Text:
    """The calls in a message as JSON; no text where there are none.

    The calls stand in `tool_calls`, or a single call of older files in `function_call`; a call
    that stands in both is written once.
    """
    listed: list[dict[str, Any]] = []
    for key in CALLS:
        value = parsed(message.get(key))
        if is_given(value):
            try:
                new = [_call(item) for item in as_list(value)]
            except Refused as error:
                return Text(None, f"'{key}': {error}")
            before = [call["function"] for call in listed]
            listed += [call for call in new if call["function"] not in before]
    return as_json(listed) if listed else NOTHING


def parsed(value: object) -> object:
    """The JSON that a string holds; any other value unchanged."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(value, parse_constant=_no_constant)
    return value


def as_list(value: object) -> list[Any]:
    """A list, also where it is written as JSON in a string; any other value as a list of it."""
    value = parsed(value)
    return value if isinstance(value, list) else [value]


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def as_json(value: object) -> Text:
    """A value as JSON; a date of a Parquet file, for which JSON has no form, as a string."""
    try:
        return text(json.dumps(value, ensure_ascii=False, default=str, allow_nan=False))
    except ValueError:
        return Text(None, "holds a number that JSON cannot write")
    except RecursionError:
        return Text(None, "nested too deeply")


# -------------------------------------------------------------------------------------------- calls


def _call(value: object) -> dict[str, Any]:
    """A call in OpenAI's form. Raises Refused for what is no call."""
    value = parsed(value)
    if not isinstance(value, Mapping):
        raise Refused(f"{type(value).__name__} is no call of a tool")
    function = parsed(value.get("function") or _custom(value) or value)
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str) or not isinstance(function, Mapping):
        raise Refused("a call does not name its tool")
    id = identifier(next((value[key] for key in _IDS if value.get(key) is not None), None))
    call = {"type": "function", "function": {"name": name, "arguments": _arguments(function)}}
    return {"id": id, **call} if id else call


def _custom(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A call of a tool that takes a text, under the name that a function would have for it."""
    custom = value.get("custom")
    if value.get("type") != "custom" or not isinstance(custom, Mapping):
        return None
    return {"name": custom.get("name"), "arguments": {"input": custom.get("input")}}


def _arguments(function: Mapping[str, Any]) -> dict[str, Any]:
    key = next((key for key in _ARGUMENTS if function.get(key) is not None), None)
    arguments = parsed(parsed(function[key] if key else None))
    if arguments is None or arguments == "":
        return {}
    if not isinstance(arguments, dict):
        raise Refused(f"the arguments of '{function['name']}' are no JSON object")
    return arguments


# -------------------------------------------------------------------------------------------- tools


def listing(value: object) -> Text:
    """A list of tools as JSON; no text where no tool is listed."""
    value = parsed(value)
    if not is_given(value):
        return NOTHING
    try:
        return as_json([_tool(item) for item in as_list(value)])
    except Refused as error:
        return Text(None, str(error))


def joined(listings: Iterable[str]) -> str | None:
    """Several lists of tools as a single list, each tool once; None where there is no list."""
    distinct = list(dict.fromkeys(listings))
    if len(distinct) < 2:
        return distinct[0] if distinct else None
    tools: list[Any] = []
    for listed in distinct:
        tools += [tool for tool in json.loads(listed) if tool not in tools]
    return as_json(tools).text


def _tool(value: object) -> dict[str, Any]:
    """A tool in OpenAI's form. Raises Refused for what is no tool."""
    value = parsed(value)
    if not isinstance(value, Mapping):
        raise Refused(f"{type(value).__name__} is no tool")
    if isinstance(value.get("function"), Mapping):
        return {key: item for key, item in value.items() if item is not None}
    tool = value["custom"] if isinstance(value.get("custom"), Mapping) else value
    if not isinstance(tool.get("name"), str):
        kind = value.get("type")
        raise Refused(f"a tool of type {shown(kind)} has no name" if kind else "a tool has no name")
    function = {
        "parameters" if key in _SCHEMAS else key: item
        for key, item in tool.items()
        if item is not None and not (key == "type" and item in ("function", "custom"))
    }
    return {"type": "function", "function": function}


# ------------------------------------------------------------------------------------------ results

_OPEN, _CLOSE = "<tool_response>", "</tool_response>"


def unwrapped(result: str) -> str:
    """The words of a result, without the tags of Hermes and Qwen that stand around it."""
    inner = result.strip()
    is_wrapped = inner.startswith(_OPEN) and inner.endswith(_CLOSE) and inner.count(_OPEN) == 1
    return inner[len(_OPEN) : -len(_CLOSE)].strip("\n") if is_wrapped else result
