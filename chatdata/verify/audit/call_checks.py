"""Checks of tools: calls, their arguments, and results, in columns or in the tags of Hermes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from chatdata.verify.audit.findings import Cases, Example, excerpt
from chatdata.verify.audit.inputs import Messages, Records
from chatdata.verify.audit.known import Known

_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_TOOLS = re.compile(r"<tools>\s*(.*?)\s*</tools>", re.DOTALL)
_RESULT = "<tool_response>"
_NAME = re.compile(r'"name"')


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool: its function, as the data has it, and the message that holds the call."""

    function: Mapping[str, Any]
    id: str | None
    message: Mapping[str, Any]


@dataclass(slots=True)
class Talk:
    """What a conversation has of tools."""

    calls: list[Call] = field(default_factory=list)
    results: list[Mapping[str, Any]] = field(default_factory=list)  # messages
    orphans: list[Mapping[str, Any]] = field(default_factory=list)  # results without a call
    early: list[Mapping[str, Any]] = field(default_factory=list)  # whose call is not the next
    declared: set[str] = field(default_factory=set)
    waiting: int = 0  # calls since the last turn of the assistant, less their results
    ids: list[str] = field(default_factory=list)  # of these calls, but for those with a result


def undeclared(batch: Messages, known: Known) -> Cases:
    """Calls of tools that the conversation does not list."""
    return _calls(batch, lambda call, talk: call.function.get("name") not in talk.declared)


def odd_arguments(batch: Messages, known: Known) -> Cases:
    """Calls whose arguments are no object: encoded twice, or another value."""
    return _calls(batch, lambda call, talk: not is_object(call.function.get("arguments")))


def without_call(batch: Messages, known: Known) -> Cases:
    """Results that answer no call."""
    talks = list(_talks(batch))
    orphans = [message for talk in talks for message in talk.orphans]
    example = _example(orphans[0]) if orphans else None
    return Cases(len(orphans), sum(len(talk.results) for talk in talks), example)


def out_of_order(batch: Messages, known: Known) -> Cases:
    """Results before which another call of the same answer, an earlier one, has none yet."""
    talks = list(_talks(batch))
    early = [message for talk in talks for message in talk.early]
    example = _example(early[0]) if early else None
    return Cases(len(early), sum(len(talk.results) for talk in talks), example)


def encoded_twice(batch: Records, known: Known) -> Cases:
    """Calls whose arguments are the JSON text of a JSON text."""
    number, cases = 0, []
    for record in batch.records:
        arguments = list(_arguments(record.value))
        number += len(arguments)
        cases += [(record.where, text) for text in arguments if is_encoded_twice(text)]
    example = Example(cases[0][0], cases[0][0], excerpt(str(cases[0][1]))) if cases else None
    return Cases(len(cases), number, example)


def is_encoded_twice(arguments: object) -> bool:
    """Whether arguments are a text that holds, in JSON, a text that holds an object."""
    once = _parsed(arguments) if isinstance(arguments, str) else None
    return isinstance(once, str) and isinstance(_parsed(once), Mapping)


def _arguments(record: object) -> Iterator[object]:
    """Yields the arguments of all functions that a record calls, at any depth, in its order."""
    waiting = [record]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping) and "name" in value and "arguments" in value:
            yield value["arguments"]
        else:
            waiting += reversed(_inner(value))


def _inner(value: object) -> list[object]:
    """What a value holds: values of a mapping or a list, or what a text holds as JSON."""
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, str) and '"arguments"' in value:
        parsed = _parsed(value)
        return [] if isinstance(parsed, str) else [parsed]
    return value if isinstance(value, list) else []


def is_object(arguments: object) -> bool:
    """Whether arguments are an object; none at all are an empty object."""
    return arguments is None or isinstance(arguments, Mapping)


def _calls(batch: Messages, is_case: Callable[[Call, Talk], bool]) -> Cases:
    """The calls that are a case."""
    talks = list(_talks(batch))
    cases = [call for talk in talks for call in talk.calls if is_case(call, talk)]
    example = _example(cases[0].message) if cases else None
    return Cases(len(cases), sum(len(talk.calls) for talk in talks), example)


def _example(message: Mapping[str, Any]) -> Example:
    text = message["tool_calls"] or message["content"] or ""
    name = _NAME.search(text)
    return Example(message["message"], message["where"], excerpt(text, name.start() if name else 0))


# -------------------------------------------------------------------------------- conversations


def _talks(batch: Messages) -> Iterator[Talk]:
    """Yields what conversations have of tools, those that call one or hold a result."""
    uses = pl.col("tool_calls").is_not_null() | (pl.col("role") == "tool")
    uses |= pl.col("content").str.contains_any(["<tool_call>", _RESULT])
    rows = batch.rows.filter(uses.fill_null(False).any().over("talk"))
    for _, messages in rows.group_by("talk", maintain_order=True):
        yield _talk(list(messages.iter_rows(named=True)))


def _talk(messages: list[dict[str, Any]]) -> Talk:
    talk = Talk()
    for message in messages:
        content = message["content"] or ""
        talk.declared |= _declared(message["tools"], content, message["role"])
        if message["role"] == "assistant":
            _add_calls(talk, message, content)
        elif message["role"] == "tool" or content.lstrip().startswith(_RESULT):
            _add_result(talk, message, max(1, content.count(_RESULT)))
        else:
            talk.waiting = 0
    return talk


def _add_calls(talk: Talk, message: Mapping[str, Any], content: str) -> None:
    calls = [Call(_function(value), _id(value), message) for value in _called(message, content)]
    talk.calls += calls
    talk.waiting = len(calls)
    talk.ids = [call.id for call in calls if call.id]


def _add_result(talk: Talk, message: Mapping[str, Any], number: int) -> None:
    talk.results.append(message)
    ids = {call.id for call in talk.calls if call.id}
    named = message["tool_call_id"]
    is_answer = named in ids if named and ids else talk.waiting >= number
    if not is_answer:
        talk.orphans.append(message)
    if named in talk.ids:
        if named != talk.ids[0]:
            talk.early.append(message)
        talk.ids.remove(named)
    talk.waiting -= number


def _called(message: Mapping[str, Any], content: str) -> list[Any]:
    """The calls in a message, as the data has them."""
    structured = _parsed(message["tool_calls"] or "[]")
    tagged = [_parsed(match[1]) for match in _CALL.finditer(content)]
    listed = structured if isinstance(structured, list) else [structured]
    return [*listed, *tagged]


def _function(value: object) -> Mapping[str, Any]:
    """The name and the arguments of a call in OpenAI's form or in the tags of Hermes."""
    inner = value.get("function", value) if isinstance(value, Mapping) else None
    return inner if isinstance(inner, Mapping) else {"arguments": value}


def _id(value: object) -> str | None:
    id = value.get("id") if isinstance(value, Mapping) else None
    return id if isinstance(id, str) else None


def _declared(tools: str | None, content: str, role: str | None) -> set[str]:
    """The names of the tools that a message lists."""
    texts = [tools] if tools else []
    if role in ("system", "developer") and "<tools>" in content:
        texts += _TOOLS.findall(content)
    return {name for text in texts for name in _names(_parsed_list(text))}


def _names(values: list[Any]) -> Iterator[str]:
    for value in values:
        name = _function(value).get("name")
        if isinstance(name, str):
            yield name


def _parsed(text: str) -> Any:
    """The JSON value in a text; the text where it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _parsed_list(text: str) -> list[Any]:
    """The JSON values in a text: a list, or values a line."""
    value = _parsed(text)
    if isinstance(value, list):
        return value
    return [value] if not isinstance(value, str) else [_parsed(line) for line in text.splitlines()]
