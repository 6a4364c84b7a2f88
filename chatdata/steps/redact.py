"""Redaction: secrets and personal data in messages, replaced by placeholders or pointed out.

`replace` writes `<EMAIL_1>` in place of an address. Within a group (a tree, the pieces of one
conversation) the same value has the same number, and numbers follow the order of the messages, so
that an answer still speaks of the address that was asked about. A key that was found is
replaced wherever it stands in the group. `label` changes nothing and says what a message holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
from pydantic import Field

from chatdata.core.config import Strict
from chatdata.core.document import Number, Part
from chatdata.steps import secrets
from chatdata.steps.figures import Counts, add_counts
from chatdata.steps.secrets import KINDS, Finding, Kind

KEY = "secrets"  # the key of the manifest that has what was found


class SecretEntry(Part):
    """What the manifest holds of a kind: messages that hold some, and how many found, masked."""

    messages: Number
    found: Number
    masked: Number


@dataclass(frozen=True, slots=True)
class Secrets:
    """How many secrets were found. `by_kind`: messages that hold some, number found and masked."""

    by_kind: Counts = field(default_factory=dict)

    def __add__(self, more: Secrets) -> Secrets:
        """What was found in both."""
        return Secrets(add_counts(self.by_kind, more.by_kind))

    def entry(self) -> dict[str, SecretEntry]:
        """What the manifest holds, by kind."""
        return {kind: SecretEntry(**counts) for kind, counts in self.by_kind.items()}


class Redact(Strict):
    """The `redact` of a recipe: which kinds are replaced by placeholders."""

    kinds: list[Kind] = Field(default=list(KINDS))


def replace(messages: pl.DataFrame, kinds: Sequence[Kind]) -> tuple[pl.DataFrame, Secrets]:
    """The messages with placeholders in place of secrets, and how many were found."""
    by_content = _by_content(messages, kinds)
    if not by_content:
        return messages, Secrets()
    rows = messages.with_row_index("row").filter(pl.col("content").is_not_null())
    holding = rows.filter(pl.col("content").is_in(list(by_content)))["group"]
    order = [name for name in _ORDER if name in rows.columns]
    rows = rows.filter(pl.col("group").is_in(holding.implode())).sort(order)
    changed, seen = dict[int, str](), list[list[Finding]]()
    for together in rows.select("group", "row", "content").partition_by(
        "group", maintain_order=True
    ):
        findings = _in_group(together["content"].to_list(), by_content)
        numbers = _numbers(findings)
        seen += findings
        for row, content, held in zip(together["row"], together["content"], findings, strict=True):
            changed[row] = _written(content, held, numbers)
    table = pl.DataFrame({"row": changed.keys(), "new": changed.values()}, _CHANGES)
    replaced = messages.with_row_index("row").join(table, on="row", how="left")
    content = pl.coalesce("new", "content")
    replaced = replaced.sort("row").with_columns(content=content).select(messages.columns)
    return replaced, count(seen, masked=True)


_ORDER = ("group", "conversation", "position", "created", "message", "content")
_CHANGES = {"row": pl.UInt32, "new": pl.String}


def _by_content(messages: pl.DataFrame, kinds: Sequence[Kind]) -> dict[str, list[Finding]]:
    """What the distinct contents hold of these kinds."""
    contents = messages["content"].drop_nulls().unique(maintain_order=True)
    by_content = {
        contents[number]: [finding for finding in findings if finding.kind in kinds]
        for number, findings in secrets.find(contents).items()
    }
    return {content: findings for content, findings in by_content.items() if findings}


def _in_group(
    contents: Sequence[str], by_content: Mapping[str, list[Finding]]
) -> list[list[Finding]]:
    """What each message of a group holds, keys that other messages gave away among it."""
    held = [list(by_content.get(content, [])) for content in contents]
    keys = sorted(
        {finding.value for findings in held for finding in findings if finding.kind == "key"}
    )
    for content, findings in zip(contents, held, strict=True):
        for key in keys:
            again = secrets.occurrences(content, "key", key)
            findings += [finding for finding in again if not secrets.overlaps(finding, findings)]
    return [sorted(findings) for findings in held]


def _numbers(findings: Sequence[Sequence[Finding]]) -> dict[tuple[Kind, str], int]:
    """The number of each value, from 1 for each kind, in the order in which they come up."""
    values = dict.fromkeys((finding.kind, finding.value) for held in findings for finding in held)
    last = Counter[Kind]()
    numbers = {}
    for kind, value in values:
        last[kind] += 1
        numbers[kind, value] = last[kind]
    return numbers


def _written(
    content: str, findings: Sequence[Finding], numbers: Mapping[tuple[Kind, str], int]
) -> str:
    """A content with placeholders in place of what it holds."""
    pieces, end = [], 0
    for finding in findings:
        placeholder = f"<{finding.kind.upper()}_{numbers[finding.kind, finding.value]}>"
        pieces += [content[end : finding.start], placeholder]
        end = finding.end
    return "".join([*pieces, content[end:]])


def label(messages: pl.DataFrame, kinds: Sequence[Kind]) -> tuple[pl.DataFrame, Secrets]:
    """Adds `secret` to messages: what a message holds and where, null where nothing."""
    by_content = _by_content(messages, kinds)
    words = {content: _words(findings) for content, findings in by_content.items()}
    content = pl.col("content")
    labelled = messages.with_columns(
        secret=content.replace_strict(words, default=None, return_dtype=pl.String)
    )
    hit = labelled.filter(pl.col("secret").is_not_null())["content"]
    return labelled, count((by_content[content] for content in hit), masked=False)


def _words(findings: Sequence[Finding]) -> str:
    """What a message holds, in words that give nothing away."""
    first = findings[0]
    more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
    return f"{first.kind} at character {first.start}{more}"


def count(findings: Iterable[Sequence[Finding]], *, masked: bool) -> Secrets:
    """How many messages hold each kind, and how often. `findings` has an entry a message."""
    messages, number = Counter[Kind](), Counter[Kind]()
    for held in findings:
        kinds = [finding.kind for finding in held]
        messages.update(dict.fromkeys(kinds, 1))
        number.update(kinds)
    return Secrets(
        {
            kind: {"messages": times, "found": number[kind], "masked": number[kind] * masked}
            for kind, times in messages.items()
        }
    )
