"""Parts: every row in the part of its group, in the order in which it came, in few files."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdata.core import schema
from chatdata.pipeline import partitions, spreading
from chatdata.pipeline.partitions import PartitionFiles
from chatdata.pipeline.runner import Runner
from tests.support.splits import Here

ROLES = st.sampled_from([*schema.ROLES, None])
FRAMES = st.lists(st.lists(st.tuples(st.text(max_size=3), ROLES), max_size=6), max_size=6)


def frame(rows: list[tuple[str, str | None]], first: int) -> pl.DataFrame:
    numbers = [str(first + number) for number in range(len(rows))]
    columns = {"group": [g for g, _ in rows], "role": [r for _, r in rows], "content": numbers}
    nothing = dict.fromkeys(schema.MESSAGES.keys() - columns.keys(), [None] * len(rows))
    return pl.DataFrame(columns | nothing, schema=schema.MESSAGES)


@pytest.mark.slow
@settings(max_examples=60)
@given(FRAMES, st.integers(0, 5), st.sampled_from([1, 400, 2**20]), st.sampled_from([1, 4, 64]))
def test_rows_come_back_from_the_part_of_their_group_in_their_order(
    added: list[list[tuple[str, str | None]]], doubled: int, size: int, in_one_step: int
) -> None:
    given = [frame(rows, 100 * place) for place, rows in enumerate(added)]
    whole = pl.concat([schema.empty(schema.MESSAGES), *given])
    number = 2**doubled
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitions, "_FILE_BYTES", size)
        patch.setattr(partitions, "ONE_STEP", in_one_step)
        files = PartitionFiles(Path(folder), number, partitions.per_bucket(number))
        writer = partitions.PartitionWriter(files.messages(0), files.buckets)
        for rows in given:
            writer.add(rows)
        writer.flush()
        spreading.spread_buckets(files, 1, Runner(Here()))
        back = [list(partitions.read(files.messages_of(0, part))) for part in range(number)]
        files.remove_messages(1)
        assert not list(Path(folder).iterdir())
    places = partitions.part_of(whole["group"], number)
    for part, frames in enumerate(back):
        assert pl.concat([schema.empty(schema.MESSAGES), *frames]).equals(
            whole.filter(places == part)
        )


@pytest.mark.parametrize("doubled", range(17))
def test_buckets_are_as_many_as_parts_in_each_about(doubled: int) -> None:
    parts = 2**doubled
    files = PartitionFiles(Path("work"), parts, partitions.per_bucket(parts))
    assert files.buckets * files.per_bucket == parts
    assert max(files.buckets, files.per_bucket) <= partitions.ONE_STEP
    batches = {files.messages_of(0, part) for part in range(parts)}
    assert len(batches) == parts
    assert max(batch.number for batch in batches) < partitions.ONE_STEP


def test_many_parts_are_not_many_files(tmp_path: Path) -> None:
    writer = partitions.PartitionWriter(tmp_path / "read", 1000)
    for first in range(0, 5000, 100):
        writer.add(frame([(f"{first}/{number}", "user") for number in range(100)], first))
    writer.flush()
    assert len(list((tmp_path / "read").iterdir())) == 1


@pytest.mark.parametrize("groups", [1, 30, 1000])
def test_a_part_without_rows_takes_next_to_nothing(tmp_path: Path, groups: int) -> None:
    """It took the offsets of all rows of the file: 46 GB where 12 GB were read into 1,024 parts."""
    writer = partitions.PartitionWriter(tmp_path / "read", 1000)
    rows = frame([(str(number % groups), "user") for number in range(5000)], 0)
    writer.add(rows)
    writer.flush()
    (path,) = (tmp_path / "read").iterdir()
    assert path.stat().st_size < 6000 * 1000 + 2 * rows.estimated_size()
