"""Conversations of a built folder that are taken out while it is rendered again.

Published rows do not name their messages; the ledger says in which conversation each stands, and at
which turn, and to which conversation a piece was joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from chatdata.core import ledger
from chatdata.core.errors import OutputError
from chatdata.core.ledger import FORGOTTEN
from chatdata.dataset import reader, tables
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.tables import Table
from chatdata.steps.forgetting import ForgetList

_JOINED_TO = r"^to (.+), by (?:what both say|its number)$"
_SAME_AS = r"^the same as (.+)$"
_NAMES = ("id", "path", "lost_path")  # of a row of the ledger
_TURN = r"^turn (\d+)(?:;|$)"

# What is taken out: conversations and groups by their ids, messages as `CONVERSATION#POSITION`.
NAMES = {"name": pl.String, "is_message": pl.Boolean}


def resolve(folder: Path, ids: Sequence[str]) -> tuple[pl.DataFrame, set[str]]:
    """Rows of NAMES that ids mean in a folder, and the ids that name anything in it."""
    if not ids:
        return pl.DataFrame(schema=NAMES), set()
    published = reader.scan(folder, "messages").select("id", "group").collect()
    entries = _entries(folder, ids)
    names = pl.concat([*published, *entries.select(_NAMES)])
    known = set(names.filter(names.is_in(ids).fill_null(False)))
    return _names(ids, entries), known


def _names(ids: Sequence[str], entries: pl.DataFrame) -> pl.DataFrame:
    """Rows of NAMES: the ids, and what the rows of the ledger that they name tell of. Of a message
    that is kept it is the turn, or the conversation where the ledger states no turn."""
    messages = entries.filter(unit="message", outcome="kept")
    turns = messages["detail"].str.extract(_TURN)
    whole = messages.filter(turns.is_null())["conversation"].drop_nulls()
    conversations = dict.fromkeys([*ids, *_homes(entries), *whole])
    named = (messages["conversation"] + "#" + turns).drop_nulls()
    names = [*((name, False) for name in conversations), *((name, True) for name in named)]
    return pl.DataFrame(names, schema=NAMES, orient="row")


def _entries(folder: Path, ids: Sequence[str]) -> pl.DataFrame:
    """The rows of the ledger that ids name, with the name that a message of a tree gives to a
    conversation: `path` where it stands in one, `lost_path` where it stands in none, of which the
    ledger states the tree. Of a turn that stands in two pieces, the row of the other too."""
    tree = pl.col("conversation").str.replace("/[^/]*$", "")
    path = pl.concat_str(tree, pl.lit("/"), "id")
    is_of_data = pl.col("unit").is_in(["message", "conversation"])
    lost_path = pl.concat_str("conversation", pl.lit("/"), "id")
    entries = reader.scan_ledger(folder).filter(is_of_data)
    entries = entries.with_columns(path=path, lost_path=lost_path)
    is_named = pl.any_horizontal(pl.col(name).is_in(ids).fill_null(False) for name in _NAMES)
    named = entries.filter(is_named).collect()
    same = named.filter(unit="message", reason=ledger.JOINED)["detail"].str.extract(_SAME_AS)
    return pl.concat([named, entries.filter(pl.col("id").is_in(same.implode())).collect()])


def _homes(entries: pl.DataFrame) -> list[str]:
    """The conversations to which pieces were joined."""
    joined = entries.filter(unit="conversation", reason=ledger.JOINED)
    return joined["detail"].str.extract(_JOINED_TO).drop_nulls().unique().sort().to_list()


def take_out(
    messages: pl.DataFrame, names: pl.DataFrame, repeats: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The messages of conversations that stay, and outcomes of those that rows of NAMES take out.

    `messages` are those of whole groups, named by `shared_turns`. A conversation goes where it
    holds a message that is named, or the last message of a conversation that is, and so do its
    `repeats`, given as (conversation, of).
    """
    if names.is_empty():
        return ledger.drop_with_messages(messages, messages.clear(), FORGOTTEN)
    conversations = names.filter(pl.col("is_message").not_())["name"].implode()
    is_named = pl.col("conversation").is_in(conversations) | pl.col("group").is_in(conversations)
    is_last = pl.col("position") == pl.col("position").max().over("conversation")
    ends = messages.filter(is_named & is_last)["message"]
    lost = pl.concat([ends, names.filter("is_message")["name"].alias("message")]).implode()
    hit = messages.filter(pl.col("message").is_in(lost))["conversation"].unique().implode()
    again = repeats.filter(pl.col("of").is_in(hit))["conversation"].implode()
    rows = messages.filter(pl.col("conversation").is_in(hit) | pl.col("conversation").is_in(again))
    return ledger.drop_with_messages(messages, rows, FORGOTTEN)


def refuse_pairs(folder: Path, described: Manifest, ids: Sequence[str]) -> None:
    """Raises OutputError where pairs of ranked answers, which a rendering copies, may say what is
    taken out: where any are of a tree that holds what is named, in a conversation or not."""
    if described.pairs is None or not ids:
        return
    homes = _entries(folder, ids).select("conversation", *_NAMES)
    above = homes.select(pl.all().str.replace("/[^/]*$", "").name.suffix("_above"))
    names = {name for column in [*homes, *above] for name in column.drop_nulls()} | {*ids}
    for table in (tables.PAIRS, tables.RANKED):
        hit = _groups(folder, described, table).filter(pl.col("group").is_in(sorted(names)))
        for group in hit.head(1).collect()["group"]:
            raise OutputError(
                f"'{folder}' has pairs of ranked answers of '{group}', which a rendering copies as "
                "they are; build again from the sources, with `forget` in the recipe."
            )


def _groups(folder: Path, described: Manifest, table: Table) -> pl.LazyFrame:
    """The groups of the rows of a table of a folder."""
    paths = [folder / shard.path for shard in table.shards(described.files)]
    if not paths:
        return pl.LazyFrame(schema={"group": pl.String})
    return pl.scan_parquet(paths, glob=False).select("group")


def both(before: Manifest, listed: ForgetList, known: set[str]) -> Iterator[tuple[str, object]]:
    """Yields what the manifest says of ids that were taken out before and now, under its key."""
    if listed.files:
        entry, old = listed.entry(known), before.forgotten
        if old is not None:
            files = tuple(dict.fromkeys([*old.files, *entry.files]))
            ids, unknown = old.ids + entry.ids, old.unknown + entry.unknown
            entry = entry.model_copy(update={"files": files, "ids": ids, "unknown": unknown})
        yield "forgotten", entry
