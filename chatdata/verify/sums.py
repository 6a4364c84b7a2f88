"""The sums of a manifest, against what was counted again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chatdata.dataset.histogram import Histogram
from chatdata.dataset.manifest import Manifest
from chatdata.render.entries import RenderEntry
from chatdata.verify.recount import Recount, differing


def problems(manifest: Manifest, counted: Recount) -> Iterator[str]:
    """Yields each sum that is not what the rows give, in words."""
    yield from _of_splits(manifest, counted)
    yield from _of_all(manifest, counted)
    yield from _of_sources(manifest, counted)
    lengths = counted.lengths()
    yield from lengths_of(lengths, manifest.lengths, manifest.render)


def _of_splits(manifest: Manifest, counted: Recount) -> Iterator[str]:
    for name, entry in manifest.splits.items():
        stated = entry.as_json()
        for key, number in counted.splits.get(name, dict.fromkeys(stated, 0)).items():
            yield from differing(f"{key} of {name}", stated.get(key), number)


def _of_all(manifest: Manifest, counted: Recount) -> Iterator[str]:
    sums = {
        "rows by language": (manifest.languages, dict(counted.languages)),
        "rows by variable": (manifest.variables or {}, dict(counted.variables)),
        "messages with a weight": (manifest.weighted_messages or 0, counted.weighted_messages),
        "messages with train_parts": (manifest.messages_in_parts or 0, counted.messages_in_parts),
    }
    for words, (stated, actual) in sums.items():
        yield from differing(words, stated, actual)


def _of_sources(manifest: Manifest, counted: Recount) -> Iterator[str]:
    for share in manifest.shares or ():
        rows = counted.sources[share.source]
        yield from differing(f"rows of source {share.source}", share.rows, rows)
        if share.tokens is not None:
            stated = {"tokens": share.tokens, "trained_tokens": share.trained_tokens}
            actual = counted.source_tokens.get(share.source, dict.fromkeys(stated, 0))
            yield from differing(f"tokens of {share.source}", stated, actual)


def lengths_of(
    lengths: Mapping[str, Histogram], stated: Mapping[str, Histogram], render: RenderEntry | None
) -> Iterator[str]:
    """Yields where the lengths of rows are not those that are stated, or above the limit."""
    if stated != lengths:
        yield "lengths: those of the manifest are not those of the rows"
    limit = render.max_tokens if render else None
    longest = lengths["tokens"].max if "tokens" in lengths else 0
    if limit and longest > limit:
        yield f"a row has {longest} tokens, more than max_tokens, which is {limit}"
