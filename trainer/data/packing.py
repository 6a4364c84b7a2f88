"""Packed training: several rows in a sequence, without padding, and no row sees another.

The dataset's pack index (`chatdata pack`) says which rows share a sequence. The collator of
transformers puts the rows end to end; their positions begin anew, and by the positions attention
keeps the rows apart: flash attention by its kernel for rows of different lengths, other attention
by a mask. Both look at the positions only in a model without a cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import DataCollatorWithFlattening, PreTrainedModel
from transformers.utils.import_utils import is_flash_attn_2_available

from chatdata.core.errors import ConfigError, OutputError
from chatdata.dataset.pack import Bins, read_index
from chatdata.dataset.renderings import Rendering
from chatdata.dataset.schemas import WEIGHTS
from trainer.data import weighting

Row = Mapping[str, Any]  # `input_ids` and `labels`, and `weights` where the dataset has any
FLASH = "flash_attention_2"


def read_bins(
    folder: Path, rendering: Rendering, split: str, rows: int, max_tokens: int | None = None
) -> Bins:
    """The bins of a split, of at most `max_tokens`; None takes the only index of the rendering.

    Raises ConfigError where no index fits or several do, OutputError where the index is not made
    for `rows` rows.
    """
    packs = [index for index in rendering.packs if index.split == split]
    chosen = [index for index in packs if max_tokens in (None, index.max_tokens)]
    if len(chosen) != 1:
        sizes = [index.max_tokens for index in packs]
        raise ConfigError(_which(folder, max_tokens, sizes, _option(rendering)))
    path, size = folder / chosen[0].path, chosen[0].max_tokens
    bins = read_index(path, size)
    if not np.array_equal(np.sort(bins.rows), np.arange(rows)):
        raise OutputError(
            f"'{path}' does not hold each of the {rows} {split} rows once; "
            f"run chatdata pack {folder} --max-tokens {size}{_option(rendering)}."
        )
    return bins


def _option(rendering: Rendering) -> str:
    """How `chatdata pack` is told the rendering."""
    return "" if rendering.name is None else f" --rendering {rendering.name}"


def _which(folder: Path, max_tokens: int | None, sizes: list[int], option: str) -> str:
    if sizes and max_tokens is None:
        choice = ", ".join(map(str, sizes))
        return f"packing: '{folder}' is packed for {choice} tokens; write packing: {sizes[-1]}."
    of_size = "" if max_tokens is None else f" of {max_tokens} tokens"
    return (
        f"packing: '{folder}' has no index of bins{of_size}; run "
        f"chatdata pack {folder} --max-tokens {'N' if max_tokens is None else max_tokens}{option}."
    )


class PackedRows(torch.utils.data.Dataset[list[Row]]):
    """The rows of each bin, read when they are taken."""

    def __init__(self, rows: Dataset, bins: Bins) -> None:
        columns = [key for key in ("input_ids", "labels", WEIGHTS) if key in rows.column_names]
        self.rows, self.bins = rows.select_columns(columns), bins

    def __len__(self) -> int:
        return len(self.bins)

    def __getitem__(self, item: int) -> list[Row]:
        numbers = self.bins.rows[self.bins.offsets[item] : self.bins.offsets[item + 1]]
        columns = self.rows[numbers.tolist()]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


class PackingCollator:
    """Puts bins, or plain rows, end to end: `input_ids`, `labels` and `position_ids`, int64 of
    shape (1, tokens), for flash attention the arguments of its kernel, and the weights of labels.

    The first token of a row has no label: nothing before the row may predict it.
    """

    def __init__(self, flash: bool) -> None:
        self.flatten = DataCollatorWithFlattening(return_flash_attn_kwargs=flash)

    def __call__(self, items: Sequence[Sequence[Row] | Row]) -> dict[str, Any]:
        """The batch of some bins, or of some rows."""
        rows = [row for item in items for row in ([item] if isinstance(item, Mapping) else item)]
        flat = self.flatten([{key: row[key] for key in ("input_ids", "labels")} for row in rows])
        return {**flat, **weighting.end_to_end(rows)}


def prepare(model: PreTrainedModel, half: bool) -> bool:
    """Makes a model keep packed rows apart. Returns whether the model uses flash attention.

    `half`: training computes in 16 bits, which flash attention needs.
    """
    model.config.use_cache = False  # with a cache the model does not look at the positions
    if not (half and model._supports_flash_attn and is_flash_attn_2_available()):
        return False
    model.set_attn_implementation(FLASH)
    return True


def counts(bins: Bins) -> dict[str, Any]:
    """The rows, tokens and sequences of packed training, and how full the sequences are."""
    return {
        "rows": len(bins.rows),
        "tokens": int(bins.tokens.sum()),
        "sequences": len(bins),
        "max_tokens": bins.max_tokens,
        "fill": round(bins.fill, 4),
    }


def summary(counts: Mapping[str, Any]) -> str:
    """The counts as a line of text."""
    return (
        f"packed: {counts['rows']} rows, {counts['tokens']} tokens, in {counts['sequences']} "
        f"sequences of {counts['max_tokens']}, {counts['fill']:.1%} full"
    )
