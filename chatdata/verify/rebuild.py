"""Is a folder what its recipe makes? Built again beside it, and compared byte by byte."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from chatdata.core import config
from chatdata.dataset import card, manifest, manifest_diff, pack
from chatdata.dataset.manifest import Manifest
from chatdata.pipeline.build import build
from chatdata.pipeline.progress import Progress, silent
from chatdata.pipeline.recipe import Recipe


def problems(
    folder: Path,
    *,
    inputs: Sequence[str] = (),
    settings: Sequence[str] = (),
    workers: int = 1,
    progress: Progress = silent,
) -> list[str]:
    """What differs between a folder and a build from its recipe, in words; nothing, if all is well.

    `inputs` and `settings` are as in a build: local files are not named by where they are, so
    they have to be given, and so has a tokenizer that is in a folder
    (`render.tokenizer=PATH`). Raises a ChatdataError where the recipe cannot be built.
    """
    facts = manifest.read(folder)
    values = config.override(config.load_yaml(folder / "recipe.yaml"), settings)
    recipe = config.parse(Recipe, values, f"recipe of '{folder}'")
    with tempfile.TemporaryDirectory(prefix="chatdata-") as work:
        new = Path(work) / "out"
        build(recipe, new, inputs=inputs, workers=workers, progress=progress)
        _pack_again(new, facts)
        return [*_causes(facts, manifest.read(new)), *_differences(folder, new)]


def _pack_again(new: Path, facts: Manifest) -> None:
    """Packs the rows as they were packed, by the recipe or afterwards."""
    packed = {index.max_tokens for index in manifest.read(new).packs}
    for size in sorted({index.max_tokens for index in facts.packs} - packed):
        pack.repack(new, size)


def _causes(facts: Manifest, new: Manifest) -> Iterator[str]:
    """Yields what may be why bytes differ: other inputs, another tokenizer, other versions."""
    own = manifest_diff.between(facts, new)
    if keys := manifest_diff.keys(facts, new):
        yield f"{manifest.FILE}: a build has another {', '.join(keys)}"
    yield from (f"source {change}" for change in own.sources)
    yield from (f"rendering, {change}" for change in own.render)
    yield from (f"version of {change}" for change in own.versions)


def _differences(folder: Path, new: Path) -> Iterator[str]:
    for path in sorted(path for path in new.rglob("*") if path.is_file()):
        name = path.relative_to(new).as_posix()
        if name == manifest.FILE:
            continue  # its keys have been compared, which says more
        if not (folder / name).is_file():
            yield f"{name}: a build writes it, and it is not there"
        elif _readers(name)(folder / name) != _readers(name)(path):
            yield f"{name}: a build writes other bytes"


def _readers(name: str) -> Callable[[Path], object]:
    """How a file is read to be compared: of a card, what is ours."""
    return _managed if name == card.PAGE else Path.read_bytes


def _managed(path: Path) -> tuple[object, str]:
    text = path.read_text(encoding="utf-8")
    return card.facts_in(text), card.without_history(text)
