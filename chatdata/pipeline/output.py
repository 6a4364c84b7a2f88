"""A dataset's folder: shards, recipe, tokenizer, card, and last the manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from chatdata.core import config, ledger
from chatdata.core.hashing import sha256_file, sha256_pairs
from chatdata.dataset import card, histogram, manifest, pack, plots, rows
from chatdata.dataset import shards as write
from chatdata.pipeline import encoders, partitions
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.inputs import Input
from chatdata.pipeline.recipe import Recipe
from chatdata.pipeline.stats import BuildResult, PartStats
from chatdata.render import certificate
from chatdata.steps import secrets, split


class OutputWriter:
    """Writes the tables of parts as shards, while later parts are still being made."""

    def __init__(self, context: BuildContext, folder: Path, problems: pl.DataFrame) -> None:
        self._files, self._folder = context.files, folder
        self._shards = {
            (kind, name): write.Shards(folder / kind, name, columns)
            for kind, columns in _COLUMNS.items()
            for name in split.SPLITS
        }
        self._ledger = write.Shards(folder / "ledger", "ledger", write.LEDGER)
        self._writing: list[Future[None]] = []
        self._thread = ThreadPoolExecutor(1, "chatdata-write")
        self._later(self._add_ledger, ledger.entries(problems).to_arrow().cast(write.LEDGER))

    def add(self, part: int) -> None:
        """Writes a part after the parts that were added before. Returns at once."""
        self._later(self._add, part)

    def finish(self) -> list[dict[str, Any]]:
        """Waits until all is written. Returns the manifest's entries for the files."""
        self._wait()
        return [
            entry
            for shards in [*self._shards.values(), self._ledger]
            for entry in write.describe(self._folder, shards.finish())
        ]

    def discard(self) -> None:
        """Removes all that was written."""
        self._wait()
        for shards in [*self._shards.values(), self._ledger]:
            shards.discard()

    def _later(self, function: Callable[..., None], argument: Any) -> None:
        self._writing.append(self._thread.submit(function, argument))

    def _wait(self) -> None:
        self._thread.shutdown()
        for written in self._writing:
            written.result()

    def _add(self, part: int) -> None:
        self._add_ledger(partitions.load(self._files.table("ledger", part)))
        for (kind, name), shards in self._shards.items():
            path = self._files.table(f"{kind}-{name}", part)
            if path.is_file():
                table = partitions.load(path)
                table = rows.with_attention(table) if kind == "tokens" else table
                shards.add(table, _SIZES[kind](table))

    def _add_ledger(self, table: pa.Table) -> None:
        self._ledger.add(table, rows.ledger_bytes(table))


_COLUMNS = {"messages": write.MESSAGES, "tokens": write.TOKENS}
_SIZES = {"messages": rows.message_bytes, "tokens": rows.token_bytes}


def describe(
    context: BuildContext, inputs: Sequence[Input], result: BuildResult, folder: Path
) -> manifest.Manifest:
    """Writes what says what the dataset is: recipe, tokenizer, plots, card, and last the manifest.

    Returns the manifest.
    """
    recipe = config.dump_yaml(context.recipe.resolved())
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    extras = [folder / "recipe.yaml"]
    if context.tokenizer is not None:
        extras += encoders.load_tokenizer(context.tokenizer).save(folder / "tokenizer")
    facts = draft(context, inputs, result)
    if context.recipe.pack:
        facts["packs"] = pack.write_indexes(folder, result.files, context.recipe.pack.max_tokens)
    extras += plots.write(folder, facts)
    facts["extras"] = [
        {"path": path.relative_to(folder).as_posix(), "sha256": sha256_file(path)}
        for path in extras
    ]
    for name, text in card.pages(facts).items():
        (folder / name).write_text(text, encoding="utf-8")
    manifest.write(folder, facts)
    return facts


def draft(context: BuildContext, inputs: Sequence[Input], result: BuildResult) -> manifest.Manifest:
    """The manifest of a build, without what `describe` adds."""
    recipe, stats = context.recipe, result.stats
    return {
        "name": recipe.name,
        "version": recipe.version,
        "about": recipe.about,
        "license": recipe.publish.license if recipe.publish else None,
        "format": manifest.FORMAT,
        "content_hash": sha256_pairs(pair for part in stats.digests for pair in part),
        "recipe_hash": recipe.hash(),
        "recipe": recipe.resolved(),
        "sources": [entry for source in inputs for entry in _source_entries(source)],
        "counts": result.counts,
        "cleaned": stats.cleaned.entry(),
        "splits": _splits(stats, rendered=recipe.render is not None),
        "languages": _languages(stats),
        "lengths": _lengths(stats),
        "shares": _shares(recipe, stats),
        "language_disagreements": stats.figures.entry("language_disagreements"),
        "secrets": stats.figures.entry("secrets"),
        "near_duplicates": result.near_duplicates or None,
        "contamination": stats.figures.entry("contamination"),
        "leakage": {"groups_in_both": stats.leaking_groups},
        "render": _render_entry(context, result),
        "files": result.files,
        "versions": manifest.versions(_packages(recipe)),
    }


def _source_entries(source: Input) -> Iterator[dict[str, Any]]:
    hub_place = {"repo": source.repo, "revision": source.revision} if source.repo else {}
    for file in source.files:
        yield {
            "name": source.name,
            "path": file.label,
            "sha256": sha256_file(file.path),
            "bytes": file.path.stat().st_size,
            **hub_place,
        }


def _splits(stats: PartStats, rendered: bool) -> dict[str, dict[str, int]]:
    shown = ["rows", "messages", "bytes"]
    shown += ["token_rows", "tokens", "trained_tokens"] if rendered else []
    return {name: {key: stats.totals.by_split[name][key] for key in shown} for name in split.SPLITS}


def _languages(stats: PartStats) -> dict[str, int]:
    """The rows in each language, most first."""
    return dict(sorted(stats.languages.items(), key=lambda item: (-item[1], item[0])))


def _shares(recipe: Recipe, stats: PartStats) -> list[dict[str, Any]] | None:
    """What each source gave, where a recipe has several or limits the one it has."""
    rows = stats.sources
    sources = {options.name or key: options for key, options in recipe.source.items()}
    if len(sources) < 2 and all(options.cap is None for options in sources.values()):
        return None
    return [
        {
            "source": name,
            "rows": rows[name],
            "share": round(rows[name] / max(1, rows.total()), 4),
            "weight": options.weight,
            "cap": options.cap,
            "license": options.license,
        }
        for name, options in sources.items()
    ]


def _lengths(stats: PartStats) -> dict[str, Any]:
    """How long conversations and rows of tokens are."""
    return {
        name: histogram.describe(np.concatenate([part[name] for part in stats.lengths]))
        for name in stats.lengths[0]
    }


def _render_entry(context: BuildContext, result: BuildResult) -> dict[str, Any] | None:
    if context.tokenizer is None or context.probes is None:
        return None
    options, tokenizer = context.tokenizer.options, encoders.load_tokenizer(context.tokenizer)
    splits = _splits(result.stats, rendered=True)
    return {
        "template": tokenizer.template.facts(),
        "tokenizer": {
            "name": tokenizer.name,
            "sha256": tokenizer.sha256,
            "control_ids": tokenizer.control_ids(),
            "stop_ids": tokenizer.stops(),
        },
        "train_on": options.train_on,
        "max_tokens": options.max_tokens,
        "overflow": options.overflow,
        "token_rows": sum(split_["token_rows"] for split_ in splits.values()),
        "tokens": sum(split_["tokens"] for split_ in splits.values()),
        "trained_tokens": sum(split_["trained_tokens"] for split_ in splits.values()),
        "certificate": certificate.manifest_entry(
            context.probes, result.stats.parity, tokenizer, _encoder_entry(result)
        ),
    }


def _encoder_entry(result: BuildResult) -> dict[str, Any]:
    """What made the ids, and what of them was compared with `tokenizers`."""
    encoder = result.encoder
    entry: dict[str, Any] = {"name": encoder.name}
    if encoder.remark:
        entry["remark"] = encoder.remark
    if encoder.is_fast:
        entry["audit"] = {"one_in": encoder.one_in, **result.stats.audit.counts()}
    return entry


def _packages(recipe: Recipe) -> list[str]:
    """The packages whose version may change the bytes of this build."""
    packages = ["polars", "pyarrow", plots.PACKAGE]
    packages += ["tokenizers"] if recipe.render else []
    packages += secrets.PACKAGES if recipe.redact else []
    packages += [package for step in recipe.steps() for package in step.cleaner.packages]
    packages += [package for drop in recipe.drops() for package in drop.filter.packages]
    return packages
