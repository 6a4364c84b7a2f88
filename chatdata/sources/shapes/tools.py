"""Sets of calls, of characters that talk, and of answers that people chose: xLAM, Glaive, MOSS,
CAMEL."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from chatdata.sources import tool_json
from chatdata.sources._linear import RECORD_KEYS, Reading, Turn
from chatdata.sources.shapes._base import Conversations, Record, given, has
from chatdata.sources.shapes.lists import beside
from chatdata.sources.shapes.templated import NotExact
from chatdata.sources.shapes.vendors import as_openai
from chatdata.sources.values import text

_REFUSED = "unknown_record"

# --------------------------------------------------------------------------------------------- xLAM


def _is_xlam(record: object) -> bool:
    if not has(record, "query", "answers", "tools"):
        return False
    return isinstance(record["query"], str) and isinstance(
        tool_json.parsed(record["answers"]), list
    )


def _read_xlam(record: Any) -> Reading:
    messages = [
        {"role": "user", "content": record["query"]},
        {"role": "assistant", "content": None, "tool_calls": tool_json.parsed(record["answers"])},
    ]
    return as_openai(record, messages, ("query", "answers"), {})


# ------------------------------------------------------------------------------------------- Glaive

_SYSTEM = re.compile(r"\s*SYSTEM:\s*(.*)\Z", re.S)
_GLAIVE = re.compile(r"^[ \t]*(USER|ASSISTANT|FUNCTION RESPONSE): ?", re.M)
_END = "<|endoftext|>"
_CALL = re.compile(
    r"""<functioncall>\s*\{\s*"name":\s*"([^"]+)"\s*,\s*"arguments":\s*'(.*)'\s*\}\s*\Z""", re.S
)
_CALL_OF_JSON = re.compile(r"<functioncall>\s*(\{.*\})\s*\Z", re.S)


def _is_glaive(record: object) -> bool:
    if not has(record, "system", "chat"):
        return False
    chat = record["chat"]
    return isinstance(chat, str) and isinstance(record["system"], str) and "USER:" in chat


def _read_glaive(record: Any) -> Reading:
    try:
        before, tools = _glaive_system(record["system"])
        messages = [*before, *_glaive_messages(record["chat"])]
    except NotExact as error:
        return Reading([], refusal=str(error), reason=_REFUSED)
    listed = {"tools": tools} if tools else {}
    return as_openai(record, messages, ("system", "chat"), listed)


def _glaive_system(system: str) -> tuple[list[Record], list[Any]]:
    """The system's words before the first function, without the mark, and the functions."""
    match = _SYSTEM.match(system)
    if match is None:
        raise NotExact("'system' does not begin with SYSTEM:")
    words, brace, rest = match[1].partition("{")
    spoken: list[Record] = [{"role": "system", "content": words.strip()}] if words.strip() else []
    return spoken, _objects(brace + rest)


def _objects(functions: str) -> list[Any]:
    """The JSON objects of a text. Raises NotExact where the text holds anything else."""
    decoder, at, objects = json.JSONDecoder(), 0, []
    while at < len(functions):
        try:
            value, at = decoder.raw_decode(functions, at)
        except ValueError:
            raise NotExact("'system' has words behind its functions") from None
        objects.append(value)
        at += len(functions[at:]) - len(functions[at:].lstrip())
    return objects


def _glaive_messages(chat: str) -> Iterator[Record]:
    before, *parts = _GLAIVE.split(chat)
    if before.strip():
        raise NotExact("'chat' does not begin with a speaker")
    name = None
    for speaker, words in zip(parts[::2], parts[1::2], strict=True):
        words = words.strip()
        if speaker == "USER":
            yield {"role": "user", "content": words}
        elif speaker == "FUNCTION RESPONSE":
            yield {"role": "tool", "name": name, "content": words}
        else:
            answer = _glaive_answer(words)
            calls = answer.get("tool_calls")
            name = calls[0]["name"] if calls else name
            yield answer


def _glaive_answer(words: str) -> Record:
    words = words.removesuffix(_END).rstrip()
    if _END in words:
        raise NotExact(f"an answer has {_END} inside of its words")
    content, mark, rest = words.partition("<functioncall>")
    if not mark:
        return {"role": "assistant", "content": words}
    call = {"name": "", **_glaive_call(mark + rest)}
    return {"role": "assistant", "content": content.strip() or None, "tool_calls": [call]}


def _glaive_call(words: str) -> Record:
    if match := _CALL.match(words):
        return {"name": match[1], "arguments": match[2].replace("\\'", "'")}
    match = _CALL_OF_JSON.match(words)
    call = tool_json.parsed(match[1]) if match else None
    if not isinstance(call, dict):
        raise NotExact("a <functioncall> is no call")
    return call


# --------------------------------------------------------------------------------------------- MOSS

_MOSS = {
    "Human": ("<|Human|>:", "<eoh>"),
    "Inner Thoughts": ("<|Inner Thoughts|>:", "<eot>"),
    "Commands": ("<|Commands|>:", "<eoc>"),
    "Tool Responses": ("<|Results|>:", "<eor>"),
    "MOSS": ("<|MOSS|>:", "<eom>"),
}
_NUMBER = re.compile(r"turn_(\d+)")


def _is_moss(record: object) -> bool:
    chat = record.get("chat") if isinstance(record, dict) else None
    return (
        isinstance(chat, dict)
        and any(value is not None for value in chat.values())
        and all(
            _NUMBER.fullmatch(key) and (turn is None or has(turn, "Human", "MOSS"))
            for key, turn in chat.items()
        )
    )


def _read_moss(record: Any) -> Reading:
    chat = {int(key.removeprefix("turn_")): turn for key, turn in record["chat"].items() if turn}
    try:
        turns = [turn for number in sorted(chat) for turn in _moss_turns(chat[number])]
    except NotExact as error:
        return Reading([], refusal=str(error), reason=_REFUSED)
    system = record.get("meta_instruction")
    before = [Turn("system", *text(system))] if system else []
    keys = {"chat", "meta_instruction", "num_turns"}
    return beside([*before, *turns], record, keys, list(chat.values()))


def _moss_turns(turn: Record) -> list[Turn]:
    """A question and its answer. Raises NotExact where a plugin was used: a command is no call of a
    tool that states its arguments by name."""
    parts = {key: _between(turn[key], *_MOSS[key]) for key in _MOSS if turn.get(key) is not None}
    if any(parts.get(key, "None") != "None" for key in ("Commands", "Tool Responses")):
        raise NotExact("commands of MOSS have no arguments with names, so they are no calls")
    thought = parts.get("Inner Thoughts", "None")
    reasoning = None if thought == "None" else thought
    return [
        Turn("user", *text(parts["Human"])),
        Turn("assistant", *text(parts["MOSS"]), reasoning=reasoning),
    ]


def _between(value: object, opens: str, closes: str) -> str:
    words = value.strip() if isinstance(value, str) else ""
    if not words.startswith(opens) or not words.endswith(closes):
        raise NotExact(f"what should stand between {opens} and {closes} does not")
    return words[len(opens) : -len(closes)].strip()


# -------------------------------------------------------------------------------------------- CAMEL

_MESSAGE = re.compile(r"message_(\d+)")
_TYPES = {"USER": "user", "ASSISTANT": "assistant"}


def _is_camel(record: object) -> bool:
    return has(record, "role_1", "message_1") and isinstance(record["message_1"], dict)


def _read_camel(record: Any) -> Reading:
    keys = {
        int(match[1]): key
        for key in record
        if (match := _MESSAGE.fullmatch(key)) and given(record, key)
    }
    ordered = [record[keys[number]] for number in sorted(keys)]
    turns = [_camel_turn(message) for message in ordered]
    if record.get("num_messages") not in (None, len(turns)):
        refusal = f"'num_messages' is {record['num_messages']}, and there are {len(turns)} messages"
        return Reading([], refusal=refusal, reason=_REFUSED)
    known = RECORD_KEYS.union(keys.values(), ["num_messages"])
    return Reading(turns, known, [{"role": None, **m} for m in ordered if isinstance(m, dict)])


def _camel_turn(message: Any) -> Turn:
    kind = message.get("role_type") if isinstance(message, dict) else None
    if not isinstance(kind, str) or kind not in _TYPES:
        return Turn(None, None, "role_type is neither USER nor ASSISTANT")
    return Turn(_TYPES[kind], *text(message.get("content")))


def _is_camel_pair(record: object) -> bool:
    if not has(record, "message_1", "message_2"):
        return False
    return isinstance(record["message_1"], str) and isinstance(record["message_2"], str)


def _read_camel_pair(record: Any) -> Reading:
    turns = [
        Turn("user", *text(record["message_1"])),
        Turn("assistant", *text(record["message_2"])),
    ]
    return Reading(turns, RECORD_KEYS | {"message_1", "message_2"})


SHAPES = (
    Conversations(name="xLAM", keys=("query", "answers", "tools"), fits=_is_xlam, read=_read_xlam),
    Conversations(name="Glaive v2", keys=("system", "chat"), fits=_is_glaive, read=_read_glaive),
    Conversations(
        name="MOSS",
        keys=("chat", "meta_instruction"),
        fits=_is_moss,
        read=_read_moss,
        message_keys=frozenset(_MOSS),
    ),
    Conversations(
        name="CAMEL dialogues",
        keys=("role_1", "message_1"),
        fits=_is_camel,
        read=_read_camel,
        message_keys=frozenset(["role", "role_type", "content"]),
    ),
    Conversations(
        name="CAMEL problems",
        keys=("message_1", "message_2"),
        fits=_is_camel_pair,
        read=_read_camel_pair,
    ),
)
