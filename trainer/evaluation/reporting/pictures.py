"""The figures that programs drew, of all models beside each other."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.evaluation import png

if TYPE_CHECKING:
    from trainer.evaluation.reporting.coded import Coded

MOST_BYTES = 24 * 2**20  # of all figures on a page

Prompts = Mapping[tuple[str, str], str]  # by the hash of a file of answers and an id


def gallery(runs: Sequence[Coded], prompts: Prompts) -> dict[str, Any]:
    """A row for each prompt for which anybody drew, and how many figures are left out."""
    drawn = [id for coded in runs for id, line in coded.results.items() if line["figures"]]
    room = Room()
    rows = [
        {
            "id": id,
            "prompt": next(
                (prompts[c.answers, id] for c in runs if (c.answers, id) in prompts), ""
            ),
            "cells": [_cell(coded, id, room) for coded in runs],
        }
        for id in dict.fromkeys(drawn)
    ]
    return {"rows": rows, "left": room.left, "figures": room.figures}


class Room:
    """What may still be shown; pictures come until it is used up."""

    def __init__(self) -> None:
        self.bytes = MOST_BYTES
        self.figures = self.left = 0

    def takes(self, data: bytes) -> bool:
        """Whether there is room for a picture, which is taken."""
        is_taken = len(data) <= self.bytes
        self.bytes -= len(data) if is_taken else self.bytes
        self.figures += is_taken
        self.left += not is_taken
        return is_taken


def _cell(coded: Coded, id: str, room: Room) -> dict[str, Any]:
    line = coded.results.get(id, {"figures": [], "removed": [], "stderr": ""})
    return {
        "name": coded.name,
        "result": coded.shown(id),
        "removed": line["removed"],
        "stderr": line["stderr"],
        "pictures": list(_pictures(coded, line["figures"], room)),
    }


def _pictures(coded: Coded, files: Sequence[str], room: Room) -> Iterator[dict[str, Any]]:
    """Yields the pictures in words of HTML, or why a file is none."""
    for file in files:
        path = coded.run.path / "figures" / Path(file).name
        data = path.read_bytes() if path.is_file() else b""
        if (fault := png.fault(data)) is not None:
            yield {"data": None, "words": f"{Path(file).name} is {fault}"}
        elif room.takes(data):
            width, height = png.size(data)
            text = base64.b64encode(png.plain(data)).decode()
            yield {"data": text, "words": Path(file).name, "width": width, "height": height}
