"""Splits: a source gives the same rows, problems and figures whatever the size of its splits."""

from __future__ import annotations

import json
import random
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatdata.pipeline import split_reading
from tests.support.conversations import random_tree
from tests.support.splits import FORMS, WHOLE, check, damaged, read


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
