"""Open Assistant message trees (OASST1, OASST2): nested trees, nested messages or flat rows.

    {"message_tree_id": "t", "tree_state": "...", "prompt": {"message_id": "t", "replies": [...]}}
    {"message_id": "t", "parent_id": null, "text": "...", "role": "prompter", "replies": [...]}
    {"message_id": "m", "parent_id": "t", "message_tree_id": "t", "text": "...", "role": ...}
    {"thread_id": "m", "thread": [{"message_id": "t", ...}, ...]}

Rows may come in any order, with keys absent or null, and with parts of a tree missing. The
names of the drafts of 2023 (`user_message_id`, `parent_message_id`) are understood too.
Format: the `oasst-data` schemas of LAION-AI/Open-Assistant, and the Hub's parquet columns.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chatdata.core.schema import NODES
from chatdata.sources import cutting
from chatdata.sources.batches import Batch, BatchBuilder, File, Problem
from chatdata.sources.cutting import Split
from chatdata.sources.naming import Names
from chatdata.sources.records import Record, read_files
from chatdata.sources.values import excerpt, identifier, shown, text, whole, word

SCHEMA = NODES
IDS = "oasst1"

_ROLES = {"prompter": "user", "user": "user", "assistant": "assistant", "system": "system"}
# The keys that are looked at: of what holds a tree or a thread, and of a message in either.
_KEYS = frozenset(
    [
        *("message_id", "user_message_id", "parent_id", "parent_message_id"),
        *("message_tree_id", "tree_state"),
    ]
)
_MESSAGE_KEYS = _KEYS.union(
    ["text", "role", "lang", "rank", "created_date", "deleted", "review_result", "synthetic"],
    ["labels"],
)
_NESTED_KEYS = _MESSAGE_KEYS | {"replies"}
_Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Tree:
    """What the messages of a record have in common."""

    id: str | None
    state: object
    where: str
    source: str
    ids: str
    keys: frozenset[str] = _NESTED_KEYS  # of a message, that are looked at


def read(files: Sequence[File], name: str, ids: str) -> Iterator[Batch]:
    """Yields the messages of all trees as rows of NODES.

    A flat message that does not name its tree is kept back until all parents are known.
    """
    yield from read_records(read_files(files, is_record), name, Names(ids))


def splits(files: Sequence[File], folder: Path) -> Iterator[Split]:
    """Yields what the files are read in, as `cutting.splits`."""
    return cutting.splits(files, folder, is_record)


def read_split(split: Split, name: str, names: Names) -> Iterator[Batch]:
    """Yields the messages of a split as rows of NODES; `names` learns whether any needs others."""
    yield from read_records(read_files([split.file], is_record), name, names)


def read_records(records: Iterable[Record | Problem], name: str, names: Names) -> Iterator[Batch]:
    """Yields what `read` does, of records that are read already."""
    builder, ids = BatchBuilder(NODES), names.ids
    treeless: list[tuple[_Message, str]] = []
    for record in records:
        builder.records += 1
        if isinstance(record, Problem):
            builder.add_problem(record)
            continue
        builder.add_beside(record.where, record.beside)
        if _is_flat(record.value) and not _tree_id(record.value):
            treeless.append((record.value, record.where))
        else:
            _add_record(builder, record.value, record.where, name, ids)
        if builder.is_full():
            yield builder.take()
    names.has_treeless = bool(treeless)
    for message, where, id in _find_trees(treeless):
        tree = _Tree(id, message.get("tree_state"), where, name, ids)
        _add(builder, message, _parent(message), tree)
        if builder.is_full():
            yield builder.take()
    yield builder.take()


def is_record(value: object) -> bool:
    """Whether a value is a tree, a thread or a message."""
    if not isinstance(value, dict):
        return False
    keys = {"message_id", "user_message_id", "replies"}
    holds = isinstance(value.get("prompt"), dict) or isinstance(value.get("thread"), list)
    return holds or not keys.isdisjoint(value)


def _is_flat(message: _Message) -> bool:
    return not (message.get("replies") or message.get("prompt") or message.get("thread"))


def _message_id(message: _Message) -> str | None:
    return identifier(_first(message, ("message_id", "user_message_id")))


def _parent(message: _Message) -> str | None:
    return identifier(_first(message, ("parent_id", "parent_message_id")))


def _first(message: _Message, keys: Sequence[str]) -> Any:
    return next((message[key] for key in keys if message.get(key) is not None), None)


def _tree_id(message: _Message) -> str | None:
    named = identifier(message.get("message_tree_id"))
    return named or (None if _parent(message) else _message_id(message))


def _add_record(builder: BatchBuilder, record: _Message, where: str, source: str, ids: str) -> None:
    thread, prompt = record.get("thread"), record.get("prompt")
    if isinstance(thread, list):
        builder.add_unread(where, "records", record, _KEYS | {"thread"})
        first = next((message for message in thread if isinstance(message, dict)), {})
        id, state = _tree_id(record) or _message_id(first), record.get("tree_state")
        _add_thread(builder, thread, _Tree(id, state, where, source, ids, _MESSAGE_KEYS))
        return
    root = prompt if isinstance(prompt, dict) else record
    if root is prompt:
        builder.add_unread(where, "records", record, _KEYS | {"prompt"})
    id = _tree_id(record) or _tree_id(root) or _message_id(root)
    state = record.get("tree_state") or root.get("tree_state")
    _add_nested(builder, root, _Tree(id, state, where, source, ids))


def _add_nested(builder: BatchBuilder, root: _Message, tree: _Tree) -> None:
    waiting: list[tuple[Any, str | None]] = [(root, _parent(root))]
    while waiting:
        message, parent = waiting.pop()
        if not isinstance(message, dict):
            _refuse(builder, message, tree)
            continue
        id = _add(builder, message, parent, tree)
        replies = message.get("replies") or []
        replies = replies if isinstance(replies, list) else [replies]
        waiting += [(reply, id or tree.where) for reply in reversed(replies)]


def _add_thread(builder: BatchBuilder, thread: list[Any], tree: _Tree) -> None:
    above: str | None = None
    for message in thread:
        if isinstance(message, dict):
            above = _add(builder, message, above, tree) or tree.where
        else:
            _refuse(builder, message, tree)


def _refuse(builder: BatchBuilder, message: object, tree: _Tree) -> None:
    kind = type(message).__name__
    detail = f"a {kind} stands where a message should"
    builder.add_problem(
        Problem("message", tree.where, "bad_message", detail, tree.where, excerpt(message))
    )


def _add(builder: BatchBuilder, message: _Message, parent: str | None, tree: _Tree) -> str | None:
    """Adds a message. Returns its id, or None for a message without id, which became a problem."""
    id = _message_id(message)
    builder.add_unread(tree.where, "messages", message, tree.keys)
    if id is None:
        detail = "a message without an id stands in no tree"
        words = excerpt({**message, "replies": None})
        builder.add_problem(Problem("message", tree.where, "no_id", detail, tree.where, words))
        return None
    content, fault = text(message.get("text"))
    role = _ROLES.get(str(message.get("role")))
    lang = word(message.get("lang"))
    builder.add(
        group=f"{tree.ids}/{tree.id or id}",
        parent=parent,
        message=id,
        role=role,
        content=content,
        lang=lang,
        lang_by="declared" if lang else None,
        train=role == "assistant",
        source=tree.source,
        where=tree.where,
        note=fault if role else f"role {shown(message.get('role'))}",
        rank=whole(message.get("rank")),
        created=_microseconds(message.get("created_date")),
        deleted=message.get("deleted") is True,
        review_result=_flag(message.get("review_result")),
        synthetic=message.get("synthetic") is True,
        labels=_labels(message.get("labels")),
        tree_state=word(message.get("tree_state")) or word(tree.state),
    )
    return id


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _labels(value: object) -> str | None:
    """The numbers of labels by their names, as JSON, sorted: from names beside values, or from
    objects with a value by name. None where there are none."""
    named = value if isinstance(value, dict) else {}
    names, values = named.get("name"), named.get("value")
    if isinstance(names, list) and isinstance(values, list) and len(names) == len(values):
        named = dict(zip(map(str, names), values, strict=True))
    numbers = {name: _label(named[name]) for name in sorted(map(str, named)) if name in named}
    known = {name: number for name, number in numbers.items() if number is not None}
    return json.dumps(known, ensure_ascii=False) if known else None


def _label(value: object) -> float | None:
    number = value.get("value") if isinstance(value, dict) else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    return float(number) if math.isfinite(number) else None


def _microseconds(value: object) -> int | None:
    """A date as microseconds since 1970: ISO 8601 text, a datetime, or seconds."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            value = value if value.tzinfo else value.replace(tzinfo=UTC)
            value = value.timestamp()
        return whole(round(float(value) * 1_000_000))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def _find_trees(messages: list[tuple[_Message, str]]) -> Iterator[tuple[_Message, str, str | None]]:
    """Yields (message, place, tree) for messages that do not name their tree.

    The tree is named for the topmost known ancestor; a cycle for the least id in the cycle.
    """
    parents = {_message_id(message): _parent(message) for message, _ in messages}
    trees: dict[str | None, str | None] = {}
    for message, where in messages:
        yield message, where, _top(_message_id(message), parents, trees)


def _top(
    message: str | None,
    parents: Mapping[str | None, str | None],
    trees: dict[str | None, str | None],
) -> str | None:
    """The topmost ancestor of a message; `trees` remembers it for all messages on the way."""
    path: dict[str | None, None] = {}  # an ordered set
    at = message
    while at not in trees and at not in path and parents.get(at):
        path[at] = None
        at = parents[at]
    if at in path:
        ring = list(path)[list(path).index(at) :]
        tree: str | None = min(id for id in ring if id)
    else:
        tree = trees.get(at, at)
    trees.update(dict.fromkeys(path, tree))
    return tree
