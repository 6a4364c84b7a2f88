"""What people should know of ids that a recipe wants to be forgotten, and that name nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from chatdata.dataset import reader
from chatdata.steps.entries import ForgottenEntry

_MOST = 3  # ids that are named


def remarks(entry: ForgottenEntry | None, folder: Path) -> Iterator[str]:
    """Yields a sentence for ids that name nothing, but are the last part of an id of the ledger.

    Other ids that name nothing may be of files that are not read any more.
    """
    unknown = entry.unknown_ids if entry is not None else ()
    meant = reader.whole_ids(folder, unknown) if unknown else {}
    for part in sorted(meant)[:_MOST]:
        yield (
            f"forget names '{part}', which is no whole id, so '{meant[part]}' is not taken out: "
            "write the id as the ledger does"
        )
    if len(meant) > _MOST:
        yield f"and {len(meant) - _MOST} more ids of `forget` are no whole ids"
