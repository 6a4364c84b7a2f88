"""What needs all conversations, between the two rounds of a build: the corpus filters of a recipe,
and what its sources are mixed by.

Each part leaves a table of what each filter compares (`write_keys`), so that neither texts nor
parts are held together in memory. `decide` then goes through the filters in the order of the
recipe; each sees what those before it have left.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import polars as pl

from chatdata.pipeline.job import Job
from chatdata.steps import duplicates, mixing
from chatdata.steps.duplicates import Alike, ClustersEntry, Shingles
from chatdata.steps.filtering import Drop
from chatdata.steps.mixing import Share

_REMOVED = {"part": pl.Int32, "conversation": pl.String, "reason": pl.String, "detail": pl.String}
_HOMES = {"part": pl.Int32, "group": pl.String, "home": pl.String}


@dataclass(frozen=True, slots=True)
class Decided:
    """What becomes of conversations that repeat others, or are more than a source's share.

    `removed` names conversations, the filter or `not_sampled`, and why; `homes` the groups that
    take the split of another group; `near` is what the manifest says of each near-duplicate filter.
    """

    removed: pl.DataFrame
    homes: pl.DataFrame
    near: dict[str, ClustersEntry]

    def of_part(self, part: int) -> Decided:
        """What concerns one part."""
        return Decided(self.removed.filter(part=part), self.homes.filter(part=part), {})


def write_keys(job: Job, part: int, messages: pl.DataFrame) -> None:
    """Writes what each corpus filter compares of the conversations of a part."""
    for number, drop in enumerate(job.drops("corpus")):
        compared = drop.filter.expression(**drop.options).first()
        own = duplicates.keys(messages, compared, by_tree=not drop.filter.siblings)
        alike = _alike(drop)
        own = duplicates.with_shingles(own, alike) if alike else duplicates.with_digest(own)
        own = own.with_row_index("row").with_columns(part=pl.lit(part, pl.Int32))
        own.write_ipc(job.file(f"keys-{number}", part))
    groups = messages.unique("conversation", maintain_order=True).select(
        "conversation", "group", "source"
    )
    groups.with_columns(part=pl.lit(part, pl.Int32)).write_ipc(job.file("groups", part))


def _alike(drop: Drop) -> Alike | None:
    """When conversations are alike to a filter; None where only equal ones concern it."""
    if "threshold" not in drop.options:
        return None
    return Alike(**{name: drop.options[name] for name in Alike.__slots__})


def decide(job: Job) -> Decided:
    """What the corpus filters remove, over all parts, and of the rest what mixing leaves out."""
    removed, near = pl.DataFrame(schema=_REMOVED), dict[str, ClustersEntry]()
    clusters = []
    for number, drop in enumerate(job.drops("corpus")):
        own = _read(job, f"keys-{number}")
        own = own.join(removed, on="conversation", how="anti", maintain_order="left")
        fetch, alike = functools.partial(_shingles, job, number), _alike(drop)
        cluster = duplicates.alike(own, alike, fetch) if alike else duplicates.equal(own)
        found = duplicates.members(own, cluster)
        gone = duplicates.repeats(found, drop.options.get("keep", "smallest_id"))
        if alike:
            near[drop.filter.name] = _facts(alike, found, gone)
            gone = gone.with_columns(detail=duplicates.likeness(gone, own, alike, fetch))
        else:
            gone = gone.with_columns(detail=pl.lit(_SAYS[drop.filter.name]) + pl.col("of"))
        gone = gone.with_columns(reason=pl.lit(drop.filter.name))
        removed = pl.concat([removed, gone.select(_REMOVED.keys())])
        clusters.append(found.select("group", "cluster"))
    removed = pl.concat([removed, _not_sampled(job, removed)])
    return Decided(removed, _homes(job, clusters, removed), near)


def _not_sampled(job: Job, removed: pl.DataFrame) -> pl.DataFrame:
    """The conversations that the recipe's weights and caps leave out, of those that are left."""
    shares = {own.name or key: Share(own.weight, own.cap) for key, own in job.recipe.source.items()}
    if all(own == Share() for own in shares.values()):
        return removed.clear()
    left = _read(job, "groups").join(removed, on="conversation", how="anti")
    gone = mixing.left_out(left, shares)
    gone = gone.with_columns(reason=pl.lit("not_sampled"), detail=pl.lit(None, pl.String))
    return gone.select(_REMOVED.keys())


_SAYS = {"duplicate": "says the same as ", "duplicate_prompt": "begins like "}


def _read(job: Job, kind: str) -> pl.DataFrame:
    """A table of all parts, without the shingles."""
    files = (job.file(kind, part) for part in range(job.parts))
    return pl.concat([pl.read_ipc(file).select(pl.exclude("shingles")) for file in files])


def _shingles(job: Job, number: int, own: pl.DataFrame) -> list[Shingles]:
    """The shingles of each row of a table of keys, from the files of the parts."""
    fetched: dict[tuple[int, int], pl.Series] = {}
    for (part,), some in own.partition_by("part", as_dict=True).items():
        column = pl.read_ipc(job.file(f"keys-{number}", int(part)), columns=["shingles"])
        sets = column.to_series().gather(some["row"])
        fetched.update(zip(some.select("part", "row").iter_rows(), sets, strict=True))
    return [fetched[place].to_numpy() for place in own.select("part", "row").iter_rows()]


def _facts(alike: Alike, found: pl.DataFrame, gone: pl.DataFrame) -> ClustersEntry:
    """What the manifest says of a near-duplicate filter."""
    sizes = found["cluster"].value_counts()["count"]
    return ClustersEntry(
        threshold=alike.threshold,
        permutations=alike.permutations,
        clusters=len(sizes),
        largest=int(sizes.max() or 0),  # type: ignore[arg-type]
        dropped=gone.height,
    )


def _homes(job: Job, clusters: list[pl.DataFrame], removed: pl.DataFrame) -> pl.DataFrame:
    if not clusters:
        return pl.DataFrame(schema=_HOMES)
    left = _read(job, "groups").join(removed, on="conversation", how="anti")
    return duplicates.homes(clusters, left.select("part", "group").unique()).select(_HOMES.keys())
