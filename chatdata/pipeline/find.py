"""Recipes by name or path: found, loaded, and their files looked for beside the recipe."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from chatdata.core import config, storage
from chatdata.pipeline import python_code
from chatdata.pipeline.recipe import Recipe
from chatdata.pipeline.recipe_parts import SourceOptions
from chatdata.pipeline.shipped import find
from chatdata.sources import EMBEDDED


def load(name: str | Path, settings: Sequence[str] = (), python: Sequence[str] = ()) -> Recipe:
    """The recipe of this name or path, with `a.b=VALUE` settings applied.

    The Python files that the recipe names are read, and run when its functions are needed: those
    beside a recipe of the user's, and of a recipe that came with a dataset those in `python` alone.
    Raises ConfigError where there is no such recipe, or where it has a fault, and ExtensionError
    for a Python file that cannot be used.
    """
    path = find(name)
    values = config.override(config.load_yaml(path), settings)
    code = python_code.read(values, path, python)
    recipe = config.parse(Recipe, values, f"recipe '{path.stem}'", {"code": code})
    source = {name: _beside(path, options) for name, options in recipe.source.items()}
    drop = recipe.drop_with_files(lambda _, names: [_nearby(path, name) for name in names])
    forget = [_nearby(path, name) for name in recipe.forget]
    return recipe.model_copy(update={"source": source, "drop": drop, "forget": forget})


def as_recipe(recipe: Recipe | str | Path) -> Recipe:
    """The recipe itself, or the recipe of this name or path. Raises ConfigError as `load` does."""
    return recipe if isinstance(recipe, Recipe) else load(recipe)


def _beside(path: Path, options: SourceOptions) -> SourceOptions:
    """The options of a source, its local files looked for beside the recipe."""
    if options.repo is not None:
        return options
    files = [name if _is_placed(name) else str(path.parent / name) for name in options.files]
    return options.model_copy(update={"files": files})


def _is_placed(name: str) -> bool:
    """Whether a name says by itself where its file is: in the package, or behind a URL."""
    return name.startswith(EMBEDDED) or storage.is_url(name)


def _nearby(path: Path, name: str) -> str:
    """A file that an option names: beside the recipe, or else seen from the working directory."""
    beside = path.parent / name
    is_elsewhere = os.path.exists(name) and not os.path.exists(beside)
    elsewhere = _is_placed(name) or is_elsewhere
    return name if elsewhere else str(beside)
