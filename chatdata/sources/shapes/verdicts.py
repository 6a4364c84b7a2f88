"""Two answers under keys of their own, and which of them is better; instructions with instances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatdata.sources import jsonl
from chatdata.sources._linear import Turn
from chatdata.sources.shapes._answers import (
    Answer,
    as_prompt,
    asked_of,
    hash_of,
    is_side,
    key_of_prompt,
    refused,
    refused_prompt,
    split_sides,
    tree_of,
    turns_of_side,
)
from chatdata.sources.shapes._base import Node, Record, Tree, Trees, are_objects, given, has
from chatdata.sources.values import text

# ------------------------------------------------------------------------- which of two is better

_SIDES = (
    ("response_0", "response_1"),
    ("response_a", "response_b"),
    ("answer_a", "answer_b"),
    ("conversation_a", "conversation_b"),
)
_VERDICTS = ("better_response_id", "winner", "preference")
_FIRST = {"0", "a", "model_a", "response_a", "answer_a", "response_0"}
_SECOND = {"1", "b", "model_b", "response_b", "answer_b", "response_1"}
_TIES = {"tie", "both_good", "tie (bothgood)"}
_BOTH_BAD = {"tie (bothbad)", "both_bad", "neither"}


def _sides(record: object) -> tuple[str, str] | None:
    """The keys of the two answers; None where a record has no two."""
    if not isinstance(record, dict):
        return None
    pairs = (pair for pair in _SIDES if all(given(record, key) for key in pair))
    return next((pair for pair in pairs if all(is_side(record[key]) for key in pair)), None)


def _verdict(record: Record) -> tuple[str, str] | None:
    """The key of the verdict, and what it says in small letters; None where it is not known."""
    known = _FIRST | _SECOND | _TIES | _BOTH_BAD
    for key in _VERDICTS:
        value = record.get(key)
        is_simple = isinstance(value, int | str) and not isinstance(value, bool)
        if is_simple and str(value).strip().lower() in known:
            return key, str(value).strip().lower()
    return None


def _is_versus(record: object) -> bool:
    sides = _sides(record)
    if sides is None or not isinstance(record, dict) or _verdict(record) is None:
        return False
    return sides[0].startswith("conversation") or key_of_prompt(record) is not None


def _read_versus(record: Any) -> Tree:
    """The better answer has rank 0. Of a tie neither is better, and both may stand; where both are
    bad, neither may."""
    sides = _sides(record) or _SIDES[0]
    verdict_key, verdict = _verdict(record) or ("", "")
    key = None if sides[0].startswith("conversation") else key_of_prompt(record)
    prompt = as_prompt(record[key]) if key else []
    if prompt is None:
        return refused_prompt(key or "")
    first, second = (turns_of_side(record[side], "assistant") for side in sides)
    apart = split_sides(prompt, first, second)
    if apart is None:
        return refused("has a prompt that its answers do not begin with", frozenset(sides))
    prompt, first, second = apart
    asked = asked_of(record, prompt, key, record[key] if key else None)
    read = [message for side in sides for message in _messages(record[side])]
    asked = asked._replace(messages=[*asked.messages, *read])
    return tree_of(record, asked, _judged(first, second, verdict), [*sides, verdict_key])


def _messages(side: object) -> list[Any]:
    return side if isinstance(side, list) else [side]


def _judged(first: list[Turn], second: list[Turn], verdict: str) -> list[Answer]:
    is_tie, is_bad = verdict in _TIES, verdict in _BOTH_BAD
    ranks = [None, None] if is_tie or is_bad else [0, 1] if verdict in _FIRST else [1, 0]
    return [
        Answer(name, turns, rank, is_tie or rank == 0)
        for name, turns, rank in zip(("a", "b"), (first, second), ranks, strict=True)
    ]


# -------------------------------------------------------------------- an instruction, and instances

_INSTANCES = ("instruction", "instances")


def _is_instances(record: object) -> bool:
    if not has(record, *_INSTANCES) or not isinstance(record["instruction"], str):
        return False
    return are_objects(record["instances"]) and all(
        isinstance(instance.get("input", ""), str) and isinstance(instance.get("output"), str)
        for instance in record["instances"]
    )


def _read_instances(record: Any) -> Tree:
    """Each instance is a conversation; all of them stay on one side of a split."""
    nodes = [
        node
        for number, instance in enumerate(record["instances"])
        for node in _of_instance(record["instruction"], instance, number)
    ]
    known = frozenset(["id", *_INSTANCES])
    return Tree(
        str(record["id"]) if given(record, "id") else hash_of([node.turn for node in nodes]),
        nodes,
        known,
        record["instances"],
        frozenset(["input", "output"]),
    )


def _of_instance(instruction: str, instance: Mapping[str, Any], number: int) -> list[Node]:
    asked = Turn("user", *text(instruction))
    if given(instance, "input"):
        asked = jsonl.with_context(asked, instance["input"])
    answer = Turn("assistant", *text(instance["output"]))
    return [Node(f"q{number}", None, asked), Node(f"a{number}", f"q{number}", answer)]


SHAPES = (
    Trees(
        name="two answers, one better",
        keys=("prompt", "response_0", "response_1", "better_response_id"),
        fits=_is_versus,
        read=_read_versus,
    ),
    Trees(
        name="Self-Instruct",
        keys=_INSTANCES,
        fits=_is_instances,
        read=_read_instances,
    ),
)
