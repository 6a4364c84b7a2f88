"""What sources of linear conversations share: each record is a conversation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from chatdata.core.schema import MESSAGES
from chatdata.sources import _tools
from chatdata.sources._message import Read, as_text, join, not_text, trained
from chatdata.sources.batches import Batch, BatchBuilder, File, Problem
from chatdata.sources.records import IsRecord, Record, read_files
from chatdata.sources.values import identifier, word


class Turn(NamedTuple):
    """A turn as a source reads it; `note` explains a role or content that is null."""

    role: str | None
    content: str | None
    note: str | None
    train: bool = True  # may an answer be trained?


def turn(role: str | None, message: Mapping[str, Any], content: object, read: Read = join) -> Turn:
    """The turn of a message with this content, and with all that stands beside the content.

    `read` makes text of the content; see `_message`.
    """
    flags = trained(message)
    if flags.fault:
        return Turn(role, None, flags.fault)
    return Turn(role, *as_text(message, content, read, role), flags.train)


def with_record(turns: list[Turn], record: Mapping[str, Any]) -> list[Turn]:
    """The turns with the system's words and the tools that stand beside them in a record."""
    turns = _with_system(turns, record.get("system"))
    for key in _tools.LISTS:
        turns = _with_tools(turns, record.get(key))
    return turns


def _with_system(turns: list[Turn], system: object) -> list[Turn]:
    first = turns[0] if turns else None
    is_repeated = first and first.role == "system" and first.content == system
    if is_repeated or not _tools.is_given(system):
        return turns
    return [Turn("system", *join(system)), *turns]


def _with_tools(turns: list[Turn], tools: object) -> list[Turn]:
    """The turns with the tools that stand beside them, after the words of the system turn."""
    listed, fault = _tools.listing(tools)
    if listed == "" or not turns:
        return turns
    first = turns[0]
    if listed and first.role == "system" and first.content:
        return [first._replace(content=f"{first.content}\n\n{listed}"), *turns[1:]]
    return [Turn("system", listed, fault and f"tools: {fault}"), *turns]


@dataclass(frozen=True, slots=True)
class RecordFormat:
    """How the records of a source look, and which conversations belong together."""

    is_record: IsRecord
    turns: Callable[[Any], list[Turn]]
    group: Callable[[str], str]  # of a conversation's id


def read_conversations(
    files: Sequence[File], name: str, ids: str, format: RecordFormat
) -> Iterator[Batch]:
    """Yields the turns of all records as rows of MESSAGES, `ids` before each id.

    A record without an id is named for its content, never for its place.
    """
    builder = BatchBuilder(MESSAGES)
    groups: dict[str, str] = {}
    for record in read_files(files, format.is_record):
        builder.records += 1
        if isinstance(record, Problem):
            builder.problems.append(record)
        else:
            _add(builder, groups, record, name, ids, format)
        if builder.is_full():
            yield builder.take()
    yield builder.take()


def _add(
    builder: BatchBuilder,
    groups: dict[str, str],
    record: Record,
    name: str,
    ids: str,
    format: RecordFormat,
) -> None:
    keys = record.value if isinstance(record.value, dict) else {}
    turns = format.turns(record.value)
    conversation = _conversation_id(keys, turns, ids)  # of the turns before a fault empties them
    turns = _without_content(turns, not_text(keys))
    builder.conversations += 1
    if not turns:
        detail = f"no turns, in {record.where}"
        builder.add_problem("conversation", conversation, "no_turns", detail)
        return
    lang = word(keys.get("lang"))
    common = {
        "conversation": conversation,
        "group": _group(groups, conversation, keys, format),
        "lang": lang,
        "lang_by": "declared" if lang else None,
        "source": name,
        "where": record.where,
    }
    _add_turns(builder, conversation, turns, common)


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
    )


def _without_content(turns: list[Turn], fault: str | None) -> list[Turn]:
    """The turns; without their content where the record as a whole has a fault."""
    return [turn._replace(content=None, note=fault) for turn in turns] if fault else turns


def _conversation_id(keys: Mapping[str, Any], turns: list[Turn], ids: str) -> str:
    """The id that a record names, or a hash of its turns, with `ids` before it."""
    named = identifier(keys.get("id")) or identifier(keys.get("conversation_id"))
    id = named or _content_id(turns)
    return id if id.startswith(f"{ids}/") else f"{ids}/{id}"


def _content_id(turns: list[Turn]) -> str:
    words = "\0".join(f"{turn.role}\0{turn.content}\0{turn.note}" for turn in turns)
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def _group(
    groups: dict[str, str], conversation: str, keys: Mapping[str, Any], format: RecordFormat
) -> str:
    """The group that a record names, or the group of its id; an id keeps the first that was
    named."""
    named = identifier(keys.get("group"))
    if named or conversation in groups:
        return groups.setdefault(conversation, named or "")
    return format.group(conversation)
