"""Checks of thoughts: in the column `reasoning`, and in tags in the words of answers."""

from __future__ import annotations

import re
from collections.abc import Callable

import polars as pl

from chatdata.verify.audit.findings import Cases, Example, excerpt
from chatdata.verify.audit.inputs import Messages
from chatdata.verify.audit.known import Known

_TAG = re.compile(r"<(/?)think(?:ing)?>|\[(/?)THINK\]")
_EMPTY = re.compile(r"<(think(?:ing)?)>\s*</\1>|\[THINK\]\s*\[/THINK\]")
_HINTS = ["think>", "thinking>", "THINK]"]
# Code, in which tags are quoted.
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)


def empty(batch: Messages, known: Known) -> Cases:
    """Answers with a thought that holds nothing."""
    return _answers(batch, is_empty)


def unbalanced(batch: Messages, known: Known) -> Cases:
    """Answers in which a thought is opened and not closed, or closed and not opened."""
    return _answers(batch, is_unbalanced)


def doubly_opened(batch: Messages, known: Known) -> Cases:
    """Answers in which a thought is opened within a thought, or beside `reasoning`."""
    return _answers(batch, is_doubly_opened)


def is_empty(words: str, reasoning: str | None) -> bool:
    """Whether an answer has a thought that holds nothing."""
    return (reasoning is not None and not reasoning.strip()) or bool(_EMPTY.search(words))


def is_unbalanced(words: str, reasoning: str | None) -> bool:
    """Whether an answer closes another number of thoughts than it opens, or closes first."""
    return not _is_doubled(words) and _depths(words)[-1:] not in ([], [0])


def is_doubly_opened(words: str, reasoning: str | None) -> bool:
    """Whether an answer opens a thought within a thought, or has `reasoning` and opens another."""
    begins_with_thought = bool(_TAG.match(words.lstrip()))
    return _is_doubled(words) or (bool(reasoning) and begins_with_thought)


def _is_doubled(words: str) -> bool:
    return max(_depths(words), default=0) > 1


def _depths(words: str) -> list[int]:
    """How deep in thoughts each tag leads; a tag that closes no thought is the last."""
    depths: list[int] = []
    depth = 0
    for tag in _TAG.finditer(words):
        depth += -1 if tag[1] or tag[2] else 1
        depths.append(depth)
        if depth < 0:
            break
    return depths


def _answers(batch: Messages, is_case: Callable[[str, str | None], bool]) -> Cases:
    """The answers that are a case."""
    is_answer = (pl.col("role") == "assistant").fill_null(False)
    rows = batch.rows.filter(is_answer)
    may_be = pl.col("reasoning").is_not_null() | pl.col("content").str.contains_any(_HINTS)
    example, count = None, 0
    for row in rows.filter(may_be.fill_null(False)).iter_rows(named=True):
        content = row["content"] or ""
        if is_case(_CODE.sub("", content), row["reasoning"]):
            count += 1
            example = example or _example(row["message"], row["where"], content)
    return Cases(count, rows.height, example)


def _example(message: str, where: str, content: str) -> Example:
    tag = _TAG.search(content)
    return Example(message, where, excerpt(content, tag.start() if tag else 0))
