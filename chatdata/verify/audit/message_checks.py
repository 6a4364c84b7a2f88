"""Checks of messages: who speaks when, and what is said.

Each function takes a batch of whole conversations and what is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl

from chatdata.steps import contamination, language
from chatdata.steps.secrets import Kind
from chatdata.verify.audit.findings import Cases, Example, excerpt
from chatdata.verify.audit.inputs import Messages
from chatdata.verify.audit.known import Known
from chatdata.verify.audit.token_checks import DEFAULT_MAX

_SECRETS: tuple[Kind, ...] = ("private_key", "key", "password")
_PERSONAL: tuple[Kind, ...] = ("email", "phone", "card")
_SYSTEM = ("system", "developer")
_BEGINNING = 8 * DEFAULT_MAX  # characters of a conversation, which are enough tokens as a rule


# ------------------------------------------------------------------------------- what was read


def unreadable(batch: Messages, known: Known) -> Cases:
    """Records that are no conversation, or that are damaged."""
    problems = batch.problems
    kinds = Counter(problem.reason for problem in problems)
    first = next(iter(problems), None)
    example = Example(first.id, first.id, excerpt(first.detail)) if first else None
    return Cases(len(problems), batch.records, example, dict(kinds))


def not_carried(batch: Messages, known: Known) -> Cases:
    """Messages with a part that the source cannot carry, or a role that it does not know."""
    is_case = pl.col("note").is_not_null() | pl.col("role").is_null()
    return _messages(batch, is_case, shown="note")


# ------------------------------------------------------------------------------- who speaks when


def empty_answer(batch: Messages, known: Known) -> Cases:
    """Answers without a word, a thought or a call."""
    is_silent = pl.lit(batch.spoken.str.strip_chars() == "")
    is_answer = pl.col("role") == "assistant"
    cases = _messages(batch, is_answer & is_silent & pl.col("note").is_null())
    return Cases(cases.count, _number(batch.rows, is_answer), cases.example)


def first_is_answer(batch: Messages, known: Known) -> Cases:
    """Conversations that the assistant begins."""
    return _talks(batch, (pl.col("position") == 0) & (pl.col("role") == "assistant"))


def last_is_no_answer(batch: Messages, known: Known) -> Cases:
    """Conversations whose last turn is not the assistant's."""
    is_last = pl.col("talk") != pl.col("talk").shift(-1).fill_null(0)
    return _talks(batch, is_last & pl.col("role").ne_missing("assistant"))


def equal_roles(batch: Messages, known: Known) -> Cases:
    """Conversations in which the user or the assistant speaks twice in a row."""
    is_next = pl.col("talk") == pl.col("talk").shift(1)
    is_speaker = pl.col("role").is_in(["user", "assistant"])
    return _talks(batch, is_next & is_speaker & (pl.col("role") == pl.col("role").shift(1)))


def late_system(batch: Messages, known: Known) -> Cases:
    """Conversations with a system turn behind a turn of anybody else."""
    is_system = pl.col("role").is_in(_SYSTEM)
    follows = pl.col("talk") == pl.col("talk").shift(1)
    return _talks(batch, is_system & follows & is_system.shift(1).not_())


def nothing_trained(batch: Messages, known: Known) -> Cases:
    """Conversations without an answer that may be trained."""
    is_trained = ((pl.col("role") == "assistant") & pl.col("train")).fill_null(False)
    is_first = pl.col("position") == 0
    return _talks(batch, is_first & is_trained.any().over("talk").not_())


# ---------------------------------------------------------------------------------- what is said


def forged_control(batch: Messages, known: Known) -> Cases:
    """Messages whose words hold control tokens, which a template's text does not tell apart.

    Where the rows of tokens are audited too, these say what became of the words.
    """
    if batch.has_rows:
        return Cases(why="the rows of tokens hold these words as text")
    pattern = known.control
    texts = batch.spoken
    hint = texts.str.contains_any(known.control_hints)
    kinds: Counter[str] = Counter()
    example, count = None, 0
    for row in hint.fill_null(False).arg_true():
        if match := pattern.search(texts[row]):
            count += 1
            kinds[match[0].strip()] += 1
            example = example or _example(batch, row, texts[row], match.start())
    return Cases(count, batch.rows.height, example, dict(kinds))


def held_secrets(batch: Messages, known: Known) -> Cases:
    """Messages that hold keys or passwords."""
    return _held(batch, _SECRETS)


def personal_data(batch: Messages, known: Known) -> Cases:
    """Messages that hold addresses, phone or card numbers."""
    return _held(batch, _PERSONAL)


def _held(batch: Messages, kinds: Sequence[Kind]) -> Cases:
    """The messages that hold something of these kinds; the example names the kind alone."""
    held: Counter[str] = Counter()
    example, count = None, 0
    for row, findings in batch.secrets.items():
        if meant := [finding for finding in findings if finding.kind in kinds]:
            count += 1
            held.update({finding.kind for finding in meant})
            example = example or _example(batch, row, batch.spoken[row], meant[0].start)
    return Cases(count, batch.rows.height, example, dict(held))


def languages(batch: Messages, known: Known) -> Cases:
    """Messages by language."""
    texts = batch.rows["content"].drop_nulls()
    codes = language.detect(texts)["lang"].drop_nulls()
    kinds = dict(codes.value_counts(sort=True).iter_rows())
    return Cases(len(codes), len(texts), None, kinds)


def evaluation_overlap(batch: Messages, known: Known) -> Cases:
    """Messages that hold a question of an evaluation set."""
    assert known.evaluation is not None
    labelled, _ = contamination.label(batch.rows, known.evaluation)
    labelled_batch = Messages(labelled, batch.records, batch.problems)
    return _messages(labelled_batch, pl.col("overlap").is_not_null(), shown="overlap")


def cut(batch: Messages, known: Known) -> Cases:
    """Conversations whose words alone are more tokens than a trainer's default."""
    if batch.has_rows:
        return Cases(why="the rows of tokens are looked at")
    spoken = batch.rows.select("talk", "position", spoken=batch.spoken.fill_null(""))
    texts = spoken.group_by("talk", maintain_order=True).agg(pl.col("spoken").str.join("\n"))
    is_long = texts.select("talk", is_long=_are_long(texts["spoken"].to_list(), known))
    rows = batch.rows.join(is_long, on="talk", how="left", maintain_order="left")
    is_first = pl.col("position") == 0
    return _talks(Messages(rows, batch.records, []), is_first & pl.col("is_long"))


def _are_long(texts: list[str], known: Known) -> pl.Series:
    """Whether texts are more tokens than a trainer's default.

    The beginning of a long text says so almost always, and the rest need not be tokenised.
    """
    sizes = known.sizes([text[:_BEGINNING] for text in texts])
    doubtful = np.flatnonzero(
        (sizes <= DEFAULT_MAX) & np.asarray([len(text) > _BEGINNING for text in texts], np.bool_)
    )
    sizes[doubtful] = known.sizes([texts[at] for at in doubtful])
    return pl.Series(sizes > DEFAULT_MAX)


# --------------------------------------------------------------------------------------- results


def _number(rows: pl.DataFrame, condition: pl.Expr) -> int:
    return int(rows.select(condition.fill_null(False).sum()).item())


def _messages(batch: Messages, is_case: pl.Expr, shown: str = "content") -> Cases:
    """The messages that are a case."""
    at = batch.rows.select(is_case.fill_null(False).arg_true()).to_series()
    example = _example(batch, at[0], batch.rows[shown][at[0]] or "") if len(at) else None
    return Cases(len(at), batch.rows.height, example)


def _talks(batch: Messages, is_case: pl.Expr) -> Cases:
    """The conversations with a message that is a case."""
    rows = batch.rows
    at = rows.select(is_case.fill_null(False).arg_true()).to_series()
    example = _example(batch, at[0], rows["content"][at[0]] or "") if len(at) else None
    return Cases(rows["talk"][at].n_unique(), rows["talk"].n_unique(), example)


def _example(batch: Messages, row: int, text: str, at: int = 0) -> Example:
    return Example(batch.rows["message"][row], batch.rows["where"][row], excerpt(text, at))
