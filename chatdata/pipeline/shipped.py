"""The recipes that come with chatdata: their files alone."""

from __future__ import annotations

from pathlib import Path


def recipes() -> list[Path]:
    """The files of the recipes, from the wheel or from a checkout, sorted."""
    package = Path(__file__).parent.parent
    folders = [package / "_recipes", package.parent / "recipes" / "data"]
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    return sorted(folder.glob("*.yaml"))
