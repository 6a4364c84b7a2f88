"""How many tokens at the start of a segment stand for a text that it begins with."""

from __future__ import annotations

import numpy as np

from chatdata.render.segments.text_pool import TextPool
from chatdata.render.segments.unencoded import NO_HEADER, Ints, UnencodedSegments


def prefix_lengths(segments: UnencodedSegments, prefix_ids: Ints, pool: TextPool) -> Ints:
    """How many tokens at the start of each trained segment stand for its prefix, a text of the
    pool; 0 for NO_HEADER.

    A token that covers the end of the prefix and the start of what follows counts: at inference
    the generation prompt supplies the header, so the model is never asked for that token.
    """
    lengths = np.zeros(len(segments.message), np.int64)
    with_header = np.flatnonzero(segments.trained & (prefix_ids != NO_HEADER))
    pairs = np.stack([segments.text_id[with_header], prefix_ids[with_header]], axis=1)
    distinct, which = np.unique(pairs, axis=0, return_inverse=True)
    lengths[with_header] = _lengths(distinct, pool)[which.reshape(-1)]
    return lengths


def _lengths(pairs: Ints, pool: TextPool) -> Ints:
    """For each (text, header), by their ids: how many tokens of the text stand for the header."""
    ids, starts, counts = pool.arrays()
    text, header = pairs[:, 0], pairs[:, 1]
    header_counts = counts[header]
    lengths = header_counts.copy()
    in_text, _ = gather(starts[text], header_counts)
    in_header, _ = gather(starts[header], header_counts)
    exists = in_text < np.repeat(starts[text] + counts[text], header_counts)
    is_same = exists & (ids[np.where(exists, in_text, 0)] == ids[in_header])
    different = np.unique(np.repeat(np.arange(len(pairs)), header_counts)[~is_same])
    for pair in different:
        lengths[pair] = _length_by_offsets(pool, int(text[pair]), int(header[pair]))
    return lengths


def _length_by_offsets(pool: TextPool, text_id: int, header_text_id: int) -> int:
    end = len(pool.text(header_text_id))
    return sum(start < end for start in pool.token_starts(text_id))


def gather(starts: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """The places of spans of an array, span after span, and the offset of each in its span."""
    ends = np.cumsum(lengths)
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    return np.repeat(starts, lengths) + within, within
