"""Which files a dataset folder has. A manifest of a stranger may list others, which nothing writes:
a file that another program obeys is not brought in with a dataset."""

from __future__ import annotations

import re

from chatdata.core.constants import RECIPE_FILE
from chatdata.dataset import card, manifest, plots, renderings, tables

_TOP = {manifest.FILE, *card.PAGES, RECIPE_FILE}
_NAME = r"[A-Za-z0-9_][\w.-]*"  # no dot files
_TABLE = re.compile(rf"{_NAME}\.parquet", re.ASCII)
_PLOT = re.compile(rf"{_NAME}\.png", re.ASCII)
_OF_TOKENIZER = re.compile(rf"{_NAME}\.(json|jinja)", re.ASCII)


def has(path: str) -> bool:
    """Whether a dataset folder may have a file of this relative path."""
    folder, slash, name = path.partition("/")
    if not slash:
        return path in _TOP
    if tables.of_path(path) is not None:
        return _TABLE.fullmatch(name) is not None
    if folder == plots.FOLDER:
        return _PLOT.fullmatch(name) is not None
    return renderings.is_tokenizer_folder(folder) and _OF_TOKENIZER.fullmatch(name) is not None
