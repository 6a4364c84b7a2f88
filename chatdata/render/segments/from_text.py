"""Segments of rows that a template writes as text, for example in Jinja, row by row."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl

from chatdata.core import train_parts
from chatdata.render.control_tokens import ControlTokens
from chatdata.render.conversation import (
    Message,
    Messages,
    Tools,
    UnrenderableError,
    Variables,
    as_messages,
    with_message_texts,
    with_texts,
)
from chatdata.render.parts import WHOLE, Bounds, TrainParts, narrowed
from chatdata.render.segments.unencoded import (
    NO_HEADER,
    Ints,
    SegmentBuilder,
    TrainOn,
    UnencodedSegments,
    begins_row,
    is_context,
    learnt_parts,
    loss_mask,
    names_parts,
)
from chatdata.render.template import Pool


class Answer(NamedTuple):
    """An assistant's turn in the text of a conversation, as the model has to write it."""

    message: int  # by its place in the conversation
    start: int  # after the generation prompt
    end: int  # after the stop tokens
    bounds: Bounds | None = None  # where its parts end, counted from `start`; None: it has one part

    def learnt(self, parts: TrainParts) -> Iterator[Answer]:
        """Yields what is learnt of the answer, as answers of their own."""
        spans = [(0, self.end - self.start)] if self.bounds is None else self.bounds.spans(parts)
        for start, end in spans:
            yield Answer(self.message, self.start + start, self.start + end)


class RenderedSegment(NamedTuple):
    """A segment of a row that a template wrote.

    `message` is the answer that the segment leads to or belongs to, by its place in the row.
    """

    message: int
    text_id: int
    header_text_id: int
    end_text_id: int
    is_answer: bool

    def limits(self) -> tuple[int, int]:
        """The texts before what is learnt, and up to its end."""
        return self.header_text_id, self.end_text_id


class WritesText(ABC):
    """The part of a template that follows from the text it writes and the answers in it.

    Such a template has to say what it writes (`write`); its answers are found, never guessed.
    """

    keeps_history: bool
    is_explicit = False
    empty_thought = ""

    @property
    @abstractmethod
    def stop(self) -> str:
        """The control tokens that end an answer."""

    def given(self, variables: Variables) -> Self:
        """The template, where a conversation has no variables: it reads none.

        Raises UnrenderableError where there are any.
        """
        if not variables:
            return self
        raise UnrenderableError(
            f"the template has no variables, and the conversation gives {', '.join(variables)}; "
            "the cleaner drop_variables removes them"
        )

    def of_format_1(self) -> Self:
        """The template as it wrote folders of format 1: the same."""
        return self

    @abstractmethod
    def write(
        self, messages: Messages, wanted: Sequence[int], tools: Tools | None = None
    ) -> tuple[str, list[Answer]]:
        """The text of a conversation and its answers, of those messages that are `wanted`.

        Raises UnrenderableError where an answer cannot be found exactly.
        """

    def encode(self, messages: pl.DataFrame, pool: Pool, train_on: TrainOn) -> UnencodedSegments:
        """The segments of rows. Raises UnrenderableError for a row that `refusals` names."""
        trains, context = loss_mask(messages, train_on), is_context(messages)
        parts = learnt_parts(train_on)
        builder = SegmentBuilder()
        first = 0
        for row in _given_rows(messages):
            for segment in _render_once(self, row, pool, parts):
                message = first + segment.message
                if train_on == "all":
                    builder.put(message, segment.text_id, not context[message])
                else:
                    is_trained = segment.is_answer and bool(trains[message])
                    builder.put(message, segment.text_id, is_trained, *segment.limits())
            first += len(row.turns)
        return builder.segments()

    def refusals(self, messages: pl.DataFrame, pool: Pool) -> list[tuple[str, str]]:
        """The rows that the template cannot write, or not exactly: (id, reason)."""
        refused = []
        for row in _given_rows(messages):
            try:
                _render_once(self, row, pool, WHOLE)
            except UnrenderableError as error:
                refused.append((row.id, str(error)))
        return refused

    def start_tokens(self, messages: pl.DataFrame, pool: Pool) -> Ints:
        """0 for each message: what stands at the head of a row cannot be told apart."""
        return np.zeros(messages.height, np.int64)


class _Given(NamedTuple):
    """A row as it is given to a template: its messages, and its tools and variables as JSON."""

    id: str
    turns: list[dict[str, Any]]
    tools: str | None
    variables: str | None
    named: tuple[str | None, ...]  # the `train_parts` of the messages; none where all are null
    is_context: list[bool]  # which messages an earlier row teaches
    last: int  # the position of its last message


def _given_rows(messages: pl.DataFrame) -> Iterator[_Given]:
    """Yields the rows of a table of messages, which is made into values in one go."""
    turns, ids = as_messages(messages), messages["conversation"].to_list()
    context, positions = is_context(messages).tolist(), messages["position"].to_list()
    tools, variables = _values(messages, "tools"), _values(messages, "variables")
    named = messages[train_parts.KEY].to_list() if names_parts(messages) else []
    starts = np.flatnonzero(begins_row(messages)).tolist()
    for start, end in zip(starts, [*starts[1:], len(ids)][: len(starts)], strict=True):
        yield _Given(
            ids[start],
            turns[start:end],
            next(filter(None, tools[start:end]), None),
            next(filter(None, variables[start:end]), None),
            tuple(named[start:end]) if any(named[start:end]) else (),
            context[start:end],
            positions[end - 1],
        )


def _values(messages: pl.DataFrame, column: str) -> list[str | None]:
    return messages[column].to_list() if column in messages.columns else []


class _Row(NamedTuple):
    """A row as a template writes it, the control tokens that it quotes hidden."""

    turns: int
    text: str
    answers: list[Answer]


def _render_once(
    template: WritesText, given: _Given, pool: Pool, parts: TrainParts
) -> list[RenderedSegment]:
    """The segments of a row, which is rendered at the first call.

    Raises UnrenderableError where the template cannot write the row, or not exactly.
    """
    key = (given.id, given.last, len(given.turns), given.variables)
    if key not in pool.memo:
        pool.memo[key] = _render_or_refuse(template, given, pool.control), {}
    row, segments = pool.memo[key]
    if isinstance(row, UnrenderableError):
        raise row
    if (parts, given.named) not in segments:
        answers = list(_learnt(row.answers, given.named, parts))
        no_answer = Answer(row.turns - 1, len(row.text), len(row.text))
        pairs = _with_answers(_pieces(row.text, pool.control), answers, no_answer)
        made = [_segment(piece, answer, pool) for piece, answer in pairs]
        segments[parts, given.named] = made
    of_parts: list[RenderedSegment] = segments[parts, given.named]
    return of_parts


def _learnt(
    answers: Sequence[Answer], named: Sequence[str | None], parts: TrainParts
) -> Iterator[Answer]:
    """Yields what is learnt of answers, `named` being the `train_parts` of each message of the row.

    Raises UnrenderableError where a message names parts that the template does not tell apart.
    """
    for answer in answers:
        of_message = named[answer.message] if named else None
        if of_message and answer.bounds is None:
            raise UnrenderableError(
                "the template does not say where the parts of an answer stand, and a message has "
                "train_parts; the cleaner drop_train_parts removes them"
            )
        yield from answer.learnt(narrowed(parts, of_message))


def _render_or_refuse(
    template: WritesText, given: _Given, control: ControlTokens
) -> _Row | UnrenderableError:
    try:
        return _render(template, given, control)
    except UnrenderableError as error:
        return error.with_traceback(None)


def _render(template: WritesText, given: _Given, control: ControlTokens) -> _Row:
    turns, tools, variables = _hidden(given, control)
    template = template.given(variables)
    answers = [i for i, turn in enumerate(turns) if turn["role"] == "assistant"]
    if not template.keeps_history:
        return _written(template, turns, answers[-1:], tools)
    try:
        return _written(template, turns, answers, tools)
    except UnrenderableError:
        new = [i for i in answers if not given.is_context[i]]
        if new == answers:
            raise
    # Of answers that earlier rows teach, the template may leave out what it writes once.
    return _written(template, turns, new, tools)


def _written(
    template: WritesText, turns: Messages, wanted: Sequence[int], tools: Tools | None
) -> _Row:
    text, answers = template.write(turns, wanted, tools)
    bounded = [_with_bounds(answer, turns[answer.message], text, template) for answer in answers]
    return _Row(len(turns), text, bounded)


def _with_bounds(answer: Answer, message: Message, text: str, template: WritesText) -> Answer:
    """The answer; with the bounds of words and end where it has no more and the template gives
    none."""
    is_plain = message.keys() <= {"role", "content"}
    if answer.bounds or not is_plain or not text.endswith(template.stop, answer.start, answer.end):
        return answer
    size = answer.end - answer.start
    words = size - len(template.stop)
    return answer._replace(bounds=Bounds(0, 0, words, words, size))


def _hidden(
    given: _Given, control: ControlTokens
) -> tuple[list[dict[str, Any]], Tools | None, Variables]:
    """The messages, tools and variables of a row, the control tokens that they quote hidden.

    Raises UnrenderableError where a text holds the characters that hide control tokens.
    """
    turns = [with_message_texts(turn, control.hide) for turn in given.turns]
    tools = with_texts(json.loads(given.tools), control.hide) if given.tools else None
    variables = json.loads(given.variables) if given.variables else {}
    return turns, tools, with_texts(variables, control.hide)


class _Piece(NamedTuple):
    text: str
    start: int  # in the text of the row
    is_control: bool
    before: str  # the control token before this text, if any


def _pieces(text: str, control: ControlTokens) -> Iterator[_Piece]:
    start, before = 0, ""
    for part, is_control in control.parts(text):
        yield _Piece(part, start, is_control, before)
        start += len(part)
        before = part if is_control else ""


def _with_answers(
    parts: Iterator[_Piece], answers: Sequence[Answer], no_answer: Answer
) -> Iterator[tuple[_Piece, Answer]]:
    """Yields each part with the first answer that ends after the start of the part.

    What comes after the last answer is yielded with `no_answer`.
    """
    remaining = iter(answers)
    answer = next(remaining, no_answer)
    for part in parts:
        while answer is not no_answer and answer.end <= part.start:
            answer = next(remaining, no_answer)
        yield part, answer


def _segment(piece: _Piece, answer: Answer, pool: Pool) -> RenderedSegment:
    size = len(piece.text)
    header_len = min(max(answer.start - piece.start, 0), size)
    is_answer = header_len < size
    if piece.is_control:
        text_id = pool.written(piece.text)
        return RenderedSegment(answer.message, text_id, NO_HEADER, NO_HEADER, is_answer)
    text_id = pool.add(_content(piece, piece.text, pool.control))
    header_text_id = end_text_id = NO_HEADER
    if header_len and is_answer:
        header_text_id = pool.add(_content(piece, piece.text[:header_len], pool.control))
    if is_answer and (end_len := answer.end - piece.start) < size:
        end_text_id = pool.add(_content(piece, piece.text[:end_len], pool.control))
    return RenderedSegment(answer.message, text_id, header_text_id, end_text_id, is_answer)


def _content(piece: _Piece, text: str, control: ControlTokens) -> str:
    return control.without_swallowed(piece.before, control.show(text))
