"""Answers to choose from: those that people preferred beside those that they did not.

A record is a tree: its prompt, and the answers as replies with ranks, 0 the best. Only the best may
stand in a conversation; the others are there for pairs (`threads.pairs`). What a record says of its
answers says nothing of the answers of another record, so each is a tree of its own. Verdicts
(KTO) are of an answer alone: those of a prompt are a tree together.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from chatdata.sources import _beside, _preference, jsonl, sharegpt
from chatdata.sources._linear import Turn
from chatdata.sources._message import MESSAGE_KEYS, not_text
from chatdata.sources.shapes._base import Node, Record, Tree, Trees, are_objects, given, has
from chatdata.sources.shapes.lists import LISTS, turns_of
from chatdata.sources.values import identifier, text

PROMPTS = ("prompt", "question", "instruction", "query", "input")
_ID = "id"
_REPLIES = ("completions", "responses", "answers", "generations")
_WORDS = ("response", "answer", "completion", "text", "content", "output")
_SCORES = ("overall_score", "score", "rating", "reward")
_RANK = "rank"
_MESSAGE_KEYS = MESSAGE_KEYS | sharegpt.TURN_KEYS
_LISTS_OF_SCORES = ("scores", "ratings", "rewards")


class _Answer(NamedTuple):
    """An answer to choose from: its turns, and its rank, which is None where nobody gave it one."""

    id: str
    turns: Sequence[Turn]
    rank: int | None
    is_best: bool


class _Asked(NamedTuple):
    """What the answers of a record answer: the turns, the keys that were looked at, and what was
    read as messages."""

    turns: list[Turn]
    keys: frozenset[str]
    messages: Sequence[Any] = ()


# --------------------------------------------------------------------------------------- as a tree


def _tree(record: Record, asked: _Asked, answers: Sequence[_Answer], keys: Sequence[str]) -> Tree:
    """The tree of a record; refused where it has no prompt, or its answers say the same."""
    looked_at = asked.keys.union(keys, [_ID])
    if not asked.turns:
        return _refused("has answers to choose from and no prompt", looked_at)
    if not all(answer.turns for answer in answers):
        return _refused("has an answer to choose from that says nothing", looked_at)
    if fault := not_text(record):
        return _refused(f"has something that is not text: {fault}", looked_at)
    words = {tuple(turn[:3] for turn in answer.turns) for answer in answers}
    if len(answers) > 1 and len(words) == 1:
        return _refused("has answers to choose from that all say the same", looked_at)
    spoken = [*asked.turns, *itertools.chain(*(answer.turns for answer in answers))]
    name = _hash([*spoken, *(answer.rank for answer in answers)])
    id = identifier(record.get(_ID))
    before = [turn._replace(train=False) for turn in asked.turns]
    nodes = [*_chain("p", None, before), *_replies(f"p{len(before) - 1}", answers)]
    read = [message for message in asked.messages if isinstance(message, dict)]
    return Tree(f"{id}~{name}" if id else name, nodes, looked_at, read, _MESSAGE_KEYS)


def _refused(why: str, keys: frozenset[str]) -> Tree:
    return Tree(None, (), keys, refusal=f"the record {why}")


def _hash(spoken: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(spoken).encode(errors="surrogatepass")).hexdigest()[:16]


def _chain(name: str, parent: str | None, turns: Sequence[Turn]) -> Iterator[Node]:
    """Yields turns that follow each other as nodes, `name` and a number their ids."""
    for number, turn in enumerate(turns):
        yield Node(f"{name}{number}", parent, turn)
        parent = f"{name}{number}"


def _replies(parent: str, answers: Sequence[_Answer]) -> Iterator[Node]:
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


def _is_side(value: object) -> bool:
    """Whether a value may be a prompt or an answer: words, a message, or messages."""
    if isinstance(value, dict):
        return "role" in value or "from" in value
    return isinstance(value, str) or (are_objects(value) and all(map(_is_side, value)))


def _turns(value: object, role: str) -> list[Turn]:
    """The turns of words, of a message or of messages; `role` says the words."""
    messages = [value] if isinstance(value, dict) else value
    if not isinstance(messages, list):
        return [Turn(role, *text(messages))]
    if any(isinstance(message, dict) and "from" in message for message in messages):
        return list(sharegpt.read_record({"conversations": messages}).turns)
    return jsonl.read_messages(messages)


def _dialogue(spoken: str) -> list[Turn] | None:
    """The turns of words in the form of HH-RLHF; None where a speaker follows itself."""
    _, *parts = _HH.split("\n\n" + spoken.lstrip())
    speakers = [_HH_ROLES[speaker] for speaker in parts[::2]]
    if any(first == second for first, second in itertools.pairwise(speakers)):
        return None
    return [
        Turn(role, *text(words.strip())) for role, words in zip(speakers, parts[1::2], strict=True)
    ]


def _as_prompt(value: object) -> list[Turn] | None:
    """The turns of a prompt, which HH-RLHF ends with the mark of an answer; None where they cannot
    be told."""
    if not isinstance(value, str) or not _HH_START.match(value):
        return _turns(value, "user")
    turns = _dialogue(value)
    if turns and turns[-1].role == "assistant" and not turns[-1].content:
        return turns[:-1]
    return turns


def _asked(record: Record, prompt: Sequence[Turn], key: str | None, value: object) -> _Asked:
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
    return _Asked(beside.turns, keys - beside.left, [*messages, *beside.messages])


def _prompt_key(record: Record) -> str | None:
    return next((key for key in PROMPTS if given(record, key) and _is_side(record[key])), None)


def _same(first: Turn, second: Turn) -> bool:
    return first[:3] == second[:3] and first.tool_calls == second.tool_calls


def _begins_with(turns: Sequence[Turn], prompt: Sequence[Turn]) -> bool:
    pairs = zip(turns, prompt, strict=False)
    return len(turns) > len(prompt) and all(_same(*pair) for pair in pairs)


def _apart(
    prompt: list[Turn], chosen: list[Turn], rejected: list[Turn]
) -> tuple[list[Turn], list[Turn], list[Turn]] | None:
    """The prompt, and both answers without it; None where they begin with another prompt."""
    chosen = chosen[len(prompt) :] if _begins_with(chosen, prompt) else chosen
    rejected = rejected[len(prompt) :] if _begins_with(rejected, prompt) else rejected
    common = 0
    while common < min(len(chosen), len(rejected)) - 1 and _same(chosen[common], rejected[common]):
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
    return len(turns) >= len(prompt) and all(map(_same, turns, prompt))


_OTHER_PROMPT = "has a prompt that its answers do not begin with"


def _chosen(
    record: Record, key: str | None, value: object, sides: tuple[str, str], prompt: list[Turn]
) -> Tree:
    """The tree of a record with an answer that was chosen and one that was rejected, under the keys
    `sides`."""
    chosen, rejected = (_turns(record[side], "assistant") for side in sides)
    apart = _apart(prompt, chosen, rejected)
    if apart is None:
        return _refused(_OTHER_PROMPT, frozenset([*sides]))
    asked = _asked(record, apart[0], key, value)
    lists = (record[side] for side in sides)
    messages = [m for side in lists for m in (side if isinstance(side, list) else [side])]
    asked = asked._replace(messages=[*asked.messages, *messages])
    answers = [_Answer("chosen", apart[1], 0, True), _Answer("rejected", apart[2], 1, False)]
    return _tree(record, asked, answers, sides)


# ------------------------------------------------------------------------------ chosen and rejected

_SIDES = ("chosen", "rejected")


def _has_sides(record: object) -> bool:
    return has(record, *_SIDES) and all(
        given(record, side) and _is_side(record[side]) for side in _SIDES
    )


def _is_hh(record: object) -> bool:
    if not has(record, "chosen") or given(record, "prompt"):
        return False
    return all(
        isinstance(record.get(side), str) and record[side].startswith("\n\nHuman:")
        for side in _SIDES
        if side == "chosen" or given(record, side)
    )


def _read_hh(record: Any) -> Tree:
    """The dialogue that was chosen and the other, which have all but their last answers in
    common."""
    sides = [_dialogue(record[side]) for side in _SIDES if given(record, side)]
    if any(side is None for side in sides):
        why = "has a speaker that follows itself, so a mark stands in words"
        return _refused(why, frozenset(_SIDES))._replace(reason="unknown_record")
    chosen, rejected = sides[0] or [], (sides[1] if len(sides) > 1 else None) or []
    if not rejected:
        asked = _Asked(chosen[:-1], frozenset(_SIDES))
        return _tree(record, asked, [_Answer("chosen", chosen[-1:], None, True)], _SIDES)
    _, first, second = apart = _apart([], chosen, rejected) or ([], chosen, rejected)
    answers = [_Answer("chosen", first, 0, True), _Answer("rejected", second, 1, False)]
    return _tree(record, _Asked(apart[0], frozenset(_SIDES)), answers, _SIDES)


def _has_messages(record: Record) -> str | None:
    """The key of the messages beside answers to choose from."""
    return next((key for key in LISTS if turns_of(record, key) is not None), None)


def _is_prompted(record: object) -> bool:
    if not _has_sides(record) or not isinstance(record, dict) or _is_hh(record):
        return False
    return _has_messages(record) is None and _prompt_key(record) is not None


def _read_prompted(record: Any) -> Tree:
    key = _prompt_key(record) or PROMPTS[0]
    prompt = _as_prompt(record[key])
    if prompt is None:
        return _refused("has a prompt in which a speaker follows itself", frozenset([key]))
    return _chosen(record, key, record[key], _SIDES, prompt)


def _is_dialogues(record: object) -> bool:
    if not _has_sides(record) or not isinstance(record, dict):
        return False
    is_alone = _has_messages(record) is None and _prompt_key(record) is None
    return is_alone and all(are_objects(record[side]) for side in _SIDES)


def _read_dialogues(record: Any) -> Tree:
    return _chosen(record, None, None, _SIDES, [])


def _is_behind_messages(record: object) -> bool:
    if not _has_sides(record) or not isinstance(record, dict):
        return False
    return _has_messages(record) is not None


def _read_behind_messages(record: Any) -> Tree:
    """The messages without the answer that was chosen, where they end with it."""
    key = _has_messages(record) or LISTS[0]
    value = turns_of(record, key) or []
    turns, chosen = _turns(value, "user"), _turns(record["chosen"], "assistant")
    is_answered = bool(turns) and turns[-1].role == "assistant" and _same(turns[-1], chosen[-1])
    return _chosen(record, key, value, _SIDES, turns[:-1] if is_answered else turns)


# ---------------------------------------------------------------------------------- SHP and OpenAI

_SHP = ("human_ref_A", "human_ref_B")
_OPENAI = ("preferred_output", "non_preferred_output")


def _is_shp(record: object) -> bool:
    return (
        has(record, "history", *_SHP)
        and isinstance(record["history"], str)
        and record.get("labels") in (0, 1)
    )


def _read_shp(record: Any) -> Tree:
    """The answer that more people preferred is A where the label is 1."""
    best, worst = _SHP if record["labels"] == 1 else _SHP[::-1]
    answers = [
        _Answer("chosen", _turns(record[best], "assistant"), 0, True),
        _Answer("rejected", _turns(record[worst], "assistant"), 1, False),
    ]
    asked = _Asked(_turns(record["history"], "user"), frozenset(["history", "labels"]))
    return _tree(record, asked, answers, _SHP)


def _is_openai(record: object) -> bool:
    if not has(record, "input", *_OPENAI) or not isinstance(record, dict):
        return False
    asked = record["input"]
    is_asked = isinstance(asked, dict) and are_objects(asked.get("messages"))
    return is_asked and all(are_objects(record[side]) for side in _OPENAI)


def _read_openai(record: Any) -> Tree:
    asked = record["input"]
    messages = asked["messages"]
    beside = _beside.with_record(jsonl.read_messages(messages), asked, jsonl.read_messages)
    chosen, rejected = (_turns(record[side], "assistant") for side in _OPENAI)
    answers = [_Answer("chosen", chosen, 0, True), _Answer("rejected", rejected, 1, False)]
    read = [*messages, *record[_OPENAI[0]], *record[_OPENAI[1]]]
    tree = _tree(record, _Asked(beside.turns, frozenset(["input"]), read), answers, _OPENAI)
    known = tree.message_keys.union(["messages"], _beside.KEYS - beside.left)
    return tree._replace(messages=[*tree.messages, asked], message_keys=known)


# --------------------------------------------------------------------------------- answers by score


def _number(value: object) -> float | None:
    """A score; None for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _ranked(scores: Sequence[float | None], *, best: Callable[[list[float]], float]) -> list[Any]:
    """The rank of each score: how many different scores are better. `best` is `max`, or `min` where
    a lower number is better."""
    known = sorted({score for score in scores if score is not None})
    order = known if best is min else known[::-1]
    places = {score: place for place, score in enumerate(order)}
    return [None if score is None else places[score] for score in scores]


def _by_rank(replies: Sequence[Sequence[Turn]], ranks: Sequence[int | None]) -> list[_Answer]:
    return [
        _Answer(f"a{number}", turns, rank, rank == 0)
        for number, (turns, rank) in enumerate(zip(replies, ranks, strict=True))
    ]


def _listed(record: object, is_reply: Callable[[Any], bool]) -> str | None:
    """The key of a list of answers beside a prompt; None where a record has no such list."""
    if not isinstance(record, dict) or _prompt_key(record) is None or _has_sides(record):
        return None
    keys = (key for key in _REPLIES if isinstance(record.get(key), list) and record[key])
    return next((key for key in keys if all(map(is_reply, record[key]))), None)


def _words_key(reply: Mapping[str, Any]) -> str | None:
    return next((key for key in _WORDS if isinstance(reply.get(key), str)), None)


def _score_key(replies: Sequence[Mapping[str, Any]]) -> str | None:
    keys = (*_SCORES, _RANK)
    return next((k for k in keys if any(_number(r.get(k)) is not None for r in replies)), None)


def _is_scored_reply(reply: object) -> bool:
    return isinstance(reply, dict) and _words_key(reply) is not None


def _is_scored(record: object) -> bool:
    key = _listed(record, _is_scored_reply)
    return key is not None and isinstance(record, dict) and _score_key(record[key]) is not None


def _read_scored(record: Any) -> Tree:
    key = _listed(record, _is_scored_reply) or _REPLIES[0]
    replies = record[key]
    score = _score_key(replies) or _SCORES[0]
    scores = [_number(reply.get(score)) for reply in replies]
    turns = [_turns(reply[_words_key(reply) or ""], "assistant") for reply in replies]
    answers = _by_rank(turns, _ranked(scores, best=min if score == _RANK else max))
    tree = _of_answers(record, key, answers)
    known = tree.message_keys.union([score], filter(None, map(_words_key, replies)))
    return tree._replace(messages=[*tree.messages, *replies], message_keys=known)


def _of_answers(record: Record, key: str, answers: Sequence[_Answer], *more: str) -> Tree:
    prompt_key = _prompt_key(record) or PROMPTS[0]
    prompt = _as_prompt(record[prompt_key])
    if prompt is None:
        return _refused("has a prompt in which a speaker follows itself", frozenset([prompt_key]))
    asked = _asked(record, prompt, prompt_key, record[prompt_key])
    return _tree(record, asked, answers, [key, *more])


def _scores_beside(record: Record, key: str) -> str | None:
    """The key of as many scores as there are answers under `key`."""
    lists = (name for name in _LISTS_OF_SCORES if isinstance(record.get(name), list))
    return next((name for name in lists if len(record[name]) == len(record[key])), None)


def _is_text(reply: object) -> bool:
    return isinstance(reply, str)


def _is_scored_list(record: object) -> bool:
    key = _listed(record, _is_text)
    return key is not None and isinstance(record, dict) and _scores_beside(record, key) is not None


def _read_scored_list(record: Any) -> Tree:
    key = _listed(record, _is_text) or _REPLIES[0]
    name = _scores_beside(record, key) or _LISTS_OF_SCORES[0]
    ranks = _ranked([_number(score) for score in record[name]], best=max)
    turns = [_turns(reply, "assistant") for reply in record[key]]
    return _of_answers(record, key, _by_rank(turns, ranks), name)


# ------------------------------------------------------------------------------- verdicts of KTO

_KTO = ("prompt", "completion")


def _is_kto(record: object) -> bool:
    if not has(record, *_KTO) or not isinstance(record, dict):
        return False
    return all(_is_side(record[key]) for key in _KTO) and _preference.verdict(record) is not None


def _read_kto(record: Any) -> Tree:
    """An answer that was liked (rank 0) or disliked (rank 1). The tree is that of the prompt, in
    which other records have other answers."""
    prompt = _as_prompt(record["prompt"]) or []
    asked = _asked(record, prompt, "prompt", record["prompt"])
    turns, is_liked = _turns(record["completion"], "assistant"), _preference.verdict(record)
    answer = _Answer(f"a{_hash(turns)[:8]}", turns, 0 if is_liked else 1, bool(is_liked))
    completion = record["completion"]
    messages = completion if isinstance(completion, list) else [completion]
    asked = asked._replace(messages=[*asked.messages, *messages])
    tree = _tree(record, asked, [answer], [*_KTO, "label"])
    return tree if tree.refusal else tree._replace(id=_hash(asked.turns))


SHAPES = (
    Trees(
        name="prompt, chosen and rejected",
        keys=("prompt", *_SIDES),
        fits=_is_prompted,
        read=_read_prompted,
    ),
    Trees(
        name="chosen and rejected dialogues",
        keys=_SIDES,
        fits=_is_dialogues,
        read=_read_dialogues,
    ),
    Trees(
        name="messages, chosen and rejected",
        keys=("messages", *_SIDES),
        fits=_is_behind_messages,
        read=_read_behind_messages,
    ),
    Trees(name="HH-RLHF", keys=("chosen",), fits=_is_hh, read=_read_hh),
    Trees(name="SHP", keys=("history", *_SHP), fits=_is_shp, read=_read_shp),
    Trees(
        name="OpenAI preferences",
        keys=("input", *_OPENAI),
        fits=_is_openai,
        read=_read_openai,
    ),
    Trees(
        name="answers with scores",
        keys=("instruction", "completions"),
        fits=_is_scored,
        read=_read_scored,
    ),
    Trees(
        name="answers beside scores",
        keys=("prompt", "responses", "scores"),
        fits=_is_scored_list,
        read=_read_scored_list,
    ),
    Trees(name="KTO", keys=(*_KTO, "label"), fits=_is_kto, read=_read_kto),
)
