"""Logs of OpenAI's requests and responses, and items of its Responses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chatdata.sources._blocks import more_keys
from chatdata.sources._linear import Reading
from chatdata.sources._message import MESSAGE_KEYS, is_prefill
from chatdata.sources.shapes._base import Conversations, Record, are_objects, has
from chatdata.sources.shapes.vendors._openai_form import Message, as_openai, odd

ITEM_KEYS = frozenset(
    [
        *("type", "role", "content", "summary", "name", "arguments", "input", "call_id", "output"),
        *("id", "status", "action"),
    ]
)
_HOLDERS = frozenset(["messages", "tools", "choices", "message", "index", "finish_reason"])


def _is_log(record: object) -> bool:
    if not has(record, "request", "response") or not isinstance(record, dict):
        return False
    request, response = record["request"], record["response"]
    return (
        isinstance(request, dict)
        and are_objects(request.get("messages"))
        and isinstance(response, dict)
        and are_objects(response.get("choices"))
    )


def _read_log(record: Any) -> Reading:
    request, choices = record["request"], record["response"]["choices"]
    if len(choices) != 1:
        refusal = f"'response' has {len(choices)} choices, and which is meant is not stated"
        return Reading([], refusal=refusal, reason="unknown_record")
    answer = _ended(choices[0].get("message"), choices[0].get("finish_reason"))
    messages = _continued(request["messages"], answer)
    holders = [request, record["response"], *choices]
    return as_openai(record, messages, ("request", "response"), _tools(request), holders)


def _continued(asked: Sequence[Message], answer: object) -> list[object]:
    """The messages of a request with its answer, which goes on where the last of them begins an
    answer. Some servers repeat that beginning."""
    begun = asked[-1]
    words = [m.get("content") if isinstance(m, Mapping) else None for m in (begun, answer)]
    if not is_prefill(begun) or not all(isinstance(text, str) for text in words):
        return [*asked, answer]
    beginning, rest = map(str, words)
    whole = rest if rest.startswith(beginning) else beginning + rest
    return [*asked[:-1], {**dict(answer), "content": whole}]  # type: ignore[call-overload]


def _ended(message: object, why: object) -> object:
    """A message that says why it ends."""
    return {**message, "finish_reason": why} if isinstance(message, Mapping) else message


def _tools(holder: Record) -> Record:
    return {"tools": holder["tools"]} if holder.get("tools") else {}


def _is_responses(record: object) -> bool:
    if not isinstance(record, dict) or not are_objects(record.get("output")):
        return False
    output = record["output"]
    is_answer = all(isinstance(item.get("type"), str) for item in output)
    return is_answer and isinstance(record.get("input"), str | list)


_READ = ("input", "output", "instructions", "status", "incomplete_details")
_EARLIER = ("previous_response_id", "conversation")


def _read_responses(record: Any) -> Reading:
    if earlier := next((key for key in _EARLIER if record.get(key)), None):
        refusal = f"'{earlier}' names turns that are not in the record"
        return Reading([], refusal=refusal, reason="unknown_record")
    asked = record["input"]
    items = (
        [{"type": "message", "role": "user", "content": asked}] if isinstance(asked, str) else asked
    )
    items = [*items, *record["output"]]
    messages: list[object] = list(of_items(items))
    if record.get("status") == "incomplete":
        messages[-1:] = [_ended(last, "length") for last in messages[-1:]]
    given = record.get("instructions")
    before = [{"role": "system", "content": given}] if given else []
    tools = {"tools": record["tools"]} if record.get("tools") else {}
    return as_openai(record, [*before, *messages], _READ, tools, items)


def of_items(items: Sequence[Any]) -> Iterator[Message]:
    """Yields items of OpenAI's Responses as messages, thoughts and calls with the answer that they
    belong to."""
    waiting: dict[str, Any] = {}
    for item in items:
        if not isinstance(item, Mapping):
            yield item
            continue
        kind = str(item.get("type") or "message")
        if kind == "reasoning":
            _add_thought(waiting, item)
        elif kind in _CALLS:
            waiting.setdefault("tool_calls", []).append(_CALLS[kind](item))
        else:
            is_answer = kind == "message" and item.get("role") == "assistant"
            if waiting and (not is_answer or "tool_calls" in waiting):
                yield {"role": "assistant", "content": None, **waiting}
                waiting = {}
            yield {**_item(item, kind), **waiting}
            waiting = {}
    if waiting:
        yield {"role": "assistant", "content": None, **waiting}


def _function(item: Message) -> Message:
    return {key: item.get(name) for key, name in _FUNCTION.items()}


def _custom(item: Message) -> Message:
    """A call of a tool that takes a text, under the name that a function would have for it."""
    return {
        "id": item.get("call_id"),
        "name": item.get("name"),
        "arguments": {"input": item.get("input")},
    }


def _shell(item: Message) -> Message:
    return {"id": item.get("call_id"), "name": "local_shell", "arguments": item.get("action")}


_FUNCTION = {"id": "call_id", "name": "name", "arguments": "arguments"}
_CALLS = {"function_call": _function, "custom_tool_call": _custom, "local_shell_call": _shell}


def _add_thought(waiting: dict[str, Any], item: Message) -> None:
    parts = [*(item.get("content") or []), *(item.get("summary") or [])]
    texts = [part["text"] for part in parts if isinstance(part, Mapping) and part.get("text")]
    if texts:
        waiting["reasoning"] = "\n\n".join([*filter(None, [waiting.get("reasoning")]), *texts])


_TEXTS = ("input_text", "output_text", "text")


def _item(item: Message, kind: str) -> Message:
    """A message, or a result, in OpenAI's older form."""
    if kind in ("function_call_output", "custom_tool_call_output"):
        content = item.get("output")
        return {"role": "tool", "tool_call_id": item.get("call_id"), "content": _plain(content)}
    if kind != "message":
        return {"role": item.get("role") or kind, "content": [odd(item)]}
    return {"role": item.get("role"), "content": _plain(item.get("content"))}


def _plain(content: object) -> object:
    """Content whose parts have the types of the older form."""
    if not are_objects(content):
        return content
    return [
        {"type": "text", "text": part.get("text")} if part.get("type") in _TEXTS else part
        for part in content
    ]


SHAPES = (
    Conversations(
        name="OpenAI request and response",
        keys=("request", "response"),
        fits=_is_log,
        read=_read_log,
        message_keys=MESSAGE_KEYS | _HOLDERS,
        more_keys=more_keys,
    ),
    Conversations(
        name="OpenAI Responses",
        keys=("input", "output"),
        fits=_is_responses,
        read=_read_responses,
        message_keys=MESSAGE_KEYS | ITEM_KEYS,
        more_keys=more_keys,
    ),
)
