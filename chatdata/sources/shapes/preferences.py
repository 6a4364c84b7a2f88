"""Answers to choose from: those that people preferred beside those that they did not.

A record is a tree: its prompt, and the answers as replies with ranks, 0 the best. Only the best may
stand in a conversation; the others are there for pairs (`threads.pairs`). What a record says of its
answers says nothing of the answers of another record, so each is a tree of its own. Verdicts
(KTO) are of an answer alone: those of a prompt are a tree together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chatdata.sources import _beside, _preference, jsonl
from chatdata.sources._linear import Turn
from chatdata.sources.shapes._answers import (
    PROMPTS,
    Answer,
    Asked,
    as_prompt,
    asked_of,
    dialogue_of,
    hash_of,
    is_same,
    is_side,
    key_of_prompt,
    of_sides,
    refused,
    refused_prompt,
    split_sides,
    tree_of,
    turns_of_side,
)
from chatdata.sources.shapes._base import Record, Tree, Trees, are_objects, given, has
from chatdata.sources.shapes.lists import LISTS, turns_of

_REPLIES = ("completions", "responses", "answers", "generations")
_WORDS = ("response", "answer", "completion", "text", "content", "output")
_SCORES = ("overall_score", "score", "rating", "reward", "pm_score")
_RANK = "rank"
_LISTS_OF_SCORES = ("scores", "ratings", "rewards")


# ------------------------------------------------------------------------------ chosen and rejected

_SIDES = ("chosen", "rejected")


def _has_sides(record: object) -> bool:
    return has(record, *_SIDES) and all(
        given(record, side) and is_side(record[side]) for side in _SIDES
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
    sides = [dialogue_of(record[side]) for side in _SIDES if given(record, side)]
    if any(side is None for side in sides):
        why = "has a speaker that follows itself, so a mark stands in words"
        return refused(why, frozenset(_SIDES))._replace(reason="unknown_record")
    chosen, rejected = sides[0] or [], (sides[1] if len(sides) > 1 else None) or []
    if not rejected:
        asked = Asked(chosen[:-1], frozenset(_SIDES))
        return tree_of(record, asked, [Answer("chosen", chosen[-1:], None, True)], _SIDES)
    prompt, *answers = split_sides([], chosen, rejected) or ([], chosen, rejected)
    return tree_of(record, Asked(prompt, frozenset(_SIDES)), _best_first(*answers), _SIDES)


def _best_first(chosen: list[Turn], rejected: list[Turn]) -> list[Answer]:
    return [Answer("chosen", chosen, 0, True), Answer("rejected", rejected, 1, False)]


def _has_messages(record: Record) -> str | None:
    """The key of the messages beside answers to choose from."""
    return next((key for key in LISTS if turns_of(record, key) is not None), None)


def _is_prompted(record: object) -> bool:
    if not _has_sides(record) or not isinstance(record, dict) or _is_hh(record):
        return False
    return _has_messages(record) is None and key_of_prompt(record) is not None


def _read_prompted(record: Any) -> Tree:
    key = key_of_prompt(record) or PROMPTS[0]
    prompt = as_prompt(record[key])
    if prompt is None:
        return refused_prompt(key)
    return of_sides(record, key, record[key], _SIDES, prompt)


def _is_dialogues(record: object) -> bool:
    if not _has_sides(record) or not isinstance(record, dict):
        return False
    is_alone = _has_messages(record) is None and key_of_prompt(record) is None
    return is_alone and all(are_objects(record[side]) for side in _SIDES)


def _read_dialogues(record: Any) -> Tree:
    return of_sides(record, None, None, _SIDES, [])


def _is_behind_messages(record: object) -> bool:
    if not _has_sides(record) or not isinstance(record, dict):
        return False
    return _has_messages(record) is not None


def _read_behind_messages(record: Any) -> Tree:
    """The messages without the answer that was chosen, where they end with it."""
    key = _has_messages(record) or LISTS[0]
    value = turns_of(record, key) or []
    turns, chosen = turns_of_side(value, "user"), turns_of_side(record["chosen"], "assistant")
    is_answered = bool(turns) and turns[-1].role == "assistant" and is_same(turns[-1], chosen[-1])
    return of_sides(record, key, value, _SIDES, turns[:-1] if is_answered else turns)


def _is_beside_messages(record: object) -> bool:
    if not isinstance(record, dict) or _has_messages(record) is None or _has_sides(record):
        return False
    key = _preference.beside_messages(record)
    return key is not None and is_side(record[key])


def _read_beside_messages(record: Any) -> Tree:
    """Messages that end with the answer that was chosen, and the other answer, or all messages with
    the other."""
    key = _has_messages(record) or LISTS[0]
    value, disliked = turns_of(record, key) or [], _preference.beside_messages(record) or ""
    prompt, chosen = [], turns_of_side(value, "user")
    rejected = turns_of_side(record[disliked], "assistant")
    if not chosen or chosen[-1].role != "assistant":
        return refused(
            f"has '{disliked}', and '{key}' that end without an answer", frozenset([key, disliked])
        )
    if disliked == "rejected_response":
        prompt, chosen = chosen[:-1], chosen[-1:]
    prompt, *answers = split_sides(prompt, chosen, rejected) or (prompt, chosen, rejected)
    read = record[disliked] if isinstance(record[disliked], list) else [record[disliked]]
    asked = asked_of(record, prompt, key, value)
    asked = asked._replace(messages=[*asked.messages, *read])
    return tree_of(record, asked, _best_first(*answers), [disliked])


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
    sides = _SHP if record["labels"] == 1 else _SHP[::-1]
    answers = (turns_of_side(record[side], "assistant") for side in sides)
    asked = Asked(turns_of_side(record["history"], "user"), frozenset(["history", "labels"]))
    return tree_of(record, asked, _best_first(*answers), _SHP)


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
    answers = _best_first(*(turns_of_side(record[side], "assistant") for side in _OPENAI))
    read = [*messages, *record[_OPENAI[0]], *record[_OPENAI[1]]]
    tree = tree_of(record, Asked(beside.turns, frozenset(["input"]), read), answers, _OPENAI)
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


def _by_rank(replies: Sequence[Sequence[Turn]], ranks: Sequence[int | None]) -> list[Answer]:
    return [
        Answer(f"a{number}", turns, rank, rank == 0)
        for number, (turns, rank) in enumerate(zip(replies, ranks, strict=True))
    ]


def _listed(record: object, is_reply: Callable[[Any], bool]) -> str | None:
    """The key of a list of answers beside a prompt; None where a record has no such list."""
    if not isinstance(record, dict) or key_of_prompt(record) is None or _has_sides(record):
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
    turns = [turns_of_side(reply[_words_key(reply) or ""], "assistant") for reply in replies]
    answers = _by_rank(turns, _ranked(scores, best=min if score == _RANK else max))
    tree = _of_answers(record, key, answers)
    known = tree.message_keys.union([score], filter(None, map(_words_key, replies)))
    return tree._replace(messages=[*tree.messages, *replies], message_keys=known)


def _of_answers(record: Record, key: str, answers: Sequence[Answer], *more: str) -> Tree:
    prompt_key = key_of_prompt(record) or PROMPTS[0]
    prompt = as_prompt(record[prompt_key])
    if prompt is None:
        return refused_prompt(prompt_key)
    asked = asked_of(record, prompt, prompt_key, record[prompt_key])
    return tree_of(record, asked, answers, [key, *more])


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
    turns = [turns_of_side(reply, "assistant") for reply in record[key]]
    return _of_answers(record, key, _by_rank(turns, ranks), name)


# ------------------------------------------------------------------------------- verdicts of KTO

_KTO = ("prompt", "completion")


def _is_kto(record: object) -> bool:
    if not has(record, *_KTO) or not isinstance(record, dict):
        return False
    return all(is_side(record[key]) for key in _KTO) and _preference.verdict(record) is not None


def _read_kto(record: Any) -> Tree:
    """An answer that was liked (rank 0) or disliked (rank 1). The tree is that of the prompt, in
    which other records have other answers."""
    prompt = as_prompt(record["prompt"]) or []
    asked = asked_of(record, prompt, "prompt", record["prompt"])
    turns, is_liked = turns_of_side(record["completion"], "assistant"), _preference.verdict(record)
    answer = Answer(f"a{hash_of(turns)[:8]}", turns, 0 if is_liked else 1, bool(is_liked))
    completion = record["completion"]
    messages = completion if isinstance(completion, list) else [completion]
    asked = asked._replace(messages=[*asked.messages, *messages])
    tree = tree_of(record, asked, [answer], [*_KTO, "label"])
    return tree if tree.refusal else tree._replace(id=hash_of(asked.turns))


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
    Trees(
        name="messages and what was rejected",
        keys=("messages", "rejected_response"),
        fits=_is_beside_messages,
        read=_read_beside_messages,
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
