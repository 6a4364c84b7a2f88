"""What the first pass makes of the messages of a source, kept in layers: each is what was made of
some groups, and is taken again where most of them are still there, less what is made of the rest.

Groups are known by a hash of their messages. Where a record stands in its file is no part of that,
since records before it may come and go: places are those of the files as they are now.
"""

from __future__ import annotations

import hashlib
import io
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import polars as pl

from chatdata.pipeline import first_pass, stage
from chatdata.pipeline.cache import Kept, Store
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.entries import PYTHON
from chatdata.pipeline.first_pass import Made
from chatdata.pipeline.stage import Done, Reads
from chatdata.pipeline.stats import PartStats
from chatdata.pipeline.subtraction import CannotSubtract, subtract

_MOST = 8  # layers of a source in a part: with more, those that are taken become one
_ROWS = 4096  # that are hashed at a time
_STAGE = "first-pass"
_LAYERS = "first-pass-layers"
_PLACES, _READ = "places", "read"  # of groups, beside what was made of them
_REPEATED = ("again in ", "also in ")  # before a place, in the detail of a repeated id


@dataclass(frozen=True, slots=True)
class _Layer:
    """The key of what was made of groups, and their hashes."""

    key: str
    groups: frozenset[bytes]


def run(context: BuildContext, store: Store, part: int, reads: Reads) -> Done[PartStats]:
    """What the first pass makes of a part, as far as possible from the cache; `reads` are the
    files that it reads beside the messages."""
    sources = _Sources(context, store, part, reads)
    stats = first_pass.put_together(context, part, sources.make)
    return Done(stats, sources.kept_share())


def can_keep(context: BuildContext) -> bool:
    """Whether what is made of a group depends on the group alone: a filter of the recipe's own in
    Python may look at places, and at all messages of a part."""
    return not any(PYTHON in entry for entry in context.recipe.drop)


class _Sources:
    """The sources of a part, one after the other."""

    def __init__(self, context: BuildContext, store: Store, part: int, reads: Reads) -> None:
        recipe = context.recipe.model_copy(update={"source": {}})
        self._context, self._cache = replace(context, recipe=recipe), store.cache
        beside = replace(reads, batches=())
        self._key = stage.key_of(_STAGE, self._context, store.versions, part, beside)
        self._groups = self._kept = 0

    def kept_share(self) -> float:
        """The share of the groups that was in the cache."""
        return self._kept / self._groups if self._groups else 1.0

    def make(self, name: str, messages: pl.DataFrame) -> Made:
        """What the first pass makes of the messages of the source of this name."""
        if messages.is_empty() or _has_groups_that_share(messages):
            self._groups += messages["group"].n_unique()
            return first_pass.make(self._context, messages)
        home = _hash(self._key, name, str(messages.schema))
        return self._in_layers(home, messages)

    def _in_layers(self, home: str, messages: pl.DataFrame) -> Made:
        """What the first pass makes of the messages of a source: of kept layers, and of groups that
        are in none."""
        given = _Given.of(messages)
        known = self._known(home)
        reused, left = self._reused(known, given)
        self._groups += len(given.digests)
        self._kept += len(given.digests) - len(left)
        used, made = list(reused), list(reused.values())
        is_whole = all(layer.groups <= given.digests for layer in used)
        if left or not is_whole:  # without groups, too: it has all figures, in the recipe's order
            new = _Layer(_key(home, left), left)
            made.insert(0, self._load(new, left, given) or self._made(new, given))
            used.append(new)
        total = reduce(operator.add, made)
        if len(used) > _MOST or not is_whole:
            used = [_Layer(_key(home, given.digests), given.digests)]
            self._save(used[0], total, given)
        self._note(home, known, used)
        return total

    def _reused(
        self, known: Sequence[_Layer], given: _Given
    ) -> tuple[dict[_Layer, Made], frozenset[bytes]]:
        """What is kept of layers whose groups are mostly given, and the groups that are in none."""
        reused: dict[_Layer, Made] = {}
        left = given.digests
        for layer in known:
            taken = layer.groups & left
            if 2 * len(taken) > len(layer.groups) and (made := self._load(layer, taken, given)):
                left -= taken
                reused[layer] = made
        return reused, left

    def _made(self, layer: _Layer, given: _Given) -> Made:
        """What the first pass makes of the groups of a layer, which is kept."""
        made = first_pass.make(self._context, given.messages_of(layer.groups))
        self._save(layer, made, given)
        return made

    def _known(self, home: str) -> list[_Layer]:
        """The layers of a source in a part, the largest first."""
        kept = self._cache.load(_LAYERS, home)
        return sorted(kept.result, key=lambda layer: -len(layer.groups)) if kept else []

    def _note(self, home: str, known: Sequence[_Layer], used: Sequence[_Layer]) -> None:
        """Notes the layers that were used, and some that were not."""
        others = [layer for layer in known if layer not in used]
        layers = [*used, *others][: max(_MOST, len(used))]
        if layers != known:
            self._cache.save(_LAYERS, home, Kept(layers, {}))

    def _save(self, layer: _Layer, made: Made, given: _Given) -> None:
        """Keeps what was made of the groups of a layer, and what it was made of."""
        groups = {_PLACES: given.places_of(layer.groups), _READ: given.messages_of(layer.groups)}
        files = {name: _bytes_of(table) for name, table in {**made.tables, **groups}.items()}
        self._cache.save(_STAGE, layer.key, Kept(made.stats, files))

    def _load(self, layer: _Layer, taken: frozenset[bytes], given: _Given) -> Made | None:
        """What was made of the groups that are taken of a layer, with the places of now; None where
        it is not there, or where a place of then has become two."""
        kept = self._cache.load(_STAGE, layer.key)
        if kept is None:
            return None
        tables = {name: pl.read_ipc(content) for name, content in kept.files.items()}
        places, read = tables.pop(_PLACES), tables.pop(_READ)
        made = Made(tables, kept.result)
        if taken != layer.groups:
            names = places.filter(pl.col("digest").is_in(list(taken)).not_())["group"].unique()
            part = read.filter(pl.col("group").is_in(names.implode()))
            try:
                made = subtract(made, first_pass.make(self._context, part))
            except CannotSubtract:
                return None
        return _moved(made, places, given.places_of(taken))


# -------------------------------------------------------------------------------------- groups


def _has_groups_that_share(messages: pl.DataFrame) -> bool:
    """Whether groups have a conversation in common."""
    pairs = messages.select("conversation", "group").drop_nulls().unique()
    return pairs["conversation"].n_unique() < pairs.height


@dataclass(frozen=True, slots=True)
class _Given:
    """The messages of a source in a part, and the places of each group (`where`): the `digest` of
    the group, and the `rank` of the place among its places, whose order decides where an id comes
    again."""

    messages: pl.DataFrame
    places: pl.DataFrame
    digests: frozenset[bytes]  # of all groups

    @classmethod
    def of(cls, messages: pl.DataFrame) -> _Given:
        """The messages with what is known of them."""
        where = pl.col("where").fill_null("")
        places = messages.select("group", where).unique().sort("group", "where")
        rank = pl.int_range(pl.len(), dtype=pl.Int32).over("group")
        places = places.with_columns(rank=rank)
        digests = _digests(messages.with_columns(where), places)
        return cls(messages, places.join(digests, on="group"), frozenset(digests["digest"]))

    def places_of(self, digests: frozenset[bytes]) -> pl.DataFrame:
        """The places of groups."""
        return self.places.filter(pl.col("digest").is_in(list(digests)))

    def messages_of(self, digests: frozenset[bytes]) -> pl.DataFrame:
        """The messages of groups."""
        groups = self.places_of(digests)["group"].unique()
        return self.messages.filter(pl.col("group").is_in(groups.implode()))


def _digests(messages: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """The digest of the messages of each group, their places by their rank."""
    ranked = messages.join(places, on=["group", "where"], how="left", maintain_order="left")
    row = pl.concat_str(_field(name) for name in ranked.columns if name != "where").alias("row")
    hashers: dict[str, Any] = {}
    for rows in ranked.iter_slices(_ROWS):
        for group, text in rows.select("group", row).iter_rows():
            if group not in hashers:
                hashers[group] = hashlib.blake2b(digest_size=16)
            hashers[group].update(text.encode())
    digests = [hasher.digest() for hasher in hashers.values()]
    kinds = {"group": pl.String, "digest": pl.Binary}
    return pl.DataFrame({"group": list(hashers), "digest": digests}, kinds)


def _field(name: str) -> pl.Expr:
    """A text of a value that says where it ends."""
    text = pl.col(name).cast(pl.String)
    size = text.str.len_bytes().cast(pl.String)
    return pl.concat_str(size, pl.lit(":"), text).fill_null("-")


def _key(home: str, groups: frozenset[bytes]) -> str:
    """The key of what is made of groups of a source in a part."""
    return _hash(home, *(digest.hex() for digest in sorted(groups)))


def _hash(*words: str) -> str:
    return hashlib.blake2b("\0".join(words).encode(), digest_size=32).hexdigest()


# -------------------------------------------------------------------------------------- tables


def _bytes_of(table: pl.DataFrame) -> bytes:
    sink = io.BytesIO()
    table.write_ipc(sink)
    return sink.getvalue()


def _moved(made: Made, before: pl.DataFrame, now: pl.DataFrame) -> Made | None:
    """What was made, with the places of now; None where a place of before has become two."""
    both = before.join(now, on=["group", "rank"], suffix="_now")
    moved = both.select("where", "where_now").unique()
    if moved["where"].n_unique() < moved.height:
        return None
    moved = moved.filter(pl.col("where") != pl.col("where_now"))
    return Made(_with_places(made.tables, *moved), made.stats) if moved.height else made


def _with_places(
    tables: Mapping[str, pl.DataFrame], before: pl.Series, now: pl.Series
) -> dict[str, pl.DataFrame]:
    """Tables in which the places `before` have become those of `now`."""
    where, place, detail = (pl.col(name) for name in ("where", "place", "detail"))
    words = [(first + before, first + now) for first in _REPEATED]
    detail = detail.replace(*(pl.concat(texts) for texts in zip(*words, strict=True)))
    is_repeated = pl.col("reason") == "duplicate_id"
    moved = where.replace(before, now)
    return {
        **tables,
        "messages": tables["messages"].with_columns(moved),
        "nodes": tables["nodes"].with_columns(moved),
        "outcomes": tables["outcomes"].with_columns(
            place.replace(before, now), pl.when(is_repeated).then(detail).otherwise("detail")
        ),
    }
