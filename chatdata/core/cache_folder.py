"""The folder of what chatdata keeps on this machine and could make or fetch again.

Files in it are removed without a question, and some are run. So the folder is marked as chatdata's
when it is made, and one that holds anything else, or that others may write to, is refused.
"""

from __future__ import annotations

import os
from pathlib import Path

from chatdata.core.errors import OutputError

VARIABLE = "CHATDATA_CACHE"  # names the folder, or says `off`
MARK = "CACHEDIR.TAG"  # by this name programs that make copies of disks know a cache
_TEXT = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# What chatdata keeps, and could make again (`chatdata cache`); see bford.info/cachedir\n"
)


def place() -> Path | None:
    """The folder of the user's cache, which may not exist; None where there is to be none.

    Raises RuntimeError where nobody knows the home folder of this user.
    """
    stated = os.environ.get(VARIABLE)
    if stated is not None:
        return None if stated in ("", "off") else Path(stated).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "chatdata"


def missing() -> str | None:
    """Why there can be no folder for the cache, which is made where it is missing; None where there
    is one, or none is to be."""
    try:
        folder = place()
    except RuntimeError:
        return "the cache cannot be made: the home folder of this user is not known"
    try:
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.stat()
    except OSError as error:
        return f"the cache '{folder}' cannot be made: {error.strerror}"
    return None


def ready() -> Path | None:
    """The folder of the user's cache, which is made where it is missing; None where there is to be
    none, or where there cannot be the usual folder, which nobody has asked for.

    Raises OutputError for a folder that is stated and cannot be made, and for one that holds files
    of others, or that others may write to.
    """
    if words := missing():
        if VARIABLE not in os.environ:
            return None
        raise OutputError(f"{words}; set {VARIABLE} to a folder, or to off.")
    folder = place()
    if folder is not None:
        _check_owner(folder)
        _mark(folder)
        os.chmod(folder, 0o700)
    return folder


def _check_owner(folder: Path) -> None:
    """Raises OutputError where others may write to a folder."""
    facts = folder.stat()
    if facts.st_uid != os.getuid():
        raise OutputError(
            f"the cache '{folder}' belongs to another user; set {VARIABLE} to a folder of yours, "
            "or to off."
        )
    if facts.st_mode & 0o022:
        raise OutputError(
            f"others may write to the cache '{folder}'; run `chmod 700` on it, or set {VARIABLE} "
            "to a folder of yours, or to off."
        )


def _mark(folder: Path) -> None:
    """Marks an empty folder as chatdata's. Raises OutputError for any other that has no mark."""
    mark = folder / MARK
    is_there = mark.is_file()
    text = mark.read_bytes() if is_there else b""  # empty while another process writes it
    if text not in (b"", _TEXT) or (not is_there and any(folder.iterdir())):
        raise OutputError(
            f"the cache '{folder}' holds files that are not chatdata's, which it would remove; set "
            f"{VARIABLE} to an empty folder, or to off."
        )
    if text != _TEXT:
        mark.write_bytes(_TEXT)
