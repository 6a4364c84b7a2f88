"""What sources of linear conversations share: one record is one conversation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from chatdata.records import Record, Shape
from chatdata.schema import MESSAGES
from chatdata.sources import Batch, File, Problem, Rows, _tools, identifier, records, text, word

__all__ = ["Layout", "Turn", "flag", "join", "read_conversations", "text", "with_tools"]


class Turn(NamedTuple):
    """One turn as a source reads it; a null role or content is explained by `note`."""

    role: str | None
    content: str | None
    note: str | None
    train: bool = True  # may it be learnt from, if it is an answer?


def join(content: object) -> tuple[str | None, str | None]:
    """Content as (text, note): a string, or typed parts, joined where all of them are text."""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return text(content)
    parts = [_part(part) for part in content]
    faults = [note for _, note in parts if note]
    return (None, faults[0]) if faults else ("".join(words or "" for words, _ in parts), None)


def _part(part: Mapping[str, Any]) -> tuple[str | None, str | None]:
    if part.get("type") == "text":
        return text(part.get("text", part.get("value")))
    return None, f"a part of type {part.get('type')!r} cannot be carried as text"


def with_tools(turns: list[Turn], tools: object) -> list[Turn]:
    """The turns with the tools that stand beside them, behind the words of the system turn."""
    words, note = _tools.listing(tools)
    if words == "" or not turns:
        return turns
    first = turns[0]
    if words and first.role == "system" and first.content:
        return [first._replace(content=f"{first.content}\n\n{words}"), *turns[1:]]
    return [Turn("system", words, note and f"tools: {note}"), *turns]


# Under which names others say whether a message is learnt from, and what means that it is not:
# axolotl `train`, tinker `trainable`, torchtune `masked`, ms-swift `loss`, LLaMA-Factory
# `loss_weight`, OpenAI `weight`.
_FLAGS = {"train": 0, "trainable": 0, "loss": 0, "loss_weight": 0, "weight": 0, "masked": 1}


def flag(message: Mapping[str, Any]) -> tuple[bool, str | None]:
    """Whether a message may be learnt from, by the flags that it carries, and what is odd in them.

    A weight between 0 and 1 cannot be kept in labels; it is explained, not rounded.
    """
    if _FLAGS.keys().isdisjoint(message):
        return True, None
    said = {name: message[name] for name in _FLAGS if message.get(name) is not None}
    for name, value in said.items():
        if not isinstance(value, bool | int | float) or value not in (0, 1):
            return False, f"{name} is {value!r}, and a message is learnt from or not (0 or 1)"
    return all(value != _FLAGS[name] for name, value in said.items()), None


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
