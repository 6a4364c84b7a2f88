"""What `chatdata build` makes, and what it says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatdata.cli import forgotten, progress, summary
from chatdata.cli.cache import note_missing
from chatdata.cli.render import added_to, note_left_behind
from chatdata.cli.show import print_examples, print_manifest
from chatdata.cli.terminal import console, loudness, note, print_json, say
from chatdata.dataset import dropped, reader
from chatdata.dataset.manifest import Manifest
from chatdata.pipeline import downloads
from chatdata.pipeline.build import build, check_splits
from chatdata.pipeline.recipe import Recipe

_Reused = tuple[str, int, int]  # a stage, its parts from the cache, all of its parts


@dataclass(frozen=True, slots=True)
class Built:
    """A dataset that was built, and what its folder, which may be in storage by now, says."""

    recipe: Recipe
    place: str | Path
    manifest: Manifest
    replaced: Sequence[str]  # renderings that were added to the folder before
    reused: Sequence[_Reused]
    unmet: Sequence[str]  # what `keep` and `forget` could not do
    examples: Sequence[str]
    has_dropped: bool


def make(recipe: Recipe, place: str | Path, **options: Any) -> Built:
    """Builds a dataset into a place, by the options of `build`, with a bar of progress."""
    reused: list[_Reused] = []
    note_missing(options["cache"])
    with progress.bar() as shown, downloads.writing(place, shown) as folder:
        replaced = added_to(folder)
        manifest = build(
            recipe,
            folder,
            **options,
            progress=shown,
            reused=lambda *stage: reused.append(stage),
        )
        return Built(
            recipe,
            place,
            manifest,
            replaced,
            reused,
            [*_not_kept(recipe.keep, folder), *forgotten.remarks(manifest.forgotten, folder)],
            dropped.examples(folder) if loudness() > 0 else [],
            dropped.is_in(folder),
        )


def tell(built: Built, as_json: bool) -> None:
    """Says what was built, what was left out against the author's wish, and what to do next."""
    _note_reused(built.reused)
    note_left_behind(built.replaced, built.place)
    _note_licenses(built.recipe, built.manifest)
    for line in built.unmet:
        note(line)
    if words := check_splits(built.recipe, built.manifest.splits.as_json()):
        note(words)
    if as_json:
        print_json(built.manifest.as_json())
    else:
        _print_result(built.manifest, built.place, built.examples, built.has_dropped)


def _print_result(
    manifest: Manifest, place: str | Path, examples: Sequence[str], has_dropped: bool
) -> None:
    """Prints what was built: with --quiet its hash and folder alone."""
    if loudness() >= 0:
        print_manifest(manifest, console())
    if loudness() > 0 and examples:
        print_examples(examples, console())
        if has_dropped:
            say(f"more of them: chatdata show {place} --dropped REASON")
    summary.print_built(manifest, str(place), has_dropped)
    say(f"{manifest.content_hash}\n{place}")


def _note_reused(reused: Sequence[_Reused]) -> None:
    """Says how much of each stage was in the cache."""
    if loudness() >= 0:
        for stage, kept, parts in reused:
            note(f"{stage}: {kept} of {parts} parts from the cache")


def _note_licenses(recipe: Recipe, manifest: Manifest) -> None:
    """Says where the licence that a recipe states does not hold for the files that were read."""
    for key, source in manifest.recipe.source.items():
        if source.license is None and recipe.source[key].license:
            note(
                f"the licence of '{source.name or key}' is not stated, since --input replaces its "
                "files; --input-license LICENSE states it"
            )


def _not_kept(keep: list[str], folder: Path) -> list[str]:
    """What of a recipe's `keep` was dropped all the same, and why, in words."""
    lines = []
    for row in reader.dropped_of(folder, keep).iter_rows(named=True) if keep else ():
        why = f"{row['reason']}: {row['detail']}" if row["detail"] else row["reason"]
        lines.append(f"keep names '{row['id']}', and it was dropped all the same ({why})")
    return lines
