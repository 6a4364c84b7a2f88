"""What serving code writes: the Jinja that is saved with a tokenizer, given structured messages."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from chatdata.render import chat_template
from chatdata.render.conversation import (
    Message,
    Messages,
    Tools,
    UnrenderableError,
    Variables,
    in_parts,
)
from chatdata.render.tokenizer import Tokenizer


class Serving:
    """Serving code with a tokenizer that a dataset ships.

    Knows no more than what is shipped: the Jinja, the special tokens, and, as the manifest has
    them, variables, date and the name of reasoning.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        facts = tokenizer.template.facts()
        self._source = tokenizer.template.jinja()
        self._variables = {**_special_tokens(tokenizer.config), **(facts.get("variables") or {})}
        date = facts.get("date")
        self._date = datetime.date.fromisoformat(date) if date else None
        self._key = facts.get("reasoning_key") or "reasoning_content"
        self._takes_parts = facts.get("takes_parts", False)

    def writes(
        self, text: str, messages: Messages, tools: Tools | None, variables: Variables
    ) -> bool:
        """Whether serving code writes this text for these messages, given these variables."""
        return any(text == written for written in self._texts(messages, tools, variables))

    def _texts(
        self, messages: Messages, tools: Tools | None, variables: Variables
    ) -> Iterator[str]:
        """Yields what is written where a message without words has the content None, and ""."""
        for no_words in (None, ""):
            given = [self._given(message, no_words) for message in messages]
            try:
                values = {**self._variables, **variables}
                yield chat_template.render(self._source, values, self._date, given, tools=tools)
            except UnrenderableError:
                continue

    def _given(self, message: Message, no_words: str | None) -> Message:
        names = {"reasoning_content": self._key}
        given = {names.get(key, key): value for key, value in message.items()}
        given |= {"content": no_words} if given["content"] is None else {}
        return in_parts(given) if self._takes_parts else given


def _special_tokens(config: dict[str, Any]) -> dict[str, str]:
    """The special tokens of a `tokenizer_config.json` by name, as templates know them."""
    tokens = {key: value for key, value in config.items() if key.endswith("_token")}
    contents = {k: v.get("content") if isinstance(v, dict) else v for k, v in tokens.items()}
    return {key: value for key, value in contents.items() if isinstance(value, str)}
