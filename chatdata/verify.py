"""A finished folder against what its manifest says of it."""

from __future__ import annotations

from pathlib import Path

from chatdata import manifest
from chatdata.errors import OutputError
from chatdata.hashing import sha256_file


def verify_folder(folder: Path) -> None:
    """Checks each file's hash. Raises OutputError where one is missing or another."""
    for name, sha256 in manifest.hashes(manifest.read(folder)).items():
        path = folder / name
        if not path.is_file():
            raise OutputError(f"'{folder}' lacks {name}, which its manifest lists; build it again.")
        if sha256_file(path) != sha256:
            raise OutputError(
                f"'{path}' is not the file that the manifest lists (another sha256); "
                "build the folder again."
            )
