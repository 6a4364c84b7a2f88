"""A copy of a saved model for publishing: the same files, without the paths of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.run.save import DESCRIPTION

_TEXTS = (DESCRIPTION, "README.md", "adapter_config.json", "config.json", "tokenizer_config.json")
# Checkpoints, optimizer state and logs, which hold the names of machines and folders, and answers
# to prompts of the dataset, which may be private.
_LOGS = ("runs", "wandb", "mlruns", "mlflow.db", "trackio", "samples.jsonl")
_NOT_PUBLISHED = ("checkpoint-", "global_step", "training_args.bin", "run.json", ".", *_LOGS)


@contextlib.contextmanager
def made(folder: Path) -> Iterator[Path]:
    """A folder of links to the files of a model, and of texts in which a path of this machine is
    its last name. The folder goes when the context ends."""
    with tempfile.TemporaryDirectory(prefix="chatdata-") as place:
        copy, paths = Path(place) / folder.name, _local_paths(folder)
        for source in _files(folder):
            target = copy / source.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.parent == folder and source.name in _TEXTS:
                text = source.read_text(encoding="utf-8")
                target.write_text(without(text, paths), encoding="utf-8")
            else:
                _link(source, target)
        yield copy


def without(text: str, paths: dict[str, str]) -> str:
    """A text with names in place of paths, longer paths first."""
    for path in sorted(paths, key=len, reverse=True):
        for written in (path, json.dumps(path)[1:-1]):
            text = text.replace(written, paths[path])
    return text


def _files(folder: Path) -> Iterator[Path]:
    """Yields the files that may be uploaded: none of what a run keeps for itself."""
    for top in sorted(folder.iterdir()):
        if not top.name.startswith(_NOT_PUBLISHED):
            yield from sorted(top.rglob("*")) if top.is_dir() else [top]


def _link(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir(exist_ok=True)
        return
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def _local_paths(folder: Path) -> dict[str, str]:
    """The paths of this machine that the description of a model names, and their last names."""
    values: Any = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    recipe = values.get("train_recipe") or {}
    named = [recipe.get("dataset"), recipe.get("output"), recipe.get("deepspeed")]
    named += [(recipe.get("model") or {}).get("path"), str(folder.resolve())]
    named += [(recipe.get("preference") or {}).get("reference")]
    texts = [value for value in named if isinstance(value, str) and _is_local(value)]
    return {text: Path(text).name for text in texts if Path(text).name}


def _is_local(path: str) -> bool:
    """Whether a path is one of this machine, and no repository."""
    return Path(path).is_absolute() or path.startswith(("~", ".")) or Path(path).exists()
