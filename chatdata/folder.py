"""A dataset's folder: shards, recipe, tokenizer, card, and last the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from chatdata import card, certificate, config, ledger, manifest, parts, rows, split, write
from chatdata.hashing import sha256_file, sha256_pairs
from chatdata.inputs import Input
from chatdata.job import Done, Job
from chatdata.recipe import Recipe


def write_shards(
    job: Job, done: Done, folder: Path, progress: Callable[[str, int, int], None]
) -> list[dict[str, Any]]:
    """Writes all shards, in the order of the parts. Returns the manifest's entries for them."""
    kinds = [("messages", write.MESSAGES, rows.message_bytes)]
    if job.recipe.render is not None:
        kinds.append(("tokens", write.TOKENS, rows.token_bytes))
    files = []
    for kind, columns, sizes in kinds:
        for name in split.SPLITS:
            shards = write.Shards(folder / kind, name, columns)
            for part in range(job.parts):
                table = parts.load(job.file(f"{kind}-{name}", part))
                shards.add(table, sizes(table))
                progress("writing", part + 1, job.parts)
            files += write.describe(folder, shards.finish())
    return files + _write_ledger(job, done, folder)


def _write_ledger(job: Job, done: Done, folder: Path) -> list[dict[str, Any]]:
    shards = write.Shards(folder / "ledger", "ledger", write.LEDGER)
    tables = (parts.load(job.file("ledger", part)) for part in range(job.parts))
    unread = ledger.entries(done.problems).to_arrow().cast(write.LEDGER)
    for table in [unread, *tables]:
        shards.add(table, rows.ledger_bytes(table))
    return write.describe(folder, shards.finish())


def describe(
    job: Job, found: Sequence[Input], done: Done, files: list[dict[str, Any]], folder: Path
) -> manifest.Manifest:
    """Writes what says what the dataset is: recipe, tokenizer, card, and last the manifest.

    Returns the manifest.
    """
    recipe = config.dump_yaml(job.recipe.resolved())
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    extras = [folder / "recipe.yaml"]
    if job.recipe.render is not None:
        extras += job.load_tokenizer(job.recipe.render).save(folder / "tokenizer")
    facts = draft(job, found, done, files)
    facts["extras"] = [
        {"path": path.relative_to(folder).as_posix(), "sha256": sha256_file(path)}
        for path in extras
    ]
    (folder / "README.md").write_text(card.text(facts), encoding="utf-8")
    manifest.write(folder, facts)
    return facts


def draft(
    job: Job, found: Sequence[Input], done: Done, files: list[dict[str, Any]]
) -> manifest.Manifest:
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
        "splits": _splits(done, rendered=recipe.render is not None),
        "languages": _languages(done),
        "leakage": {"groups_in_both": sum(part.leaking_groups for part in done.finished)},
        "render": _render_entry(job, done),
        "files": files,
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
    shown = ["rows", "messages", *(["tokens", "trained_tokens"] if rendered else [])]
    return {
        name: {key: sum(part.totals[name][key] for part in done.finished) for key in shown}
        for name in split.SPLITS
    }


def _languages(done: Done) -> dict[str, int]:
    """The rows in each language, most first."""
    total = sum((Counter(part.languages) for part in done.finished), Counter[str]())
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


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
        },
        "train_on": options.train_on,
        "max_tokens": options.max_tokens,
        "overflow": options.overflow,
        "tokens": sum(own["tokens"] for own in splits.values()),
        "trained_tokens": sum(own["trained_tokens"] for own in splits.values()),
        "certificate": certificate.manifest_entry(job.probes, done.findings, own),
    }


def _packages(recipe: Recipe) -> list[str]:
    """The packages whose version may change the bytes of this build."""
    packages = ["polars", "pyarrow"]
    packages += ["tokenizers"] if recipe.render else []
    detects = any("lang" in drop.filter.needs for drop in recipe.drops())
    return [*packages, "langdetect"] if detects else packages
