"""Distinct texts and their ids: each is tokenised once, in batches."""

from __future__ import annotations

import itertools
import operator
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from chatdata.core import arrow
from chatdata.core.errors import RenderError
from chatdata.render.encoding.encoded import Encoded, join
from chatdata.render.encoding.libraries import Encoder, ReferenceEncoder
from chatdata.render.segments.unencoded import Ints, TrainOn
from chatdata.render.tokenizer import Tokenizer


class TextPool:
    """Distinct texts and their ids: each is tokenised once, in batches, as text.

    What a template writes is kept apart, under negative numbers: its control tokens are ids, and
    only the words between them are texts. A text that begins a row is apart from the same text
    elsewhere where the tokenizer writes them differently (`at_start`).
    """

    def __init__(self, tokenizer: Tokenizer, encoder: Encoder | None = None) -> None:
        self.tokenizer = tokenizer
        self.encoder = encoder or ReferenceEncoder(tokenizer.text)
        self.control = tokenizer.control
        self.memo: dict[Any, Any] = {}  # what the template keeps from one call to the next
        # A table of messages, what is learnt of it, and its segments.
        self.last_rows: tuple[pl.DataFrame, TrainOn, Any] | None = None
        self.texts: list[str] = []
        self.ids: npt.NDArray[np.int32] = np.empty(0, np.int32)
        number = itertools.count().__next__
        # The ids of texts, apart by whether they begin a row.
        self._text_ids = {begins: defaultdict[str, int](number) for begins in (False, True)}
        self._begins: list[bool] = []  # for each text, whether it begins a row
        self._behind, self._at_start = ReferenceEncoder(tokenizer.text), self.encoder
        self.place_matters = tokenizer.text_at_start is not tokenizer.text
        if self.place_matters:
            self._at_start = ReferenceEncoder(tokenizer.text_at_start)
        self._encoded = 0
        self._starts: list[Ints] = [np.zeros(1, np.int64)]
        self._control_ids = _IdSet([*self.control.ids.values()])
        self._arrays: tuple[npt.NDArray[np.int32], Ints, Ints] | None = None
        self._written_ids: dict[tuple[str, bool], int] = {}
        self._written: list[npt.NDArray[np.int32]] = []

    def add(self, text: str) -> int:
        """The id of a text, in which nothing is a control token."""
        return self._add(text, False)

    def add_all(self, texts: Iterable[str]) -> Ints:
        """The ids of texts, in which nothing is a control token; quicker than to add each."""
        text_ids = self._text_ids[False]
        known = len(text_ids)
        ids = np.fromiter(map(text_ids.__getitem__, texts), np.int64)
        new = [*itertools.islice(text_ids, known, None)]
        self.texts += new
        self._begins += [False] * len(new)
        return ids

    def written(self, text: str) -> int:
        """The id, below 0, of what a template writes by itself, its control tokens made ids."""
        return self._add_written(text, False)

    def at_start(self, text_id: int) -> int:
        """The id of the same where it begins a row."""
        if not self.place_matters:
            return text_id
        add = self._add if text_id >= 0 else self._add_written
        return add(self.text(text_id), True)

    def _add(self, text: str, begins: bool) -> int:
        text_id = self._text_ids[begins][text]
        if text_id == len(self.texts):
            self.texts.append(text)
            self._begins.append(begins)
        return text_id

    def _add_written(self, text: str, begins: bool) -> int:
        text_id = self._written_ids.setdefault((text, begins), -1 - len(self._written))
        if -text_id > len(self._written):
            ids: list[int] = []
            for part, is_control in self.control.parts(text):
                ids += [self.control.id(part)] if is_control else self._ids(part, begins)
                begins = False
            self._written.append(np.asarray(ids, np.int32))
            self._arrays = None
        return text_id

    def text(self, text_id: int) -> str:
        """The text of an id."""
        return self.texts[text_id] if text_id >= 0 else list(self._written_ids)[-1 - text_id][0]

    def written_tokens(self, text_id: int) -> int:
        """The number of tokens of what a template writes by itself."""
        return len(self._written[-1 - text_id])

    def _ids(self, text: str, begins: bool) -> list[int]:
        encoder = self._at_start if begins else self._behind
        ids: list[int] = encoder.encode([text]).ids.tolist()
        return ids

    def token_starts(self, text_id: int) -> list[int]:
        """Where the tokens of a text begin in the text."""
        tokenizer = self.tokenizer.text_at_start if self._begins[text_id] else self.tokenizer.text
        encoding = tokenizer.encode(self.texts[text_id], add_special_tokens=False)
        return [start for start, _ in encoding.offsets]

    def encode(self) -> None:
        """Tokenises what was added since the last call. Raises RenderError for forged tokens."""
        if self._encoded == len(self.texts):
            return
        ids, offsets = join([*self._encoded_by_place()])
        self._refuse_control(ids)
        self._starts.append(len(self.ids) + offsets[1:])
        self.ids = np.concatenate([self.ids, ids]) if len(self.ids) else ids
        self._encoded = len(self.texts)
        self._arrays = None

    def _encoded_by_place(self) -> Iterator[Encoded]:
        """Yields the ids of new texts in their order, those with a like place in one call."""
        new = zip(self.texts[self._encoded :], self._begins[self._encoded :], strict=True)
        for begins, texts in groupby(new, operator.itemgetter(1)):
            encoder = self._at_start if begins else self.encoder
            yield encoder.encode([text for text, _ in texts])

    def _refuse_control(self, ids: npt.NDArray[np.int32]) -> None:
        if self._control_ids.has_any_of(ids):
            raise RenderError(
                f"tokenizer '{self.tokenizer.name}' makes control tokens out of plain text; "
                "choose a tokenizer that can keep them apart."
            )

    def arrays(self) -> tuple[npt.NDArray[np.int32], Ints, Ints]:
        """All ids, and for each text where its ids start and how many there are.

        What a template writes, having numbers below 0, counts from the end.
        """
        if self._arrays is None:
            self._arrays = self._joined_arrays()
        return self._arrays

    def _joined_arrays(self) -> tuple[npt.NDArray[np.int32], Ints, Ints]:
        starts = np.concatenate(self._starts)
        self._starts = [starts]
        written = np.asarray([len(ids) for ids in self._written], np.int64)
        written_starts = len(self.ids) + np.cumsum(written) - written
        return (
            np.concatenate([self.ids, *self._written]),
            np.concatenate([starts[:-1], written_starts[::-1]]),
            np.concatenate([np.diff(starts), written[::-1]]),
        )

    def joined(self, text_ids: Ints) -> npt.NDArray[np.int32]:
        """The ids of texts and of what the template writes, end to end."""
        ids, starts, _ = self.arrays()
        written = len(starts) - len(self._written)
        offsets = np.concatenate([starts[:written], starts[written:][::-1], [len(ids)]])
        lists = pa.LargeListArray.from_arrays(arrow.int64(offsets), arrow.int32(ids))
        places = np.where(text_ids < 0, written - 1 - text_ids, text_ids)
        # Polars copies list by list; numpy would copy id by id, or make a view of each list.
        return pl.Series(lists).gather(places).explode(empty_as_null=False).to_numpy()


class _IdSet:
    """Ids, of which few others lie between the first and the last."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._first = np.int32(min(ids, default=0))
        self._is_in = np.zeros(max(ids, default=-1) + 1 - min(ids, default=0), np.bool_)
        self._is_in[np.array(ids, np.int32) - self._first] = True

    def has_any_of(self, ids: npt.NDArray[np.int32]) -> bool:
        """Whether any of these ids is one of the set."""
        above = (ids - self._first).view(np.uint32)  # what lies below the first is large now
        return bool(self._is_in.take(above[above < len(self._is_in)]).any())
