"""Why a command could not read a folder: a fault of the folder, not of chatdata."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from chatdata.core.errors import ChatdataError
from chatdata.dataset import manifest
from chatdata.verify.verification import verify_folder


def in_words(places: Iterable[Path]) -> str | None:
    """The first problem of the first built folder that fails its verification; None without any.

    `places` need not be built folders.
    """
    for place in places:
        try:
            if manifest.is_ours(place):
                verify_folder(place)
        except ChatdataError as error:
            return str(error)
        except Exception:  # then nobody knows, and the error of the command stays as it was
            continue
    return None
