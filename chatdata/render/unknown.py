"""The unknown tokens in rows: what a tokenizer writes where it has no token for a text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chatdata.render.entries import UnknownEntry
from chatdata.render.rows import Rendered
from chatdata.render.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Unknown:
    """How many unknown tokens there are, and in how many rows."""

    tokens: int = 0
    rows: int = 0

    def __add__(self, more: Unknown) -> Unknown:
        """The counts of both."""
        return Unknown(self.tokens + more.tokens, self.rows + more.rows)

    def entry(self, tokenizer: Tokenizer) -> dict[str, UnknownEntry]:
        """The counts for the manifest, by their key; nothing where there are no such tokens."""
        if not self.tokens or tokenizer.control.unknown_id is None:
            return {}
        token = str(tokenizer.full.id_to_token(tokenizer.control.unknown_id))
        return {"unknown": UnknownEntry(token=token, tokens=self.tokens, rows=self.rows)}


def count(rendered: Rendered, tokenizer: Tokenizer) -> Unknown:
    """The unknown tokens in rows of a tokenizer."""
    if tokenizer.control.unknown_id is None:
        return Unknown()
    places = np.flatnonzero(rendered.input_ids == tokenizer.control.unknown_id)
    rows = np.searchsorted(rendered.offsets, places, "right")
    return Unknown(len(places), len(np.unique(rows)))
