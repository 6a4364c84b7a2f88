"""What a shape is: a name, a test of a record, and a reader of records that pass the test."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

from chatdata.sources._linear import Reading, RecordFormat, Turn
from chatdata.sources._message import MESSAGE_KEYS
from chatdata.sources._shape import IsRecord
from chatdata.sources._variables import Variables

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the records of a file look.

    `keys` are those of a record of this shape, by which the nearest shape is found; `fits` is the
    strict test of a record, by which a file is recognised.
    """

    name: str
    keys: tuple[str, ...]
    fits: IsRecord


def _no_keys(message: Record) -> Collection[str]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversations(Shape):
    """A shape whose records are conversations; the rest is as in `RecordFormat`.

    `reads` tells what is read of a file that was recognised; as `fits` where it is None.
    """

    read: Callable[[Any], Reading]
    reads: IsRecord | None = None
    group: Callable[[str], str] = str
    message_keys: frozenset[str] = MESSAGE_KEYS
    more_keys: Callable[[Record], Collection[str]] = _no_keys

    def format(self, variables: Variables) -> RecordFormat:
        """How the records are read, with the variables that a recipe names."""
        return RecordFormat(
            self.reads or self.fits,
            self.read,
            self.group,
            variables,
            self.message_keys,
            self.more_keys,
        )


class Node(NamedTuple):
    """A message of a tree; `parent` is None for a root. A lower rank is better, 0 the best.

    What `is_rejected` stands in no conversation: people preferred another answer.
    """

    id: str
    parent: str | None
    turn: Turn
    created: int | None = None  # microseconds since 1970
    rank: int | None = None
    is_rejected: bool = False


class Tree(NamedTuple):
    """What is read of a record that holds a tree: its id, which may be None, and its messages.

    `keys` and `message_keys` are those that were looked at, of the record and of `messages`.
    `refusal` says why the record is refused, and `reason` is its name in the ledger.
    """

    id: str | None
    nodes: Sequence[Node]
    keys: frozenset[str]
    messages: Sequence[Record] = ()
    message_keys: frozenset[str] = frozenset()
    refusal: str | None = None
    reason: str = "preference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trees(Shape):
    """A shape whose records are trees of messages."""

    read: Callable[[Any], Tree]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions(Shape):
    """A shape in which all records of a file together are a tree of messages."""

    read: Callable[[Sequence[Any]], Tree]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest(Shape):
    """A shape whose records are messages and trees of Open Assistant."""


# ------------------------------------------------------------------------------- tests of values


def given(record: Record, key: str) -> bool:
    """Whether a key has a value; a table has nulls, or empty cells, where a record has none."""
    return record.get(key) not in (None, "", [])


def has(record: object, *keys: str) -> TypeGuard[dict[str, Any]]:
    """Whether a record is an object with a value under each key."""
    return isinstance(record, dict) and all(record.get(key) is not None for key in keys)


def are_texts(value: object) -> bool:
    """Whether a value is a list of texts, and not an empty one."""
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


def are_objects(value: object) -> TypeGuard[list[dict[str, Any]]]:
    """Whether a value is a list of objects, and not an empty one."""
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)
