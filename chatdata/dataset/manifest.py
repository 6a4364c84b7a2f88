"""What a dataset says of itself: `manifest.json`, written last and read first."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from chatdata.core.errors import OutputError

FORMAT = 1  # of the folder; a build of another format is not read
FILE = "manifest.json"

_KEYS = ("name", "version", "format", "content_hash", "recipe_hash", "sources", "counts", "splits")

Manifest = dict[str, Any]


def read(folder: Path) -> Manifest:
    """The manifest of a finished build. Raises OutputError where the folder holds none."""
    path = folder / FILE
    try:
        manifest: Manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        unfinished = "is not a finished build (it has no manifest.json)"
        state = unfinished if folder.is_dir() else "is not there"
        raise OutputError(f"'{folder}' {state}; make one with `chatdata build`.") from None
    except (OSError, ValueError) as error:
        raise OutputError(f"'{path}' cannot be read ({error}); build the folder again.") from None
    _check_keys(manifest, f"'{path}'")
    _check_format(manifest, f"'{path}'")
    _check_files(manifest, f"'{path}'")
    return manifest


def parse(text: bytes) -> Manifest | None:
    """The manifest that a file of a repository is, of any format; None where it is something else.

    What a repository holds may have been written by anybody.
    """
    try:
        manifest: Manifest = json.loads(text)
        _check_keys(manifest, FILE)
        _check_files(manifest, FILE)
    except (ValueError, OutputError):
        return None
    return manifest


def _check_keys(manifest: Manifest, where: str) -> None:
    missing = [key for key in _KEYS if key not in manifest] if isinstance(manifest, dict) else _KEYS
    if missing:
        raise OutputError(f"{where} has no '{missing[0]}'; build the folder again.")


def _check_files(manifest: Manifest, where: str) -> None:
    try:
        texts = [manifest["version"], *hashes(manifest), *hashes(manifest).values()]
    except (TypeError, KeyError):
        texts = [None]
    lists = isinstance(manifest.get("files", []), list)
    if not lists or not all(isinstance(text, str) for text in texts):
        raise OutputError(f"{where} has a list of files that is none; build the folder again.")


def _check_format(manifest: Manifest, where: str) -> None:
    if manifest["format"] != FORMAT:
        raise OutputError(
            f"{where} has format {manifest['format']!r} and this chatdata reads {FORMAT}; "
            "build the folder again or install the chatdata that wrote it."
        )


def write(folder: Path, manifest: Manifest) -> Path:
    """Writes the manifest into a folder that is otherwise complete. Returns its path."""
    path = folder / FILE
    path.write_text(text(manifest), encoding="utf-8")
    return path


def text(manifest: Manifest) -> str:
    """The manifest as it stands in its file."""
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"


def hashes(manifest: Manifest) -> dict[str, str]:
    """The SHA-256 of each file that a manifest lists, by its path in the folder."""
    listed = [own for key in ("files", "extras", "packs") for own in manifest.get(key) or []]
    return {own["path"]: own["sha256"] for own in listed}


def versions(packages: list[str]) -> dict[str, str]:
    """The installed versions of packages that affect bytes, ours among them."""
    from chatdata import __version__

    own = {"chatdata": __version__, "python": platform.python_version()}
    return {
        "chatdata": __version__,
        **{name: own.get(name) or metadata.version(name) for name in sorted(packages)},
    }
