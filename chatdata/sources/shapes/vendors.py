"""Requests, logs and tuning files of vendors: Vertex, Bedrock, OpenAI, Cohere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chatdata.sources import jsonl, tool_json
from chatdata.sources._blocks import more_keys
from chatdata.sources._linear import Reading
from chatdata.sources._message import MESSAGE_KEYS
from chatdata.sources.shapes._base import Conversations, Record, are_objects, has

Message = Mapping[str, Any]


def as_openai(
    record: Record,
    messages: Sequence[object],
    keys: tuple[str, ...],
    beside: Record,
    holders: Sequence[object] = (),
) -> Reading:
    """What is read of messages in OpenAI's form that stand under `keys` of a record.

    `beside` is what stands beside them, under the names of `jsonl`; `holders` are the objects from
    which all of it was taken, whose other keys are counted.
    """
    rest = {key: value for key, value in record.items() if key not in keys}
    reading = jsonl.read_record({**rest, **beside, "messages": list(messages)})
    return reading._replace(keys=reading.keys.union(keys), messages=[*reading.messages, *holders])


def _odd(what: str, part: object) -> Message:
    """A part that OpenAI's form has no place for, so that it is refused by its name."""
    names = ", ".join(sorted(map(str, part))) if isinstance(part, Mapping) else type(part).__name__
    return {"type": f"{what}: {names}"[:40]}


# ------------------------------------------------------------------- Vertex, Gemini

_SYSTEMS = ("systemInstruction", "system_instruction")
_GEMINI_ROLES = {"user": "user", "model": "assistant", "function": "tool", "system": "system"}


def _is_vertex(record: object) -> bool:
    contents = record.get("contents") if isinstance(record, dict) else None
    return are_objects(contents) and all(
        isinstance(content.get("parts"), list) and isinstance(content.get("role"), str | None)
        for content in contents
    )


def _read_vertex(record: Any) -> Reading:
    messages = [message for c in record["contents"] for message in _of_content(c)]
    given = next((record[key] for key in _SYSTEMS if record.get(key)), None)
    before = [{"role": "system", "content": _words(given)}] if given else []
    tools = {"tools": _declarations(record["tools"])} if record.get("tools") else {}
    return as_openai(
        record, [*before, *messages], ("contents", *_SYSTEMS), tools, [*record["contents"], given]
    )


def _words(value: object) -> object:
    """The words of a system instruction: a text, or an object with parts."""
    parts = value.get("parts") if isinstance(value, Mapping) else None
    listed = [parts] if isinstance(parts, Mapping) else parts
    return _texts(listed) if isinstance(listed, list) else value


def _texts(parts: Sequence[object]) -> list[Message]:
    return [
        {"type": "text", "text": part["text"]}
        if isinstance(part, Mapping) and part.keys() == {"text"}
        else _odd("part", part)
        for part in parts
    ]


def _of_content(content: Message) -> Iterator[Message]:
    """Yields a content as messages: a result of a function is a message by itself."""
    role = _GEMINI_ROLES.get(str(content.get("role") or "user"), content.get("role"))
    parts: dict[str, list[Any]] = {kind: [] for kind in ("call", "result", "thought", "text")}
    for part in map(_snake, content["parts"]):
        parts[_gemini_kind(part)].append(part)
    for part in parts["result"]:
        answer = part["function_response"]
        yield {"role": "tool", "name": answer.get("name"), "content": answer.get("response")}
    if parts["text"] or parts["call"] or parts["thought"]:
        beside: dict[str, Any] = {}
        if parts["call"]:
            beside["tool_calls"] = [part["function_call"] for part in parts["call"]]
        if parts["thought"]:
            beside["reasoning"] = "".join(part["text"] for part in parts["thought"])
        words = _texts(parts["text"]) if parts["text"] else None
        yield {"role": role, "content": words, **beside}


def _gemini_kind(part: object) -> str:
    """What a part is; words, where it is none of the rest or more than one thing."""
    if not isinstance(part, Mapping):
        return "text"
    if part.keys() == {"function_call"} and isinstance(part["function_call"], Mapping):
        return "call"
    if part.keys() == {"function_response"} and isinstance(part["function_response"], Mapping):
        return "result"
    is_thought = part.keys() == {"text", "thought"} and part["thought"] is True
    return "thought" if is_thought and isinstance(part["text"], str) else "text"


_SNAKE = {"functionCall": "function_call", "functionResponse": "function_response"}


_MARKS = ("thoughtSignature", "thought_signature")  # that say nothing


def _snake(part: object) -> Any:
    """A part with a single spelling of its keys, without nulls and marks."""
    if not isinstance(part, Mapping):
        return part
    named = {_SNAKE.get(key, key): value for key, value in part.items() if value is not None}
    is_true = named.get("thought") is not False
    return {k: v for k, v in named.items() if k not in _MARKS and (k != "thought" or is_true)}


def _declarations(tools: object) -> object:
    """The functions that a list of Gemini's tools declares; anything else as it stands."""
    listed = tool_json.parsed(tools)
    if not are_objects(listed):
        return listed
    keys = ("functionDeclarations", "function_declarations")
    lists = [tool[key] for tool in listed for key in keys if are_objects(tool.get(key))]
    is_all = all(any(are_objects(tool.get(key)) for key in keys) for tool in listed)
    return [function for functions in lists for function in functions] if is_all else listed


# ------------------------------------------------------------------- Bedrock Converse


def _is_converse(record: object) -> bool:
    messages = record.get("messages") if isinstance(record, dict) else None
    return are_objects(messages) and all(
        isinstance(message.get("role"), str)
        and are_objects(message.get("content"))
        and not any("type" in part for part in message["content"])
        for message in messages
    )


def _read_converse(record: Any) -> Reading:
    messages = [part for message in record["messages"] for part in _of_converse(message)]
    system = record.get("system")
    before = [{"role": "system", "content": _texts(system)}] if are_objects(system) else []
    config = record.get("toolConfig")
    specs = config.get("tools") if isinstance(config, Mapping) else None
    tools = {"tools": [_spec(tool) for tool in specs]} if are_objects(specs) else {}
    keys = ("messages", "system", "toolConfig", "schemaVersion")
    known = (
        keys if are_objects(system) or not system else ("messages", "toolConfig", "schemaVersion")
    )
    return as_openai(record, [*before, *messages], known, tools)


_CONVERSE = ("toolUse", "toolResult", "reasoningContent", "cachePoint")


def _converse_kind(part: Message) -> str:
    """What a part is; words, where it is none of the rest or more than one thing."""
    kind = next(iter(part)) if len(part) == 1 else "text"
    if kind not in _CONVERSE or not isinstance(part[kind], Mapping):
        return "text"
    return "text" if kind == "reasoningContent" and _converse_thought(part) is None else kind


def _of_converse(message: Message) -> Iterator[Message]:
    parts: dict[str, list[Any]] = {kind: [] for kind in (*_CONVERSE, "text")}
    for part in message["content"]:
        given = {key: value for key, value in part.items() if value is not None}
        parts[_converse_kind(given)].append(given)
    for part in parts["toolResult"]:
        result = part["toolResult"]
        yield {
            "role": "tool",
            "tool_call_id": result.get("toolUseId"),
            "content": _result(result.get("content")),
        }
    thoughts = [_converse_thought(part) or "" for part in parts["reasoningContent"]]
    calls = [
        {"id": call.get("toolUseId"), "name": call.get("name"), "input": call.get("input")}
        for call in (part["toolUse"] for part in parts["toolUse"])
    ]
    if parts["text"] or calls or thoughts:
        beside: dict[str, Any] = {"reasoning": "".join(thoughts)} if thoughts else {}
        if calls:
            beside["tool_calls"] = calls
        flags = {key: value for key, value in message.items() if key != "content"}
        yield {**flags, "content": _texts(parts["text"]) if parts["text"] else None, **beside}


def _result(content: object) -> object:
    """The words of a result: texts joined, or the value that is its only part."""
    if not are_objects(content):
        return content
    if all(part.keys() == {"text"} for part in content):
        texts = [part["text"] for part in content]
        return "".join(texts) if all(isinstance(text, str) for text in texts) else texts
    values = [part["json"] if part.keys() == {"json"} else part for part in content]
    return values[0] if len(values) == 1 else values


def _converse_thought(part: Message) -> str | None:
    thought = part.get("reasoningContent")
    words = thought.get("reasoningText") if isinstance(thought, Mapping) else None
    text = words.get("text") if isinstance(words, Mapping) else None
    return text if isinstance(text, str) else None


def _spec(tool: Message) -> object:
    spec = tool.get("toolSpec")
    if not isinstance(spec, Mapping):
        return tool
    schema = spec.get("inputSchema")
    inner = schema.get("json", schema) if isinstance(schema, Mapping) else schema
    return {"name": spec.get("name"), "description": spec.get("description"), "parameters": inner}


# ------------------------------------------------------------------------------------------- OpenAI


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
    messages = [*request["messages"], choices[0].get("message")]
    holders = [request, record["response"], *choices]
    return as_openai(record, messages, ("request", "response"), _tools(request), holders)


def _tools(holder: Record) -> Record:
    return {"tools": holder["tools"]} if holder.get("tools") else {}


def _is_responses(record: object) -> bool:
    if not isinstance(record, dict) or not are_objects(record.get("output")):
        return False
    output = record["output"]
    is_answer = all(isinstance(item.get("type"), str) for item in output)
    return is_answer and isinstance(record.get("input"), str | list)


def _read_responses(record: Any) -> Reading:
    asked = record["input"]
    items = (
        [{"type": "message", "role": "user", "content": asked}] if isinstance(asked, str) else asked
    )
    items = [*items, *record["output"]]
    messages = list(of_items(items))
    given = record.get("instructions")
    before = [{"role": "system", "content": given}] if given else []
    tools = {"tools": record["tools"]} if record.get("tools") else {}
    return as_openai(
        record, [*before, *messages], ("input", "output", "instructions"), tools, items
    )


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
        return {"role": item.get("role") or kind, "content": [_odd(kind, item)]}
    return {"role": item.get("role"), "content": _plain(item.get("content"))}


def _plain(content: object) -> object:
    """Content whose parts have the types of the older form."""
    if not are_objects(content):
        return content
    return [
        {"type": "text", "text": part.get("text")} if part.get("type") in _TEXTS else part
        for part in content
    ]


# ------------------------------------------------------------------------------------------- Cohere

_COHERE = {"user": "user", "chatbot": "assistant", "system": "system"}


def _is_cohere(record: object) -> bool:
    if not has(record, "chat_history", "message") or not isinstance(record, dict):
        return False
    history = record["chat_history"]
    is_history = isinstance(history, list) and all(
        isinstance(turn, dict) and isinstance(turn.get("message"), str) for turn in history
    )
    return is_history and isinstance(record["message"], str)


def _read_cohere(record: Any) -> Reading:
    before = [_of_cohere(turn) for turn in record["chat_history"]]
    preamble = record.get("preamble")
    system = [{"role": "system", "content": preamble}] if preamble else []
    answer = record.get("text")
    last = [{"role": "assistant", "content": answer}] if answer else []
    messages = [*system, *before, {"role": "user", "content": record["message"]}, *last]
    return as_openai(record, messages, ("chat_history", "message", "preamble", "text"), {})


def _of_cohere(turn: Message) -> Message:
    role = str(turn.get("role"))
    rest = {k: v for k, v in turn.items() if k not in ("role", "message")}
    return {**rest, "role": _COHERE.get(role.lower(), role), "content": turn["message"]}


# ------------------------------------------------------------------- PaLM chat


def _is_palm(record: object) -> bool:
    messages = record.get("messages") if isinstance(record, dict) else None
    return are_objects(messages) and all(
        isinstance(m.get("author"), str) and isinstance(m.get("content"), str) for m in messages
    )


_AUTHORS = {"user": "user", "assistant": "assistant", "bot": "assistant"}


def _read_palm(record: Any) -> Reading:
    messages = [
        {
            **{k: v for k, v in m.items() if k != "author"},
            "role": _AUTHORS.get(m["author"].lower(), m["author"]),
        }
        for m in record["messages"]
    ]
    context = record.get("context")
    before = [{"role": "system", "content": context}] if context else []
    return as_openai(record, [*before, *messages], ("messages", "context"), {})


ITEM_KEYS = frozenset(
    [
        *("type", "role", "content", "summary", "name", "arguments", "input", "call_id", "output"),
        *("id", "status", "action"),
    ]
)
_HOLDERS = frozenset(["messages", "tools", "choices", "message", "index"])
_NO_KEYS: dict[str, Any] = {"message_keys": MESSAGE_KEYS, "more_keys": more_keys}
_OF_HOLDERS = {**_NO_KEYS, "message_keys": MESSAGE_KEYS | _HOLDERS}

SHAPES = (
    Conversations(
        name="Vertex and Gemini contents",
        keys=("contents",),
        fits=_is_vertex,
        read=_read_vertex,
        message_keys=MESSAGE_KEYS | {"parts"},
    ),
    Conversations(
        name="Bedrock Converse",
        keys=("messages",),
        fits=_is_converse,
        read=_read_converse,
        **_NO_KEYS,
    ),
    Conversations(
        name="OpenAI request and response",
        keys=("request", "response"),
        fits=_is_log,
        read=_read_log,
        **_OF_HOLDERS,
    ),
    Conversations(
        name="OpenAI Responses",
        keys=("input", "output"),
        fits=_is_responses,
        read=_read_responses,
        message_keys=MESSAGE_KEYS | ITEM_KEYS,
        more_keys=more_keys,
    ),
    Conversations(
        name="Cohere chat history",
        keys=("chat_history", "message"),
        fits=_is_cohere,
        read=_read_cohere,
    ),
    Conversations(
        name="PaLM chat", keys=("messages", "context"), fits=_is_palm, read=_read_palm, **_NO_KEYS
    ),
)
