"""Checks of rows of tokens: what is trained that should not be, and what is not that should.

Each function takes a batch of rows and what is known of their tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chatdata.verify.audit.findings import Cases, Example, excerpt
from chatdata.verify.audit.known import Known
from chatdata.verify.audit.token_rows import Bools, Ints, TokenRows

DEFAULT_MAX = 1024  # tokens of a row in TRL's SFTConfig, unless max_length says otherwise
_SHOWN = 4000  # tokens on each side of the place that an example is about


# --------------------------------------------------------------------------------- whole rows


def uneven(rows: TokenRows, known: Known) -> Cases:
    """Rows that are no ids with labels or masks of the same length."""
    example = Example(*rows.uneven[0], "") if rows.uneven else None
    return Cases(len(rows.uneven), len(rows) + len(rows.uneven), example)


def outside_vocabulary(rows: TokenRows, known: Known) -> Cases:
    """Rows with an id that the tokenizer does not have."""
    assert known.size is not None
    return _rows(rows, known, (rows.ids < 0) | (rows.ids >= known.size))


def differing_labels(rows: TokenRows, known: Known) -> Cases:
    """Rows with a label that is neither -100 nor the token's id."""
    return _rows(rows, known, rows.trained & (rows.labels != rows.ids))


def fully_masked(rows: TokenRows, known: Known) -> Cases:
    """Rows of which nothing is trained."""
    return _whole_rows(rows, known, rows.count(rows.trained) == 0)


def nothing_masked(rows: TokenRows, known: Known) -> Cases:
    """Rows of which everything but padding is trained."""
    is_word = rows.attended & (rows.ids != (-1 if known.pad is None else known.pad))
    masked = rows.count(is_word & ~rows.trained)
    return _whole_rows(rows, known, (masked == 0) & (rows.count(rows.trained) > 0))


# ------------------------------------------------------------------------------ begin and padding


def doubled_begin(rows: TokenRows, known: Known) -> Cases:
    """Rows in which the begin token stands twice in a row."""
    is_begin = rows.ids == known.begin
    follows = np.zeros_like(is_begin)
    follows[1:] = is_begin[1:] & is_begin[:-1]
    return _rows(rows, known, follows & rows.follows & rows.attended)


def trained_padding(rows: TokenRows, known: Known) -> Cases:
    """Rows of which padding is trained: what is not attended to, or a tail of padding tokens."""
    return _rows(rows, known, rows.trained & (~rows.attended | _is_tail(rows, known)))


def _is_tail(rows: TokenRows, known: Known) -> Bools:
    """Whether a token is padding at the end of its row. A padding token that also ends turns is
    padding from the second on."""
    if known.pad is None:
        return np.zeros(len(rows.ids), np.bool_)
    is_pad = rows.ids == known.pad
    word = rows.last(~is_pad)[rows.row_of]
    place = np.arange(len(rows.ids)) - rows.offsets[rows.row_of]
    return np.asarray(is_pad & (place > word + (known.pad in known.ends)))


# ------------------------------------------------------------------------------------------ turns


def _segments(rows: TokenRows, known: Known) -> tuple[Ints, Ints]:
    """The stretches between end tokens: their first places, and the places behind their last.

    An end token belongs to the stretch that it ends; a row's end ends a stretch too.
    """
    is_end = np.isin(rows.ids, list(known.ends))
    stops = np.union1d(np.flatnonzero(is_end) + 1, rows.offsets[1:])
    stops = stops[stops > 0]
    return np.concatenate([[0], stops])[:-1].astype(np.int64), stops.astype(np.int64)


def _in(segments: tuple[Ints, Ints], is_meant: Bools) -> Ints:
    """How many of these tokens each segment has."""
    sums = np.concatenate([[0], np.cumsum(is_meant)])
    return np.asarray(sums[segments[1]] - sums[segments[0]], np.int64)


def _is_word(rows: TokenRows, known: Known) -> Bools:
    """Whether a token is neither white space nor an end or padding token."""
    silent = [*known.blanks, *known.ends, *([] if known.pad is None else [known.pad])]
    return ~np.isin(rows.ids, silent) & rows.attended


def _answers(rows: TokenRows, known: Known) -> tuple[Ints, Bools]:
    """The places of the last tokens of segments of which words are trained, and whether each of
    these tokens is an end token."""
    segments = _segments(rows, known)
    is_answer = _in(segments, rows.trained & _is_word(rows, known)) > 0
    last = segments[1][is_answer] - 1
    return last, np.isin(rows.ids[last], list(known.ends))


def untrained_end(rows: TokenRows, known: Known) -> Cases:
    """Trained answers whose end token is not trained."""
    last, is_end = _answers(rows, known)
    return _places(rows, known, last[is_end & ~rows.trained[last]], len(last))


def missing_end(rows: TokenRows, known: Known) -> Cases:
    """Trained answers that no end token ends."""
    last, is_end = _answers(rows, known)
    return _places(rows, known, last[~is_end], len(last))


def trained_prompt(rows: TokenRows, known: Known) -> Cases:
    """Rows of which the header of an answer is trained, or words before it."""
    starts = _headers(rows, known)
    is_header = np.zeros(len(rows.ids), np.bool_)
    for step in range(len(known.header)):
        is_header[starts + step] = True
    is_before = ~_behind(starts, _segments(rows, known)) & _is_word(rows, known)
    return _rows(rows, known, rows.trained & (is_header | is_before))


def _behind(starts: Ints, segments: tuple[Ints, Ints]) -> Bools:
    """Whether each token stands at or behind one of these places in its segment."""
    first, stop = segments
    opened = np.zeros(int(stop[-1]) if len(stop) else 0, np.int64)
    opened[starts] = 1
    opened = np.cumsum(opened)
    before = np.concatenate([[0], opened])[first]
    return np.asarray(opened > np.repeat(before, stop - first))


def _headers(rows: TokenRows, known: Known) -> Ints:
    """The places at which the header of an answer begins."""
    size = len(known.header)
    if len(rows.ids) < size:
        return np.empty(0, np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(rows.ids, size)
    starts = np.flatnonzero((windows == np.asarray(known.header)).all(axis=1))
    is_in_a_row = rows.row_of[starts] == rows.row_of[starts + size - 1]
    return np.asarray(starts[is_in_a_row])


# ---------------------------------------------------------------------------------------- lengths


def cut(rows: TokenRows, known: Known) -> Cases:
    """Rows that are longer than a trainer's default."""
    is_long = rows.sizes > DEFAULT_MAX
    last = rows.last(rows.trained)
    first = rows.first(rows.trained)
    tally = {
        "lose the end of what is trained": int((is_long & (last >= DEFAULT_MAX)).sum()),
        "lose all that is trained": int((is_long & (first >= DEFAULT_MAX)).sum()),
    }
    cases = _whole_rows(rows, known, is_long)
    return Cases(cases.count, cases.of, cases.example, tally)


def overwritten(rows: TokenRows, known: Known) -> Cases:
    """Tokens that are not trained, and that a collator of language models would train."""
    is_word = rows.attended & (rows.ids != (-1 if known.pad is None else known.pad))
    return _places(rows, known, np.flatnonzero(is_word & ~rows.trained), len(rows.ids))


# ---------------------------------------------------------------------------------------- results


def _rows(rows: TokenRows, known: Known, is_case: Bools) -> Cases:
    """The rows with tokens that are a case."""
    at = np.flatnonzero(is_case)
    count = len(np.unique(rows.row_of[at]))
    return Cases(count, len(rows), _example(rows, known, int(at[0])) if count else None)


def _whole_rows(rows: TokenRows, known: Known, is_case: Bools) -> Cases:
    """The rows that are a case as a whole."""
    cases = np.flatnonzero(is_case & (rows.sizes > 0))
    example = _example(rows, known, int(rows.offsets[cases[0]])) if len(cases) else None
    return Cases(len(cases), len(rows), example)


def _places(rows: TokenRows, known: Known, at: Ints, of: int) -> Cases:
    """Tokens that are a case each."""
    return Cases(len(at), of, _example(rows, known, int(at[0])) if len(at) else None)


def _example(rows: TokenRows, known: Known, at: int) -> Example:
    row = int(rows.row_of[at])
    start, end = int(rows.offsets[row]), int(rows.offsets[row + 1])
    before = _words(rows.ids[max(start, at - _SHOWN) : at], known)
    after = _words(rows.ids[at : min(end, at + _SHOWN)], known)
    return Example(rows.names[row], rows.places[row], excerpt(before + after, len(before)))


def _words(ids: Ints, known: Known) -> str:
    words: Sequence[int] = ids.tolist()
    return known.words(words)
