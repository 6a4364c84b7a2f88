"""ShareGPT dumps: conversations as lists of from and value.

    {"id": "QWJhYvA_0", "conversations": [{"from": "human", "value": "..."}, ...]}

A `system` beside the conversations becomes its first turn. `QWJhYvA_0` and `QWJhYvA_11`
are pieces of one long conversation: they share a group. A turn that says that it is not to be
learnt from (`train: false`, `weight: 0`, ...) is context.
Format: RyokoAI/ShareGPT52K and FastChat; aliases of the roles as in open-instruct.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from chatdata.schema import MESSAGES
from chatdata.sources import Batch, File
from chatdata.sources._linear import Layout, Turn, flag, read_conversations, text

SCHEMA = MESSAGES
IDS = "sharegpt"

_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "assistant": "assistant",
    "system": "system",
}
_PIECE = re.compile(r"_\d+\Z")


def read(files: Sequence[File], name: str, ids: str) -> Iterator[Batch]:
    """Yields the turns of all conversations as rows of MESSAGES."""
    layout = Layout(_is_record, _turns, group=lambda id: _PIECE.sub("", id))
    return read_conversations(files, name, ids, layout)


def _is_record(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("conversations"), list)


def _turns(record: dict[str, Any]) -> list[Turn]:
    turns = [_turn(turn) for turn in record["conversations"]]
    system = record.get("system")
    return [Turn("system", *text(system)), *turns] if system else turns


def _turn(turn: object) -> Turn:
    if not isinstance(turn, dict):
        return Turn(None, None, f"a {type(turn).__name__} stands where a turn should")
    content, note = text(turn.get("value"))
    role = _ROLES.get(str(turn.get("from")).strip().lower())
    train, odd = flag(turn)
    if odd:
        return Turn(role, None, odd)
    return Turn(role, content, note if role else f"role {turn.get('from')!r}", train)
