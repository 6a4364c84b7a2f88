"""ShareGPT dumps: conversations as lists of from and value.

    {"id": "QWJhYvA_0", "conversations": [{"from": "human", "value": "..."}, ...]}

Related shapes are read too: the list may be called `conversation`, `items` or `messages`, a turn
may have `role` and `content`, or be a pair (`{"human": "...", "assistant": "..."}`), and a value
may come in typed parts. A `system` or `system_prompt` beside the conversations becomes their first
turn; history, context and preferences are read as in `jsonl`.
`QWJhYvA_0` and `QWJhYvA_11` are pieces of one long conversation: they share a group. Calls of tools
(`function_call`, or `tool_calls` of a turn), their results (`observation`) and `tools` are read as
what they are; the tags of Hermes around a result go. Reasoning, flags and variables for a chat
template are read as in `jsonl`, and what `jsonl` refuses is refused here.
Format: RyokoAI/ShareGPT52K and FastChat; aliases of the roles as in open-instruct, tools as in
LLaMA-Factory, pairs as in Firefly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from chatdata.core.schema import MESSAGES
from chatdata.sources import _beside, cutting, tool_json
from chatdata.sources._blocks import as_messages, more_keys, openai_form
from chatdata.sources._linear import (
    RECORD_KEYS,
    Reading,
    RecordFormat,
    Turn,
    read_conversations,
    read_more,
    turn,
)
from chatdata.sources._message import MESSAGE_KEYS, result
from chatdata.sources._variables import NO_VARIABLES, Variables
from chatdata.sources.batches import Batch, File
from chatdata.sources.cutting import Split
from chatdata.sources.naming import Names
from chatdata.sources.values import Text, shown, text

SCHEMA = MESSAGES
IDS = "sharegpt"

_LISTS = ("conversations", "conversation", "items", "messages")
_ROLES = {
    **dict.fromkeys(["human", "user", "prompter"], "user"),
    **dict.fromkeys(["gpt", "chatgpt", "bing", "bard", "claude", "assistant"], "assistant"),
    **dict.fromkeys(["model", "ai", "bot"], "assistant"),
    "system": "system",
    "developer": "developer",
}
_PLAIN = {"from", "value"}
_PAIR = {"human", "assistant"}
_CALLS = frozenset(["function_call", "tool_call"])
_RESULTS = frozenset(["observation", "tool", "tool_response", "function_response", "function"])
TURN_KEYS = MESSAGE_KEYS.union(_PLAIN)
_KEYS = RECORD_KEYS.union(_beside.KEYS, _beside.CONTEXTS)
_KEYS_WITH = {key: _KEYS | {key} for key in _LISTS}
_PIECE = re.compile(r"_\d+\Z")


def read(
    files: Sequence[File], name: str, ids: str, variables: Mapping[str, str] = NO_VARIABLES
) -> Iterator[Batch]:
    """Yields the turns of all conversations as rows of MESSAGES.

    `variables` names the key of a record from which a variable of its template comes.
    """
    return read_conversations(files, name, ids, _format(variables))


def splits(
    files: Sequence[File], folder: Path, variables: Mapping[str, str] = NO_VARIABLES
) -> Iterator[Split]:
    """Yields what the files are read in, as `cutting.splits`."""
    return cutting.splits(files, folder, is_record)


def read_split(
    split: Split, name: str, names: Names, variables: Mapping[str, str] = NO_VARIABLES
) -> Iterator[Batch]:
    """Yields the messages of a split as rows of MESSAGES."""
    return read_more([split.file], name, names, _format(variables))


def _format(variables: Mapping[str, str]) -> RecordFormat:
    return RecordFormat(
        is_record,
        read_record,
        group,
        Variables(variables),
        message_keys=TURN_KEYS,
        more_keys=more_turn_keys,
    )


def group(id: str) -> str:
    """The group of a conversation: that of all pieces of a long one."""
    return _PIECE.sub("", id)


def is_record(value: object) -> bool:
    """Whether a value has a list of turns."""
    return isinstance(value, dict) and _list(value) is not None


def _list(record: Mapping[str, Any]) -> tuple[str, list[Any]] | None:
    """The list of turns in a record, behind its key; None where the record has no such list."""
    lists = ((key, as_messages(record[key])) for key in _LISTS if key in record)
    return next(((key, messages) for key, messages in lists if messages is not None), None)


def read_record(record: dict[str, Any]) -> Reading:
    """What is read of a value that `is_record`."""
    key, messages = _list(record) or ("", [])
    return _beside.conversation(record, messages, _KEYS_WITH[key], _read_plain, _read_all)


def _read_plain(messages: list[Any]) -> list[Turn] | None:
    """The turns of messages that are plain, as nearly always; None where any is not."""
    turns = [_plain(message) for message in messages]
    return None if None in turns else turns  # type: ignore[return-value]


def _read_all(messages: list[Any]) -> list[Turn]:
    return [turn for message in openai_form(messages) for turn in _turns_of(message)]


def more_turn_keys(message: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of a turn that are looked at in some turns alone."""
    return (*more_keys(message), *(_PAIR if _is_pair(message) else ()))


def _turns_of(message: object) -> list[Turn]:
    """The turns of what stands where a turn should: a turn, or a question and its answer."""
    if not isinstance(message, dict):
        return [Turn(None, None, f"a {type(message).__name__} stands where a turn should")]
    if not _is_pair(message):
        return [_turn(message)]
    question = {"from": "human", "value": message["human"]}  # what stands beside is the answer's
    return [_turn(question), _turn({**message, "from": "assistant", "value": message["assistant"]})]


def _is_pair(message: Mapping[str, Any]) -> bool:
    return message.keys() >= _PAIR and "from" not in message and "role" not in message


def _turn(message: Mapping[str, Any]) -> Turn:
    return _plain(message) or _any_turn(message)


def _plain(message: Any) -> Turn | None:
    """The turn of what almost every turn is: a known speaker, and text. Else None."""
    if not isinstance(message, dict) or message.keys() != _PLAIN:
        return None
    speaker, content = message["from"], message["value"]
    is_plain = isinstance(speaker, str) and isinstance(content, str) and speaker in _ROLES
    return Turn(_ROLES[speaker], *text(content)) if is_plain else None


def _any_turn(message: Mapping[str, Any]) -> Turn:
    speaker = _either(message, "from", "role")
    name = str(speaker).strip().lower()
    content = _either(message, "value", "content")
    if content not in (message.get("content"), None) and message.get("content") is not None:
        return Turn(_ROLES.get(name), None, "'value' and 'content' say different things")
    if name in _CALLS:
        return turn("assistant", _with_call(message, name, content), None)
    if name in _RESULTS:
        return turn("tool", message, content, _result)
    read_turn = turn(_ROLES.get(name), message, content)
    return read_turn if name in _ROLES else read_turn._replace(note=f"role {shown(speaker)}")


def _with_call(message: Mapping[str, Any], name: str, content: object) -> Mapping[str, Any]:
    """The message with its content, which is a call or a list of calls, as calls beside it."""
    beside = message.get(name)
    listed = tool_json.as_list(content) + (
        tool_json.as_list(beside) if tool_json.is_given(beside) else []
    )
    return {**message, name: listed}


def _result(content: object) -> Text:
    """The words of a result; the tags of Hermes and Qwen around them go, they are no words."""
    words = result(content)
    return words if words.text is None else Text(tool_json.unwrapped(words.text))


def _either(message: Mapping[str, Any], first: str, second: str) -> Any:
    """The value under the first of two names, or under the second where the first is null, as
    in tables that hold both."""
    value = message.get(first)
    return message.get(second) if value is None else value
