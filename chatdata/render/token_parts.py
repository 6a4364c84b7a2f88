"""Which part of an answer each token of a built row is, for people who look at rows."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tokenizers

from chatdata.core import train_parts
from chatdata.render.conversation import Message
from chatdata.render.parts import Bounds, bounds
from chatdata.render.token_spans import special_ids, trained_spans

CONTEXT = "context"


def of_row(
    row: Mapping[str, Any], messages: Sequence[Message], decoder: tokenizers.Tokenizer
) -> list[str]:
    """The part of each token of a row (`input_ids`, `labels`): a field of `Bounds`, or CONTEXT.

    `messages` are those that the row teaches, some perhaps with `train_parts`. Tags around
    reasoning and calls are of the part that they stand around. A span of trained tokens in which no
    words of a message are found is an answer.
    """
    names = [CONTEXT] * len(row["input_ids"])
    answers = [_in_parts(message) for message in messages if _is_learnt(message)]
    for start, end in trained_spans(np.asarray(row["labels"])).tolist():
        ids = row["input_ids"][start:end]
        text, words = _text(ids, decoder), _text(ids[: _end_of_words(ids, decoder)], decoder)
        message = _take(answers, text) if words else {"content": None}
        stop = len(text) - len(words)
        names[start:end] = _names(ids, bounds(text, message, 0, stop, ""), decoder)
    return names


def _is_learnt(message: Message) -> bool:
    return message["role"] == "assistant" and message.get("train") is not False


def _in_parts(message: Message) -> Message:
    """A message without the parts that are not among its `train_parts`."""
    named = message.get(train_parts.KEY)
    left_out = [key for key, part in _PARTS.items() if named is not None and part not in named]
    return {**message, **dict.fromkeys(left_out)}


def _take(answers: list[Message], text: str) -> Message:
    """What a text holds of the first of the answers that it holds a part of.

    Takes all answers up to that one from the list, and leaves the parts that the text lacks.
    """
    while answers:
        message = answers.pop(0)
        held = dict(_held(message, text))
        rest = {key: message[key] for key in _PARTS if message.get(key) and key not in held}
        if held and rest:
            answers.insert(0, {"role": "assistant", "content": None, **rest})
        if held:
            return {"content": None, **held}
    return {"content": None}


_PARTS = {"reasoning_content": "reasoning", "content": "answer", "tool_calls": "tool_calls"}


def _held(message: Message, text: str) -> Iterator[tuple[str, Any]]:
    """Yields the parts of a message that a text holds, by their keys."""
    for key in ("reasoning_content", "content"):
        words = (message.get(key) or "").strip()
        if words and words in text:
            yield key, words
    calls = message.get("tool_calls") or ()
    if calls and all(call["function"]["name"] in text for call in calls):
        yield "tool_calls", calls


def _end_of_words(ids: Sequence[int], decoder: tokenizers.Tokenizer) -> int:
    """The place after the last token that is no control token."""
    special = special_ids(decoder)
    return max((place + 1 for place, id in enumerate(ids) if id not in special), default=0)


def _names(ids: Sequence[int], ends: Bounds, decoder: tokenizers.Tokenizer) -> Iterator[str]:
    """Yields the part of each token of an answer. A token in two parts is of the first."""
    before = 0
    for name, end in ends._asdict().items():
        place = _first_place(ids, end, decoder)
        yield from [name] * (place - before)
        before = max(before, place)


def _first_place(ids: Sequence[int], length: int, decoder: tokenizers.Tokenizer) -> int:
    """The number of ids whose text is at least so long."""
    places = range(len(ids) + 1)
    return bisect.bisect_left(places, length, key=lambda place: len(_text(ids[:place], decoder)))


def _text(ids: Sequence[int], decoder: tokenizers.Tokenizer) -> str:
    return str(decoder.decode(list(ids), skip_special_tokens=False))
