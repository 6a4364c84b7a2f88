"""The rows of two built folders side by side, by id, and what became of each.

Only ids and digests are held in memory, no texts. Nothing else decides what a change is: the
difference of two folders counts these rows, and a page about the difference shows them.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from chatdata.core import ledger
from chatdata.dataset import reader, row_batches, row_digests
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.rows import Rows, message_keys, offered_tools, parts, variables, weights
from chatdata.dataset.schemas import OPTIONAL_KEYS

ABSENT = "not among its conversations"  # the reason of a row that the ledger does not name
INDEX: dict[str, pl.DataType | type[pl.DataType]] = {
    "id": pl.String,
    "split": pl.String,
    "source": pl.String,
    "facts": pl.Binary,  # digest of group, source and lang
    "messages": pl.Binary,  # digest
    "ids": pl.Binary,  # digest of the token ids
    "labels": pl.Binary,  # digest
    "flags": pl.Binary,  # digest of what may be learnt
}
# What a row may be, in the order of interest: a condition on the rows of `side_by_side`.
KINDS = {
    "changed": pl.col("status") == "changed",
    "added": pl.col("status") == "added",
    "removed": pl.col("status") == "removed",
    "relabelled": pl.col("is_relabelled"),
    "retokenised": pl.col("is_retokenised"),
    "facts": pl.col("has_facts"),
    "moved": pl.col("split") != pl.col("split_after"),
}


def side_by_side(before: Path, after: Path, old: Manifest, new: Manifest) -> pl.DataFrame:
    """The rows of both folders side by side, by id.

    `status` is added, removed, kept or changed, which is to have other messages. Of the kept,
    `is_retokenised` have other token ids, and `is_relabelled` have other labels for the same.
    `has_facts` is whether group, source or language differ.
    """
    left, right = _index(before, old), _index(after, new)
    rows = left.join(right, on="id", how="full", coalesce=True, suffix="_after").sort("id")
    status = (
        pl.when(pl.col("messages").is_null())
        .then(pl.lit("added"))
        .when(pl.col("messages_after").is_null())
        .then(pl.lit("removed"))
        .when(pl.col("messages") == pl.col("messages_after"))
        .then(pl.lit("kept"))
        .otherwise(pl.lit("changed"))
    )
    facts, ids, labels, flags = (
        (pl.col(name) != pl.col(f"{name}_after")).fill_null(False)
        for name in ("facts", "ids", "labels", "flags")
    )
    is_rendered = pl.col("labels").is_not_null() & pl.col("labels_after").is_not_null()
    labels = pl.when(is_rendered).then(labels).otherwise(flags)
    is_kept = pl.col("status") == "kept"
    return rows.with_columns(status=status).with_columns(
        has_facts=facts, is_retokenised=is_kept & ids, is_relabelled=is_kept & ids.not_() & labels
    )


def counts(rows: pl.DataFrame) -> dict[str, int]:
    """How many rows of `side_by_side` are of each kind, and how many are the same."""
    numbers = {name: rows.filter(KINDS[name]).height for name in KINDS if name != "moved"}
    differ = pl.any_horizontal("has_facts", "is_retokenised", "is_relabelled")
    same = rows.filter(differ.not_(), status="kept").height
    order = ("added", "removed", "changed", "the_same", "facts", "retokenised", "relabelled")
    return {name: {**numbers, "the_same": same}[name] for name in order}


def reasons(rows: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """The ids of the rows, each with its `reason` and `detail` in the ledger of a folder that lacks
    them."""
    columns = ("id", "reason", "detail")
    if rows.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    entries = reader.scan_ledger(folder)
    is_row = pl.col("unit").is_in(["conversation", ledger.REPEAT])
    # A path of a tree, whose last message is behind what was published, has a name of its own.
    path = pl.concat_str("conversation", "id", separator="/")
    ends = entries.filter(unit="message", reason=ledger.FORGOTTEN).with_columns(id=path)
    named = pl.concat([part.select(columns) for part in (entries.filter(is_row), ends)])
    outcomes = named.join(rows.lazy().select("id"), on="id", how="semi").collect()
    outcomes = outcomes.sort("id", maintain_order=True)
    first = outcomes.unique("id", keep="first", maintain_order=True)
    explained = rows.select("id").join(first, on="id", how="left", maintain_order="left")
    return explained.with_columns(pl.col("reason").fill_null(ABSENT))


def _index(folder: Path, facts: Manifest) -> pl.DataFrame:
    frames = [pl.DataFrame(schema=INDEX)]
    for rows in row_batches.read(folder, facts):
        columns = rows.messages.select(["id", "group", "source", "lang"]).to_pydict()
        messages = rows.messages["messages"].to_pylist()
        around = zip(offered_tools(rows.messages), variables(rows.messages), strict=True)
        words = [
            [*map(spoken, turns), *tools, *([given] if given else [])]
            for turns, (tools, given) in zip(messages, around, strict=True)
        ]
        origins = zip(columns["group"], columns["source"], columns["lang"], strict=True)
        frames.append(
            pl.DataFrame(
                {
                    "id": columns["id"],
                    "split": rows.splits,
                    "source": columns["source"],
                    "facts": [_digest(orjson.dumps(origin)) for origin in origins],
                    "messages": [_digest(orjson.dumps(turns)) for turns in words],
                    **token_digests(rows),
                },
                schema=INDEX,
            )
        )
    return pl.concat(frames)


_LEARNT = frozenset(["train", *OPTIONAL_KEYS])  # keys that say what may be learnt


def spoken(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message without what it does not have, which format 1 has no keys for.

    Whether the message may be learnt is compared by the labels.
    """
    return {k: v for k, v in message.items() if v is not None and k not in _LEARNT}


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def token_digests(rows: Rows) -> dict[str, list[bytes | None]]:
    """Digests of the token ids, the labels and what may be learnt, of each conversation."""
    flags = _flag_digests(rows)
    if rows.tokens is None:
        nothing: list[bytes | None] = [None] * rows.messages.num_rows
        return {"ids": nothing, "labels": nothing, "flags": flags}
    digests: dict[str, list[bytes | None]] = {"flags": flags}
    for name, column in (("ids", "input_ids"), ("labels", "labels")):
        hashes = [hashlib.blake2b(digest_size=16) for _ in range(rows.messages.num_rows)]
        row_digests.update(rows, hashes, column)
        if name == "labels":
            row_digests.update_weights(rows, hashes)
        digests[name] = [hash_.digest() for hash_ in hashes]
    return digests


def _flag_digests(rows: Rows) -> list[bytes | None]:
    """Digests of what may be learnt; format 1 does not say."""
    if "train" not in message_keys(rows.messages):
        return [None] * rows.messages.num_rows
    conversations = rows.messages["messages"].to_pylist()
    flags = [[turn["train"] for turn in turns] for turns in conversations]
    given = zip(flags, weights(rows.messages), parts(rows.messages), strict=True)
    return [_digest(orjson.dumps([*itertools.chain(*of_row)])) for of_row in given]
