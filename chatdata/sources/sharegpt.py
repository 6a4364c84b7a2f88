"""ShareGPT dumps: conversations as lists of from and value.

    {"id": "QWJhYvA_0", "conversations": [{"from": "human", "value": "..."}, ...]}

The shapes of its kin are read too: the list may be called `conversation`, `items` or `messages`,
a turn may have `role` and `content`, or be a pair (`{"human": "...", "assistant": "..."}`), and a
value may come in typed parts. A `system` beside the conversations becomes its first turn.
`QWJhYvA_0` and `QWJhYvA_11` are pieces of one long conversation: they share a group. Tools, calls
of them (`function_call`, or `tool_calls` of a turn) and their results (`observation`) are carried
as text, in the tags of Hermes and Qwen, see `_tools`. Reasoning and flags are read as in `jsonl`,
and what that refuses is refused here.
Format: RyokoAI/ShareGPT52K and FastChat; aliases of the roles as in open-instruct, tools as in
LLaMA-Factory, pairs as in Firefly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chatdata.core.schema import MESSAGES
from chatdata.sources import Batch, File, _tools
from chatdata.sources._linear import Layout, Turn, read_conversations, text, turn, with_record

SCHEMA = MESSAGES
IDS = "sharegpt"

_LISTS = ("conversations", "conversation", "items", "messages")
_ROLES = {
    **dict.fromkeys(["human", "user", "prompter"], "user"),
    **dict.fromkeys(["gpt", "chatgpt", "bing", "bard", "claude", "assistant"], "assistant"),
    **dict.fromkeys(["model", "ai", "bot"], "assistant"),
    **dict.fromkeys(["system", "developer"], "system"),
}
_PLAIN = {"from", "value"}
_CALLS = frozenset(["function_call", "tool_call"])
_RESULTS = frozenset(["observation", "tool", "tool_response", "function_response", "function"])
_PIECE = re.compile(r"_\d+\Z")


def read(files: Sequence[File], name: str, ids: str) -> Iterator[Batch]:
    """Yields the turns of all conversations as rows of MESSAGES."""
    layout = Layout(_is_record, _turns, group=lambda id: _PIECE.sub("", id))
    return read_conversations(files, name, ids, layout)


def _is_record(value: object) -> bool:
    return isinstance(value, dict) and _list(value) is not None


def _list(record: Mapping[str, Any]) -> list[Any] | None:
    """The turns of a record, as it has them."""
    return next((record[key] for key in _LISTS if isinstance(record.get(key), list)), None)


def _turns(record: dict[str, Any]) -> list[Turn]:
    return with_record([turn for own in _list(record) or [] for turn in _spoken(own)], record)


def _spoken(own: object) -> list[Turn]:
    """What stands where a turn should: one turn, or a question and its answer."""
    if not isinstance(own, dict):
        return [Turn(None, None, f"a {type(own).__name__} stands where a turn should")]
    if "from" in own or "role" in own or not {"human", "assistant"} <= own.keys():
        return [_turn(own)]
    question = {"from": "human", "value": own["human"]}  # what stands beside is the answer's
    return [_turn(question), _turn({**own, "from": "assistant", "value": own["assistant"]})]


def _turn(message: Mapping[str, Any]) -> Turn:
    if message.keys() == _PLAIN:
        said_by, said = message["from"], message["value"]
        if isinstance(said_by, str) and isinstance(said, str) and said_by in _ROLES:
            return Turn(_ROLES[said_by], *text(said))  # what almost every turn is
    return _any_turn(message)


def _any_turn(message: Mapping[str, Any]) -> Turn:
    said_by = _either(message, "from", "role")
    name = str(said_by).strip().lower()
    said = _either(message, "value", "content")
    if said not in (message.get("content"), None) and message.get("content") is not None:
        return Turn(_ROLES.get(name), None, "'value' and 'content' say different things")
    if name in _CALLS:
        return turn("assistant", message, said, _tools.call)
    if name in _RESULTS:
        return turn("user", message, said, _tools.response)
    own = turn(_ROLES.get(name), message, said)
    return own if name in _ROLES else own._replace(note=f"role {said_by!r}")


def _either(message: Mapping[str, Any], first: str, second: str) -> Any:
    """What stands under one of two names; tables that hold both have null in one."""
    own = message.get(first)
    return message.get(second) if own is None else own
