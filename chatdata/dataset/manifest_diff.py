"""What differs between two manifests: recipe, counts, template, versions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from chatdata.core.mappings import flatten
from chatdata.dataset.entries import RenderingEntry
from chatdata.dataset.manifest import Listing, Manifest
from chatdata.render.entries import RenderEntry

_HASH = 12  # digits that are shown


@dataclass(frozen=True, slots=True)
class Change:
    """A value that differs: `before` or `after` is None where a manifest lacks the key."""

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.key}: {_short(self.before)} → {_short(self.after)}"


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between two manifests: lists of changes in a stable order."""

    splits: list[Change]  # <split>.<what>
    dropped: list[Change]  # <unit>.<reason>
    recipe: list[Change]
    sources: list[Change]  # <source>/<file>
    render: list[Change]  # template and tokenizer
    pairs: list[Change]  # questions, <split>.<what>, dropped.<reason>
    renders: list[Change]  # <added rendering>, or <added rendering>.<what>
    versions: list[Change]

    def as_json(self) -> dict[str, Any]:
        """The changes as plain values."""
        return asdict(self)


def between(before: Manifest, after: Manifest) -> Changes:
    """The changes between two manifests."""
    return Changes(
        _changes(flatten(before.splits.as_json()), flatten(after.splits.as_json())),
        _changes(_dropped(before), _dropped(after)),
        _changes(_recipe(before, after), _recipe(after, before)),
        _changes(_sources(before), _sources(after)),
        _changes(_render(before.render), _render(after.render)),
        _changes(_pairs(before), _pairs(after)),
        list(_renders(before, after)),
        _changes(before.versions, after.versions),
    )


def keys(before: Manifest, after: Manifest) -> list[str]:
    """The keys whose values differ between two manifests; a list is a single value."""
    return [change.key for change in _changes(flatten(before.as_json()), flatten(after.as_json()))]


def entry(after: Manifest, before: Manifest | Listing | None) -> list[str]:
    """The lines of a changelog about a version: one for each change that a user may notice.

    The version `before` is compared where its manifest is whole.
    """
    if not isinstance(before, Manifest) or before.version == after.version:
        rows = [f"{split.rows} in {name}" for name, split in after.splits.items()]
        added = [f"rendering, {name}: {_summary(entry)}" for name, entry in after.renders.items()]
        return [f"rows: {', '.join(rows)}", *_of_pairs(after), *added]
    changes = between(before, after)
    added = [*_titled("pairs", changes.pairs), *_titled("rendering", changes.renders)]
    if before.content_hash == after.content_hash:
        return [f"the same rows as {before.version}", *_titled("recipe", changes.recipe), *added]
    sizes = [change for change in changes.splits if change.key.endswith((".rows", ".tokens"))]
    dropped = [change for change in changes.dropped if change.key.startswith("conversations.")]
    return [
        *map(str, sizes),
        *_titled("recipe", changes.recipe),
        *_titled("source", changes.sources),
        *_titled("rendering", changes.render),
        *added,
        *_titled("dropped", dropped),
    ]


def _titled(title: str, changes: list[Change]) -> list[str]:
    return [f"{title}, {change}" for change in changes]


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    keys = [*after, *(key for key in before if key not in after)]
    pairs = [(key, before.get(key), after.get(key)) for key in keys]
    return [Change(key, old, new) for key, old, new in pairs if old != new]


def _recipe(manifest: Manifest, compared: Manifest) -> dict[str, Any]:
    """The keys of the recipe but for its version.

    Under `drop` each filter is a key, and `order` lists the filters that both recipes have.
    """
    values = manifest.recipe.as_json().items()
    recipe = {key: value for key, value in values if key != "version"}
    filters = manifest.recipe.filters
    order = [name for name in filters if name in compared.recipe.filters]
    return flatten({**recipe, "drop": {"order": order, **filters}})


def _dropped(manifest: Manifest) -> dict[str, int]:
    return _numbers({unit: count.dropped for unit, count in manifest.counts.items()})


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers in values by their keys; none of a table in which nothing is counted."""
    return {key: value for key, value in flatten(values).items() if value != {}}


def _pairs(manifest: Manifest) -> dict[str, Any]:
    if manifest.pairs is None:
        return {}
    entry = manifest.pairs
    figures = {**entry.splits.as_json(), "dropped": entry.answers.dropped}
    return {"questions": entry.questions, **_numbers(figures)}


def _of_pairs(manifest: Manifest) -> Iterator[str]:
    """Yields a line about the pairs of a dataset, where it has any."""
    if entry := manifest.pairs:
        rows = [f"{split.rows} in {name}" for name, split in entry.splits.items()]
        yield f"pairs: {', '.join(rows)}, of {entry.questions} questions"


def _sources(manifest: Manifest) -> dict[str, str]:
    return {f"{file.name}/{file.path}": file.sha256 for file in manifest.sources}


def _renders(before: Manifest, after: Manifest) -> Iterator[Change]:
    """Yields the changes of added renderings: a whole one, or what differs in it."""
    for name in dict.fromkeys([*before.renders, *after.renders]):
        old, new = before.renders.get(name), after.renders.get(name)
        if old is None or new is None:
            yield Change(name, old and _summary(old), new and _summary(new))
            continue
        values = (
            {f"{name}.{key}": value for key, value in _rendering(entry).items()}
            for entry in (old, new)
        )
        yield from _changes(*values)


def _rendering(entry: RenderingEntry) -> dict[str, Any]:
    dropped = {unit: count.dropped for unit, count in entry.counts.items()}
    figures = {"splits": entry.splits.as_json(), "dropped": dropped}
    return {**_render(entry.render), **_numbers(figures), "content_hash": entry.content_hash}


def _summary(entry: RenderingEntry) -> str:
    """A rendering in few words."""
    render = entry.render
    words = f"template {render.template.name}, tokenizer {render.tokenizer.name}"
    return f"{words}, {render.token_rows} rows of {render.tokens} tokens"


def _render(render: RenderEntry | None) -> dict[str, Any]:
    parts = {"template": render.template, "tokenizer": render.tokenizer} if render else {}
    return flatten({name: part.as_json() for name, part in parts.items()})


def _short(value: Any) -> str:
    """The value in few characters, on a line."""
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text.splitlines()) > 1:  # a template
        text = json.dumps(text, ensure_ascii=False)[1:-1]
    if len(text) == 64 and text.isalnum():
        return f"{text[:_HASH]}…"
    return text if len(text) <= 80 else f"{text[:79]}…"
