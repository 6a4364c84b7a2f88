"""Packing: every row in one bin, no bin over full, the same as best-fit decreasing done naively."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdata import build_dataset, load_recipe, read_manifest
from chatdata.errors import ConfigError, PackError
from chatdata.pack import INDEX, PACKED, index_table, lengths, pack, packed, read_index, repack
from chatdata.write import IDS

LENGTHS = st.lists(st.integers(0, 60), max_size=60)


def naive(sizes: list[int], room: int) -> list[list[int]]:
    """Best-fit decreasing in ten lines: for each row, look at every bin."""
    bins: list[list[int]] = []
    left: list[int] = []
    for row in sorted(range(len(sizes)), key=lambda row: (-sizes[row], row)):
        fitting = [own for own in range(len(bins)) if left[own] >= sizes[row]]
        if not fitting:
            bins.append([])
            left.append(room)
            fitting = [len(bins) - 1]
        best = min(fitting, key=lambda own: (left[own], own))
        bins[best].append(row)
        left[best] -= sizes[row]
    return [sorted(own) for own in bins]


@settings(max_examples=400, deadline=None, derandomize=True)
@given(LENGTHS, st.integers(60, 200))
def test_it_is_best_fit_decreasing(sizes: list[int], room: int) -> None:
    bins = pack(sizes, room)
    found = [bins.rows[a:b].tolist() for a, b in zip(bins.offsets, bins.offsets[1:], strict=False)]
    assert found == naive(sizes, room)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(LENGTHS, st.integers(60, 200))
def test_every_row_is_in_one_bin_and_no_bin_is_over_full(sizes: list[int], room: int) -> None:
    bins = pack(sizes, room)
    assert sorted(bins.rows.tolist()) == list(range(len(sizes)))
    for number, (a, b) in enumerate(zip(bins.offsets, bins.offsets[1:], strict=False)):
        held = sum(sizes[row] for row in bins.rows[a:b])
        assert held == bins.tokens[number] <= room
    assert bins.fill * max(1, len(bins)) * room == pytest.approx(sum(sizes) or room * (not sizes))


def test_a_golden_that_can_be_read() -> None:
    #     row:     0  1  2  3  4  5  6
    bins = pack([3, 7, 5, 2, 5, 1, 8], 10)
    assert [bins.rows[a:b].tolist() for a, b in zip(bins.offsets, bins.offsets[1:])] == [  # noqa: B905
        [3, 6],  # 8 + 2
        [0, 1],  # 7 + 3
        [2, 4],  # 5 + 5
        [5],
    ]
    assert bins.tokens.tolist() == [10, 10, 10, 1]
    assert bins.fill == pytest.approx(31 / 40)


def test_many_rows_of_few_lengths() -> None:
    """Equal lengths are placed together, which must not change where they go."""
    sizes = np.random.default_rng(0).choice([5, 5, 5, 13, 40], 3000).tolist()
    bins = pack(sizes, 64)
    found = [bins.rows[a:b].tolist() for a, b in zip(bins.offsets, bins.offsets[1:], strict=False)]
    assert found == naive(sizes, 64)


def test_what_does_not_fit_is_refused_and_never_cut() -> None:
    with pytest.raises(PackError, match="2 rows have more than 10 tokens, the longest 12"):
        pack([11, 3, 12], 10)
    with pytest.raises(PackError, match="holds nothing"):
        pack([1], 0)
    assert len(pack([], 10)) == 0
    assert pack([], 10).fill == 1


def tokens(sizes: list[int]) -> pa.Table:
    """Rows of which each id says row and place: 100 * row + place."""
    ids = [[100 * row + at for at in range(size)] for row, size in enumerate(sizes)]
    labels = [[-100 if at % 2 else own for at, own in enumerate(row)] for row in ids]
    return pa.table({"input_ids": pa.array(ids, IDS), "labels": pa.array(labels, IDS)})


def test_packed_rows_are_the_rows_and_positions_begin_anew() -> None:
    sizes = [3, 7, 5, 2, 5, 1, 8]
    bins = pack(sizes, 10)
    table = packed(tokens(sizes), bins)
    assert table.schema == PACKED
    whole = tokens(sizes).to_pylist()
    for number, own in enumerate(table.to_pylist()):
        rows = bins.rows[bins.offsets[number] : bins.offsets[number + 1]]
        assert own["input_ids"] == [id for row in rows for id in whole[row]["input_ids"]]
        assert own["labels"] == [label for row in rows for label in whole[row]["labels"]]
        assert own["position_ids"] == [at for row in rows for at in range(sizes[row])]
        assert own["seq_lengths"] == [sizes[row] for row in rows]


def test_an_index_is_read_as_it_was_written(tmp_path: Path) -> None:
    bins = pack([3, 7, 5, 2, 5, 1, 8], 10)
    assert index_table(bins).schema == INDEX
    pq.write_table(index_table(bins), tmp_path / "x.parquet")
    again = read_index(tmp_path / "x.parquet", 10)
    for name in ("rows", "offsets", "tokens"):
        assert getattr(again, name).tolist() == getattr(bins, name).tolist()


# --------------------------------------------------------------------------------- built folders


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "out"
    settings = ["render.max_tokens=700", "render.overflow=split", "pack.max_tokens=900"]
    build_dataset(load_recipe("sample", settings), out)
    return out


def test_a_build_packs_and_says_how_well(built: Path) -> None:
    facts = read_manifest(built)
    assert [own["split"] for own in facts["packs"]] == ["train", "test"]
    for own in facts["packs"]:
        sizes = lengths(built, facts["files"], own["split"])
        bins = read_index(built / own["path"], own["max_tokens"])
        assert (own["bins"], own["rows"]) == (len(bins), len(sizes))
        assert own["rows"] == facts["splits"][own["split"]]["token_rows"]
        assert own["tokens"] == facts["splits"][own["split"]]["tokens"] == sizes.sum()
        assert own["fill"] == round(own["tokens"] / own["bins"] / 900, 4)
        assert bins.rows.tolist() == pack(sizes, 900).rows.tolist()


def test_packing_again_touches_no_row(built: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(built, out)
    before = {path: path.read_bytes() for path in out.rglob("*.parquet")}
    entries = repack(out, 2048)
    again = repack(out, 2048)
    assert entries == again
    assert all(path.read_bytes() == content for path, content in before.items())
    facts, old = read_manifest(out), read_manifest(built)
    assert [own["max_tokens"] for own in facts["packs"]] == [900, 900, 2048, 2048]
    assert {**facts, "packs": None} == {**old, "packs": None}
    assert not list(out.rglob(".*.partial"))


def test_rows_that_a_bin_cannot_hold_leave_the_folder_as_it_was(built: Path) -> None:
    before = {path: path.read_bytes() for path in built.rglob("*") if path.is_file()}
    with pytest.raises(PackError, match="is never cut"):
        repack(built, 50)
    assert {path: path.read_bytes() for path in built.rglob("*") if path.is_file()} == before


def test_a_recipe_that_packs_must_make_rows_that_fit() -> None:
    for chosen, words in (
        (["pack.max_tokens=100", "render.max_tokens=null"], "max_tokens is not set"),
        (["pack.max_tokens=100", "render.max_tokens=200"], "render.max_tokens 200"),
        (["pack.max_tokens=100", "render=null"], "pack needs rows of tokens"),
    ):
        with pytest.raises(ConfigError, match=words):
            load_recipe("sample", chosen)
    with pytest.raises(ConfigError, match="greater than or equal to 1"):
        load_recipe("sample", ["pack.max_tokens=0"])


def test_messages_alone_cannot_be_packed(tmp_path: Path) -> None:
    build_dataset(load_recipe("sample", ["render=null"]), tmp_path / "out")
    with pytest.raises(PackError, match="holds messages and no tokens"):
        repack(tmp_path / "out", 100)
