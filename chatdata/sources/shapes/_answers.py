"""What the shapes of answers to choose from share: a prompt, and its answers as a tree."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from chatdata.sources import _beside, jsonl, sharegpt
from chatdata.sources._linear import Turn, says
from chatdata.sources._message import MESSAGE_KEYS, not_text
from chatdata.sources.shapes._base import Node, Record, Tree, are_objects, given
from chatdata.sources.values import identifier, text

PROMPTS = ("prompt", "question", "instruction", "query", "input")
_ID = "id"
_MESSAGE_KEYS = MESSAGE_KEYS | sharegpt.TURN_KEYS


class Answer(NamedTuple):
    """An answer to choose from: its turns, and its rank, which is None where nobody gave it one."""

    id: str
    turns: Sequence[Turn]
    rank: int | None
    is_best: bool


class Asked(NamedTuple):
    """What the answers of a record answer: the turns, the keys that were looked at, and what was
    read as messages."""

    turns: list[Turn]
    keys: frozenset[str]
    messages: Sequence[Any] = ()


# --------------------------------------------------------------------------------------- as a tree


def tree_of(record: Record, asked: Asked, answers: Sequence[Answer], keys: Sequence[str]) -> Tree:
    """The tree of a record; refused where it has no prompt, or its answers say the same."""
    looked_at = asked.keys.union(keys, [_ID])
    if not asked.turns:
        return refused("has answers to choose from and no prompt", looked_at)
    if not all(answer.turns for answer in answers):
        return refused("has an answer to choose from that says nothing", looked_at)
    if fault := not_text(record):
        return refused(f"has something that is not text: {fault}", looked_at)
    if len(answers) > 1 and len({tuple(map(says, answer.turns)) for answer in answers}) == 1:
        return refused("has answers to choose from that all say the same", looked_at)
    spoken = [*asked.turns, *itertools.chain(*(answer.turns for answer in answers))]
    name = hash_of([*spoken, *(answer.rank for answer in answers)])
    id = identifier(record.get(_ID))
    before = [turn._replace(train=False) for turn in asked.turns]
    nodes = [*_chain("p", None, before), *_replies(f"p{len(before) - 1}", answers)]
    read = [message for message in asked.messages if isinstance(message, dict)]
    return Tree(f"{id}~{name}" if id else name, nodes, looked_at, read, _MESSAGE_KEYS)


def refused(why: str, keys: frozenset[str]) -> Tree:
    return Tree(None, (), keys, refusal=f"the record {why}")


def refused_prompt(key: str) -> Tree:
    """A record whose prompt, under this key, has no turns that take turns."""
    return refused("has a prompt in which a speaker follows itself", frozenset([key]))


def hash_of(spoken: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(spoken).encode(errors="surrogatepass")).hexdigest()[:16]


def _chain(name: str, parent: str | None, turns: Sequence[Turn]) -> Iterator[Node]:
    """Yields turns that follow each other as nodes, `name` and a number their ids."""
    for number, turn in enumerate(turns):
        yield Node(f"{name}{number}", parent, turn)
        parent = f"{name}{number}"


def _replies(parent: str, answers: Sequence[Answer]) -> Iterator[Node]:
    """Yields the answers as replies. Of an answer of several turns nobody says which is meant, so
    that it has no rank."""
    for answer in answers:
        first, *rest = answer.turns
        is_single = not rest and first.role == "assistant"
        rank = answer.rank if is_single else None
        yield Node(answer.id, parent, first, rank=rank, is_rejected=not answer.is_best)
        yield from _chain(f"{answer.id}-", answer.id, rest)


# ------------------------------------------------------------------------------------- what is read

_HH = re.compile(r"\n\n(Human|Assistant):")
_HH_ROLES = {"Human": "user", "Assistant": "assistant"}
_HH_START = re.compile(r"\s*Human:")


def is_side(value: object) -> bool:
    """Whether a value may be a prompt or an answer: words, a message, or messages."""
    if isinstance(value, dict):
        return "role" in value or "from" in value
    return isinstance(value, str) or (are_objects(value) and all(map(is_side, value)))


def turns_of_side(value: object, role: str) -> list[Turn]:
    """The turns of words, of a message or of messages; `role` says the words."""
    messages = [value] if isinstance(value, dict) else value
    if not isinstance(messages, list):
        return [Turn(role, *text(messages))]
    if any(isinstance(message, dict) and "from" in message for message in messages):
        return list(sharegpt.read_record({"conversations": messages}).turns)
    return jsonl.read_messages(messages)


def dialogue_of(spoken: str) -> list[Turn] | None:
    """The turns of words in the form of HH-RLHF; None where a speaker follows itself."""
    _, *parts = _HH.split("\n\n" + spoken.lstrip())
    speakers = [_HH_ROLES[speaker] for speaker in parts[::2]]
    if any(first == second for first, second in itertools.pairwise(speakers)):
        return None
    return [
        Turn(role, *text(words.strip())) for role, words in zip(speakers, parts[1::2], strict=True)
    ]


def as_prompt(value: object) -> list[Turn] | None:
    """The turns of a prompt, which HH-RLHF ends with the mark of an answer; None where they cannot
    be told."""
    if not isinstance(value, str) or not _HH_START.match(value):
        return turns_of_side(value, "user")
    turns = dialogue_of(value)
    if turns and turns[-1].role == "assistant" and not turns[-1].content:
        return turns[:-1]
    return turns


def asked_of(record: Record, prompt: Sequence[Turn], key: str | None, value: object) -> Asked:
    """The prompt with what stands beside it: system, history, tools, and the input of an
    instruction."""
    turns, keys = list(prompt), _beside.KEYS.union([key] if key else [])
    contexts = (name for name in _beside.CONTEXTS if name != key and given(record, name))
    context = next(contexts, None) if isinstance(value, str) else None
    if context and turns:
        turns[-1] = jsonl.with_context(turns[-1], record[context])
        keys |= {context}
    beside = _beside.with_record(turns, record, jsonl.read_messages)
    messages = value if isinstance(value, list) else ()
    return Asked(beside.turns, keys - beside.left, [*messages, *beside.messages])


def key_of_prompt(record: Record) -> str | None:
    return next((key for key in PROMPTS if given(record, key) and is_side(record[key])), None)


def is_same(first: Turn, second: Turn) -> bool:
    return says(first) == says(second)


def _begins_with(turns: Sequence[Turn], prompt: Sequence[Turn]) -> bool:
    pairs = zip(turns, prompt, strict=False)
    return len(turns) > len(prompt) and all(is_same(*pair) for pair in pairs)


def split_sides(
    prompt: list[Turn], chosen: list[Turn], rejected: list[Turn]
) -> tuple[list[Turn], list[Turn], list[Turn]] | None:
    """The prompt, and both answers without it; None where they begin with another prompt."""
    chosen = chosen[len(prompt) :] if _begins_with(chosen, prompt) else chosen
    rejected = rejected[len(prompt) :] if _begins_with(rejected, prompt) else rejected
    common = 0
    while common < min(len(chosen), len(rejected)) - 1 and is_same(
        chosen[common], rejected[common]
    ):
        common += 1
    if not common:
        return prompt, chosen, rejected
    shared = chosen[:common]
    is_told = any(
        shared[at : at + len(prompt)] == prompt or _all_same(shared[at:], prompt)
        for at in range(common)
    )
    return (shared, chosen[common:], rejected[common:]) if is_told or not prompt else None


def _all_same(turns: Sequence[Turn], prompt: Sequence[Turn]) -> bool:
    return len(turns) >= len(prompt) and all(map(is_same, turns, prompt))


_OTHER_PROMPT = "has a prompt that its answers do not begin with"


def of_sides(
    record: Record, key: str | None, value: object, sides: tuple[str, str], prompt: list[Turn]
) -> Tree:
    """The tree of a record with an answer that was chosen and one that was rejected, under the keys
    `sides`."""
    chosen, rejected = (turns_of_side(record[side], "assistant") for side in sides)
    apart = split_sides(prompt, chosen, rejected)
    if apart is None:
        return refused(_OTHER_PROMPT, frozenset([*sides]))
    asked = asked_of(record, apart[0], key, value)
    lists = (record[side] for side in sides)
    messages = [m for side in lists for m in (side if isinstance(side, list) else [side])]
    asked = asked._replace(messages=[*asked.messages, *messages])
    answers = [Answer("chosen", apart[1], 0, True), Answer("rejected", apart[2], 1, False)]
    return tree_of(record, asked, answers, sides)
