"""What is checked of a built folder. Each check yields what is wrong, in words; its first line says
what is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core import config, ledger
from chatdata.core.errors import VerifyError
from chatdata.core.hashing import sha256_file, sha256_json
from chatdata.dataset import (
    card,
    croissant,
    hub_configs,
    manifest,
    pack,
    reader,
    shards,
)
from chatdata.dataset.manifest import Manifest
from chatdata.pipeline.recipe import Recipe
from chatdata.steps import split
from chatdata.verify import recount, rerender

_RENDERED = ("train_on", "max_tokens", "overflow")
_PAGES = (card.PAGE, croissant.FILE)  # made of the manifest, and so not hashed in it
_SCHEMAS = {
    "messages": shards.MESSAGES,
    "tokens": shards.TOKENS,
    "ledger": shards.LEDGER,
    pack.FOLDER: pack.INDEX,
}


class Folder:
    """A folder that is looked at. Its rows are counted once, when they are first asked for."""

    def __init__(self, path: Path, everything: bool) -> None:
        self.path = path
        self.everything = everything
        self.listing = manifest.read_listing(path)

    @cached_property
    def facts(self) -> Manifest:
        """Its manifest. Raises VerifyError where that is not whole."""
        return manifest.read(self.path)

    @cached_property
    def counted(self) -> recount.Recount:
        """What its shards hold."""
        return recount.count(self.path, self.facts)

    def there(self) -> list[str]:
        """The files that are there, sorted."""
        paths = sorted(path for path in self.path.rglob("*") if path.is_file())
        return [path.relative_to(self.path).as_posix() for path in paths]

    def lacks(self) -> set[str]:
        """The checks that have nothing to look at."""
        try:
            subjects = {"packs": self.facts.packs, "certificate": self.facts.render}
        except VerifyError:  # which the first check will say
            return set()
        return {name for name, subject in subjects.items() if not subject}

    def strangers(self) -> list[str]:
        """The files that are none of the dataset's, nor stand among them."""
        names = {*manifest.hashes(self.listing), *_PAGES, manifest.FILE, "report.html"}
        return [name for name in self.there() if name not in names and not _is_ours(name)]


Check = Callable[[Folder], Iterator[str]]


def _is_ours(name: str) -> bool:
    """Whether a path is in one of the folders of a dataset, which are read by pattern."""
    top, slash, _ = name.partition("/")
    return bool(slash) and top in {*_SCHEMAS, "tokenizer", "plots"}


def _differing(what: str, said: Any, found: Any) -> Iterator[str]:
    if said != found:
        yield f"{what}: the manifest says {said}, and it is {found}"


# ------------------------------------------------------------------------------------ the bytes


def whole_manifest(own: Folder) -> Iterator[str]:
    """The manifest is whole, and its sums agree."""
    counts, splits, render = own.facts.counts, own.facts.splits, own.facts.render
    for unit, count in counts.items():
        total = count.kept + sum(count.dropped.values())
        yield from _differing(f"{unit} read, which are kept + dropped", count.read, total)
    yield from _differing("conversations kept", counts.conversations.kept, splits.total("rows"))
    for key in ("token_rows", "tokens", "trained_tokens") if render else ():
        total = splits.total(key)
        yield from _differing(f"render.{key}, over both splits", getattr(render, key), total)


def all_files(own: Folder) -> Iterator[str]:
    """Every file that the manifest names is there, and no other stands among them."""
    there, named = set(own.there()), manifest.hashes(own.facts)
    yield from (f"{name}: is not there" for name in [*named, *_PAGES] if name not in there)
    for name in sorted(there - named.keys()):
        if _is_ours(name):
            yield f"{name}: is not in the manifest, and would be read with the files that are"


def same_bytes(own: Folder) -> Iterator[str]:
    """Every file has the SHA-256 that the manifest names."""
    for name, expected in manifest.hashes(own.facts).items():
        path = own.path / name
        if path.is_file() and (found := sha256_file(path)) != expected:
            yield f"{name}: its SHA-256 is {found}, and the manifest says {expected}"


def same_recipe(own: Folder) -> Iterator[str]:
    """recipe.yaml is the recipe of the manifest, and what is said of it twice is the same."""
    values = config.load_yaml(own.path / "recipe.yaml")
    config.parse(Recipe, values, "recipe.yaml")
    if values != own.facts.recipe.as_json():
        yield "recipe.yaml: is another recipe than the manifest's"
        return
    yield from _differing("recipe_hash", own.facts.recipe_hash, sha256_json(values))
    said = {key: getattr(own.facts, key) for key in ("name", "version", "about")}
    said |= {f"render.{key}": getattr(own.facts.render, key, None) for key in _RENDERED}
    render = values["render"] or {}
    found = {key: values[key] for key in ("name", "version", "about")}
    found |= {f"render.{key}": render.get(key) for key in _RENDERED}
    for key in said:
        yield from _differing(key, said[key], found[key])


def true_pages(own: Folder) -> Iterator[str]:
    """README.md and croissant.json name the configs, rows and files that the manifest has."""
    text = (own.path / card.PAGE).read_text(encoding="utf-8")
    found, expected = card.facts_in(text), card.facts_in(card.text(own.facts))
    for key in ("configs", "dataset_info"):
        if found.get(key) != expected[key]:
            yield f"{card.PAGE}: its `{key}` is not what the manifest says"
    text = (own.path / croissant.FILE).read_text(encoding="utf-8")
    if croissant.hashes(text) != croissant.shards(own.facts, hub_configs.of(own.facts)):
        yield f"{croissant.FILE}: its files are not those of the manifest"


# ------------------------------------------------------------------------------------- the rows


def right_columns(own: Folder) -> Iterator[str]:
    """Every shard has the columns of its kind, and as many rows as the manifest says."""
    rows_of = {shard.path: shard.rows for shard in own.facts.files}
    rows_of |= {index.path: index.bins for index in own.facts.packs}  # a row of an index is a bin
    for path, said in rows_of.items():
        try:
            found, rows = (
                pq.read_schema(own.path / path),
                pq.read_metadata(own.path / path).num_rows,
            )
        except pa.ArrowException as error:
            yield f"{path}: is no Parquet file ({error})"
            continue
        expected = _SCHEMAS.get(path.partition("/")[0])
        if expected is None or not found.equals(expected):
            yield f"{path}: has not the columns of its kind"
        yield from _differing(f"rows of {path}", said, rows)


def whole_rows(own: Folder) -> Iterator[str]:
    """Rows are whole, tokens stand beside their conversations, and all sums are right."""
    counted = own.counted
    yield from counted.odd
    for name, entry in own.facts.splits.items():
        said = entry.as_json()
        for key, number in counted.splits.get(name, dict.fromkeys(said, 0)).items():
            yield from _differing(f"{key} of {name}", said.get(key), number)
    languages = dict(counted.languages)
    yield from _differing("rows by language", own.facts.languages, languages)
    for share in own.facts.shares or ():
        rows = counted.sources[share.source]
        yield from _differing(f"rows of source {share.source}", share.rows, rows)
    lengths = counted.lengths()
    if own.facts.lengths != lengths:
        yield "lengths: those of the rows are not those of the manifest"
    limit = own.facts.render.max_tokens if own.facts.render else None
    longest = lengths["tokens"].max if "tokens" in lengths else 0
    if limit and longest > limit:
        yield f"a row has {longest} tokens, and at most {limit} may be"


def same_content(own: Folder) -> Iterator[str]:
    """The content hash, made again from the rows, is that of the manifest."""
    found = own.counted.content_hash()
    yield from _differing("content_hash", own.facts.content_hash, found)


def true_ledger(own: Folder) -> Iterator[str]:
    """The ledger, counted again, gives the counts, and what it keeps are the rows."""
    entries = reader.scan_ledger(own.path)
    units = [unit.removesuffix("s") for unit in ledger.UNITS]
    unknown = entries.filter(pl.col("unit").is_in(units).fill_null(False).not_()).head(1).collect()
    if not unknown.is_empty():
        yield f"ledger: '{unknown['id'][0]}' is of no unit that there is"
        return
    tally = ledger.tally(entries.select("unit", "reason").collect())
    for unit, count in own.facts.counts.items():
        yield from _differing(f"{unit} dropped", count.dropped, dict(tally.of(unit)))
        if unit != "records":  # those that could be read are not named one by one
            yield from _differing(f"{unit} kept", count.kept, tally.kept[unit])
    outcome = pl.col("reason").is_null().replace_strict({True: "kept", False: "dropped"})
    odd = entries.filter(pl.col("outcome") != outcome).head(3).collect()
    yield from (f"ledger: '{id}' has an outcome that is not its reason's" for id in odd["id"])
    yield from _unpaired(own.path, entries)


def _unpaired(folder: Path, entries: pl.LazyFrame) -> Iterator[str]:
    is_kept = (pl.col("unit") == "conversation") & (pl.col("outcome") == "kept")
    kept = entries.filter(is_kept).select("id")
    published = reader.scan(folder, "messages").select("id")
    twice = published.filter(pl.col("id").is_duplicated()).head(3)
    without_row = kept.join(published, on="id", how="anti", maintain_order="left").head(3)
    not_kept = published.join(kept, on="id", how="anti", maintain_order="left").head(3)
    for found, why in (
        (twice, "is the id of two rows"),
        (without_row, "is kept, by the ledger, and is no row"),
        (not_kept, "is a row, and the ledger does not keep it"),
    ):
        yield from (f"conversation '{id}' {why}" for id in found.collect()["id"])


def right_splits(own: Folder) -> Iterator[str]:
    """Every row is in the split of its group's hash, and no group is in both."""
    percent = own.facts.recipe.test_percent
    rows = reader.scan(own.path, "messages").select("group", "split").unique(maintain_order=True)
    groups = rows.collect()
    wrong = groups.filter(groups["split"] != split.split_of(groups["group"], percent))
    for group, name in wrong.head(3).iter_rows():
        yield f"group '{group}' is in {name}, and its hash says otherwise"
    leaking = split.leaking_groups(groups["group"], groups["split"])
    yield from _differing("groups in both", own.facts.leakage.groups_in_both, leaking)


def same_tokens(own: Folder) -> Iterator[str]:
    """Rows of tokens, made again from their messages, are the same, by the saved template."""
    yield from rerender.problems(own.path, own.facts, own.everything)


def full_packs(own: Folder) -> Iterator[str]:
    """Every index of packs holds each row once, and no bin more than it may."""
    for entry in own.facts.packs:
        lengths = pack.lengths(own.path, own.facts.files, entry.split)
        bins = pack.read_index(own.path / entry.path, entry.max_tokens)
        yield from (f"{entry.path}: {problem}" for problem in pack.problems(bins, lengths))
        found = {
            "bins": len(bins),
            "rows": len(bins.rows),
            "tokens": int(bins.tokens.sum()),
            "fill": round(bins.fill, 4),
        }
        for key, number in found.items():
            yield from _differing(f"{key} of {entry.path}", getattr(entry, key), number)


def stages(own: Folder) -> Sequence[Mapping[str, Check]]:
    """The checks that have something to look at, by name. What is asked in a stage is skipped
    where something is wrong in an earlier one."""
    return [
        {name: check for name, check in stage.items() if name not in own.lacks()}
        for stage in _STAGES
    ]


_STAGES: Sequence[Mapping[str, Check]] = (
    {"manifest": whole_manifest},
    {"files": all_files, "hashes": same_bytes, "recipe": same_recipe},
    {"pages": true_pages, "columns": right_columns},
    {"rows": whole_rows},
    {"ledger": true_ledger, "splits": right_splits, "packs": full_packs},
    {"content": same_content, "certificate": same_tokens},
)
