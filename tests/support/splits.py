"""Sources that are read as a whole and in splits, which must not show."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chatdata import load_recipe
from chatdata.core.errors import ChatdataError
from chatdata.pipeline import partitions, reading, split_reading
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.inputs import locate
from chatdata.pipeline.partitions import PartitionFiles
from chatdata.pipeline.progress import silent
from chatdata.sources import cutting
from chatdata.steps.figures import FiguresByKey

WHOLE = 1 << 40
SIZES = (60, 1000)
PARTS = 3


class Here:
    """Workers that are this process, and the tasks that they were given."""

    number = 1

    def __init__(self) -> None:
        self.tasks: list[Any] = []

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        self.tasks += tasks
        return map(function, tasks)

    def map_here(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        return map(function, tasks)

    write = map

    def remove(self, path: Path) -> None:
        raise NotImplementedError

    def submit(self, function: Callable[[Any], Any], task: Any) -> Future[Any]:
        raise NotImplementedError


def read(folder: Path, source: str, paths: Sequence[Path], size: int, options: str = "") -> Any:
    """All that is known of a source when it is read in splits of a size, or the refusal; and the
    tasks of the workers."""
    folder.mkdir()
    recipe = folder / "r.yaml"
    recipe.write_text(f"name: r\nversion: 1.0.0\nsource: {{{source}: {{{options}}}}}\n")
    files, here = PartitionFiles(folder, PARTS), Here()
    loaded = load_recipe(recipe)
    context = BuildContext(recipe=loaded, files=files, figures=FiguresByKey({}))
    inputs = locate(loaded, [str(path) for path in paths])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "SPLIT_BYTES", size)
        try:
            result = reading.read(context, inputs, here, silent)
        except ChatdataError as error:
            return str(error), here.tasks
    rows = [rows_of(files, part) for part in range(PARTS)]
    problems = [row for batch in partitions.batches(files.problems) for row in batch.to_pylist()]
    entries = [row for rows in result.problems.entries() for row in rows.to_pylist()]
    facts = (dict(result.units), result.tally(), result.not_read, result.shapes)
    assert not (folder / "unpacked-0").exists()
    return (rows, problems, entries, facts), here.tasks


def rows_of(files: PartitionFiles, part: int) -> list[dict[str, Any]]:
    frames = list(partitions.read(files.messages_of(0, part)))
    return split_reading.numbered(pl.concat(frames)).to_dicts() if frames else []


def check(
    folder: Path,
    source: str,
    paths: Sequence[Path],
    sizes: Sequence[int] = SIZES,
    options: str = "",
) -> list[list[Any]]:
    """Reads a source as a whole and in splits of some sizes, which must not show. Returns the tasks
    of each."""
    folder.mkdir(exist_ok=True)
    expected, tasks = read(folder / "whole", source, paths, WHOLE, options)
    assert len(tasks) <= 1
    every = []
    for size in sizes:
        made, tasks = read(folder / str(size), source, paths, size, options)
        assert made == expected, f"{source}, splits of {size} bytes"
        every.append(tasks)
    return every


# ------------------------------------------------------------------------------------- what is read


def talks(number: int = 8) -> list[dict[str, Any]]:
    """Records of all kinds: with an id, without, again, without turns, with unread keys."""
    draw = random.Random(3)
    made: list[dict[str, Any]] = []
    for n in range(number):
        words = draw.choice(["Where do herons nest?", "日本 }, {", 'a "quoted" \\ word, [{'])
        answer = draw.choice(["In trees.", "No\n,{}", "é" * 30])
        turns = [{"from": "human", "value": words}, {"from": "gpt", "value": answer}]
        record: dict[str, Any] = {"conversations": turns if n % 5 else turns[:0]}
        if n % 3 == 0:
            record["id"] = f"a{n // 2}_{n}"
        if n % 4 == 0:
            record[f"extra{n % 3}"] = n
        made.append(record)
    return made + made[:3] + [{"odd": 1}, {"conversations": [{"from": "x", "value": 3}]}]


TALKS = talks()
LINES = [json.dumps(talk, ensure_ascii=False) for talk in TALKS]
FORMS: dict[str, bytes] = {
    "a.jsonl": "\n".join(LINES).encode(),
    "bom.jsonl": b"\xef\xbb\xbf" + "\r\n\n".join(LINES).encode() + b"\n",
    "a.json": f"[{', '.join(LINES)}]".encode(),
    "lines.json": "[\n{}\n]\n".format(",\n".join(LINES)).encode(),
    "pretty.json": json.dumps(TALKS, indent=2).encode(),
    "bom.json": b"\xef\xbb\xbf" + json.dumps(TALKS).encode(),
    "several.json": f"[{','.join(LINES[:5])}] [{','.join(LINES[5:])}]".encode(),
    "values.json": json.dumps(TALKS[1], indent=1).encode() + "\n".join(LINES[2:]).encode(),
    "within.json": f'{{"v": 1, "data": [{", ".join(LINES[1:])}], "end": 2}}'.encode(),
    "utf16.jsonl": "\n".join(LINES).encode("utf-16"),
}


def damaged(content: bytes, draw: random.Random) -> bytes:
    """The content with some of its bytes lost, doubled, or replaced."""
    for _ in range(draw.randint(1, 3)):
        at, size = draw.randrange(len(content)), draw.choice([1, 1, 5, 200])
        piece = draw.choice([b"", b'"', b"\xff", b"\n", b"{", b"]", b"\\", content[at : at + 50]])
        content = content[:at] + piece + content[at + draw.choice([0, size]) :]
    return content if draw.random() < 0.8 else content[: draw.randrange(1, len(content))]
