"""How many tokens at the start of a piece are the template's, so are never trained."""

from __future__ import annotations

import numpy as np

from chatdata.render.segments.draft import NONE, Draft
from chatdata.render.segments.text_pool import Ints, Texts


def untrained_heads(draft: Draft, texts: Texts) -> Ints:
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
