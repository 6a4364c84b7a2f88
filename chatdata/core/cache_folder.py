"""The folder of what chatdata keeps on this machine and could make or fetch again."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "CHATDATA_CACHE"  # names the folder, or says `off`


def place() -> Path | None:
    """The folder of the user's cache, which may not exist; None where there is to be none."""
    stated = os.environ.get(VARIABLE)
    if stated is not None:
        return None if stated in ("", "off") else Path(stated).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "chatdata"
