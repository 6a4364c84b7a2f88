"""Redaction: secrets and personal data in messages, replaced by placeholders or pointed out.

Looked at are words, reasoning, calls of tools and their ids, names, the tools that are offered and
the variables for a template; JSON stays JSON.

`replace` writes `<EMAIL_1>` in place of an address. Within a group (a tree, the pieces of one
conversation) the same value has the same number, and numbers follow the order of the messages, so
that an answer still speaks of the address that was asked about. A key that was found is
replaced wherever it stands in the group. `label` changes nothing and says what a message holds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import polars as pl
from pydantic import Field

from chatdata.core.config import Given, Strict
from chatdata.steps import secrets
from chatdata.steps.entries import SecretEntry
from chatdata.steps.figures import Counts, add_counts
from chatdata.steps.phones import Countries, chosen
from chatdata.steps.secrets import KINDS, Finding, Kind

KEY = "secrets"  # the key of the manifest that has what was found


@dataclass(frozen=True, slots=True)
class Secrets:
    """How many secrets were found. `by_kind`: messages that hold some, number found and masked."""

    by_kind: Counts = field(default_factory=dict)

    def __add__(self, more: Secrets) -> Secrets:
        """What was found in both."""
        return Secrets(add_counts(self.by_kind, more.by_kind))

    def entry(self) -> dict[str, SecretEntry]:
        """What the manifest holds, by kind, in an order that no record decides."""
        counted = [kind for kind in KINDS if kind in self.by_kind]
        return {kind: SecretEntry(**self.by_kind[kind]) for kind in counted}


class Redact(Strict):
    """The `redact` of a recipe: which kinds are replaced by placeholders.

    National phone numbers are those of `countries`; a recipe fills them in by its languages.
    """

    kinds: Annotated[list[Kind], Given] = Field(default=list(KINDS))
    countries: Countries | None = None


def replace(
    messages: pl.DataFrame, kinds: Sequence[Kind], countries: Countries = "all"
) -> tuple[pl.DataFrame, Secrets]:
    """The messages with placeholders in place of secrets, and how many were found."""
    pieces = _pieces(messages)
    by_text = _by_text(pieces, kinds, countries)
    if not by_text:
        return messages, Secrets()
    changed, seen = dict[_Place, str](), dict[int, list[Finding]]()
    for together in _by_group(messages, pieces, by_text):
        texts = together["text"].to_list()
        searched = zip(together["searched"], texts, strict=True)
        held = _in_group(texts, [by_text.get(text, []) for text in searched])
        numbers = _numbers(held)
        places = together.select("row", "part", "leaf").iter_rows()
        changed |= {
            place: _written(text, findings, numbers)
            for place, text, findings in zip(places, texts, held, strict=True)
            if findings
        }
        _note(seen, together, held)
    return _with_changes(messages, changed), count(seen.values(), masked=True)


def _by_group(
    messages: pl.DataFrame, pieces: pl.DataFrame, by_text: Mapping[_Searched, list[Finding]]
) -> list[pl.DataFrame]:
    """The texts of each group that holds a finding, in the order of its messages."""
    order = [name for name in _ORDER if name in messages.columns]
    rows = messages.with_row_index("row").select("row", *order)
    holds = pl.col("searched").is_in([searched for searched, _ in by_text])
    holding = rows.filter(pl.col("row").is_in(pieces.filter(holds)["row"].implode()))["group"]
    rows = rows.filter(pl.col("group").is_in(holding.implode()))
    ordered = pieces.join(rows, on="row").sort(*order, "part", "leaf")
    return ordered.partition_by("group", maintain_order=True)


_ORDER = ("group", "conversation", "position", "created", "message", "content")


def _note(seen: dict[int, list[Finding]], pieces: pl.DataFrame, held: list[list[Finding]]) -> None:
    """Notes the findings by message; those in what all messages of a conversation repeat, once."""
    for row, counts, findings in zip(pieces["row"], pieces["counts"], held, strict=True):
        if counts:
            seen.setdefault(row, []).extend(findings)


# ------------------------------------------------------------------------------- texts of a message

# What a message says, in the order in which it is read. Of those that are JSON, each string is a
# text by itself, so that what is written in its place leaves JSON.
_PARTS = ("variables", "tools", "content", "reasoning", "tool_calls", "tool_call_id", "name")
_JSON = ("variables", "tools", "tool_calls")
_REPEATED = ("variables", "tools")  # in all messages of a conversation
_Place = tuple[int, int, int]  # a message, a part of it, a text in that part
_Searched = tuple[str, str]  # a text with the key before it, and alone
_PIECES = {
    "row": pl.UInt32,
    "part": pl.Int64,
    "leaf": pl.Int64,
    "searched": pl.String,  # the text, with the key before it that may say what it is
    "text": pl.String,
    "counts": pl.Boolean,
}


def _pieces(messages: pl.DataFrame) -> pl.DataFrame:
    """A row for each text of the messages: words, thoughts, strings of calls and of tools."""
    pieces = [_pieces_of(messages, number, name) for number, name in enumerate(_PARTS)]
    return pl.concat(pieces)


def _pieces_of(messages: pl.DataFrame, number: int, name: str) -> pl.DataFrame:
    rows = messages.with_row_index("row").filter(pl.col(name).is_not_null())
    if rows.is_empty():
        return pl.DataFrame(schema=_PIECES)
    part = pl.lit(number, pl.Int64)
    if name not in _JSON:
        text = pl.col(name)
        # An id is searched as it is in its call, so that both are replaced, or neither.
        searched = pl.format('id: "{}"', name) if name == "tool_call_id" else text
        zero, yes = pl.lit(0, pl.Int64), pl.lit(value=True)
        return rows.select("row", part=part, leaf=zero, searched=searched, text=text, counts=yes)
    leaves = [(text, list(_leaves(json.loads(text)))) for text in rows[name].unique()]
    table = pl.DataFrame(
        [(text, leaf, *words) for text, words_of in leaves for leaf, words in enumerate(words_of)],
        schema={name: pl.String, "leaf": pl.Int64, "searched": pl.String, "text": pl.String},
        orient="row",
    )
    is_first = pl.col("conversation").is_first_distinct()
    counts = is_first if name in _REPEATED else pl.lit(value=True)
    rows = rows.select("row", name, counts=counts)
    pieces = rows.join(table, on=name).with_columns(part=part)
    return pieces.select(_PIECES.keys())


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Yields the keys, strings and whole numbers of a JSON value: as searched, and as a text."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield name, name
            yield from _leaves(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, key)
    elif isinstance(value, str | int) and not isinstance(value, bool):
        yield f'{key}: "{value}"' if key else str(value), str(value)


def _rebuilt(value: object, texts: Iterator[str]) -> object:
    """A JSON value with texts in place of its keys, strings and whole numbers, in their order."""
    if isinstance(value, dict):
        return {next(texts): _rebuilt(item, texts) for item in value.values()}
    if isinstance(value, list):
        return [_rebuilt(item, texts) for item in value]
    if isinstance(value, str | int) and not isinstance(value, bool):
        text = next(texts)
        return value if text == str(value) else text
    return value


def _with_changes(messages: pl.DataFrame, changed: Mapping[_Place, str]) -> pl.DataFrame:
    """The messages with new texts in the places of some."""
    for number, name in enumerate(_PARTS):
        by_row: dict[int, dict[int, str]] = {}
        for (row, part, leaf), text in changed.items():
            if part == number:
                by_row.setdefault(row, {})[leaf] = text
        if by_row:
            values = messages[name].gather(list(by_row))
            write = _write_json if name in _JSON else _write_text
            new = [write(old, texts) for old, texts in zip(values, by_row.values(), strict=True)]
            messages = messages.with_columns(messages[name].scatter(list(by_row), new))
    return messages


def _write_text(old: str, texts: Mapping[int, str]) -> str:
    return texts[0]


def _write_json(old: str, texts: Mapping[int, str]) -> str:
    value = json.loads(old)
    every = [texts.get(leaf, text) for leaf, (_, text) in enumerate(_leaves(value))]
    return json.dumps(_rebuilt(value, iter(every)), ensure_ascii=False)


# ----------------------------------------------------------------------------------------- findings


def _by_text(
    pieces: pl.DataFrame, kinds: Sequence[Kind], countries: Countries
) -> dict[_Searched, list[Finding]]:
    """What the distinct texts hold of these kinds, by the text as it is searched and alone."""
    distinct = pieces.select("searched", "text").unique(maintain_order=True)
    by_text = {}
    for number, findings in secrets.find(distinct["searched"], chosen(countries)).items():
        searched, text = distinct.row(number)
        before = 0 if searched == text else len(searched) - len(text) - 1
        moved = (_moved(finding, before) for finding in findings if finding.kind in kinds)
        within = [new for new in moved if new.start >= 0 and new.end <= len(text)]
        by_text[searched, text] = within
    return {searched: findings for searched, findings in by_text.items() if findings}


def _moved(finding: Finding, before: int) -> Finding:
    return finding._replace(start=finding.start - before, end=finding.end - before)


def _in_group(texts: Sequence[str], by_text: Sequence[Sequence[Finding]]) -> list[list[Finding]]:
    """What each text of a group holds, keys that other texts gave away among it."""
    held = [list(findings) for findings in by_text]
    keys = {finding.value for findings in held for finding in findings if finding.kind == "key"}
    for number, again in secrets.occurrences(texts, keys).items():
        by_key = sorted(again, key=lambda key: (key.value, key.start))
        held[number] += secrets.apart(texts[number], held[number], by_key)
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


def label(
    messages: pl.DataFrame, kinds: Sequence[Kind], countries: Countries = "all"
) -> tuple[pl.DataFrame, Secrets]:
    """Adds `secret` to messages: what a message holds and where, null where nothing."""
    pieces = _pieces(messages)
    by_text = _by_text(pieces, kinds, countries)
    holding = pieces.filter(pl.col("searched").is_in([searched for searched, _ in by_text]))
    seen, words = dict[int, list[Finding]](), dict[int, str]()
    for row, part, _, searched, text, counts in holding.sort("row", "part", "leaf").iter_rows():
        findings = by_text.get((searched, text), [])
        if findings:
            words.setdefault(row, _words(findings, part))
            seen.setdefault(row, []).extend(findings if counts else [])
    table = pl.DataFrame({"row": words.keys(), "secret": words.values()}, _WORDS)
    labelled = messages.with_row_index("row").join(
        table, on="row", how="left", maintain_order="left"
    )
    return labelled.drop("row"), count(seen.values(), masked=False)


_WORDS = {"row": pl.UInt32, "secret": pl.String}
_PLACES = (
    "in the variables",
    "in the tools",
    "",
    "in its reasoning",
    "in its calls of tools",
    "in the id of its call",
    "in its name",
)


def _words(findings: Sequence[Finding], part: int) -> str:
    """What a part of a message holds, in words that give nothing away."""
    first = findings[0]
    more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
    return f"{first.kind} {_PLACES[part] or f'at character {first.start}'}{more}"


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
