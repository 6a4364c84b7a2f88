"""Distinct texts and their ids: each is tokenised once, in batches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from chatdata.core import arrow
from chatdata.core.errors import RenderError
from chatdata.render.encoding.libraries import Encoder, ReferenceEncoder
from chatdata.render.tokenizer import Tokenizer

if TYPE_CHECKING:
    from chatdata.render.segments.from_jinja import Script

Ints = npt.NDArray[np.int64]

# What a token with `rstrip` swallows: Unicode's white space, not U+001C to U+001F as for Python.
_SWALLOWED = re.compile(r"[^\S\x1c-\x1f]*")


class Texts:
    """Distinct texts and their ids: each is tokenised once, in batches, as text.

    What a template writes is kept apart, under negative numbers: its control tokens are ids, and
    only the words between them are texts.
    """

    def __init__(self, tokenizer: Tokenizer, encoder: Encoder | None = None) -> None:
        self.tokenizer = tokenizer
        self.encoder = encoder or ReferenceEncoder(tokenizer.text)
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
        self.scripts: dict[tuple[str, int, int], Script] = {}  # what was rendered before
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
        return _SWALLOWED.sub("", text, count=1) if before in self._swallowing else text

    def written_tokens(self, number: int) -> int:
        """How many tokens a text of the template has."""
        return len(self._written[-1 - number])

    def encode(self) -> None:
        """Tokenises what was added since the last call. Raises RenderError for forged tokens."""
        ids, offsets = self.encoder.encode(self.texts[self._encoded :])
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
