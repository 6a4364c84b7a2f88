"""Token ids of many texts as two arrays, and batches of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Encoded(NamedTuple):
    """Ids of texts, end to end: those of text `i` are `ids[offsets[i] : offsets[i + 1]]`."""

    ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]  # starts at 0; a value more than texts

    def of(self, number: int) -> npt.NDArray[np.int32]:
        """The ids of the text with this number."""
        return self.ids[self.offsets[number] : self.offsets[number + 1]]

    def select(self, numbers: Sequence[int]) -> Encoded:
        """The ids of some texts, in this order."""
        selected = [self.of(number) for number in numbers]
        offsets = np.cumsum([0, *map(len, selected)], dtype=np.int64)
        return Encoded(np.concatenate([np.empty(0, np.int32), *selected]), offsets)

    def replace(self, numbers: Sequence[int], replacement: Encoded) -> Encoded:
        """These ids, with those of `replacement` for the texts `numbers`, which are empty here."""
        lengths = np.diff(self.offsets)
        lengths[numbers] = np.diff(replacement.offsets)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        is_replaced = np.zeros(len(lengths), np.bool_)
        is_replaced[numbers] = True
        from_replacement = np.repeat(is_replaced, lengths)
        ids = np.empty(int(offsets[-1]), np.int32)
        ids[from_replacement], ids[~from_replacement] = replacement.ids, self.ids
        return Encoded(ids, offsets)


def batches(texts: Sequence[str], characters: int) -> Iterator[list[str]]:
    """Yields texts in lists, each of which ends as soon as it holds so many characters."""
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text) + 1
        if size >= characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def join(parts: Sequence[Encoded]) -> Encoded:
    """The ids of the texts of all parts, in their order."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(len(part.ids) for part in parts)], dtype=np.int64)
    moved = [part.offsets[1:] + start for part, start in zip(parts, starts, strict=False)]
    ids = np.concatenate([np.empty(0, np.int32), *(part.ids for part in parts)])
    return Encoded(ids, np.concatenate([np.zeros(1, np.int64), *moved]))


def differences(expected: Encoded, actual: Encoded) -> Iterator[int]:
    """Yields the numbers of the texts whose ids differ."""
    same_ids = np.array_equal(expected.ids, actual.ids)
    if same_ids and np.array_equal(expected.offsets, actual.offsets):
        return
    for number in range(len(expected.offsets) - 1):
        if not np.array_equal(expected.of(number), actual.of(number)):
            yield number
