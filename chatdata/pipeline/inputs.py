"""Which files a build reads: those of `--input`, of the recipe, or of a Hub repository."""

from __future__ import annotations

import atexit
import functools
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatdata import hub, sources
from chatdata.core import storage
from chatdata.core.errors import SourceError
from chatdata.pipeline import downloads, hub_urls, shipped
from chatdata.pipeline.recipe import Recipe
from chatdata.pipeline.recipe_parts import SourceOptions
from chatdata.sources import EMBEDDED, File
from chatdata.sources.records import READABLE, SUFFIXES
from chatdata.steps import forgetting
from chatdata.steps.filtering import Drop
from chatdata.steps.forgetting import ForgetList

STDIN = "-"  # the name of standard input among files
_BEGINS = {b"PAR1": ".parquet", b"\x1f\x8b": ".json.gz", b"\x28\xb5\x2f\xfd": ".json.zst"}
_BEGINS |= {b"PK\x03\x04": ".zip", b"ARROW1": ".arrow"}


@functools.cache
def standard_input() -> Path:
    """A file with all that stands on standard input, until the process ends; its name says by the
    first bytes how to read it."""
    folder = tempfile.mkdtemp(prefix="chatdata-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "stdin"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    with path.open("rb") as file:
        start = file.read(8)
    if not start:
        raise SourceError("standard input is empty; give it conversations, or name a file.")
    suffix = next((kind for mark, kind in _BEGINS.items() if start.startswith(mark)), ".json")
    return path.rename(path.with_name(f"stdin{suffix}"))


@dataclass(frozen=True, slots=True)
class Input:
    """A source of a recipe with its files: its key in the recipe, the source module, its name in
    the data, what its ids begin with."""

    key: str
    source: str
    name: str
    ids: str
    files: tuple[File, ...]
    repo: str | None
    revision: str | None


def locate(recipe: Recipe, inputs: Sequence[str]) -> list[Input]:
    """The files of each source of a recipe. `inputs` (`PATH` or `SOURCE=PATH`) replace them.

    Raises SourceError for a file that is missing, a folder or pattern without files, and a
    Hub repository that cannot be reached.
    """
    given = _by_source(recipe, inputs)
    return [_input(name, options, given.get(name, [])) for name, options in recipe.source.items()]


def option_files(drop: Drop) -> dict[str, list[File]]:
    """The files that the options of a filter name, by path or pattern, by option.

    Raises SourceError for a file that is missing, and for a folder.
    """
    return {option: _named(names, drop.filter.name) for option, names in drop.files().items()}


def forget_list(names: Sequence[str]) -> ForgetList:
    """The ids that files of these names hold.

    Raises SourceError for a file that is missing, that is no text, or that holds no id.
    """
    return forgetting.read((file.path, file.label) for file in _named(names, "forget"))


def _named(names: Sequence[str], filter_: str) -> list[File]:
    for name in names:
        if _is_folder(name):
            raise SourceError(f"'{name}' is a folder; name its files, as in '{name}/*.jsonl'.")
    return _files(names, filter_) if names else []


def _is_folder(name: str) -> bool:
    if storage.is_remote(name) and not name.startswith(storage.HUB):
        return storage.at(name).is_folder()
    return os.path.isdir(storage.local_path(name))


def with_replaced_files(recipe: Recipe, inputs: Sequence[str], license: str | None) -> Recipe:
    """The recipe with local files in place of files of the Hub, or of chatdata, that `inputs`
    replace; `license` is theirs.

    What a recipe says of those files (where they are, their licence, that of the whole, what they
    are) does not hold for others. Local files of a recipe are its author's, who speaks for `inputs`
    too, unless a licence is given.
    """
    given = _by_source(recipe, inputs)
    of_others = [key for key in given if _is_of_others(recipe.source[key])]
    source = dict(recipe.source)
    for key in given if license else of_others:
        source[key] = source[key].model_copy(update={"license": license})
    for key in of_others:
        local = {"repo": None, "revision": None, "files": given[key]}
        source[key] = source[key].model_copy(update=local)
    changed: dict[str, Any] = {"source": source}
    if of_others:
        changed["about"] = _about_others(recipe)
    if source != recipe.source and recipe.publish:
        whole = license if len(source) == 1 else None
        changed["publish"] = recipe.publish.model_copy(update={"license": whole})
    return recipe.model_copy(update=changed)


def _is_of_others(options: SourceOptions) -> bool:
    return bool(options.repo) or any(name.startswith(EMBEDDED) for name in options.files)


def _about_others(recipe: Recipe) -> str:
    words = f"Local files, by the recipe {recipe.name}"
    return f"{words} ({recipe.about})" if recipe.about else words


def without_paths(recipe: Recipe, inputs: Sequence[Input]) -> Recipe:
    """The recipe with the names that its local files have in the manifest, without folders."""
    source = dict(recipe.source)
    for input_ in inputs:
        options = source[input_.key]
        local = [name for name in options.files if not name.startswith(EMBEDDED)]
        if local and options.repo is None:
            labels = [_last(name) for name in options.files]
            source[input_.key] = options.model_copy(update={"files": labels})
    drop = recipe.drop_with_files(_labels)
    forget = _labels("forget", recipe.forget)
    return recipe.model_copy(update={"source": source, "drop": drop, "forget": forget})


def _last(name: str) -> str:
    """The last part of a path or a URL."""
    return storage.name_of(name) if storage.is_url(name) else Path(name).name


def _labels(filter_: str, names: Sequence[str]) -> list[str]:
    return [file.label for file in _named(names, filter_)]


def _by_source(recipe: Recipe, inputs: Sequence[str]) -> Mapping[str, list[str]]:
    given: dict[str, list[str]] = {}
    names = list(recipe.source)
    for text in inputs:
        name, equals, path = text.partition("=")
        if equals and name in names:
            given.setdefault(name, []).append(path)
        elif len(names) == 1:
            given.setdefault(names[0], []).append(text)
        else:
            raise SourceError(
                f"recipe '{recipe.name}' has the sources {', '.join(names)}; say which one "
                f"--input {text} is for, as --input {names[0]}={text}."
            )
    return given


def _input(key: str, options: SourceOptions, given: list[str]) -> Input:
    is_named_for_format = key == options.format
    from_hub = bool(options.repo) and not given
    local = [] if from_hub else given or options.files
    if hub_urls.are_of_hub(local):
        from_hub, options = True, hub_urls.with_repository(options, local)
    files = _from_hub(options) if from_hub else _files(local, key)
    return Input(
        key,
        options.format,
        options.name or key,
        options.name or (sources.get(options.format).IDS if is_named_for_format else key),
        tuple(files),
        options.repo if from_hub else None,
        options.revision if from_hub else None,
    )


def _from_hub(options: SourceOptions) -> list[File]:
    """The files that the recipe names; if it names none, the Parquet files, or else all."""
    readable = [f"*{suffix}" for suffix in SUFFIXES]
    choices = [options.files] if options.files else [["*.parquet"], readable]
    for patterns in choices:
        folder, names = hub.fetch(str(options.repo), str(options.revision), patterns, "dataset")
        files = [File(folder / name, name) for name in names if name.endswith(READABLE)]
        if files:
            return files
    raise SourceError(
        f"'{options.repo}' has no file that matches {', '.join(choices[-1])} at "
        f"{options.revision}; correct `files` in the recipe."
    )


def _files(patterns: Sequence[str], source: str) -> list[File]:
    if not patterns:
        raise SourceError(f"source '{source}' names no files; give some with --input PATH.")
    remote = [name for name in patterns if storage.is_remote(name)]
    if len(remote) == len(patterns):
        return downloads.files(remote)
    if remote:
        raise SourceError(
            f"source '{source}' has local files and '{storage.shown(remote[0])}'; give them two "
            "sources in the recipe, or copy the files to one place."
        )
    paths = sorted({path for pattern in patterns for path in _expand(pattern)})
    if len(paths) == 1:
        return [File(paths[0], paths[0].name)]
    common = Path(os.path.commonpath([path.parent for path in paths]))
    return [File(path, path.relative_to(common).as_posix()) for path in paths]


def _expand(pattern: str) -> list[Path]:
    if pattern.startswith(EMBEDDED):
        return [sources.embedded(pattern)]
    if pattern == STDIN:
        return [standard_input()]
    pattern = storage.local_path(pattern)
    path = Path(pattern)
    if os.path.isdir(path):
        return _in_folder(path)
    if os.path.exists(path):  # false, too, of a name that no file can have
        return [path.resolve()]
    matches = sorted(Path(match).resolve() for match in glob.glob(pattern, recursive=True))
    if not matches:
        raise shipped.no_file(pattern)
    files = [match for match in matches if match.is_file()]
    if not files:
        raise SourceError(
            f"'{pattern}' matches folders alone; name files, as in '{pattern}/*.jsonl'."
        )
    _check_all_are_data(pattern, files)
    return files


def _check_all_are_data(pattern: str, files: Sequence[Path]) -> None:
    """Raises SourceError where a pattern matches data and something else, such as a LICENSE."""
    data = [file for file in files if file.name.endswith(READABLE)]
    if data and len(data) < len(files):
        rest = next(file for file in files if file not in data)
        suffix = next(suffix for suffix in READABLE if data[0].name.endswith(suffix))
        raise SourceError(
            f"'{pattern}' matches data and '{rest.name}', whose name is not that of data; name the "
            f"data, as in '{pattern.rstrip('*')}*{suffix}', or the folder, of which data is read."
        )


def _in_folder(folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.name.endswith(READABLE) and path.is_file()]
    saved = {path.parent for path in files if path.name == _STATE}
    files = [path for path in files if path.name not in _SAVED or not _is_saved(path, saved)]
    if not files:
        raise SourceError(
            f"folder '{folder}' holds no {', '.join(READABLE)} file; name the files of data, or "
            "another folder."
        )
    return [path.resolve() for path in sorted(files)]


# What `save_to_disk` of datasets writes beside its Arrow files.
_STATE = "state.json"
_SAVED = (_STATE, "dataset_info.json", "dataset_dict.json")


def _is_saved(path: Path, saved: Collection[Path]) -> bool:
    """Whether a file tells of a saved dataset: it stands in the folder of one, or above some."""
    return path.parent in saved or any(folder.parent == path.parent for folder in saved)
