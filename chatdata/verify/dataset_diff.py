"""The difference of two built folders: of their rows, by id, and of their manifests.

No texts are held in memory: the few rows that are shown as examples are read again.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from chatdata.core import html
from chatdata.core.hashing import hash_column
from chatdata.dataset import manifest, manifest_diff, reader, row_batches
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.manifest_diff import Changes
from chatdata.dataset.rows import words_of
from chatdata.verify import pairs, row_changes
from chatdata.verify.row_changes import KINDS

_CONTEXT, _MOST_WORDS = 12, 400  # words before the first difference, and from there on


class Word(NamedTuple):
    """A stretch of a turn: kept (`=`), removed (`-`) or added (`+`)."""

    sign: str
    text: str


@dataclass(frozen=True, slots=True)
class Example:
    """A row with other messages: the first turn that differs, and its words."""

    id: str
    turn: int
    role: str
    words: list[Word]


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two folders. Counts are of conversations."""

    before: dict[str, Any]  # name, version, content_hash, rows, tokens, trained_tokens
    after: dict[str, Any]
    rows: dict[str, int]  # added, removed, changed, the_same, facts, retokenised, relabelled
    moved: dict[str, int]  # "train → test"
    sources: list[dict[str, Any]]  # source, before, after, added, removed, changed
    removed_because: dict[str, int]  # by the reason in the second folder's ledger
    added_because: dict[str, int]  # by the reason in the first folder's ledger
    changes: Changes
    pairs: dict[str, int]  # added, removed, changed, the_same; nothing where neither has pairs
    renders: dict[str, dict[str, int]]  # of added renderings that both have: counts like `rows`
    added: list[str]  # examples
    removed: list[str]
    changed: list[Example]

    def as_json(self) -> dict[str, Any]:
        """The difference as plain values."""
        return asdict(self)

    def _repr_html_(self) -> str:
        """What differs, as notebooks show it: sides, counts, reasons, words that changed."""
        sides = [(key, self.before[key], self.after[key]) for key in self.before]
        counts = [*self.rows.items(), *self.moved.items()]
        reasons = [("removed", *item) for item in self.removed_because.items()]
        reasons += [("added", *item) for item in self.added_because.items()]
        words = [(e.id, e.role, "".join(map(_signed, e.words))) for e in self.changed]
        return "".join(
            (
                html.table(("", "before", "after"), sides),
                html.table(("conversations", "number"), counts),
                html.table(("", "because", "number"), reasons) if reasons else "",
                html.table(("changed", "role", "words"), words) if words else "",
            )
        )


def _signed(word: Word) -> str:
    """A stretch of a turn as the command line writes it without colours."""
    marks = {"-": ("[-", "-]"), "+": ("{+", "+}")}
    before, behind = marks.get(word.sign, ("", ""))
    return f"{before}{word.text}{behind}"


def between(before: Path, after: Path, examples: int = 3) -> Difference:
    """The difference of two folders, with a few examples, chosen by a hash of their ids.

    Of the rows, `changed` have other messages, `facts` have another group, source or language,
    `retokenised` have the same messages and other token ids, and `relabelled` have the same token
    ids and other labels. Raises a ChatdataError where a folder is not a finished build, or its
    manifest is not whole.
    """
    return compared(before, after, examples)[0]


def compared(before: Path, after: Path, examples: int = 3) -> tuple[Difference, pl.DataFrame]:
    """The difference of two folders as `between` gives it, and the rows that it counts, as
    `row_changes.side_by_side` gives them."""
    facts = manifest.read(before), manifest.read(after)
    rows = row_changes.side_by_side(before, after, *facts)
    added, removed, changed = (rows.filter(KINDS[name]) for name in ("added", "removed", "changed"))
    difference = Difference(
        _about(facts[0]),
        _about(facts[1]),
        row_changes.counts(rows),
        _moved(rows),
        _sources(rows),
        _because(removed, after),
        _because(added, before),
        manifest_diff.between(*facts),
        _paired(before, after, *facts),
        dict(_rendered(before, after, *facts)),
        some(added, examples),
        some(removed, examples),
        _examples(some(changed, examples), before, after),
    )
    return difference, rows


def _about(facts: Manifest) -> dict[str, Any]:
    figures = ("token_rows", "tokens", "trained_tokens")
    return {
        "name": facts.name,
        "version": facts.version,
        "content_hash": facts.content_hash,
        "rows": facts.splits.total("rows"),
        **{key: getattr(facts.render, key) if facts.render else None for key in figures},
    }


def _paired(before: Path, after: Path, old: Manifest, new: Manifest) -> dict[str, int]:
    """Counts of pairs of ranked answers; a pair of another split is changed."""
    if old.pairs is None and new.pairs is None:
        return {}
    left, right = (dict(pairs.digests(*of)) for of in ((before, old), (after, new)))
    same = sum(left[id] == right[id] for id in left.keys() & right.keys())
    return {
        "added": len(right.keys() - left.keys()),
        "removed": len(left.keys() - right.keys()),
        "changed": len(left.keys() & right.keys()) - same,
        "the_same": same,
    }


def _rendered(
    before: Path, after: Path, old: Manifest, new: Manifest
) -> Iterator[tuple[str, dict[str, int]]]:
    """Yields the name of each added rendering that both folders have, and counts of its
    conversations."""
    for name in (name for name in old.renders if name in new.renders):
        left, right = _rendered_index(before, old, name), _rendered_index(after, new, name)
        rows = left.join(right, on="id", how="inner", suffix="_after")
        ids, labels = (pl.col(key) == pl.col(f"{key}_after") for key in ("ids", "labels"))
        yield (
            name,
            {
                "added": right.height - rows.height,
                "removed": left.height - rows.height,
                "the_same": rows.filter(ids, labels).height,
                "retokenised": rows.filter(ids.not_()).height,
                "relabelled": rows.filter(ids, labels.not_()).height,
            },
        )


def _rendered_index(folder: Path, facts: Manifest, rendering: str) -> pl.DataFrame:
    schema = {name: row_changes.INDEX[name] for name in ("id", "ids", "labels")}
    frames = [pl.DataFrame(schema=schema)]
    for rows in row_batches.read_added(folder, facts, rendering):
        digests = row_changes.token_digests(rows)
        columns = {"id": rows.messages["id"].to_pylist(), **digests}
        frames.append(pl.DataFrame({name: columns[name] for name in schema}, schema=schema))
    return pl.concat(frames)


def _moved(rows: pl.DataFrame) -> dict[str, int]:
    moved = rows.filter(KINDS["moved"])
    counts = moved.group_by("split", "split_after").len().sort("split", "split_after")
    return {f"{old} → {new}": number for old, new, number in counts.iter_rows()}


def _sources(rows: pl.DataFrame) -> list[dict[str, Any]]:
    named = rows.with_columns(source=pl.coalesce("source_after", "source"))
    statuses = {name: (pl.col("status") == name).sum() for name in ("added", "removed", "changed")}
    return (
        named.group_by("source")
        .agg(
            before=pl.col("messages").is_not_null().sum(),
            after=pl.col("messages_after").is_not_null().sum(),
            **statuses,
        )
        .sort("source")
        .to_dicts()
    )


def _because(rows: pl.DataFrame, folder: Path) -> dict[str, int]:
    """The number of rows by reason, from the ledger of the folder that lacks them."""
    reasons = row_changes.reasons(rows, folder)["reason"].value_counts(name="rows")
    return dict(reasons.sort("rows", "reason", descending=[True, False]).iter_rows())


# ------------------------------------------------------------------------------------- examples


def some(rows: pl.DataFrame, number: int) -> list[str]:
    """The ids of some of the rows; a hash of the ids chooses them."""
    chosen = rows.with_columns(order=hash_column(rows["id"], "diff")).sort("order").head(number)
    return chosen["id"].to_list()


def _examples(ids: Sequence[str], before: Path, after: Path) -> list[Example]:
    old, new = (_messages(folder, ids) for folder in (before, after))
    return [_example(id, old[id], new[id]) for id in ids]


def _messages(folder: Path, ids: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    if not ids:
        return {}
    wanted = pl.col("id").is_in(list(ids))
    rows = reader.scan(folder, "messages").filter(wanted).select("id", "messages").collect()
    return dict(rows.iter_rows())


def _example(id: str, old: list[dict[str, str]], new: list[dict[str, str]]) -> Example:
    turn = _common(old, new)
    differing = [messages[turn] if turn < len(messages) else None for messages in (old, new)]
    roles = list(dict.fromkeys(message["role"] for message in differing if message))
    before, after = (words_of(message) if message else "" for message in differing)
    return Example(id, turn, " → ".join(roles), word_changes(before, after))


def word_changes(
    old: str, new: str, context: int = _CONTEXT, most: int = _MOST_WORDS
) -> list[Word]:
    """The words that turn the old text into the new: `context` words before the first difference,
    and `most` of either text from there on."""
    before, after = (re.findall(r"\w+|\s+|[^\w\s]", text) for text in (old, new))
    same = _common(before, after)
    start = max(0, same - context)
    before, after = (words[start : same + most] for words in (before, after))
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    changed: list[Word] = []
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            changed.append(Word("=", "".join(before[a:b])))
            continue
        changed += [Word("-", "".join(before[a:b]))] if b > a else []
        changed += [Word("+", "".join(after[c:d]))] if d > c else []
    return changed


def _common(before: Sequence[Any], after: Sequence[Any]) -> int:
    """The number of items with which both begin."""
    pairs = zip(before, after, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(before), len(after)))
