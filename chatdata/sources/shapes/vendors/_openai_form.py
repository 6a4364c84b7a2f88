"""Messages in OpenAI's form, read as `jsonl` reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chatdata.sources import jsonl
from chatdata.sources._linear import Reading
from chatdata.sources.shapes._base import Record

Message = Mapping[str, Any]


def as_openai(
    record: Record,
    messages: Sequence[object],
    keys: tuple[str, ...],
    beside: Record,
    holders: Sequence[object] = (),
) -> Reading:
    """What is read of messages in OpenAI's form that stand under `keys` of a record.

    `beside` is what stands beside them, under the names of `jsonl`; `holders` are the objects from
    which all of it was taken, whose other keys are counted.
    """
    rest = {key: value for key, value in record.items() if key not in keys}
    reading = jsonl.read_record({**rest, **beside, "messages": list(messages)})
    return reading._replace(keys=reading.keys.union(keys), messages=[*reading.messages, *holders])


def odd(part: object) -> Message:
    """A part that OpenAI's form has no place for, so that it is refused by its name."""
    names = "/".join(sorted(map(str, part))) if isinstance(part, Mapping) else type(part).__name__
    return {"type": names[:40]}  # as `is_name` has it, or it would not be shown


def texts(parts: Sequence[object]) -> list[Message]:
    """Parts that are words, in OpenAI's form; any other part is refused by its name."""
    return [
        {"type": "text", "text": part["text"]}
        if isinstance(part, Mapping) and part.keys() == {"text"}
        else odd(part)
        for part in parts
    ]
