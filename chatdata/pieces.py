"""What a row of tokens is made of: control tokens, and texts between them.

Control tokens cut a string before a tokenizer looks at it, so the texts between them can be
tokenised apart, each distinct one once, and joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from chatdata.errors import RenderError
from chatdata.tokenizer import Tokenizer

TrainOn = Literal["assistant", "last_assistant", "assistant_with_header", "all"]

Kind = TypeVar("Kind", bound=np.generic)
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_CHARACTERS_A_CALL = 4_000_000


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of all rows in order. A piece is a text (`text` >= 0) or a control token."""

    message: Ints  # which message, by its place in the table
    control: Ints  # the id of a control token, or -1
    text: Ints  # which text, or -1
    trained: Bools
    tokens: Ints  # how many there are
    heads: Ints  # how many of them, at the start, are never trained

    def of(self, messages: Bools) -> Pieces:
        """The pieces of the chosen messages, which are numbered anew."""
        here = messages[self.message]
        numbers = np.cumsum(messages) - 1
        return Pieces(
            numbers[self.message[here]],
            self.control[here],
            self.text[here],
            self.trained[here],
            self.tokens[here],
            self.heads[here],
        )


class _Draft(NamedTuple):
    """Pieces before their texts are tokenised; `header` is the text of a piece's head, or -1."""

    message: Ints
    control: Ints
    text: Ints
    header: Ints
    trained: Bools


class Texts:
    """Distinct texts and their ids: each is tokenised once, in batches, as text."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.index: dict[str, int] = {}
        self.texts: list[str] = []
        self.new: list[str] = []
        self.ids: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self.starts: Ints = np.zeros(1, np.int64)

    def add(self, text: str) -> int:
        """The number of a text."""
        number = self.index.setdefault(text, len(self.index))
        if number == len(self.texts):
            self.texts.append(text)
            self.new.append(text)
        return number

    def encode(self) -> None:
        """Tokenises what was added since the last call."""
        batches = [self._encode(batch) for batch in _batches(self.new)]
        self.new = []
        lengths = [np.asarray([len(ids) for ids in batch], np.int64) for batch in batches]
        flat = [np.fromiter(chain.from_iterable(batch), np.int32) for batch in batches]
        ends = self.starts[-1] + np.cumsum(np.concatenate([np.empty(0, np.int64), *lengths]))
        self.starts = np.concatenate([self.starts, ends])
        self._refuse_control(flat)
        self.ids = np.concatenate([self.ids, *flat])

    def _encode(self, batch: list[str]) -> list[list[int]]:
        encodings = self.tokenizer.text.encode_batch_fast(batch, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _refuse_control(self, flat: list[npt.NDArray[np.int32]]) -> None:
        controls = list(self.tokenizer.control_ids().values())
        for ids in flat:
            if np.isin(ids, controls).any():
                raise RenderError(
                    f"tokenizer '{self.tokenizer.name}' makes control tokens out of plain text; "
                    "it cannot be used with content that is not trusted."
                )

    def lengths(self) -> Ints:
        """How many tokens each text has."""
        return np.diff(self.starts)


def _batches(texts: list[str]) -> list[list[str]]:
    """Cuts a list of texts where the characters would become too many for one call."""
    if not texts:
        return []
    total = np.cumsum([len(text) for text in texts])
    cuts = np.flatnonzero(np.diff(total // _CHARACTERS_A_CALL)) + 1
    edges = [0, *cuts.tolist(), len(texts)]
    return [texts[start:end] for start, end in pairwise(edges)]


def write(messages: pl.DataFrame, texts: Texts, train_on: TrainOn) -> Pieces:
    """The pieces of conversations, given as rows of MESSAGES in order, tokenised."""
    turns = texts.tokenizer.template.turns.values()
    turnwise = all(turn.open and turn.close for turn in turns)
    draft = (write_turnwise if turnwise else write_joined)(messages, texts, train_on)
    texts.encode()
    tokens = np.where(draft.text < 0, 1, texts.lengths()[draft.text])
    heads = _untrained_heads(draft, texts)
    return Pieces(draft.message, draft.control, draft.text, draft.trained, tokens, heads)


def _learnt(messages: pl.DataFrame, train_on: TrainOn) -> Bools:
    """Which messages are trained."""
    is_answer = pl.col("role") == "assistant"
    learnt = pl.col("train")
    if train_on == "last_assistant":
        answers = pl.col("position").filter(is_answer)
        learnt = learnt & (pl.col("position") == answers.max().over("conversation"))
    if train_on == "all":
        learnt = learnt | is_answer.not_()
    return messages.select(learnt.fill_null(False)).to_series().to_numpy()


def write_turnwise(messages: pl.DataFrame, texts: Texts, train_on: TrainOn) -> _Draft:
    """The pieces of a template in which control tokens open and close every turn.

    A message is four pieces: the opening token, header and content, the closing token, the text
    behind it.
    """
    tokenizer = texts.tokenizer
    turns = tokenizer.template.turns
    roles = messages["role"].to_list()
    before = {role: turn.header + turn.lead for role, turn in turns.items()}
    said = zip(roles, messages["content"].to_list(), strict=True)
    content = [texts.add(before[role] + words) for role, words in said]
    opens = {role: tokenizer.id(turn.open) for role, turn in turns.items()}
    closes = {role: tokenizer.id(turn.close) for role, turn in turns.items()}
    headers = {role: texts.add(turn.header) for role, turn in turns.items()}
    afters = {role: texts.add(turn.after) for role, turn in turns.items()}
    none = np.full(len(roles), -1, np.int64)
    learnt = _learnt(messages, train_on)
    header_learnt = learnt if train_on in ("assistant_with_header", "all") else learnt & False
    return _Draft(
        np.repeat(np.arange(len(roles)), 4),
        _braid(_per_role(opens, roles), none, _per_role(closes, roles), none),
        _braid(none, np.asarray(content, np.int64), none, _per_role(afters, roles)),
        _braid(none, np.where(header_learnt, -1, _per_role(headers, roles)), none, none),
        _braid(header_learnt, learnt, learnt, header_learnt),
    )


def _per_role(values: dict[str, int], roles: Sequence[str]) -> Ints:
    return np.asarray([values[role] for role in roles], np.int64)


def _braid(*columns: npt.NDArray[Kind]) -> npt.NDArray[Kind]:
    """Arrays of one length as one array: the first of each, the second of each, ..."""
    return np.stack(columns, axis=1).reshape(-1)


def write_joined(messages: pl.DataFrame, texts: Texts, train_on: TrainOn) -> _Draft:
    """The pieces of any template: what stands between two control tokens is one text.

    Slower than `write_turnwise`, and the same where both can be used.
    """
    tokenizer = texts.tokenizer
    with_header = train_on in ("assistant_with_header", "all")
    learnt = _learnt(messages, train_on)
    pieces: list[tuple[int, int, int, int, bool]] = []
    conversation = None
    text, text_learnt = "", False
    rows = messages.select("conversation", "role", "content").iter_rows()
    for number, (name, role, content) in enumerate(rows):
        turn = tokenizer.template.turns[role]
        new_row = name != conversation
        if text and (new_row or turn.open):
            pieces.append((number - 1, -1, texts.add(text), -1, text_learnt))
            text = ""
        conversation = name
        if turn.open:
            header_learnt = with_header and bool(learnt[number])
            pieces.append((number, tokenizer.id(turn.open), -1, -1, header_learnt))
        header = texts.add(text if with_header else text + turn.header)
        header = -1 if train_on == "all" else header
        text += turn.header + turn.lead + content
        if not turn.close:
            text, text_learnt = text + turn.after, train_on == "all"
            continue
        may = bool(learnt[number])
        pieces.append((number, -1, texts.add(text), header, may))
        pieces.append((number, tokenizer.id(turn.close), -1, -1, may))
        text, text_learnt = turn.after, with_header and may
    if text:
        pieces.append((messages.height - 1, -1, texts.add(text), -1, text_learnt))
    columns = np.asarray(pieces, np.int64).reshape(-1, 5).T
    message, control, text_number, header_number, trained = columns
    return _Draft(message, control, text_number, header_number, trained.astype(np.bool_))


def _untrained_heads(draft: _Draft, texts: Texts) -> Ints:
    """How many tokens at the start of each piece stand for its header, so are never trained.

    A token that covers the end of the header and the start of the content counts: at inference
    the generation prompt supplies the header, so the model is never asked for that token.
    """
    heads = np.zeros(len(draft.message), np.int64)
    concerned = np.flatnonzero(draft.trained & (draft.header >= 0))
    pairs = np.stack([draft.text[concerned], draft.header[concerned]], axis=1)
    distinct, which = np.unique(pairs, axis=0, return_inverse=True)
    heads[concerned] = _heads(distinct, texts)[which.reshape(-1)]
    return heads


def _heads(pairs: Ints, texts: Texts) -> Ints:
    """For each (text, header): how many tokens of the text stand for the header."""
    text, header = pairs[:, 0], pairs[:, 1]
    lengths = texts.lengths()[header]
    heads = lengths.copy()
    own, _ = gather(texts.starts[text], lengths)
    other, _ = gather(texts.starts[header], lengths)
    in_text = own < np.repeat(texts.starts[text + 1], lengths)
    same = in_text & (texts.ids[np.where(in_text, own, 0)] == texts.ids[other])
    different = np.unique(np.repeat(np.arange(len(pairs)), lengths)[~same])
    for pair in different:
        heads[pair] = _head_by_offsets(texts, int(text[pair]), int(header[pair]))
    return heads


def _head_by_offsets(texts: Texts, text: int, header: int) -> int:
    encoding = texts.tokenizer.text.encode(texts.texts[text], add_special_tokens=False)
    end = len(texts.texts[header])
    return sum(start < end for start, _ in encoding.offsets)


def gather(starts: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """The places of stretches of an array, one behind the other, and the offsets in each."""
    ends = np.cumsum(lengths)
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    return np.repeat(starts, lengths) + within, within
