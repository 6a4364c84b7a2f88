"""The files of recipes: those that come with chatdata, and those that a path names.

A command looks here first, since the rest of a recipe takes a second to import.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from chatdata.core import config, storage
from chatdata.core.errors import ConfigError, SourceError
from chatdata.pipeline import recipe_keys

_SUFFIXES = (".yaml", ".yml", ".json")  # of recipes: JSON is YAML


def recipes() -> list[Path]:
    """The files of the recipes, from the wheel or from a checkout, sorted."""
    package = Path(__file__).parent.parent
    folders = [package / "_recipes", package.parent / "recipes" / "data"]
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    return sorted(folder.glob("*.yaml"))


def find(name: str | Path) -> Path:
    """The file of a recipe. Raises ConfigError naming the nearest recipe where there is none."""
    if storage.is_url(str(name)):
        raise ConfigError(
            f"recipe '{storage.shown(str(name))}' is a URL; copy the recipe here first."
        )
    path = Path(name)
    if path.suffix in _SUFFIXES or path.is_dir():
        return path
    known = {file.stem: file for file in recipes()}
    if str(name) not in known and path.is_file():
        raise ConfigError(
            f"'{name}' is no recipe, which is a file .yaml; for a file of conversations, write one "
            f"by `chatdata new NAME --from {name}`."
        )
    if len(path.parts) > 1:
        return path
    if str(name) not in known:
        raise ConfigError(
            f"there is no recipe '{name}'; {config.nearest_sentence(str(name), known)} "
            "A recipe of your own is named by its path (.yaml)."
        )
    return known[str(name)]


def check_file(name: str) -> None:
    """Raises SourceError for a file of conversations that is not there. A pattern or an address is
    looked at later."""
    if name != "-" and not glob.has_magic(name) and "://" not in name and not os.path.exists(name):
        raise no_file(name)


def no_file(name: str) -> SourceError:
    """The error for a file of conversations that is not there."""
    return SourceError(f"there is no file '{name}'; name a file, a folder or a pattern.")


def check(name: str | Path, settings: Sequence[str]) -> None:
    """Raises ConfigError where there is no such recipe, for a setting that cannot be applied, and
    for a key that recipes do not have. What values the keys may have is looked at later."""
    path = find(name)
    recipe_keys.check(config.override(config.load_yaml(path), settings), f"recipe '{path.stem}'")
