"""Chats of SillyTavern: a head, and a message a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chatdata.sources._linear import Turn
from chatdata.sources.shapes._base import Record, Sessions, Tree, has
from chatdata.sources.shapes._planting import Sprout, planted
from chatdata.sources.shapes.exports._parts import turn_of
from chatdata.sources.values import text

_HEAD = ("user_name", "character_name")
_KEYS = frozenset([*_HEAD, "create_date"])
_MESSAGE_KEYS = frozenset(
    [*("name", "is_user", "is_system", "mes", "swipes", "swipe_id", "send_date"), *_KEYS]
)


def _fits(record: object) -> bool:
    if has(record, *_HEAD):
        return record.get("mes") is None
    return has(record, "is_user") and isinstance(record.get("mes"), str)


def _read(lines: Sequence[Any]) -> Tree:
    """The messages of a file; other answers that were made stand beside the one that was chosen."""
    messages = [line for line in lines if isinstance(line.get("mes"), str)]
    sprouts: list[Sprout] = []
    parent: str | None = None
    for number, message in enumerate(messages):
        id = str(number)
        sprouts.append(Sprout(id, parent, _turn(message, message["mes"])))
        swipes = message.get("swipes")
        texts = (
            [swipe for swipe in swipes if isinstance(swipe, str)]
            if isinstance(swipes, list)
            else []
        )
        rest = [swipe for swipe in dict.fromkeys(texts) if swipe != message["mes"]]
        sprouts += [
            Sprout(f"{id}.{n}", parent, _turn(message, swipe)) for n, swipe in enumerate(rest)
        ]
        parent = id
    nodes = planted(sprouts, parent)
    return Tree(None, nodes, _KEYS, lines, _MESSAGE_KEYS)


def _turn(message: Record, words: object) -> Turn | None:
    if message.get("is_system") is True:  # a note of the interface
        return None
    role = "user" if message["is_user"] is True else "assistant"
    extra = message.get("extra")
    thought = extra.get("reasoning") if isinstance(extra, Mapping) else None
    is_chosen = words == message["mes"] and isinstance(thought, str) and role == "assistant"
    return turn_of(role, text(words), reasoning=(thought or None) if is_chosen else None)


SHAPES = (Sessions(name="SillyTavern chat", keys=("is_user", "mes"), fits=_fits, read=_read),)
