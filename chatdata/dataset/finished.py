"""What a name of a dataset is, and whether a build is finished there, for those who look before
anything heavy is imported."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from chatdata.core import storage
from chatdata.core.errors import OutputError, SourceError

FILE = "manifest.json"
_BUILDS = "out"  # the folder in which a build goes where nobody names one


def is_published(name: str | Path) -> bool:
    """Whether a name is that of a version on the Hub, and not of something that exists here."""
    text = str(name)
    return "@" in text and not storage.is_url(text) and not Path(text).exists()


def check(folder: Path) -> None:
    """Raises OutputError, with the way out, for a folder that is not there or has no manifest."""
    if not (folder / FILE).exists():
        raise missing(folder)


def check_files(folder: Path, names: Iterable[str]) -> None:
    """Raises OutputError for a file that the manifest of a folder names and that is not there."""
    lost = next((name for name in names if not (folder / name).is_file()), None)
    if lost is not None:
        raise OutputError(
            f"'{folder}' has no '{lost}', which its manifest names; build the folder again, or "
            "pull it again."
        )


def check_exists(path: Path) -> None:
    """Raises SourceError for data of anybody that is not there."""
    if not path.exists():
        raise SourceError(f"there is no '{path}'; name files, a folder, or org/name@revision.")


def missing(folder: Path) -> OutputError:
    """The error for a folder without a manifest."""
    if is_published(folder):
        return OutputError(
            f"'{folder}' is a published version; `chatdata pull {folder} --out DIR` makes a folder."
        )
    lacks = f"is not a finished build (it has no {FILE})"
    is_file = "is a file, and not the folder of a build" if folder.exists() else "is not there"
    state = lacks if folder.is_dir() else is_file
    is_repository = len(folder.parts) == 2 and folder.parts[0] != _BUILDS
    is_repository = is_repository and not folder.parent.exists()
    version = f", or name a published version ({folder}@1.0.0)" if is_repository else ""
    return OutputError(f"'{folder}' {state}; make one with `chatdata build`{version}.")
