"""The hash over the rows of all parts, made a range of ids at a time."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from chatdata.core.errors import BuildError
from chatdata.core.hashing import sha256_pairs
from chatdata.pipeline import digests
from chatdata.pipeline.digests import Digests
from chatdata.pipeline.partitions import PartitionFiles


def written(folder: Path, parts: list[list[tuple[str, bytes]]]) -> tuple[PartitionFiles, Digests]:
    files = PartitionFiles(folder, len(parts))
    return files, sum((digests.save(files, n, rows) for n, rows in enumerate(parts)), Digests())


@pytest.mark.parametrize("rows", [1, 7, 10**6])
def test_it_is_the_hash_of_all_rows_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(digests, "_ROWS", rows)
    draw = random.Random(4)
    pairs = [(f"{draw.choice('aé日z')}{n}", draw.randbytes(4)) for n in range(60)]
    parts = [pairs[:20], [], pairs[20:21], pairs[21:]]
    files, made = written(tmp_path, parts)
    assert made.content_hash(files) == sha256_pairs(pairs)
    assert Digests().content_hash(files) == sha256_pairs([])


@pytest.mark.parametrize("rows", [1, 10**6])
def test_an_id_of_two_parts_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(digests, "_ROWS", rows)
    parts = [[("a", b"1"), ("b", b"2")], [("c", b"3")], [("b", b"4"), ("d", b"5"), ("b", b"6")]]
    files, made = written(tmp_path, parts)
    with pytest.raises(BuildError, match="3 conversations have the id 'b' and different groups"):
        made.content_hash(files)
