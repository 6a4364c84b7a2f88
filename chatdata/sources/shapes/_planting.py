"""Messages of an export as a tree: what says nothing goes, thoughts stand beside their answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from chatdata.sources import jsonl
from chatdata.sources._blocks import openai_form
from chatdata.sources._linear import Turn
from chatdata.sources.shapes._base import Node


class Sprout(NamedTuple):
    """A message before it is planted; `turn` is None for what says nothing."""

    id: str
    parent: str | None
    turn: Turn | None
    created: int | None = None


@dataclass(slots=True)
class _Bed:
    """Messages by their ids, and the children of each."""

    by_id: dict[str, Sprout]
    children: dict[str | None, list[str]] = field(default_factory=dict)

    def count(self) -> None:
        """Finds the children of each message anew."""
        self.children = {}
        for sprout in self.by_id.values():
            self.children.setdefault(sprout.parent, []).append(sprout.id)


def planted(sprouts: Iterable[Sprout], current: str | None = None) -> list[Node]:
    """The nodes of a tree. Where replies fork, the one that leads to `current` has rank 0.

    A message that says nothing is left out, and its children are those of its parent. A thought
    goes to the answers that follow it, and words before a call to the call.
    """
    bed = _Bed({sprout.id: sprout for sprout in sprouts})
    silent = {id for id, sprout in bed.by_id.items() if sprout.turn is None}
    path = set(_upwards(bed, current))
    _leave_out(bed, silent)
    bed.count()
    folded = {id for id in list(bed.by_id) if _fold(bed, id)}
    _leave_out(bed, folded)
    bed.count()
    return [_node(bed, sprout, path) for sprout in bed.by_id.values() if sprout.turn]


def _upwards(bed: _Bed, id: str | None) -> Iterator[str]:
    """Yields the ids from a message up to its root."""
    seen: set[str] = set()
    while id is not None and id in bed.by_id and id not in seen:
        seen.add(id)
        yield id
        id = bed.by_id[id].parent


def _leave_out(bed: _Bed, left: set[str]) -> None:
    """Takes messages out; what stands below them stands below the next message above that stays."""
    if not left:
        return
    for id, sprout in list(bed.by_id.items()):
        if sprout.parent in left:
            above = next((up for up in _upwards(bed, sprout.parent) if up not in left), None)
            bed.by_id[id] = sprout._replace(parent=above or _above(bed, sprout.parent, left))
    for id in left:
        del bed.by_id[id]


def _above(bed: _Bed, id: str | None, left: set[str]) -> str | None:
    """What stands above the last of some messages: None above a root, an id that is not known, or
    the message itself where they form a ring, which stays one."""
    *_, top = _upwards(bed, id)
    parent = bed.by_id[top].parent
    return id if parent in left else parent


def _fold(bed: _Bed, id: str) -> bool:
    """Gives a thought, or words before a call, to what follows. Returns whether it was given."""
    turn, children = bed.by_id[id].turn, bed.children.get(id, [])
    if turn is None or turn.role != "assistant" or turn.note or turn.tool_calls or not children:
        return False
    turns = [(child, bed.by_id[child].turn) for child in children]
    if not all(below and _takes(turn, below, len(turns)) for _, below in turns):
        return False
    for child, below in turns:
        assert below is not None
        bed.by_id[child] = bed.by_id[child]._replace(turn=_together(turn, below))
    return True


def _takes(turn: Turn, below: Turn, siblings: int) -> bool:
    if below.role != "assistant" or below.note:
        return False
    is_thought = turn.content is None and turn.reasoning is not None
    before_call = siblings == 1 and below.tool_calls is not None and not below.content
    return is_thought or (before_call and below.reasoning is None)


def _together(turn: Turn, below: Turn) -> Turn:
    thoughts = [thought for thought in (turn.reasoning, below.reasoning) if thought]
    return below._replace(
        content=below.content or turn.content,
        reasoning="\n\n".join(thoughts) or None,
        train=turn.train and below.train,
    )


def _node(bed: _Bed, sprout: Sprout, path: set[str]) -> Node:
    assert sprout.turn is not None
    is_fork = len(bed.children.get(sprout.parent, ())) > 1
    rank = 0 if is_fork and sprout.id in path else None
    return Node(sprout.id, sprout.parent, sprout.turn, sprout.created, rank)


# ------------------------------------------------------------------------------- parts of nodes


def chained(id: str, parent: str | None, turns: list[Turn], created: int | None) -> list[Sprout]:
    """The messages of what an export writes as a single message: the last has its id."""
    if not turns:
        return [Sprout(id, parent, None, created)]
    names = [f"{id}.{number}" for number in range(len(turns) - 1)] + [id]
    parents = [parent, *names[:-1]]
    return [
        Sprout(name, above, turn, created)
        for name, above, turn in zip(names, parents, turns, strict=True)
    ]


def turns_of_blocks(role: str, blocks: list[Any]) -> list[Turn]:
    """The turns of a message of Anthropic's blocks, in which calls and results may follow each
    other."""
    pieces: list[list[Any]] = [[]]
    for block in blocks:
        if _begins(block, pieces[-1]):
            pieces.append([])
        pieces[-1].append(block)
    messages = [_message(role, piece) for piece in pieces if piece]
    return jsonl.read_messages(list(openai_form(messages)))


def _kind(block: object) -> object:
    return block.get("type") if isinstance(block, Mapping) else None


def _begins(block: object, piece: list[Any]) -> bool:
    """Whether a block begins a message: a result, what follows a result, thoughts or words behind
    a call, thoughts behind words."""
    last = _kind(piece[-1]) if piece else None
    if last is None:
        return False
    kind = _kind(block)
    if "tool_result" in (kind, last):
        return kind != last
    if last == "tool_use":
        return kind != last
    return last == "text" and kind == "thinking"


def _message(role: str, piece: list[Any]) -> dict[str, Any]:
    return {"role": "user" if _kind(piece[0]) == "tool_result" else role, "content": piece}


def microseconds(value: object) -> int | None:
    """A time as microseconds since 1970: seconds, or ISO 8601; None for anything else."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value).timestamp()
        return round(float(value) * 1_000_000)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
