"""What a row of tokens is made of: control tokens, and texts between them.

Control tokens cut a string before a tokenizer looks at it, so the texts between them can be
tokenised apart, each distinct one once, and joined.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from chatdata import arrow
from chatdata.chat_template import ChatTemplate, UnrenderableError
from chatdata.errors import RenderError
from chatdata.fast import Engine, Reference
from chatdata.templates import Template, Turn
from chatdata.tokenizer import Tokenizer

TrainOn = Literal["assistant", "last_assistant", "assistant_with_header", "all"]

Kind = TypeVar("Kind", bound=np.generic)
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Stands for a control token that content quotes, while a chat template is rendered: the number
# of the token, in a plane for private use.
_QUOTED = 0xF0000


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of all rows in order. A piece is a text, or what the template writes."""

    message: Ints  # which message, by its place in the table
    text: Ints  # which text of `Texts`
    trained: Bools
    tokens: Ints  # how many there are
    heads: Ints  # how many of them, at the start, are never trained

    def of(self, messages: Bools) -> Pieces:
        """The pieces of the chosen messages, which are numbered anew."""
        here = messages[self.message]
        numbers = np.cumsum(messages) - 1
        return Pieces(
            numbers[self.message[here]],
            self.text[here],
            self.trained[here],
            self.tokens[here],
            self.heads[here],
        )


class _Draft(NamedTuple):
    """Pieces before their texts are tokenised; `header` is the text of a piece's head, or NONE."""

    message: Ints
    text: Ints
    header: Ints
    trained: Bools


NONE = np.iinfo(np.int64).max


class Texts:
    """Distinct texts and their ids: each is tokenised once, in batches, as text.

    What a template writes is kept apart, under negative numbers: its control tokens are ids, and
    only the words between them are texts.
    """

    def __init__(self, tokenizer: Tokenizer, engine: Engine | None = None) -> None:
        self.tokenizer = tokenizer
        self.engine = engine or Reference(tokenizer.text)
        self.texts: list[str] = []
        self.ids: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self._index: dict[str, int] = {}
        self._encoded = 0
        self._starts: list[Ints] = [np.zeros(1, np.int64)]
        self.special = tokenizer.special_ids()
        self.control = tokenizer.pattern()
        self._is_special = np.zeros(max(self.special.values(), default=0) + 2, np.bool_)
        self._is_special[list(self.special.values())] = True
        self._swallowing = tokenizer.swallowing()
        self._scripts: dict[tuple[str, int, int], Script] = {}
        self._written_index: dict[str, int] = {}
        self._written: list[npt.NDArray[np.int32]] = []

    def add(self, text: str) -> int:
        """The number of a text."""
        number = self._index.setdefault(text, len(self._index))
        if number == len(self.texts):
            self.texts.append(text)
        return number

    def written(self, text: str) -> int:
        """The number, below 0, of a text of the template, its control tokens made ids."""
        number = self._written_index.setdefault(text, -1 - len(self._written))
        if -number > len(self._written):
            parts = [
                [self.special[part]] if is_control else self._ids(part)
                for part, is_control in self.parts(text)
            ]
            self._written.append(np.asarray([id for part in parts for id in part], np.int32))
        return number

    def text(self, number: int) -> str:
        """The text of a number."""
        return self.texts[number] if number >= 0 else list(self._written_index)[-1 - number]

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer.text.encode(text, add_special_tokens=False).ids)

    def parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """Yields the parts of a text of the template, and whether each is a control token."""
        end = 0
        for match in self.control.finditer(text):
            if match.start() > end:
                yield text[end : match.start()], False
            yield match[0], True
            end = match.end()
        if end < len(text):
            yield text[end:], False

    def swallowed(self, before: str, text: str) -> str:
        """The text without the white space that the control token before it swallows."""
        return text.lstrip() if before in self._swallowing else text

    def start_tokens(self, messages: pl.DataFrame) -> Ints:
        """The tokens that a template's value writes before each message: 0 but at the head."""
        value = value_of(self.tokenizer.template)
        number = self.written(value.start if value else "")
        return np.where(_needs_start(messages), len(self._written[-1 - number]), 0)

    def script(self, name: str, messages: pl.DataFrame) -> Script:
        """The row as the chat template writes it. Raises UnrenderableError where it cannot."""
        key = (name, messages["position"][-1], messages.height)
        if key not in self._scripts:
            self._scripts[key] = _write_script(self, messages)
        return self._scripts[key]

    def encode(self) -> None:
        """Tokenises what was added since the last call. Raises RenderError for forged tokens."""
        ids, offsets = self.engine.encode(self.texts[self._encoded :])
        self._refuse_control(ids)
        self._starts.append(len(self.ids) + offsets[1:])
        self.ids = np.concatenate([self.ids, ids]) if len(self.ids) else ids
        self._encoded = len(self.texts)

    def _refuse_control(self, ids: npt.NDArray[np.int32]) -> None:
        if self._is_special.take(ids, mode="clip").any():  # ids beyond the table are no such
            raise RenderError(
                f"tokenizer '{self.tokenizer.name}' makes control tokens out of plain text; "
                "choose a tokenizer that can keep them apart."
            )

    def pool(self) -> tuple[npt.NDArray[np.int32], Ints, Ints]:
        """All ids, and for each number where its ids start and how many there are.

        The numbers of what a template writes, being negative, count from the end.
        """
        starts = np.concatenate(self._starts)
        self._starts = [starts]
        own = np.asarray([len(ids) for ids in self._written], np.int64)
        own_starts = len(self.ids) + np.cumsum(own) - own
        return (
            np.concatenate([self.ids, *self._written]),
            np.concatenate([starts[:-1], own_starts[::-1]]),
            np.concatenate([np.diff(starts), own[::-1]]),
        )

    def joined(self, numbers: Ints) -> npt.NDArray[np.int32]:
        """The ids of texts and of what the template writes, by their numbers, end to end."""
        pool, starts, _ = self.pool()
        written = len(starts) - len(self._written)
        offsets = np.concatenate([starts[:written], starts[written:][::-1], [len(pool)]])
        lists = pa.LargeListArray.from_arrays(arrow.int64(offsets), arrow.int32(pool))
        places = np.where(numbers < 0, written - 1 - numbers, numbers)
        # Polars copies list by list; numpy would copy id by id, or make a view of each list.
        ids = pl.Series(lists).gather(places).explode(empty_as_null=False)
        return ids.to_numpy()


def write(messages: pl.DataFrame, texts: Texts, train_on: TrainOn) -> Pieces:
    """The pieces of rows, given as messages in order, tokenised.

    Every row can be written: `unrenderable` says which cannot.
    """
    draft = _writer(texts.tokenizer.template)(messages, texts, train_on)
    texts.encode()
    _, _, lengths = texts.pool()
    heads = _untrained_heads(draft, texts)
    return Pieces(draft.message, draft.text, draft.trained, lengths[draft.text], heads)


def _writer(
    template: Template | ChatTemplate,
) -> Callable[[pl.DataFrame, Texts, TrainOn], _Draft]:
    value = value_of(template)
    if value is None:
        return write_rendered
    closed = all(turn.open and turn.close for turn in value.all_turns())
    return write_turnwise if closed else write_joined


def value_of(template: Template | ChatTemplate) -> Template | None:
    """The template as a value, where it is one or was proved to be."""
    return template.compiled if isinstance(template, ChatTemplate) else template


def unrenderable(messages: pl.DataFrame, texts: Texts) -> pl.DataFrame:
    """The rows that the template cannot write, or not exactly: (conversation, detail)."""
    value = value_of(texts.tokenizer.template)
    reasons = _unwritten(messages, texts) if value is None else _without_place(messages, value)
    return pl.DataFrame(
        reasons, schema={"conversation": pl.String, "detail": pl.String}, orient="row"
    )


def _without_place(messages: pl.DataFrame, value: Template) -> list[tuple[str, str]]:
    known = [role for role in value.turns if role != "system"]
    known += ["system"] if "system" in value.turns else []
    lost = messages.filter(pl.col("role").cast(pl.String).is_in(known).not_())
    lost = lost.unique("conversation", keep="first", maintain_order=True)
    detail = pl.format("the template has no place for role '{}'", "role")
    return list(lost.select("conversation", detail).iter_rows())


def _unwritten(messages: pl.DataFrame, texts: Texts) -> list[tuple[str, str]]:
    reasons = []
    for name, own in _rows(messages):
        try:
            texts.script(name, own)
        except UnrenderableError as error:
            reasons.append((name, str(error)))
    return reasons


def _rows(messages: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yields the rows by name, each with its messages."""
    names = messages["conversation"]
    starts = np.flatnonzero(_begins(messages)).tolist()
    for start, end in zip(starts, [*starts[1:], len(names)][: len(starts)], strict=True):
        yield names[start], messages[start:end]


def _learnt(messages: pl.DataFrame, train_on: TrainOn) -> Bools:
    """Which messages are trained."""
    is_answer = pl.col("role") == "assistant"
    learnt = pl.col("train") & is_answer
    if train_on == "last_assistant":
        answers = pl.col("position").filter(is_answer)
        learnt = learnt & (pl.col("position") == answers.max().over("conversation"))
    if train_on == "all":
        learnt = pl.col("train") | is_answer.not_()
    learnt = learnt & pl.col("train").is_not_null()
    return messages.select(learnt.fill_null(False)).to_series().to_numpy()


def _is_context(messages: pl.DataFrame) -> Bools:
    """Which messages another row has shown before."""
    return messages["train"].is_null().to_numpy()


def _begins(messages: pl.DataFrame) -> Bools:
    """Which messages are the first of their row."""
    return np.diff(messages["conversation"].rle_id().to_numpy(), prepend=-1).astype(np.bool_)


def write_turnwise(messages: pl.DataFrame, texts: Texts, train_on: TrainOn) -> _Draft:
    """The pieces of a template in which control tokens open and close every turn.

    A message is five pieces: what stands at the head of the row, what opens the turn, header and
    content, the closing tokens, the text behind them.
    """
    value = value_of(texts.tokenizer.template)
    assert value is not None
    kinds, turns = _kinds(messages, value)
    opens, closes, afters, headers = (
        _per_kind({kind: texts.written(of(turn)) for kind, turn in turns.items()}, kinds)
        for of in (_open, _close, _after, _header)
    )
    content = _contents(messages, kinds, turns, texts)
    none = np.full(len(kinds), NONE)
    learnt = _learnt(messages, train_on)
    header_learnt = learnt if train_on in ("assistant_with_header", "all") else learnt & False
    columns = [
        (opens, none, header_learnt),
        (content, np.where(header_learnt, NONE, headers), learnt),
        (closes, none, learnt),
        (afters, none, header_learnt),
    ]
    if value.start:
        heads = np.where(_needs_start(messages), texts.written(value.start), texts.written(""))
        fresh = ~_is_context(messages)
        columns.insert(0, (heads, none, fresh if train_on == "all" else fresh & False))
    text, header, trained = (_braid(own) for own in zip(*columns, strict=True))
    return _Draft(np.repeat(np.arange(len(kinds)), len(columns)), text, header, trained)


def _open(turn: Turn) -> str:
    return turn.open


def _close(turn: Turn) -> str:
    return turn.close


def _after(turn: Turn) -> str:
    return turn.after


def _header(turn: Turn) -> str:
    return turn.header


def _needs_start(messages: pl.DataFrame) -> Bools:
    needs: Bools = _begins(messages) & (messages["role"] != "system").to_numpy()
    return needs


def _kinds(messages: pl.DataFrame, value: Template) -> tuple[list[str], dict[str, Turn]]:
    """How each message is written, as a key of the turns that are given too."""
    roles = messages["role"].cast(pl.String)
    if value.first is None:
        return roles.to_list(), dict(value.turns)
    at_head = _begins(messages) & (roles == "system").to_numpy()
    kinds = np.where(at_head, "first", roles.to_numpy())
    return kinds.tolist(), {**value.turns, "first": value.first}


def _contents(
    messages: pl.DataFrame, kinds: list[str], turns: dict[str, Turn], texts: Texts
) -> Ints:
    before = {kind: turn.header + turn.lead for kind, turn in turns.items()}
    if any(turn.trims for turn in turns.values()):
        said = zip(kinds, messages["content"], strict=True)
        content = [words.strip() if turns[kind].trims else words for kind, words in said]
        whole = [before[kind] + words for kind, words in zip(kinds, content, strict=True)]
    else:
        heads = pl.Series([before[kind] for kind in kinds], dtype=pl.String)
        whole = (heads + messages["content"]).to_list()
    return np.fromiter(map(texts.add, whole), np.int64, len(whole))


def _per_kind(values: dict[str, int], kinds: Sequence[str]) -> Ints:
    return np.asarray([values[kind] for kind in kinds], np.int64)


def _braid(columns: Sequence[npt.NDArray[Kind]]) -> npt.NDArray[Kind]:
    """Arrays of one length as one array: the first of each, the second of each, ..."""
    return np.stack(columns, axis=1).reshape(-1)


class _Pen:
    """Writes pieces of one row after the other, as lists that become a draft."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, int, int, bool]] = []

    def put(self, message: int, text: int, trained: bool, header: int = NONE) -> None:
        self.pieces.append((message, text, header, trained))

    def draft(self) -> _Draft:
        columns = np.asarray(self.pieces, np.int64).reshape(-1, 4).T
        message, text, header, trained = columns
        return _Draft(message, text, header, trained.astype(np.bool_))


def write_joined(messages: pl.DataFrame, texts: Texts, train_on: TrainOn) -> _Draft:
    """The pieces of any template: what stands between two control tokens is one text.

    Slower than `write_turnwise`, and the same where both can be used.
    """
    value = value_of(texts.tokenizer.template)
    assert value is not None
    kinds, turns = _kinds(messages, value)
    learnt, begins = _learnt(messages, train_on), _begins(messages)
    needs_start = _needs_start(messages)
    is_context = _is_context(messages)
    joiner = _Joiner(texts, train_on)
    for number, (kind, content) in enumerate(zip(kinds, messages["content"], strict=True)):
        if begins[number]:
            joiner.flush(number - 1)
        joiner.all = train_on == "all" and not is_context[number]
        if needs_start[number]:
            joiner.start(number, value.start)
        joiner.turn(number, turns[kind], content, bool(learnt[number]))
    joiner.flush(messages.height - 1)
    return joiner.draft()


class _Joiner(_Pen):
    """Holds text back until a control token or the end of the row closes it."""

    def __init__(self, texts: Texts, train_on: TrainOn) -> None:
        super().__init__()
        self.texts = texts
        self.all = train_on == "all"  # of the turn that comes
        self.with_header = train_on in ("assistant_with_header", "all")
        self.text, self.learnt = "", False
        self.context = ""  # the start of the text that is context, where all else is trained

    def flush(self, message: int) -> None:
        """Writes the text that was held back as one that is not an answer."""
        if self.text:
            self.put(message, self.texts.add(self.text), self.learnt, self._head())
        self.text = self.context = ""

    def _head(self) -> int:
        return self.texts.add(self.context) if self.context else NONE

    def start(self, message: int, start: str) -> None:
        """Begins a row with what stands at its head."""
        parts = list(self.texts.parts(start))
        words = parts.pop()[0] if parts and not parts[-1][1] else ""
        fixed = start.removesuffix(words)
        if fixed:
            self.put(message, self.texts.written(fixed), self.all)
        self.text, self.learnt = words, self.all

    def turn(self, message: int, turn: Turn, content: str, learnt: bool) -> None:
        """Writes a turn, up to the text behind its closing tokens."""
        if turn.open:
            self.flush(message)
            self.put(message, self.texts.written(turn.open), self.with_header and learnt)
        header = self.texts.add(self.text if self.with_header else self.text + turn.header)
        self.text += turn.header + turn.lead + (content.strip() if turn.trims else content)
        if not turn.close:
            self.text, self.learnt = self.text + turn.after, self.all
            self.context = self.context if self.all else self.text
            return
        self.put(message, self.texts.add(self.text), learnt, self._head() if self.all else header)
        self.put(message, self.texts.written(turn.close), learnt)
        self.text, self.learnt, self.context = turn.after, self.with_header and learnt, ""


# --------------------------------------------------- templates that write rows for themselves


class Script(NamedTuple):
    """A row as a chat template wrote it, piece by piece.

    `turn` is the answer that a piece leads to or belongs to, by its place in the row.
    """

    turn: list[int]
    text: list[int]
    header: list[int]
    is_answer: list[bool]


def write_rendered(messages: pl.DataFrame, texts: Texts, train_on: TrainOn) -> _Draft:
    """The pieces of rows that the template writes itself. An answer is found, never guessed.

    Raises UnrenderableError for a row that `unrenderable` names.
    """
    learnt, is_context = _learnt(messages, train_on), _is_context(messages)
    pen = _Pen()
    first = 0
    for name, own in _rows(messages):
        for turn, text, header, is_answer in zip(*texts.script(name, own), strict=True):
            message = first + turn
            if train_on == "all":
                pen.put(message, text, not is_context[message])
            else:
                pen.put(message, text, is_answer and bool(learnt[message]), header)
        first += own.height
    return pen.draft()


def _write_script(texts: Texts, messages: pl.DataFrame) -> Script:
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


_HIDDEN = re.compile("[\U000f0000-\U000ffffd]")


# --------------------------------------------------------------------------------------- heads


def _untrained_heads(draft: _Draft, texts: Texts) -> Ints:
    """How many tokens at the start of each piece stand for its header, so are never trained.

    A token that covers the end of the header and the start of the content counts: at inference
    the generation prompt supplies the header, so the model is never asked for that token.
    """
    heads = np.zeros(len(draft.message), np.int64)
    concerned = np.flatnonzero(draft.trained & (draft.header != NONE))
    pairs = np.stack([draft.text[concerned], draft.header[concerned]], axis=1)
    distinct, which = np.unique(pairs, axis=0, return_inverse=True)
    heads[concerned] = _heads(distinct, texts)[which.reshape(-1)]
    return heads


def _heads(pairs: Ints, texts: Texts) -> Ints:
    """For each (text, header): how many tokens of the text stand for the header."""
    ids, starts, counts = texts.pool()
    text, header = pairs[:, 0], pairs[:, 1]
    lengths = counts[header]
    heads = lengths.copy()
    own, _ = gather(starts[text], lengths)
    other, _ = gather(starts[header], lengths)
    in_text = own < np.repeat(starts[text] + counts[text], lengths)
    same = in_text & (ids[np.where(in_text, own, 0)] == ids[other])
    different = np.unique(np.repeat(np.arange(len(pairs)), lengths)[~same])
    for pair in different:
        heads[pair] = _head_by_offsets(texts, int(text[pair]), int(header[pair]))
    return heads


def _head_by_offsets(texts: Texts, text: int, header: int) -> int:
    encoding = texts.tokenizer.text.encode(texts.texts[text], add_special_tokens=False)
    end = len(texts.text(header))
    return sum(start < end for start, _ in encoding.offsets)


def gather(starts: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """The places of stretches of an array, one behind the other, and the offsets in each."""
    ends = np.cumsum(lengths)
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    return np.repeat(starts, lengths) + within, within
