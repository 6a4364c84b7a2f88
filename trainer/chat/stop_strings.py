"""Answers that end before the strings that a client names in `stop`.

transformers stops as soon as a stop string is complete, and leaves the string in the answer. Of
several that a text has, the string that is complete first counts, as if the text came letter by
letter.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any


class Cutter:
    """Cuts a text that comes in pieces. Keeps back what may be the beginning of a stop string."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = stops
        self.is_cut = False
        self._held = ""

    def feed(self, piece: str) -> str:
        """What may be shown now that a piece has come."""
        if self.is_cut:
            return ""
        text = self._held + piece
        if (start := first(text, self.stops)) is not None:
            self.is_cut, self._held = True, ""
            return text[:start]
        shown = len(text) - max(_begun(text, stop) for stop in self.stops)
        self._held = text[shown:]
        return text[:shown]

    def rest(self) -> str:
        """What was kept back of a text that has ended."""
        rest, self._held = self._held, ""
        return rest


def first(text: str, stops: Sequence[str]) -> int | None:
    """Where the stop string begins that is complete first; None where a text has none."""
    starts = [(text.find(stop), len(stop)) for stop in stops]
    ends = [(start + size, start) for start, size in starts if start >= 0]
    return min(ends)[1] if ends else None


def _begun(text: str, stop: str) -> int:
    """How many letters at the end of a text begin a stop string."""
    sizes = range(min(len(stop) - 1, len(text)), 0, -1)
    return next((size for size in sizes if text.endswith(stop[:size])), 0)


# ----------------------------------------------------------------------- in OpenAI's protocol


def cut_reply(content: bytes, stops: Sequence[str]) -> dict[str, Any]:
    """A reply whose answers are cut."""
    reply: dict[str, Any] = json.loads(content)
    for choice in reply.get("choices", []):
        holder, key = _text(choice, "message")
        start = first(holder.get(key) or "", stops)
        if start is not None:
            holder[key] = holder[key][:start]
            choice["finish_reason"] = "stop"
    return reply


def _text(choice: dict[str, Any], within: str) -> tuple[dict[str, Any], str]:
    """What holds the text of a choice, and under which key."""
    return (choice[within], "content") if within in choice else (choice, "text")


async def cut_events(pieces: AsyncIterator[Any], stops: Sequence[str]) -> AsyncIterator[str]:
    """Yields the events of an answer, cut."""
    cutter, unread = Cutter(stops), ""
    async for piece in pieces:
        unread += piece.decode() if isinstance(piece, bytes) else piece
        *events, unread = unread.split("\n\n")
        for event in events:
            for made in _cut_event(event, cutter):
                yield f"{made}\n\n"


def _cut_event(event: str, cutter: Cutter) -> Iterator[str]:
    data = event.removeprefix("data: ")
    chunk = json.loads(data) if data.startswith("{") else {}
    if not chunk.get("choices"):
        yield event
        return
    choice = chunk["choices"][0]
    holder, key = _text(choice, "delta")
    had_text, is_last = bool(holder.get(key)), choice.get("finish_reason") is not None
    shown = cutter.feed(holder.get(key) or "") + (cutter.rest() if is_last else "")
    if shown or had_text:
        holder[key] = shown
    if is_last and cutter.is_cut:
        choice["finish_reason"] = "stop"
    if shown or is_last or not had_text:
        yield f"data: {json.dumps(chunk, ensure_ascii=False)}"
