"""A folder compared, byte by byte, with a new build from its recipe."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from chatdata.core import config, disk
from chatdata.core.constants import RECIPE_FILE
from chatdata.core.errors import ChatdataError, ConfigError, OutputError
from chatdata.dataset import card, card_merge, dropped, manifest, manifest_diff, pack
from chatdata.dataset.manifest import Manifest
from chatdata.pipeline import python_code
from chatdata.pipeline.add_rendering import add_rendering
from chatdata.pipeline.build import build_as_stated
from chatdata.pipeline.progress import Progress, silent
from chatdata.pipeline.recipe import Recipe
from chatdata.verify.audit import kept
from chatdata.verify.verification import Verdict


def verdict(
    folder: Path,
    *,
    inputs: Sequence[str] = (),
    settings: Sequence[str] = (),
    python: Sequence[str] = (),
    workers: int = 1,
    progress: Progress = silent,
) -> Verdict:
    """The verdict on a folder by a new build from its recipe. The arguments are as for `problems`.

    Raises OutputError where a disk is full or a file may not be opened.
    """
    given = {"inputs": inputs, "settings": settings, "python": python}
    try:
        faults = problems(folder, **given, workers=workers, progress=progress)
    except ChatdataError as error:
        if words := disk.problem(error):  # which says nothing of the folder
            raise OutputError(words) from error
        faults = [str(error).removesuffix(".")]
    about = "A build from the recipe writes the same bytes"
    return Verdict("rebuild", about, "failed" if faults else "ok", faults)


def problems(
    folder: Path,
    *,
    inputs: Sequence[str] = (),
    settings: Sequence[str] = (),
    python: Sequence[str] = (),
    workers: int = 1,
    progress: Progress = silent,
) -> list[str]:
    """The differences between a folder and a build from its recipe, in words.

    `inputs` and `settings` are as in a build. The recipe of a folder does not say where local
    files and a local tokenizer are, so they must be given (`render.tokenizer=PATH`, and
    `renders.NAME.tokenizer=PATH` for an added rendering), and so must its Python files, which are
    run: `python`. Raises a ChatdataError where the recipe
    cannot be built.
    """
    facts = manifest.read(folder)
    of_build = [setting for setting in settings if not setting.startswith("renders.")]
    values = config.override(config.load_yaml(folder / RECIPE_FILE), of_build)
    code = python_code.read(values, folder / RECIPE_FILE, python)
    stated = python_code.without_hashes(values)
    recipe = config.parse(Recipe, stated, f"recipe of '{folder}'", {"code": code})
    with tempfile.TemporaryDirectory(prefix="chatdata-") as work:
        new = Path(work) / "out"
        build_as_stated(
            recipe,
            new,
            inputs=inputs,
            workers=workers,
            keep_dropped=dropped.is_in(folder),
            progress=progress,
            cache=False,  # which may hold what is to be proved
        )
        for name in facts.renders:
            _add_again(new, facts, name, settings, workers)
        _pack_again(new, facts)
        if facts.audit:
            kept.keep(new, kept.again(new))
        files = [
            f"the Python file '{name}' has changed: its SHA-256 was {before}, and is {now}"
            for name, before, now in python_code.changed(values, code)
        ]
        return [*files, *_causes(facts, manifest.read(new)), *_differences(folder, new)]


def _add_again(
    new: Path, facts: Manifest, name: str, settings: Sequence[str], workers: int
) -> None:
    """Adds a rendering of the folder to the new build."""
    prefix = f"renders.{name}."
    given = [setting.removeprefix(prefix) for setting in settings if setting.startswith(prefix)]
    options = config.override(facts.renders[name].options, given)
    stated = [f"render.{key}={json.dumps(value)}" for key, value in options.items()]
    try:
        add_rendering(
            new,
            tokenizer=options["tokenizer"],
            name=name,
            settings=[*stated, "max_dropped=1"],
            workers=workers,
            cache=False,
        )
    except ConfigError as error:
        words = str(error).replace("--set render.", f"--set {prefix}")
        raise ConfigError(f"rendering '{name}': {words}") from None


def _pack_again(new: Path, facts: Manifest) -> None:
    """Packs the rows of the new build into the indexes that were added after the first build."""
    packed = {(index.max_tokens, index.rendering) for index in manifest.read(new).packs}
    added = [(index.max_tokens, index.rendering) for index in facts.packs]
    for size, rendering in dict.fromkeys(added):
        if (size, rendering) not in packed:
            pack.repack(new, size, rendering)


def _causes(facts: Manifest, new: Manifest) -> Iterator[str]:
    """Yields why bytes may differ: other inputs, another tokenizer, other versions."""
    changes = manifest_diff.between(facts, new)
    if keys := manifest_diff.keys(facts, new):
        yield f"{manifest.FILE}: a new build writes another {', '.join(keys)}"
    yield from (f"source {change}" for change in changes.sources)
    yield from (f"rendering, {change}" for change in (*changes.render, *changes.renders))
    yield from (f"version of {change}" for change in changes.versions)


def _differences(folder: Path, new: Path) -> Iterator[str]:
    for path in sorted(path for path in new.rglob("*") if path.is_file()):
        name = path.relative_to(new).as_posix()
        if name == manifest.FILE:
            continue  # its keys are compared in `_causes`, which says more
        if not (folder / name).is_file():
            yield f"{name}: the file is missing, and a new build writes it"
        elif _reader(name)(folder / name) != _reader(name)(path):
            yield f"{name}: a new build writes other bytes"


def _reader(name: str) -> Callable[[Path], object]:
    """The function that reads a file to compare it. Users may have written on the card."""
    return _generated if name == card.PAGE else Path.read_bytes


def _generated(path: Path) -> tuple[object, str]:
    """The parts of a card that a build writes."""
    text = path.read_text(encoding="utf-8")
    return card_merge.managed_values(text), card_merge.managed_text(text)
