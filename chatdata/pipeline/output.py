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
from chatdata.dataset.histogram import Histogram
from chatdata.dataset.manifest import (
    Counts,
    FileEntry,
    Leakage,
    Manifest,
    RecipeEntry,
    ShardEntry,
    Share,
    SourceFile,
    Splits,
)
from chatdata.pipeline import partitions
from chatdata.pipeline.inputs import Input
from chatdata.pipeline.job import Done, Job
from chatdata.pipeline.recipe import Recipe
from chatdata.render import certificate
from chatdata.render.encoding.audit import Audit
from chatdata.render.entries import EngineEntry, RenderEntry, TemplateEntry, TokenizerEntry
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

    def finish(self) -> tuple[ShardEntry, ...]:
        """Waits until all is written. Returns the manifest's entries for the files."""
        self._wait()
        writers = [*self._shards.values(), self._ledger]
        return tuple(
            entry for writer in writers for entry in write.describe(self._folder, writer.finish())
        )

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


def describe(job: Job, found: Sequence[Input], done: Done, folder: Path) -> Manifest:
    """Writes what says what the dataset is: recipe, tokenizer, plots, card, and last the manifest.

    Returns the manifest.
    """
    recipe = config.dump_yaml(job.recipe.resolved())
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    extras = [folder / "recipe.yaml"]
    if job.recipe.render is not None:
        extras += job.load_tokenizer(job.recipe.render).save(folder / "tokenizer")
    described = draft(job, found, done)
    if job.recipe.pack:
        packs = pack.write_indexes(folder, done.files, job.recipe.pack.max_tokens)
        described = described.model_copy(update={"packs": packs})
    extras += plots.write(folder, described)
    entries = tuple(
        FileEntry(path=path.relative_to(folder).as_posix(), sha256=sha256_file(path))
        for path in extras
    )
    described = described.model_copy(update={"extras": entries})
    for name, text in card.pages(described).items():
        (folder / name).write_text(text, encoding="utf-8")
    manifest.write(folder, described)
    return described


def draft(job: Job, found: Sequence[Input], done: Done) -> Manifest:
    """The manifest of a build, without what `describe` adds."""
    recipe, parts = job.recipe, done.finished
    splits = _splits(done, rendered=recipe.render is not None)
    return Manifest(
        name=recipe.name,
        version=recipe.version,
        about=recipe.about,
        license=recipe.publish.license if recipe.publish else None,
        format=manifest.FORMAT,
        content_hash=sha256_pairs(pair for part in parts for pair in part.digests),
        recipe_hash=recipe.hash(),
        recipe=RecipeEntry.model_validate(recipe.resolved()),
        sources=tuple(entry for source in found for entry in _source_entries(source)),
        counts=Counts.model_validate(done.counts),
        cleaned=done.cleaned.entry(),
        splits=splits,
        languages=_languages(done),
        lengths=_lengths(done),
        shares=_shares(recipe, done),
        language_disagreements=done.figures.entry("language_disagreements"),
        secrets=done.figures.entry("secrets"),
        near_duplicates=done.near_duplicates or None,
        contamination=done.figures.entry("contamination"),
        leakage=Leakage(groups_in_both=sum(part.leaking_groups for part in parts)),
        render=_render_entry(job, done, splits),
        files=done.files,
        versions=manifest.versions(_packages(recipe)),
    )


def _source_entries(source: Input) -> Iterator[SourceFile]:
    place = {"repo": source.repo, "revision": source.revision} if source.repo else {}
    for file in source.files:
        yield SourceFile(
            name=source.name,
            path=file.label,
            sha256=sha256_file(file.path),
            bytes=file.path.stat().st_size,
            **place,
        )


def _splits(done: Done, rendered: bool) -> Splits:
    figures = ["rows", "messages", "bytes"]
    figures += ["token_rows", "tokens", "trained_tokens"] if rendered else []
    sums = {
        name: {
            figure: sum(part.totals[name][figure] for part in done.finished) for figure in figures
        }
        for name in split.SPLITS
    }
    return Splits.model_validate(sums)


def _languages(done: Done) -> dict[str, int]:
    """The rows in each language, most first."""
    total = sum((Counter(part.languages) for part in done.finished), Counter[str]())
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def _shares(recipe: Recipe, done: Done) -> tuple[Share, ...] | None:
    """What each source gave, where a recipe has several or limits the one it has."""
    rows = sum((Counter(part.sources) for part in done.finished), Counter[str]())
    sources = {options.name or key: options for key, options in recipe.source.items()}
    if len(sources) < 2 and all(options.cap is None for options in sources.values()):
        return None
    return tuple(
        Share(
            source=name,
            rows=rows[name],
            share=round(rows[name] / max(1, rows.total()), 4),
            weight=options.weight,
            cap=options.cap,
            license=options.license,
        )
        for name, options in sources.items()
    )


def _lengths(done: Done) -> dict[str, Histogram]:
    """How long conversations and rows of tokens are."""
    sizes = [part.sizes for part in done.finished]
    return {
        name: histogram.describe(np.concatenate([part[name] for part in sizes]))
        for name in sizes[0]
    }


def _render_entry(job: Job, done: Done, splits: Splits) -> RenderEntry | None:
    options = job.recipe.render
    if options is None or job.probes is None:
        return None
    tokenizer = job.load_tokenizer(options)
    return RenderEntry(
        template=TemplateEntry.model_validate(tokenizer.template.facts()),
        tokenizer=TokenizerEntry(
            name=tokenizer.name,
            sha256=tokenizer.sha256,
            control_ids=tokenizer.control_ids(),
            stop_ids=tuple(tokenizer.stops()),
        ),
        train_on=options.train_on,
        max_tokens=options.max_tokens,
        overflow=options.overflow,
        token_rows=splits.total("token_rows"),
        tokens=splits.total("tokens"),
        trained_tokens=splits.total("trained_tokens"),
        certificate=certificate.manifest_entry(
            job.probes, done.findings, tokenizer, _engine_entry(done)
        ),
    )


def _engine_entry(done: Done) -> EngineEntry:
    """What made the ids, and what of that was compared with `tokenizers`."""
    encoding = done.encoding
    entry: dict[str, Any] = {"name": encoding.name}
    if encoding.remark:
        entry["remark"] = encoding.remark
    if encoding.is_fast:
        audit = sum((part.audit for part in done.finished), Audit())
        entry["audit"] = {"one_in": encoding.one_in, **audit.counts()}
    return EngineEntry(**entry)


def _packages(recipe: Recipe) -> list[str]:
    """The packages whose version may change the bytes of this build."""
    packages = ["polars", "pyarrow", plots.PACKAGE]
    packages += ["tokenizers"] if recipe.render else []
    packages += secrets.PACKAGES if recipe.redact else []
    packages += [package for step in recipe.steps() for package in step.cleaner.packages]
    packages += [package for drop in recipe.drops() for package in drop.filter.packages]
    return packages
