"""Distinct texts and their ids: each is tokenised once, in batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from chatdata.core import arrow
from chatdata.core.errors import RenderError
from chatdata.render.encoding.libraries import Encoder, ReferenceEncoder
from chatdata.render.segments.unencoded import Ints
from chatdata.render.tokenizer import Tokenizer


class TextPool:
    """Distinct texts and their ids: each is tokenised once, in batches, as text.

    What a template writes is kept apart, under negative numbers: its control tokens are ids, and
    only the words between them are texts.
    """

    def __init__(self, tokenizer: Tokenizer, encoder: Encoder | None = None) -> None:
        self.tokenizer = tokenizer
        self.encoder = encoder or ReferenceEncoder(tokenizer.text)
        self.control = tokenizer.control
        self.memo: dict[Any, Any] = {}  # what the template keeps from one call to the next
        self.texts: list[str] = []
        self.ids: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self._text_ids: dict[str, int] = {}
        self._encoded = 0
        self._starts: list[Ints] = [np.zeros(1, np.int64)]
        control_ids = self.control.ids.values()
        self._is_control = np.zeros(max(control_ids, default=0) + 2, np.bool_)
        self._is_control[list(control_ids)] = True
        self._written_ids: dict[str, int] = {}
        self._written: list[npt.NDArray[np.int32]] = []

    def add(self, text: str) -> int:
        """The id of a text, in which nothing is a control token."""
        text_id = self._text_ids.setdefault(text, len(self._text_ids))
        if text_id == len(self.texts):
            self.texts.append(text)
        return text_id

    def written(self, text: str) -> int:
        """The id, below 0, of what a template writes by itself, its control tokens made ids."""
        text_id = self._written_ids.setdefault(text, -1 - len(self._written))
        if -text_id > len(self._written):
            parts = [
                [self.control.ids[part]] if is_control else self._ids(part)
                for part, is_control in self.control.parts(text)
            ]
            self._written.append(np.asarray([id for part in parts for id in part], np.int32))
        return text_id

    def text(self, text_id: int) -> str:
        """The text of an id."""
        return self.texts[text_id] if text_id >= 0 else list(self._written_ids)[-1 - text_id]

    def written_tokens(self, text_id: int) -> int:
        """The number of tokens of what a template writes by itself."""
        return len(self._written[-1 - text_id])

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer.text.encode(text, add_special_tokens=False).ids)

    def encode(self) -> None:
        """Tokenises what was added since the last call. Raises RenderError for forged tokens."""
        ids, offsets = self.encoder.encode(self.texts[self._encoded :])
        self._refuse_control(ids)
        self._starts.append(len(self.ids) + offsets[1:])
        self.ids = np.concatenate([self.ids, ids]) if len(self.ids) else ids
        self._encoded = len(self.texts)

    def _refuse_control(self, ids: npt.NDArray[np.int32]) -> None:
        if self._is_control.take(ids, mode="clip").any():  # ids beyond the table are text
            raise RenderError(
                f"tokenizer '{self.tokenizer.name}' makes control tokens out of plain text; "
                "choose a tokenizer that can keep them apart."
            )

    def arrays(self) -> tuple[npt.NDArray[np.int32], Ints, Ints]:
        """All ids, and for each text where its ids start and how many there are.

        What a template writes, having numbers below 0, counts from the end.
        """
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
