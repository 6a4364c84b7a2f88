"""A manifest as notebooks show it: what was built, the sums that must hold, the certificate."""

from __future__ import annotations

from collections.abc import Iterator

from chatdata.core import html
from chatdata.dataset import card
from chatdata.dataset.manifest import Manifest


def of(manifest: Manifest) -> str:
    """The tables of a manifest: counts, splits, certificate."""
    title = f"{manifest.name} {manifest.version}, content hash {manifest.content_hash}"
    checks = list(_checks(manifest))
    return "".join(
        (
            html.paragraph(title),
            html.table(("", "read", "kept", "dropped", "adds up"), _counts(manifest)),
            html.table(("split", "rows", "tokens", "trained tokens"), _splits(manifest)),
            html.table(("certificate", "looked at", "wrong", ""), checks) if checks else "",
        )
    )


def _counts(manifest: Manifest) -> Iterator[tuple[object, ...]]:
    for unit, count in manifest.counts.items():
        dropped = sum(count.dropped.values())
        yield unit, count.read, count.kept, dropped, _mark(count.read == count.kept + dropped)


def _splits(manifest: Manifest) -> Iterator[tuple[object, ...]]:
    for name, split in manifest.splits.items():
        yield name, split.rows, split.tokens, split.trained_tokens


def _checks(manifest: Manifest) -> Iterator[tuple[object, ...]]:
    for words, number, wrong in card.certificate(manifest):
        yield words, number, wrong, _mark(not wrong)


def _mark(is_right: bool) -> str:
    return "✓" if is_right else "✗"
