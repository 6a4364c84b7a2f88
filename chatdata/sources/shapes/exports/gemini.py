"""The activity of Gemini Apps, as Google Takeout writes it."""

from __future__ import annotations

from typing import Any

from chatdata.sources._linear import RECORD_KEYS, Reading
from chatdata.sources.shapes._base import Conversations, are_objects, has
from chatdata.sources.shapes.exports._parts import refused, turn_of
from chatdata.sources.values import Text, text

_PROMPTED = "Prompted "
_APPS = ("Gemini Apps", "Gemini", "Bard")
_KEYS = RECORD_KEYS | {"header", "title", "safeHtmlItem"}


def _fits(record: object) -> bool:
    return has(record, "header", "title") and record["header"] in _APPS


def _read(record: Any) -> Reading:
    """The prompt and its answer, which is HTML."""
    title, items = record["title"], record.get("safeHtmlItem")
    if not isinstance(title, str) or not title.startswith(_PROMPTED) or not are_objects(items):
        return Reading(
            [], refusal="an activity without a prompt and its answer", reason="unknown_record"
        )
    if key := next(
        (k for k in ("attachedFiles", "imageFile", "audioFiles") if record.get(k)), None
    ):
        return Reading([refused("user", f"'{key}' cannot be carried as text")], _KEYS | {key})
    answers = [text(item.get("html")) for item in items]
    fault = next((answer.fault for answer in answers if answer.fault), None)
    answer = Text(None, fault) if fault else Text("\n\n".join(a.text or "" for a in answers))
    question = text(title.removeprefix(_PROMPTED))
    return Reading([turn_of("user", question), turn_of("assistant", answer)], _KEYS, items)


SHAPES = (
    Conversations(
        name="Gemini activity",
        keys=("header", "title"),
        fits=_fits,
        read=_read,
        message_keys=frozenset(["html"]),
    ),
)
