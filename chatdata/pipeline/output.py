"""A dataset's folder: shards, recipe, tokenizer, card, and last the manifest."""

from __future__ import annotations

from collections import Counter
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
from chatdata.pipeline import partitions
from chatdata.pipeline.inputs import Input
from chatdata.pipeline.job import Done, Job
from chatdata.pipeline.recipe import Recipe
from chatdata.render import certificate
from chatdata.render.encoding.audit import Audit
from chatdata.steps import secrets, split


class Output:
    """Writes the tables of parts as shards, while later parts are still being made."""

    def __init__(self, job: Job, folder: Path, problems: pl.DataFrame) -> None:
        self._job, self._folder = job, folder
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
        """Writes a part, behind those that were added before. Returns at once."""
        self._later(self._add, part)

    def finish(self) -> list[dict[str, Any]]:
        """Waits until all is written. Returns the manifest's entries for the files."""
        self._wait()
        shards = [*self._shards.values(), self._ledger]
        return [one for own in shards for one in write.describe(self._folder, own.finish())]

    def discard(self) -> None:
        """Removes all that was written."""
        self._wait()
        for own in [*self._shards.values(), self._ledger]:
            own.discard()

    def _later(self, function: Callable[..., None], argument: Any) -> None:
        self._writing.append(self._thread.submit(function, argument))

    def _wait(self) -> None:
        self._thread.shutdown()
        for own in self._writing:
            own.result()

    def _add(self, part: int) -> None:
        self._add_ledger(partitions.load(self._job.file("ledger", part)))
        for (kind, name), shards in self._shards.items():
            path = self._job.file(f"{kind}-{name}", part)
            if path.is_file():
                table = partitions.load(path)
                table = rows.with_attention(table) if kind == "tokens" else table
                shards.add(table, _SIZES[kind](table))

    def _add_ledger(self, table: pa.Table) -> None:
        self._ledger.add(table, rows.ledger_bytes(table))


_COLUMNS = {"messages": write.MESSAGES, "tokens": write.TOKENS}
_SIZES = {"messages": rows.message_bytes, "tokens": rows.token_bytes}


def describe(job: Job, found: Sequence[Input], done: Done, folder: Path) -> manifest.Manifest:
    """Writes what says what the dataset is: recipe, tokenizer, plots, card, and last the manifest.

    Returns the manifest.
    """
    recipe = config.dump_yaml(job.recipe.resolved())
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    extras = [folder / "recipe.yaml"]
    if job.recipe.render is not None:
        extras += job.load_tokenizer(job.recipe.render).save(folder / "tokenizer")
    facts = draft(job, found, done)
    if job.recipe.pack:
        facts["packs"] = pack.write_indexes(folder, done.files, job.recipe.pack.max_tokens)
    extras += plots.write(folder, facts)
    facts["extras"] = [
        {"path": path.relative_to(folder).as_posix(), "sha256": sha256_file(path)}
        for path in extras
    ]
    for name, text in card.pages(facts).items():
        (folder / name).write_text(text, encoding="utf-8")
    manifest.write(folder, facts)
    return facts


def draft(job: Job, found: Sequence[Input], done: Done) -> manifest.Manifest:
    """The manifest of a build, without what `describe` adds."""
    recipe = job.recipe
    return {
        "name": recipe.name,
        "version": recipe.version,
        "about": recipe.about,
        "license": recipe.publish.license if recipe.publish else None,
        "format": manifest.FORMAT,
        "content_hash": sha256_pairs(pair for part in done.finished for pair in part.digests),
        "recipe_hash": recipe.hash(),
        "recipe": recipe.resolved(),
        "sources": [entry for source in found for entry in _source_entries(source)],
        "counts": done.counts,
        "cleaned": done.cleaned.entry(),
        "splits": _splits(done, rendered=recipe.render is not None),
        "languages": _languages(done),
        "lengths": _lengths(done),
        "shares": _shares(recipe, done),
        "language_disagreements": done.figures.entry("language_disagreements"),
        "secrets": done.figures.entry("secrets"),
        "near_duplicates": done.near_duplicates or None,
        "contamination": done.figures.entry("contamination"),
        "leakage": {"groups_in_both": sum(part.leaking_groups for part in done.finished)},
        "render": _render_entry(job, done),
        "files": done.files,
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


def _splits(done: Done, rendered: bool) -> dict[str, dict[str, int]]:
    shown = ["rows", "messages", "bytes"]
    shown += ["token_rows", "tokens", "trained_tokens"] if rendered else []
    return {
        name: {key: sum(part.totals[name][key] for part in done.finished) for key in shown}
        for name in split.SPLITS
    }


def _languages(done: Done) -> dict[str, int]:
    """The rows in each language, most first."""
    total = sum((Counter(part.languages) for part in done.finished), Counter[str]())
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def _shares(recipe: Recipe, done: Done) -> list[dict[str, Any]] | None:
    """What each source gave, where a recipe has several or limits the one it has."""
    rows = sum((Counter(part.sources) for part in done.finished), Counter[str]())
    sources = {own.name or key: own for key, own in recipe.source.items()}
    if len(sources) < 2 and all(own.cap is None for own in sources.values()):
        return None
    return [
        {
            "source": name,
            "rows": rows[name],
            "share": round(rows[name] / max(1, rows.total()), 4),
            "weight": own.weight,
            "cap": own.cap,
            "license": own.license,
        }
        for name, own in sources.items()
    ]


def _lengths(done: Done) -> dict[str, Any]:
    """How long conversations and rows of tokens are."""
    sizes = [part.sizes for part in done.finished]
    return {
        name: histogram.describe(np.concatenate([own[name] for own in sizes])) for name in sizes[0]
    }


def _render_entry(job: Job, done: Done) -> dict[str, Any] | None:
    options = job.recipe.render
    if options is None or job.probes is None:
        return None
    own = job.load_tokenizer(options)
    splits = _splits(done, rendered=True)
    return {
        "template": own.template.facts(),
        "tokenizer": {
            "name": own.name,
            "sha256": own.sha256,
            "control_ids": own.control_ids(),
            "stop_ids": own.stops(),
        },
        "train_on": options.train_on,
        "max_tokens": options.max_tokens,
        "overflow": options.overflow,
        "token_rows": sum(own["token_rows"] for own in splits.values()),
        "tokens": sum(own["tokens"] for own in splits.values()),
        "trained_tokens": sum(own["trained_tokens"] for own in splits.values()),
        "certificate": certificate.manifest_entry(
            job.probes, done.findings, own, _engine_entry(done)
        ),
    }


def _engine_entry(done: Done) -> dict[str, Any]:
    """What made the ids, and what of that was compared with `tokenizers`."""
    own = done.encoding
    entry: dict[str, Any] = {"name": own.name}
    if own.remark:
        entry["remark"] = own.remark
    if own.is_fast:
        audit = sum((part.audit for part in done.finished), Audit())
        entry["audit"] = {"one_in": own.one_in, **audit.counts()}
    return entry


def _packages(recipe: Recipe) -> list[str]:
    """The packages whose version may change the bytes of this build."""
    packages = ["polars", "pyarrow", plots.PACKAGE]
    packages += ["tokenizers"] if recipe.render else []
    packages += secrets.PACKAGES if recipe.redact else []
    packages += [package for step in recipe.steps() for package in step.cleaner.packages]
    packages += [package for drop in recipe.drops() for package in drop.filter.packages]
    return packages
