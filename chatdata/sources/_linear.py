"""What sources of linear conversations share: one record is one conversation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from chatdata.core.schema import MESSAGES
from chatdata.sources import Batch, File, Problem, Rows, _tools, identifier, records, text, word
from chatdata.sources._message import flag, join, not_text, spoken
from chatdata.sources._tools import LISTS, Text, is_there
from chatdata.sources.records import Record, Shape

__all__ = ["Layout", "Turn", "join", "read_conversations", "text", "turn", "with_record"]


class Turn(NamedTuple):
    """One turn as a source reads it; a null role or content is explained by `note`."""

    role: str | None
    content: str | None
    note: str | None
    train: bool = True  # may it be learnt from, if it is an answer?


def turn(
    role: str | None,
    message: Mapping[str, Any],
    said: object,
    read: Callable[[object], Text] = join,
) -> Turn:
    """A turn of a message that says `said`, with all that stands beside it; see `_message`."""
    train, odd = flag(message)
    return Turn(role, None, odd) if odd else Turn(role, *spoken(message, said, read, role), train)


def with_record(turns: list[Turn], record: Mapping[str, Any]) -> list[Turn]:
    """The turns with the system's words and the tools that stand beside them in a record."""
    headed = _with_system(turns, record.get("system"))
    for key in LISTS:
        headed = _with_tools(headed, record.get(key))
    return headed


def _with_system(turns: list[Turn], system: object) -> list[Turn]:
    said = turns[0] if turns else None
    if not is_there(system) or (said and said.role == "system" and said.content == system):
        return turns
    return [Turn("system", *join(system)), *turns]


def _with_tools(turns: list[Turn], tools: object) -> list[Turn]:
    """The turns with the tools that stand beside them, behind the words of the system turn."""
    words, note = _tools.listing(tools)
    if words == "" or not turns:
        return turns
    first = turns[0]
    if words and first.role == "system" and first.content:
        return [first._replace(content=f"{first.content}\n\n{words}"), *turns[1:]]
    return [Turn("system", words, note and f"tools: {note}"), *turns]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a source's records look, and which conversations belong together."""

    is_record: Shape
    turns: Callable[[Any], list[Turn]]
    group: Callable[[str], str]


def read_conversations(
    files: Sequence[File], name: str, ids: str, layout: Layout
) -> Iterator[Batch]:
    """Yields the turns of all records as rows of MESSAGES, `ids` before each id.

    A record without an id is named for its content, never for its place.
    """
    rows = Rows(MESSAGES)
    groups: dict[str, str] = {}
    for record in records(files, layout.is_record):
        rows.records += 1
        if isinstance(record, Problem):
            rows.problems.append(record)
        else:
            _add(rows, groups, record, name, ids, layout)
        if rows.full():
            yield rows.batch()
    yield rows.batch()


def _add(
    rows: Rows, groups: dict[str, str], record: Record, name: str, ids: str, layout: Layout
) -> None:
    turns = layout.turns(record.value)
    facts = record.value if isinstance(record.value, dict) else {}
    named = identifier(facts.get("id")) or identifier(facts.get("conversation_id"))
    own = named or _content_id(turns)
    conversation = own if own.startswith(f"{ids}/") else f"{ids}/{own}"
    rows.conversations += 1
    if fault := not_text(facts):  # it concerns all turns; ids are made of what they said
        turns = [turn._replace(content=None, note=fault) for turn in turns]
    if not turns:
        rows.problem("conversation", conversation, "no_turns", f"no turns, in {record.where}")
        return
    lang = word(facts.get("lang"))
    common = {
        "conversation": conversation,
        "group": _group(groups, conversation, facts, layout),
        "lang": lang,
        "lang_by": "declared" if lang else None,
        "source": name,
        "where": record.where,
    }
    rows.add_many(
        len(turns),
        common,
        position=list(range(len(turns))),
        message=[f"{conversation}#{position}" for position in range(len(turns))],
        role=[turn.role for turn in turns],
        content=[turn.content for turn in turns],
        train=[turn.train and turn.role == "assistant" for turn in turns],
        note=[turn.note for turn in turns],
    )


def _group(
    groups: dict[str, str], conversation: str, facts: Mapping[str, Any], layout: Layout
) -> str:
    """The group that a record names, or its source's; an id keeps the first that was named."""
    named = identifier(facts.get("group"))
    if named or conversation in groups:
        return groups.setdefault(conversation, named or "")
    return layout.group(conversation)


def _content_id(turns: list[Turn]) -> str:
    words = "\0".join(f"{turn.role}\0{turn.content}\0{turn.note}" for turn in turns)
    return hashlib.sha256(words.encode()).hexdigest()[:16]
