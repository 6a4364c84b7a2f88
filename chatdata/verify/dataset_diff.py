"""What differs between two built folders: rows by id, and everything that their manifests say.

Texts are not held: of each row its id and digests are, and those of both folders are joined. The
few rows that are shown are then read again.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import polars as pl

from chatdata.core.hashing import hash_column
from chatdata.dataset import manifest, manifest_diff, reader
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.manifest_diff import Changes
from chatdata.dataset.rows import Rows
from chatdata.verify import recount

ABSENT = "not among its conversations"  # what there is no outcome for in the other ledger
_CONTEXT, _MOST_WORDS = 12, 400  # words before the first that differs, and from there on
_INDEX: dict[str, pl.DataType | type[pl.DataType]] = {
    "id": pl.String,
    "split": pl.String,
    "source": pl.String,
    "facts": pl.Binary,  # digests: of group, source and lang,
    "said": pl.Binary,  # of the messages,
    "ids": pl.Binary,  # of the token ids,
    "labels": pl.Binary,  # and of the labels
}


class Word(NamedTuple):
    """A stretch of a turn: kept (`=`), removed (`-`) or added (`+`)."""

    sign: str
    text: str


@dataclass(frozen=True, slots=True)
class Example:
    """A row that says something else: its first turn that does, and how."""

    id: str
    turn: int
    role: str
    words: list[Word]


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two folders. Counts are of conversations."""

    before: dict[str, Any]  # name, version, content_hash, rows, tokens, trained_tokens
    after: dict[str, Any]
    rows: dict[str, int]  # added, removed, changed, the_same, facts, retokenised, relabelled
    moved: dict[str, int]  # "train → test"
    sources: list[dict[str, Any]]  # source, before, after, added, removed, changed
    removed_because: dict[str, int]  # what the ledger of the second says of them
    added_because: dict[str, int]  # what that of the first says
    changes: Changes
    added: list[str]  # examples
    removed: list[str]
    changed: list[Example]

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


def between(before: Path, after: Path, examples: int = 3) -> Difference:
    """What differs between two folders, with a few examples, chosen by a hash of their ids.

    `changed` are rows that say something else, `facts` those with another group, source or
    language, `retokenised` those that say the same in other tokens, and `relabelled` those with
    the same tokens of which others are trained. Raises a ChatdataError where one is no finished
    build, or has a manifest that is not whole.
    """
    facts = manifest.read(before), manifest.read(after)
    pairs = _pairs(before, after, *facts)
    added, removed = (pairs.filter(status=name) for name in ("added", "removed"))
    changed = pairs.filter(status="changed")
    return Difference(
        _about(facts[0]),
        _about(facts[1]),
        _counts(pairs),
        _moved(pairs),
        _sources(pairs),
        _because(removed, after),
        _because(added, before),
        manifest_diff.between(*facts),
        _some(added, examples),
        _some(removed, examples),
        _examples(_some(changed, examples), before, after),
    )


def _about(facts: Manifest) -> dict[str, Any]:
    figures = ("token_rows", "tokens", "trained_tokens")
    return {
        "name": facts.name,
        "version": facts.version,
        "content_hash": facts.content_hash,
        "rows": facts.splits.total("rows"),
        **{key: getattr(facts.render, key) if facts.render else None for key in figures},
    }


# ----------------------------------------------------------------------------------------- rows


def _pairs(before: Path, after: Path, old: Manifest, new: Manifest) -> pl.DataFrame:
    """The rows of both folders side by side, and what became of each: `status`."""
    one, other = _index(before, old), _index(after, new)
    pairs = one.join(other, on="id", how="full", coalesce=True, suffix="_after").sort("id")
    same = pl.col("said") == pl.col("said_after")
    status = (
        pl.when(pl.col("said").is_null())
        .then(pl.lit("added"))
        .when(pl.col("said_after").is_null())
        .then(pl.lit("removed"))
        .when(same)
        .then(pl.lit("kept"))
        .otherwise(pl.lit("changed"))
    )
    return pairs.with_columns(status=status)


def _index(folder: Path, facts: Manifest) -> pl.DataFrame:
    frames = [pl.DataFrame(schema=_INDEX)]
    for own in recount.batches(folder, facts):
        columns = own.messages.select(["id", "group", "source", "lang"]).to_pydict()
        said = own.messages["messages"].to_pylist()
        of_facts = zip(columns["group"], columns["source"], columns["lang"], strict=True)
        frames.append(
            pl.DataFrame(
                {
                    "id": columns["id"],
                    "split": own.splits,
                    "source": columns["source"],
                    "facts": [_digest(orjson.dumps(row)) for row in of_facts],
                    "said": [_digest(orjson.dumps(row)) for row in said],
                    **_token_digests(own),
                },
                schema=_INDEX,
            )
        )
    return pl.concat(frames)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _token_digests(own: Rows) -> dict[str, list[bytes | None]]:
    if own.tokens is None:
        nothing: list[bytes | None] = [None] * own.messages.num_rows
        return {"ids": nothing, "labels": nothing}
    digests: dict[str, list[bytes | None]] = {}
    for name, column in (("ids", "input_ids"), ("labels", "labels")):
        hashes = [hashlib.blake2b(digest_size=16) for _ in range(own.messages.num_rows)]
        own.update(hashes, column)
        digests[name] = [hash_.digest() for hash_ in hashes]
    return digests


def _counts(pairs: pl.DataFrame) -> dict[str, int]:
    kept = pairs.filter(status="kept")
    facts, ids, labels = (
        (pl.col(name) != pl.col(f"{name}_after")).fill_null(False)
        for name in ("facts", "ids", "labels")
    )
    return {
        **{name: pairs.filter(status=name).height for name in ("added", "removed", "changed")},
        "the_same": kept.filter(facts.not_(), ids.not_(), labels.not_()).height,
        "facts": pairs.filter(facts).height,
        "retokenised": kept.filter(ids).height,
        "relabelled": kept.filter(ids.not_(), labels).height,
    }


def _moved(pairs: pl.DataFrame) -> dict[str, int]:
    moved = pairs.filter(pl.col("split") != pl.col("split_after"))
    counts = moved.group_by("split", "split_after").len().sort("split", "split_after")
    return {f"{old} → {new}": number for old, new, number in counts.iter_rows()}


def _sources(pairs: pl.DataFrame) -> list[dict[str, Any]]:
    named = pairs.with_columns(source=pl.coalesce("source_after", "source"))
    statuses = {name: (pl.col("status") == name).sum() for name in ("added", "removed", "changed")}
    return (
        named.group_by("source")
        .agg(
            before=pl.col("said").is_not_null().sum(),
            after=pl.col("said_after").is_not_null().sum(),
            **statuses,
        )
        .sort("source")
        .to_dicts()
    )


def _because(rows: pl.DataFrame, folder: Path) -> dict[str, int]:
    """What the ledger of the folder that lacks these rows says of them, by reason."""
    if rows.is_empty():
        return {}
    conversations = reader.scan_ledger(folder).filter(pl.col("unit") == "conversation")
    outcomes = conversations.join(rows.lazy().select("id"), on="id", how="semi").collect()
    found = rows.select("id").join(outcomes.unique("id"), on="id", how="left")
    reasons = found["reason"].fill_null(ABSENT).value_counts(name="rows")
    return dict(reasons.sort("rows", "reason", descending=[True, False]).iter_rows())


# ------------------------------------------------------------------------------------- examples


def _some(rows: pl.DataFrame, number: int) -> list[str]:
    chosen = rows.with_columns(order=hash_column(rows["id"], "diff")).sort("order").head(number)
    return chosen["id"].to_list()


def _examples(ids: Sequence[str], before: Path, after: Path) -> list[Example]:
    old, new = (_said(folder, ids) for folder in (before, after))
    return [_example(id, old[id], new[id]) for id in ids]


def _said(folder: Path, ids: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    if not ids:
        return {}
    wanted = pl.col("id").is_in(list(ids))
    rows = reader.scan(folder, "messages").filter(wanted).select("id", "messages").collect()
    return dict(rows.iter_rows())


def _example(id: str, old: list[dict[str, str]], new: list[dict[str, str]]) -> Example:
    turn = _common(old, new)
    one, other = (own[turn] if turn < len(own) else None for own in (old, new))
    roles = list(dict.fromkeys(own["role"] for own in (one, other) if own))
    texts = [own["content"] if own else "" for own in (one, other)]
    return Example(id, turn, " → ".join(roles), word_changes(*texts))


def word_changes(old: str, new: str) -> list[Word]:
    """How one text becomes another, word by word, from a little before the first difference."""
    one, other = (re.findall(r"\w+|\s+|[^\w\s]", text) for text in (old, new))
    same = _common(one, other)
    start = max(0, same - _CONTEXT)
    one, other = (words[start : same + _MOST_WORDS] for words in (one, other))
    changed: list[Word] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if kind == "equal":
            changed.append(Word("=", "".join(one[a:b])))
            continue
        changed += [Word("-", "".join(one[a:b]))] if b > a else []
        changed += [Word("+", "".join(other[c:d]))] if d > c else []
    return changed


def _common(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many items both begin with."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
