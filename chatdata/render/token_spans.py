"""A row of tokens as text, in stretches that are trained or not, control tokens or not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import tokenizers

from chatdata.core.constants import IGNORE_INDEX

Kind = TypeVar("Kind")


class Stretch(NamedTuple):
    """A stretch of a row."""

    text: str
    is_trained: bool
    is_control: bool


def decoder(folder: Path) -> tokenizers.Tokenizer:
    """What turns the ids of a built folder into text."""
    return tokenizers.Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))


def stretches(row: Mapping[str, Any], decoder: tokenizers.Tokenizer) -> Iterator[Stretch]:
    """Yields the stretches of a row of tokens (`input_ids`, `labels`)."""
    special = {id for id, token in decoder.get_added_tokens_decoder().items() if token.special}
    kinds = [
        (label != IGNORE_INDEX, id in special)
        for id, label in zip(row["input_ids"], row["labels"], strict=True)
    ]
    for ids, (is_trained, is_control) in runs(row["input_ids"], kinds):
        yield Stretch(decoder.decode(ids, skip_special_tokens=False), is_trained, is_control)


def runs(ids: Sequence[int], kinds: Sequence[Kind]) -> Iterator[tuple[list[int], Kind]]:
    """Yields stretches of ids of one kind."""
    for kind, pairs in itertools.groupby(zip(ids, kinds, strict=True), key=lambda pair: pair[1]):
        yield [id for id, _ in pairs], kind
