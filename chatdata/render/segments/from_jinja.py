"""Pieces of rows that a chat template writes itself, where it was not proved to be a value."""

from __future__ import annotations

import re
from typing import NamedTuple

import polars as pl

from chatdata.render.chat_template import ChatTemplate, UnrenderableError
from chatdata.render.segments.draft import NONE, Draft, Pen, TrainOn, context_of, learnt_of, rows_of
from chatdata.render.segments.text_pool import Texts

# Stands for a control token that content quotes, while a chat template is rendered: the number
# of the token, in a plane for private use.
_QUOTED = 0xF0000
_HIDDEN = re.compile("[\U000f0000-\U000ffffd]")


class Script(NamedTuple):
    """A row as a chat template wrote it, piece by piece.

    `turn` is the answer that a piece leads to or belongs to, by its place in the row.
    """

    turn: list[int]
    text: list[int]
    header: list[int]
    is_answer: list[bool]


def script(texts: Texts, name: str, messages: pl.DataFrame) -> Script:
    """The row of this name as the chat template writes it; each is rendered once.

    Raises UnrenderableError where the template cannot write it, or not exactly.
    """
    key = (name, messages["position"][-1], messages.height)
    if key not in texts.scripts:
        texts.scripts[key] = _written(texts, messages)
    return texts.scripts[key]


def write_rendered(messages: pl.DataFrame, texts: Texts, train_on: TrainOn) -> Draft:
    """The pieces of rows that the template writes itself. An answer is found, never guessed.

    Raises UnrenderableError for a row that `unrenderable` names.
    """
    learnt, is_context = learnt_of(messages, train_on), context_of(messages)
    pen = Pen()
    first = 0
    for name, own in rows_of(messages):
        for turn, text, header, is_answer in zip(*script(texts, name, own), strict=True):
            message = first + turn
            if train_on == "all":
                pen.put(message, text, not is_context[message])
            else:
                pen.put(message, text, is_answer and bool(learnt[message]), header)
        first += own.height
    return pen.draft()


def _written(texts: Texts, messages: pl.DataFrame) -> Script:
    template = texts.tokenizer.template
    assert isinstance(template, ChatTemplate)
    quotes = _Quotes(texts)
    turns = [
        {"role": role, "content": quotes.hide(content)}
        for role, content in messages.select("role", "content").iter_rows()
    ]
    answers = [i for i, turn in enumerate(turns) if turn["role"] == "assistant"]
    text, found = template.write(turns, answers if template.keeps_history else answers[-1:])
    script, place, before = Script([], [], [], []), 0, ""
    for part, is_control in texts.parts(text):
        found = [answer for answer in found if answer.end > place]
        turn, start = (found[0].message, found[0].start) if found else (len(turns) - 1, len(text))
        head = max(0, min(start - place, len(part)))
        place += len(part)
        is_answer = head < len(part)
        script.turn.append(turn)
        script.is_answer.append(is_answer)
        if is_control:
            script.text.append(texts.written(part))
            script.header.append(NONE)
        else:
            words, header = (
                texts.swallowed(before, quotes.show(own)) for own in (part, part[:head])
            )
            script.text.append(texts.add(words))
            script.header.append(texts.add(header) if head and is_answer else NONE)
        before = part if is_control else ""
    return script


class _Quotes:
    """Hides control tokens that content quotes from a template and from the search for its own."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self.tokens = list(texts.special)

    def hide(self, content: str) -> str:
        """The content, a private character for each control token that it quotes."""
        if not content.isascii() and _HIDDEN.search(content):
            raise UnrenderableError("its content holds characters for private use (U+F0000 ff.)")
        return self.texts.control.sub(
            lambda match: chr(_QUOTED + self.tokens.index(match[0])), content
        )

    def show(self, text: str) -> str:
        """The text with what was hidden."""
        if text.isascii():
            return text
        return _HIDDEN.sub(lambda match: self.tokens[ord(match[0]) - _QUOTED], text)
