"""What sources of linear conversations share: each record is a conversation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import polars as pl

from chatdata.core.schema import MESSAGES
from chatdata.core.template_variables import KEY
from chatdata.sources import _preference, naming, tool_json
from chatdata.sources._message import MESSAGE_KEYS, NOT_TEXT, Read, join, not_text, spoken, trained
from chatdata.sources._shape import IsRecord
from chatdata.sources._variables import Variables
from chatdata.sources.batches import COUNTED, Batch, BatchBuilder, File, Problem
from chatdata.sources.naming import Names, is_published
from chatdata.sources.records import Record, of_record, read_files
from chatdata.sources.values import excerpt, word


class Turn(NamedTuple):
    """A turn as a source reads it; `note` explains a role or content that is null.

    `tools` of any turn are those of the conversation.
    """

    role: str | None
    content: str | None
    note: str | None
    train: bool = True  # may an answer be trained?
    reasoning: str | None = None
    tool_calls: str | None = None  # JSON, as in MESSAGES
    tool_call_id: str | None = None
    name: str | None = None
    tools: str | None = None  # JSON
    # What is not spoken: of the loss of an answer (None is 1), and its only parts that are trained.
    weight: float | None = None
    train_parts: str | None = None  # as in MESSAGES


def turn(role: str | None, message: Mapping[str, Any], content: object, read: Read = join) -> Turn:
    """The turn of a message with this content, and with all that stands beside the content.

    `read` makes text of the content; see `_message`.
    """
    flags = trained(message)
    if flags.fault:
        return Turn(role, None, flags.fault)
    words = spoken(message, content, read, role)
    beside = words[2:]
    of_loss = (flags.weight, flags.parts) if role == "assistant" else ()
    return Turn(role, words.content, words.fault, flags.train, *beside, *of_loss)


def says(turn: Turn) -> tuple[str | None, ...]:
    """What a turn says, to compare turns: who speaks, the words or their fault, the reasoning, and
    the calls without their ids."""
    calls = [call["function"] for call in json.loads(turn.tool_calls)] if turn.tool_calls else []
    return (*turn[:3], turn.reasoning, json.dumps(calls))


# The keys of a record that every source of conversations looks at.
RECORD_KEYS = frozenset(["id", "conversation_id", "group", "lang", KEY, *NOT_TEXT])


class Reading(NamedTuple):
    """What a source reads of a record: its turns.

    `keys` are the keys of the record that the source looked at, `messages` what it read as
    messages, but for messages whose keys it knows. `refusal` says why nothing may be learnt from
    the record, or why it cannot be taken apart; `reason` is its name in the ledger. `named` has
    id, group and language of the conversation, where the record has them under other keys.
    """

    turns: list[Turn]
    keys: frozenset[str] = RECORD_KEYS
    messages: Sequence[object] = ()
    refusal: str | None = None
    reason: str = "preference"
    named: Mapping[str, Any] | None = None


def _no_keys(message: Mapping[str, Any]) -> Collection[str]:
    return ()


@dataclass(frozen=True, slots=True)
class RecordFormat:
    """How the records of a source look, and which conversations belong together.

    `message_keys` are the keys of a message that the source always looks at, `more_keys` those that
    it looks at in some messages.
    """

    is_record: IsRecord
    read: Callable[[Any], Reading]
    group: Callable[[str], str]  # of a conversation's id
    variables: Variables = field(default_factory=Variables)
    message_keys: frozenset[str] = MESSAGE_KEYS
    more_keys: Callable[[Mapping[str, Any]], Collection[str]] = _no_keys


def read_conversations(
    files: Sequence[File], name: str, ids: str, format: RecordFormat
) -> Iterator[Batch]:
    """Yields the turns of all records as rows of MESSAGES, `ids` before each id.

    A record without an id is named for its content, never for its place; a record that repeats
    others also for how many of them stand before it. Raises SourceError where no record has the
    key of a variable.
    """
    conversations = 0
    for batch in read_more(files, name, Names(ids), format):
        conversations += batch.conversations
        yield batch
    if conversations:
        format.variables.check_seen(name)


def read_more(
    files: Sequence[File],
    name: str,
    names: Names,
    format: RecordFormat,
    keys: Collection[str] = (),
) -> Iterator[Batch]:
    """Yields what `read_conversations` does, of a part of the files of a source.

    `names` are those of the whole source, or of a piece of it; `keys` are columns of tables that
    the source reads.
    """
    builder = BatchBuilder(MESSAGES if names.is_whole else {**MESSAGES, COUNTED: pl.Boolean})
    for record in read_files(files, format.is_record, {*format.variables.keys.values(), *keys}):
        builder.records += 1
        if isinstance(record, Problem):
            builder.add_problem(record)
        else:
            builder.add_beside(record.where, record.beside)
            _add(builder, names, record, name, format)
        if builder.is_full():
            del record  # which may be large
            yield builder.take()
    names.variables |= format.variables.seen & format.variables.keys.keys()
    yield builder.take()


def _add(
    builder: BatchBuilder, names: Names, record: Record, name: str, format: RecordFormat
) -> None:
    """Adds the turns of a record, or the problem that it is."""
    given: Mapping[str, Any] = record.value if isinstance(record.value, dict) else {}
    reading = format.read(record.value)
    if reading.refusal:
        builder.add_problem(of_record(record, reading.reason, reading.refusal))
        return
    _count_unread(builder, record.where, given, reading, format)
    keys = given if reading.named is None else reading.named
    variables = format.variables.of(keys)
    named = naming.named(keys)
    is_counted = not named
    # By the turns as they were read: a fault takes away what they say, and not their name.
    first = names.without_occurrence(keys, named or _content_id(reading.turns, variables.text))
    conversation = names.with_occurrence(first) if is_counted else first
    builder.conversations += 1
    if not reading.turns:
        builder.add_problem(_no_turns(record, conversation, is_counted))
        return
    turns = _without_content(reading.turns, not_text(keys) or variables.fault)
    lang = word(keys.get("lang"))
    common = {
        "conversation": conversation,
        "group": names.group(first, keys, format.group),
        "lang": lang,
        "lang_by": "declared" if lang else None,
        "source": keys["source"] if is_published(keys) else name,
        "tools": tool_json.joined(turn.tools for turn in turns if turn.tools),
        "variables": variables.text,
        "where": record.where,
        COUNTED: is_counted,
    }
    _add_turns(builder, conversation, turns, common)


def _no_turns(record: Record, conversation: str, is_counted: bool) -> Problem:
    words, detail = excerpt(record.value), f"no turns, in {record.where}"
    return Problem(
        "conversation", conversation, "no_turns", detail, record.where, words, is_counted
    )


def _count_unread(
    builder: BatchBuilder,
    where: str,
    record: Mapping[str, Any],
    reading: Reading,
    format: RecordFormat,
) -> None:
    """Notes the keys of a record and of its messages that nothing looked at; mostly none."""
    if not record.keys() <= reading.keys:
        named = {*format.variables.keys.values(), *_preference.keys(record)}
        named |= {"source"} if is_published(record) else set()
        builder.add_unread(where, "records", record, reading.keys | named)
    for message in reading.messages:
        if isinstance(message, str):
            message = tool_json.parsed(message)
        if isinstance(message, dict) and not message.keys() <= format.message_keys:
            known = format.message_keys.union(format.more_keys(message))
            builder.add_unread(where, "messages", message, known)


def _add_turns(
    builder: BatchBuilder, conversation: str, turns: list[Turn], common: Mapping[str, Any]
) -> None:
    positions = range(len(turns))
    builder.add_many(
        len(turns),
        common,
        position=list(positions),
        message=[f"{conversation}#{position}" for position in positions],
        role=[turn.role for turn in turns],
        content=[turn.content for turn in turns],
        train=[turn.train and turn.role == "assistant" for turn in turns],
        note=[turn.note for turn in turns],
        **_beside(turns),
    )


_BESIDE = ("reasoning", "tool_calls", "tool_call_id", "name", "weight", "train_parts")
_FIRST_BESIDE = Turn._fields.index(_BESIDE[0])
_FIRST_UNSPOKEN = Turn._fields.index("weight")
_NOTHING_BESIDE = tuple(None for _ in Turn._fields[_FIRST_BESIDE:])


def _beside(turns: list[Turn]) -> dict[str, list[Any]]:
    """The columns of what stands beside the words; none where nothing does, as nearly always."""
    if all(turn[_FIRST_BESIDE:] == _NOTHING_BESIDE for turn in turns):
        return {}
    return {column: [getattr(turn, column) for turn in turns] for column in _BESIDE}


def _without_content(turns: list[Turn], fault: str | None) -> list[Turn]:
    """The turns; without what they say where the record as a whole has a fault."""
    return [Turn(turn.role, None, fault, turn.train) for turn in turns] if fault else turns


def _content_id(turns: list[Turn], variables: str | None) -> str:
    words = "\0".join([*map(_words_of, turns), *([variables] if variables else [])])
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def _words_of(turn: Turn) -> str:
    spoken_beside = turn[_FIRST_BESIDE:_FIRST_UNSPOKEN]
    beside = "\0".join(text for text in spoken_beside if isinstance(text, str))
    plain = f"{turn.role}\0{turn.content}\0{turn.note}"
    return f"{plain}\0{beside}" if beside else plain
