"""The checks of a built folder.

Each check yields its problems, in words. The first line of its docstring is printed where a folder
has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core import config, ledger, tallies
from chatdata.core.constants import RECIPE_FILE
from chatdata.core.errors import VerifyError
from chatdata.core.extensions import is_installed
from chatdata.core.hashing import sha256_file, sha256_json
from chatdata.dataset import (
    card,
    card_merge,
    croissant,
    dropped,
    hub_configs,
    layout,
    manifest,
    pack,
    plots,
    reader,
    renderings,
    report,
    tables,
)
from chatdata.dataset.manifest import Manifest
from chatdata.pipeline.recipe import Recipe
from chatdata.steps import joining, keeping, split
from chatdata.steps.entries import PiecesEntry
from chatdata.verify import added, pair_tokens, pairs, recount, rerender, sums
from chatdata.verify.audit import kept

_REPEATED = ("name", "version", "about")  # keys of the recipe that the manifest repeats
_RENDERED = ("train_on", "max_tokens", "overflow")  # and these of its `render`
_EXAMPLES = 3  # of rows or groups with the same problem


class Folder:
    """A folder to check. Its rows are counted once, when a check first needs them."""

    def __init__(self, path: Path, everything: bool) -> None:
        self.path = path
        self.everything = everything
        self.listing = manifest.read_listing(path)

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest. Raises VerifyError where the manifest is not whole."""
        return manifest.read(self.path)

    @cached_property
    def counted(self) -> recount.Recount:
        """The counts of the rows in the shards."""
        return recount.count(self.path, self.manifest)

    def files(self) -> list[str]:
        """The paths of all files, sorted."""
        paths = sorted(path for path in self.path.rglob("*") if path.is_file())
        return [path.relative_to(self.path).as_posix() for path in paths]

    def needless(self) -> set[str]:
        """The names of the checks that have nothing to check."""
        try:
            subjects = {
                "packs": self.manifest.packs,
                "certificate": self.manifest.render,
                "dropped": dropped.is_in(self.path),
                "renderings": self.manifest.renders,
                "rerendered": self.manifest.renders,
                "pairs": self.manifest.pairs,
                "pair_tokens": self.manifest.pair_tokens,
                "audit": self.everything and kept.can_compare(self.manifest),
            }
        except VerifyError:  # the first check reports the error
            return set()
        return {name for name, subject in subjects.items() if not subject}

    def unknown_files(self) -> list[str]:
        """The files that do not belong to the dataset, and that no reader takes for it."""
        pages = (*card.PAGES, report.FILE, report.COMPARISON)
        names = {*manifest.hashes(self.listing), *pages, manifest.FILE}
        unknown = [name for name in self.files() if name not in names and not _is_read(name)]
        return [name for name in unknown if not dropped.is_shard(name)]


Check = Callable[[Folder], Iterator[str]]


def _is_read(name: str) -> bool:
    """Whether a path is in a folder of the dataset, whose files readers find by pattern."""
    folder, slash, _ = name.partition("/")
    is_other = folder == plots.FOLDER or renderings.is_tokenizer_folder(folder)
    return tables.of_path(name) is not None or (bool(slash) and is_other)


# ------------------------------------------------------------------------------------ the bytes


def whole_manifest(folder: Folder) -> Iterator[str]:
    """The manifest is whole, and its sums agree."""
    counts, splits, render = folder.manifest.counts, folder.manifest.splits, folder.manifest.render
    for unit, count in counts.items():
        total = count.kept + sum(count.dropped.values())
        yield from recount.differing(f"{unit} read, the sum of kept and dropped", count.read, total)
    rows = counts.conversations.kept + (folder.manifest.repeats or 0)
    yield from recount.differing("conversations kept, and repeats", rows, splits.total("rows"))
    for key in ("token_rows", "tokens", "trained_tokens") if render else ():
        total = splits.total(key)
        yield from recount.differing(
            f"render.{key}, the sum of all splits", getattr(render, key), total
        )


def all_files(folder: Folder) -> Iterator[str]:
    """Every file that the manifest names exists, and no other file is among them."""
    present, named = set(folder.files()), manifest.hashes(folder.manifest)
    yield from (f"{name}: is not there" for name in [*named, *card.PAGES] if name not in present)
    yield from (f"{name}: is no part of a dataset" for name in named if not layout.has(name))
    for name in sorted(present - named.keys()):
        if _is_read(name):
            yield f"{name}: is not in the manifest, but would be read as part of the dataset"


def same_bytes(folder: Folder) -> Iterator[str]:
    """Every file has the SHA-256 that the manifest names."""
    for name, expected in manifest.hashes(folder.manifest).items():
        path = folder.path / name
        if path.is_file() and (actual := sha256_file(path)) != expected:
            yield f"{name}: its SHA-256 is {actual}, but the manifest says {expected}"


def same_recipe(folder: Folder) -> Iterator[str]:
    """recipe.yaml is the recipe of the manifest, and values that both repeat are the same."""
    values = config.load_yaml(folder.path / RECIPE_FILE)
    if not _needs_packages(folder.manifest):
        config.parse(Recipe, values, RECIPE_FILE)
    if values != folder.manifest.recipe.as_json():
        yield f"{RECIPE_FILE}: is not the recipe of the manifest"
        return
    yield from recount.differing("recipe_hash", folder.manifest.recipe_hash, sha256_json(values))
    for key in _REPEATED:
        yield from recount.differing(key, getattr(folder.manifest, key), values[key])
    render = values["render"] or {}
    for key in _RENDERED:
        stated = getattr(folder.manifest.render, key, None)
        yield from recount.differing(f"render.{key}", stated, render.get(key))


def _needs_packages(described: Manifest) -> bool:
    """Whether the recipe names something of a package that is not installed here."""
    packages = {entry.package for entry in described.extensions or () if entry.package}
    return any(not is_installed(name) for name in packages)


def true_pages(folder: Folder) -> Iterator[str]:
    """README.md and croissant.json name the configs, rows and files of the manifest."""
    text = (folder.path / card.PAGE).read_text(encoding="utf-8")
    actual = card_merge.managed_values(text)
    expected = card_merge.managed_values(card.text(folder.manifest))
    for key in ("configs", "dataset_info"):
        if actual.get(key) != expected[key]:
            yield f"{card.PAGE}: its `{key}` is not that of the manifest"
    text = (folder.path / croissant.FILE).read_text(encoding="utf-8")
    configs = hub_configs.of(folder.manifest)
    if croissant.hashes(text) != croissant.shards(folder.manifest, configs):
        yield f"{croissant.FILE}: its files are not those of the manifest"


# ------------------------------------------------------------------------------------- the rows


def right_columns(folder: Folder) -> Iterator[str]:
    """Every Parquet file has the columns of its kind, and as many rows as the manifest says."""
    rows_of = {shard.path: shard.rows for shard in folder.manifest.files}
    rows_of |= {index.path: index.bins for index in folder.manifest.packs}  # a row for each bin
    for path, stated in rows_of.items():
        try:
            schema = pq.read_schema(folder.path / path)
            rows = pq.read_metadata(folder.path / path).num_rows
        except pa.ArrowException as error:
            yield f"{path}: is not a Parquet file ({error})"
            continue
        table = tables.of_path(path)
        if table is None or not schema.equals(table.schema_of(folder.manifest)):
            yield f"{path}: does not have the columns of {path.partition('/')[0]}"
        yield from recount.differing(f"rows of {path}", stated, rows)


def whole_rows(folder: Folder) -> Iterator[str]:
    """Rows are whole, rows of tokens follow their conversations, and all sums are right."""
    yield from folder.counted.odd
    yield from sums.problems(folder.manifest, folder.counted)


def same_content(folder: Folder) -> Iterator[str]:
    """The content hash, made again from the rows, is that of the manifest."""
    actual = folder.counted.content_hash()
    yield from recount.differing("content_hash", folder.manifest.content_hash, actual)


def true_ledger(folder: Folder) -> Iterator[str]:
    """The ledger, counted again, gives the counts of the manifest, and keeps exactly the rows."""
    entries = reader.scan_ledger(folder.path)
    units = [*(unit.removesuffix("s") for unit in tallies.UNITS), ledger.ANSWER, ledger.REPEAT]
    unknown = entries.filter(pl.col("unit").is_in(units).fill_null(False).not_()).head(1).collect()
    for entry in unknown.iter_rows(named=True):
        yield f"ledger: '{entry['id']}' has the unknown unit '{entry['unit']}'"
        return
    tally = tallies.tally(entries.select("unit", "reason").collect())
    for unit, count in folder.manifest.counts.items():
        yield from recount.differing(f"{unit} dropped", count.dropped, dict(tally.of(unit)))
        if unit != "records":  # the ledger does not list records that could be read
            yield from recount.differing(f"{unit} kept", count.kept, tally.kept[unit])
    outcome = pl.col("reason").is_null().replace_strict({True: "kept", False: "dropped"})
    repeats = folder.manifest.repeats or 0
    yield from recount.differing("repeats", repeats, tally.kept[f"{ledger.REPEAT}s"])
    odd = entries.filter(pl.col("outcome") != outcome).head(_EXAMPLES).collect()
    yield from (f"ledger: the outcome of '{id}' does not fit its reason" for id in odd["id"])
    kept = keeping.count(entries.filter(keeping.is_noted()).collect()).entry()
    yield from recount.differing("kept by hand", folder.manifest.kept_by_hand or {}, kept)
    yield from _pieces(folder.manifest.pieces, entries)
    yield from _unpaired(folder.path, entries)


def whole_pairs(folder: Folder) -> Iterator[str]:
    """Pairs are whole, their sums and their hash are right, and the ledger keeps their answers."""
    yield from pairs.problems(folder.path, folder.manifest)
    yield from pairs.ranked_problems(folder.path, folder.manifest)
    yield from pair_tokens.count_problems(folder.path, folder.manifest)


def same_pair_tokens(folder: Folder) -> Iterator[str]:
    """Rows of tokens of pairs, rendered again from their pairs with the tokenizer, are the same."""
    yield from pair_tokens.rendered_problems(folder.path, folder.manifest, folder.everything)


def _pieces(stated: PiecesEntry | None, entries: pl.LazyFrame) -> Iterator[str]:
    """Yields a sentence where the manifest has other numbers of joined pieces than the ledger."""
    joined = joining.count_joined(entries.filter(pl.col("reason") == ledger.JOINED).collect())
    for name, number in joined.items():
        yield from recount.differing(f"pieces joined {name}", getattr(stated, name, 0), number)


def true_dropped(folder: Folder) -> Iterator[str]:
    """The folder `dropped`, which is never published, holds what the ledger says was dropped."""
    yield from dropped.problems(folder.path)


def _unpaired(folder: Path, entries: pl.LazyFrame) -> Iterator[str]:
    """Yields the conversations that are kept but are no row, and the reverse."""
    is_row = pl.col("unit").is_in(["conversation", ledger.REPEAT])
    is_kept = is_row & (pl.col("outcome") == "kept")
    kept = entries.filter(is_kept).select("id")
    published = reader.scan(folder, "messages").select("id")
    repeated = published.filter(pl.col("id").is_duplicated())
    without_row = kept.join(published, on="id", how="anti", maintain_order="left")
    not_kept = published.join(kept, on="id", how="anti", maintain_order="left")
    for conversations, why in (
        (repeated, "is the id of two rows"),
        (without_row, "is kept in the ledger, but is not a row"),
        (not_kept, "is a row, but is not kept in the ledger"),
    ):
        ids = conversations.head(_EXAMPLES).collect()["id"]
        yield from (f"conversation '{id}' {why}" for id in ids)


def right_splits(folder: Folder) -> Iterator[str]:
    """Every row is in the split of its group's hash, and no group is in both splits."""
    percent = folder.manifest.recipe.test_percent
    rows = reader.scan(folder.path, "messages").select("group", "split")
    groups = rows.unique(maintain_order=True).collect()
    wrong = groups.filter(groups["split"] != split.split_of(groups["group"], percent))
    for group, name in wrong.head(_EXAMPLES).iter_rows():
        yield f"group '{group}' is in {name}, but its hash is of the other split"
    leaking = split.leaking_groups(groups["group"], groups["split"])
    stated = folder.manifest.leakage.groups_in_both
    yield from recount.differing("groups in both splits", stated, leaking)


def same_tokens(folder: Folder) -> Iterator[str]:
    """Rows of tokens, rendered again from their messages with the saved tokenizer, are the same."""
    yield from rerender.problems(folder.path, folder.manifest, folder.everything)


def same_audit(folder: Folder) -> Iterator[str]:
    """An audit says what the manifest and the card say that it said."""
    yield from kept.problems(folder.path, folder.manifest)


def whole_renderings(folder: Folder) -> Iterator[str]:
    """Added renderings have the rows of all that they do not leave out, and sums are right."""
    yield from added.count_problems(folder.path, folder.manifest)


def same_renderings(folder: Folder) -> Iterator[str]:
    """Rows of added renderings, rendered again with their saved tokenizers, are the same."""
    yield from added.rendered_problems(folder.path, folder.manifest, folder.everything)


def full_packs(folder: Folder) -> Iterator[str]:
    """Every index of packs holds each row once, and no bin holds more tokens than it may."""
    for index in folder.manifest.packs:
        table = renderings.of(folder.manifest, index.rendering).table
        lengths = pack.lengths(folder.path, folder.manifest.files, index.split, table)
        bins = pack.read_index(folder.path / index.path, index.max_tokens)
        yield from (f"{index.path}: {problem}" for problem in pack.problems(bins, lengths))
        figures = {
            "bins": len(bins),
            "rows": len(bins.rows),
            "tokens": int(bins.tokens.sum()),
            "fill": round(bins.fill, 4),
        }
        for key, number in figures.items():
            yield from recount.differing(f"{key} of {index.path}", getattr(index, key), number)


def stages(folder: Folder) -> Sequence[Mapping[str, Check]]:
    """The checks that the folder needs, by name.

    The checks of a stage rely on the earlier stages: they are skipped after a problem.
    """
    needless = folder.needless()
    return [
        {name: check for name, check in stage.items() if name not in needless} for stage in _STAGES
    ]


_STAGES: Sequence[Mapping[str, Check]] = (
    {"manifest": whole_manifest},
    {"files": all_files, "hashes": same_bytes, "recipe": same_recipe},
    {"pages": true_pages, "columns": right_columns},
    {"rows": whole_rows},
    {
        "ledger": true_ledger,
        "dropped": true_dropped,
        "splits": right_splits,
        "packs": full_packs,
        "pairs": whole_pairs,
    },
    {"renderings": whole_renderings},
    {
        "content": same_content,
        "certificate": same_tokens,
        "pair_tokens": same_pair_tokens,
        "rerendered": same_renderings,
        "audit": same_audit,
    },
)
