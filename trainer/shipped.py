"""Train recipes and prompts that come with the trainer, by name, from the wheel or a checkout."""

from __future__ import annotations

from pathlib import Path

from chatdata.core.config import nearest_sentence
from chatdata.core.errors import ConfigError

_SUFFIXES = (".yaml", ".yml", ".jsonl")
_WORDS = {"train": "train recipe", "prompts": "file of prompts", "benchmarks": "benchmark"}


def find(name: str | Path, kind: str) -> Path:
    """The file of a name or a path. `kind` is `train`, `prompts` or `benchmarks`.

    What has a suffix or a folder is a path as it stands, unless no such file is there and a shipped
    file is at the same place of a checkout (`recipes/train/sample.yaml`). Raises ConfigError naming
    the nearest for a name of nothing.
    """
    path = Path(name)
    known = {file.stem: file for file in files(kind)}
    if path.suffix in _SUFFIXES or len(path.parts) > 1 or path.is_file():
        shipped = known.get(path.stem)
        is_there = path.exists() or path.parent != Path("recipes") / kind or shipped is None
        return path if is_there or shipped is None else shipped
    if path.name not in known:
        near = nearest_sentence(path.name, known)
        raise ConfigError(
            f"there is no {_WORDS[kind]} '{name}'; {near} A file of your own is named by its path."
        )
    return known[path.name]


def files(kind: str) -> list[Path]:
    """The shipped files of a kind, in the order of their names."""
    package = Path(__file__).parent
    folders = [package / "_recipes" / kind, package.parent / "recipes" / kind]
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    return sorted(path for path in folder.iterdir()) if folder.is_dir() else []
