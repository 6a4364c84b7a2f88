"""Row groups and shards that end where ids say: a row more or less changes what is around it."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatdata.dataset import schemas, shards, tables
from chatdata.dataset.row_groups import MOST_ROWS, Grouping, facts_of
from tests.support import shard_files
from tests.support.xet import new_shares

WORDS = [bytes(random.Random(n).choices(range(97, 123), k=n % 9 + 2)).decode() for n in range(3000)]


def ids(rows: int) -> pa.Table:
    return pa.table({"id": [f"talk/{number}" for number in range(rows)]})


def groups(table: pa.Table, sizes: np.ndarray, most: int) -> list[list[str]]:
    grouping = Grouping(most)
    made = [*grouping.add(facts_of(table, sizes)), *grouping.rest()]
    ends = np.cumsum([group.rows for group in made])
    ranges = list(itertools.pairwise([0, *ends]))
    assert [group.bytes for group in made] == [int(sizes[s:e].sum()) for s, e in ranges]
    return [table["id"][s:e].to_pylist() for s, e in ranges]


def without(table: pa.Table, row: int) -> pa.Table:
    return pa.concat_tables([table.slice(0, row), table.slice(row + 1)]).combine_chunks()


def test_groups_are_bounded_in_rows_and_in_bytes() -> None:
    draw = np.random.default_rng(1)
    for most in (100, 2000, 2**20):
        sizes = draw.integers(1, 200, 9000)
        made = groups(ids(9000), sizes, most)
        assert [id for group in made for id in group] == ids(9000)["id"].to_pylist()
        starts = np.cumsum([0, *map(len, made)])
        filled = [sizes[s:e].sum() for s, e in itertools.pairwise(starts)]
        assert max(map(len, made)) <= MOST_ROWS
        assert all(f <= most or len(g) == 1 for f, g in zip(filled, made, strict=True))
        short = [g for f, g in zip(filled, made, strict=True) if f < most / 4 - 200]
        assert all(len(group) >= MOST_ROWS // 4 for group in short[:-1])


def test_a_row_taken_out_changes_the_group_that_holds_it() -> None:
    """Rows of all sizes, cut by rows, by bytes, and by both."""
    draw = random.Random(2)
    sizes = np.random.default_rng(2).lognormal(6, 1.5, 9000).astype(np.int64)
    for most in (50_000, 2**20, 2**30):
        whole = groups(ids(9000), sizes, most)
        known = set(map(tuple, whole))
        changed = []
        for _ in range(8):
            row = draw.randrange(9000)
            left = groups(without(ids(9000), row), np.delete(sizes, row), most)
            changed.append(sum(tuple(group) not in known for group in left))
        assert sum(changed) / 8 < 2, (most, changed)
        assert max(changed) <= 4, (most, changed)


def written(folder: Path, table: pa.Table, name: str) -> list[Path]:
    of = {table.name: table for table in tables.TABLES}[name]
    schema = of.schema_with(schemas.OPTIONAL)
    return shard_files.write(folder / name, "train", schema, [(table, of.row_bytes(table))])


def talks(rows: int) -> pa.Table:
    """Conversations of words, about 2 kB each."""
    draw = random.Random(3)
    conversations = [
        [
            {"role": role, "content": " ".join(draw.choices(WORDS, k=draw.randint(5, 300)))}
            for role in ("user", "assistant") * draw.randint(1, 4)
        ]
        for _ in range(rows)
    ]
    names = [f"talk/{number}" for number in range(rows)]
    columns = {"id": names, "group": names, "source": ["talk"] * rows, "messages": conversations}
    nothing = [None] * rows
    filled = {name: columns.get(name, nothing) for name in schemas.MESSAGES.names}
    return pa.Table.from_pydict(filled, schemas.MESSAGES)


@pytest.fixture(scope="module")
def six_thousand() -> pa.Table:
    return talks(6000)


def test_shards_before_and_behind_keep_their_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, six_thousand: pa.Table
) -> None:
    monkeypatch.setattr(shards, "SHARD_BYTES", 2**20)
    whole = {p.read_bytes() for p in written(tmp_path / "whole", six_thousand, "messages")}
    assert len(whole) > 6
    for row in (0, 1234):
        left = written(tmp_path / str(row), without(six_thousand, row), "messages")
        assert len([path for path in left if path.read_bytes() not in whole]) <= 2


@pytest.mark.slow
def test_the_client_of_the_hub_finds_nearly_all_again(
    tmp_path: Path, six_thousand: pa.Table
) -> None:
    whole = written(tmp_path / "whole", six_thousand, "messages")
    for row in (7, 2000, 4321):
        left = written(tmp_path / str(row), without(six_thousand, row), "messages")
        taken_out, put_in = (
            new_shares(tmp_path / f"{row}-{name}", uploads)[1]
            for name, uploads in {"out": [whole, left], "in": [left, whole]}.items()
        )
        assert max(taken_out, put_in) < 0.05


def test_pages_have_an_index_and_words_no_bounds(tmp_path: Path, six_thousand: pa.Table) -> None:
    (path,) = written(tmp_path / "whole", six_thousand, "messages")
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    assert all(column.has_offset_index for column in columns)
    bounded = {c.path_in_schema for c in columns if c.has_column_index and c.is_stats_set}
    element = "messages.list.element"
    assert {"id", "group", "source", "lang", f"{element}.role", f"{element}.train"} <= bounded
    assert f"{element}.content" not in bounded
