"""Splits: a source gives the same rows, problems and figures whatever the size of its splits."""

from __future__ import annotations

import json
import random
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
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
from tests.support.conversations import random_tree

WHOLE = 1 << 40
SIZES = (60, 1000)
PARTS = 3


class Here:
    """Workers that are this process, and the tasks that they were given."""

    def __init__(self) -> None:
        self.tasks: list[Any] = []

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        self.tasks += tasks
        return map(function, tasks)

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
    entries = [row for load in result.problems.entries() for row in load().to_pylist()]
    facts = (dict(result.units), result.tally(), result.not_read, result.shapes)
    assert not (folder / "unpacked-0").exists()
    return (rows, problems, entries, facts), here.tasks


def rows_of(files: PartitionFiles, part: int) -> list[dict[str, Any]]:
    frames = list(partitions.read(files.messages(0), part))
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


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("source", ["sharegpt", "auto"])
def test_the_size_of_splits_does_not_show(tmp_path: Path, name: str, source: str) -> None:
    path = tmp_path / name
    path.write_bytes(FORMS[name])
    tasks = check(tmp_path / "out", source, [path])
    assert all(len(of_size) > 1 for of_size in tasks) or name in ("bom.json", "utf16.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "lines.json", "pretty.json", "within.json"])
def test_damage_is_the_same_in_splits(tmp_path: Path, name: str) -> None:
    draw = random.Random(name)
    for number in range(5):
        path = tmp_path / f"{number}-{name}"
        path.write_bytes(damaged(FORMS[name], draw))
        check(tmp_path / str(number), "sharegpt", [path], sizes=(90, 400))


def damaged(content: bytes, draw: random.Random) -> bytes:
    """The content with some of its bytes lost, doubled, or replaced."""
    for _ in range(draw.randint(1, 3)):
        at, size = draw.randrange(len(content)), draw.choice([1, 1, 5, 200])
        piece = draw.choice([b"", b'"', b"\xff", b"\n", b"{", b"]", b"\\", content[at : at + 50]])
        content = content[:at] + piece + content[at + draw.choice([0, size]) :]
    return content if draw.random() < 0.8 else content[: draw.randrange(1, len(content))]


def test_a_split_may_be_a_byte(tmp_path: Path) -> None:
    turns = [{"role": role, "content": "é}, {"} for role in ("user", "assistant")]
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"messages": turns}] * 2, ensure_ascii=False))
    (tasks,) = check(tmp_path / "out", "jsonl", [path], sizes=(1,))
    assert len(tasks) >= path.stat().st_size


def test_a_guess_holds_where_nothing_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(FORMS["lines.json"])
    (tasks,) = check(tmp_path / "out", "sharegpt", [path], sizes=(400,))
    again = [task for task in tasks if not task.splits[0].file.cut.is_guessed]
    assert len(tasks) > 2
    assert len(again) == 1, "the first alone begins where nobody has to guess"


def test_row_groups_are_splits(tmp_path: Path) -> None:
    records_ = [
        {"id": str(n), "messages": [{"role": "user", "content": "é" * n}]} for n in range(9)
    ]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(records_ * 2), path, row_group_size=4)
    (tasks, _) = check(tmp_path / "out", "auto", [path], sizes=(1, 400))
    assert len(tasks) == 5
    path.write_bytes(path.read_bytes()[:-9])
    check(tmp_path / "cut", "jsonl", [path], sizes=(1,))


def test_trees_are_splits_and_messages_without_a_tree_are_not(tmp_path: Path) -> None:
    trees = [random_tree(seed) for seed in range(6)]
    path = tmp_path / "trees.jsonl"
    path.write_text("\n".join(json.dumps(tree) for tree in trees))
    check(tmp_path / "trees", "oasst", [path])
    flat = tmp_path / "flat.jsonl"
    rows = [
        {"message_id": f"m{n}", "parent_id": f"m{n // 2}" if n else None, "text": "x", "role": role}
        for n, role in enumerate(["prompter", "assistant"] * 6)
    ]
    flat.write_text("\n".join(json.dumps(row) for row in rows[::-1]))
    (tasks,) = check(tmp_path / "flat", "oasst", [flat], sizes=(1,))
    assert not tasks[-1].splits, "the source is read once more, as a whole"
    check(tmp_path / "both", "auto", [path, flat])


def test_groups_that_equal_records_name_are_read_as_a_whole(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    more = [{"role": "user", "content": str(n)} for n in range(3)] + turns[1:]
    rows = [
        *({"messages": turns}, {"messages": more, "group": "y"}, {"messages": turns, "group": "x"}),
        *({"messages": turns}, {"messages": turns, "group": "z"}),
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    (tasks,) = check(tmp_path / "out", "jsonl", [path], sizes=(1,))
    assert len(tasks) == 6
    path.write_text("\n".join(json.dumps(row) for row in rows[:2] * 3))
    (tasks,) = check(tmp_path / "same", "jsonl", [path], sizes=(1,))
    assert len(tasks) == 6, "equal records with equal groups need no second reading"


@pytest.mark.slow
def test_several_files_and_archives(tmp_path: Path) -> None:
    names = ["a.jsonl", "b/lines.json", "c.jsonl"]
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
        for name in names:
            zipped.writestr(name, FORMS[Path(name).name.replace("c.", "bom.")])
    plain = tmp_path / "z.jsonl"
    plain.write_bytes(FORMS["a.jsonl"])
    with tarfile.open(tmp_path / "y.tar.gz", "w:gz") as packed:
        packed.add(plain, "inner/z.jsonl")
    paths = [tmp_path / "x.zip", tmp_path / "y.tar.gz", plain]
    for source in ("sharegpt", "auto"):
        check(tmp_path / source, source, paths)
    (tmp_path / "x.zip").write_bytes(b"PK" + bytes(90))
    check(tmp_path / "broken", "sharegpt", [plain, tmp_path / "x.zip"], sizes=(1,))


def test_unread_keys_beyond_the_most_are_the_same(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    draw = random.Random(1)
    keys = [f"k{n}" for n in range(150)] + ["no name here"]
    rows = [{"messages": turns, **dict.fromkeys(draw.sample(keys, 6), 1)} for _ in range(90)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    check(tmp_path / "out", "jsonl", [path], sizes=(1, 2000))


def test_variables_and_refusals_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(FORMS["a.jsonl"])
    check(tmp_path / "keys", "sharegpt", [path], options="strict_keys: true")
    check(tmp_path / "seen", "sharegpt", [path], options="variables: {x: extra1}")
    check(tmp_path / "missing", "sharegpt", [path], options="variables: {x: nowhere}")
    check(tmp_path / "other", "oasst", [path])
    path.write_text('{"conversations": []}\n' * 5)
    check(tmp_path / "empty", "sharegpt", [path])


def test_ids_with_two_groups_are_seen_in_any_range(tmp_path: Path, monkeypatch: Any) -> None:
    import numpy as np

    monkeypatch.setattr(split_reading, "_PAIRS", 3)
    draw = random.Random(0)
    pairs = np.array([[draw.getrandbits(64), n] for n in range(20)], np.uint64)
    paths = [tmp_path / f"{n}.npy" for n in range(2)]
    for path, half in zip(paths, (pairs[:10], pairs[8:]), strict=True):
        np.save(path, half[np.argsort(half[:, 0])])
    assert not split_reading.names_depend(paths)
    pairs[19][0] = pairs[3][0]
    np.save(paths[1], pairs[8:][np.argsort(pairs[8:, 0])])
    assert split_reading.names_depend(paths)


def test_entries_are_sorted_in_ranges_as_all_at_once(tmp_path: Path, monkeypatch: Any) -> None:
    from chatdata.pipeline import problems

    path = tmp_path / "a.jsonl"
    path.write_bytes(FORMS["a.jsonl"] + b"\n{" * 300)
    (_, _, expected, _), _ = read(tmp_path / "one", "sharegpt", [path], WHOLE)
    monkeypatch.setattr(problems, "_ROWS", 50)
    (_, _, entries, _), _ = read(tmp_path / "ranges", "sharegpt", [path], 500)
    assert entries == expected
