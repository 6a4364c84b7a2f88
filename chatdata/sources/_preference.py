"""Preferences: answers of which people liked some and disliked others.

Nobody learns from an answer that was disliked. Source `auto` reads answers to choose from as trees;
the others refuse a record with answers to choose from, and all refuse a record whose answer was
disliked.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from chatdata.sources.tool_json import is_given

CHOICES = (("chosen", "rejected"), ("preferred_output", "non_preferred_output"))
BESIDE_MESSAGES = ("rejected_response", "rejected_messages")  # of ms-swift: the messages are liked
_REJECTED = tuple(rejected for _, rejected in CHOICES)
_TAG = "kto_tag"  # of LLaMA-Factory: nothing but a preference, whatever stands beside
_VERDICTS = ("label", _TAG)
_TAGGED = ("prompt", "completion")  # beside these a `label` is nothing but a preference (TRL)
_NO = (False, "false", "False")  # and 0, which is equal to False
_YES = (True, "true", "True")
_KEYS = frozenset([*_VERDICTS, *itertools.chain(*CHOICES)])
_WAY_OUT = "nobody is to learn from that"


def has_keys(record: object) -> bool:
    """Whether a record has the keys of answers to choose from, whatever stands there."""
    return isinstance(record, Mapping) and any(record.keys() >= {*pair} for pair in CHOICES)


def choice(record: object) -> str | None:
    """Why a record with answers to choose from is refused; None where a record has none."""
    given = record if isinstance(record, Mapping) else {}
    for chosen, rejected in CHOICES:
        if is_given(given.get(chosen)) and is_given(given.get(rejected)):
            return (
                f"'{chosen}' and '{rejected}' are answers to choose from; read the file with "
                "`auto`, of which `threads.pairs` makes pairs, or write what was "
                f"{chosen.removesuffix('_output')} as the end of `messages`"
            )
    return None


def beside_messages(record: Mapping[str, Any]) -> str | None:
    """The key of what was disliked in the place of the last message of a record; None without."""
    return next((key for key in BESIDE_MESSAGES if is_given(record.get(key))), None)


def refusal(record: Mapping[str, Any], answer: str | None) -> str | None:
    """Why a record is refused whose conversation ends with an answer; None where it is not.

    A conversation that ends with the chosen answer may be learnt from.
    """
    if _KEYS.isdisjoint(record):
        return None
    for key in _VERDICTS:
        if _says(record, key, _NO):
            return f"'{key}' is {record[key]!r}: the answer was disliked, and {_WAY_OUT}"
    for key in _REJECTED:
        if answer and key in record and answer == _last(record[key]):
            return f"the answer is the one under '{key}', and {_WAY_OUT}"
    is_chosen = any(answer and answer == _last(record.get(chosen)) for chosen, _ in CHOICES)
    return None if is_chosen else choice(record)


def verdict(record: Mapping[str, Any]) -> bool | None:
    """Whether the answer of a record with a prompt and a completion was liked; None where nobody
    says."""
    if not record.keys() >= {*_TAGGED, "label"}:
        return None
    value = record["label"]
    is_known = isinstance(value, str | int | float) and value in (*_YES, *_NO)
    return value in _YES if is_known else None


def keys(record: Mapping[str, Any]) -> Sequence[str]:
    """The keys of a record, which is not refused, that say its answer was liked."""
    liked = [key for key in _VERDICTS if _says(record, key, _YES)]
    return [*liked, *(chosen for chosen, rejected in CHOICES if rejected in record)]


def _says(record: Mapping[str, Any], key: str, verdict: tuple[object, ...]) -> bool:
    """Whether a record says yes, or no; a number beside `messages` may as well name a class."""
    value = record.get(key)
    is_verdict = key == _TAG or record.keys() >= set(_TAGGED)
    return value in verdict if is_verdict else value is verdict[0]


def _last(value: object) -> object:
    """The words of the last message of an answer: a text, a message, or a list of messages."""
    last = value[-1] if isinstance(value, list) and value else value
    return last.get("content", last.get("value")) if isinstance(last, Mapping) else last
