"""Cohere's chat history."""

from __future__ import annotations

from typing import Any

from chatdata.sources._linear import Reading
from chatdata.sources.shapes._base import Conversations, has
from chatdata.sources.shapes.vendors._openai_form import Message, as_openai

_ROLES = {"user": "user", "chatbot": "assistant", "system": "system"}


def _fits(record: object) -> bool:
    if not has(record, "chat_history", "message") or not isinstance(record, dict):
        return False
    history = record["chat_history"]
    is_history = isinstance(history, list) and all(
        isinstance(turn, dict) and isinstance(turn.get("message"), str) for turn in history
    )
    return is_history and isinstance(record["message"], str)


def _read(record: Any) -> Reading:
    before = [_message(turn) for turn in record["chat_history"]]
    preamble = record.get("preamble")
    system = [{"role": "system", "content": preamble}] if preamble else []
    answer = record.get("text")
    last = [{"role": "assistant", "content": answer}] if answer else []
    messages = [*system, *before, {"role": "user", "content": record["message"]}, *last]
    return as_openai(record, messages, ("chat_history", "message", "preamble", "text"), {})


def _message(turn: Message) -> Message:
    role = str(turn.get("role"))
    rest = {k: v for k, v in turn.items() if k not in ("role", "message")}
    return {**rest, "role": _ROLES.get(role.lower(), role), "content": turn["message"]}


SHAPES = (
    Conversations(
        name="Cohere chat history", keys=("chat_history", "message"), fits=_fits, read=_read
    ),
)
