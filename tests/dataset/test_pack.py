"""Packing: every row in one bin, no bin over full, the same as best-fit decreasing done naively."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdata import build_dataset, load_recipe, read_manifest
from chatdata.core.constants import MOST_TOKENS
from chatdata.core.errors import ConfigError, PackError
from chatdata.dataset import manifest
from chatdata.dataset.pack import PACKED, index_table, lengths, pack, packed, read_index, repack
from chatdata.dataset.schemas import IDS, PACK_INDEX

LENGTHS = st.lists(st.integers(0, 60), max_size=60)


def naive(sizes: list[int], room: int) -> list[list[int]]:
    """Best-fit decreasing in ten lines: for each row, look at every bin."""
    bins: list[list[int]] = []
    left: list[int] = []
    for row in sorted(range(len(sizes)), key=lambda row: (-sizes[row], row)):
        fitting = [place for place in range(len(bins)) if left[place] >= sizes[row]]
        if not fitting:
            bins.append([])
            left.append(room)
            fitting = [len(bins) - 1]
        best = min(fitting, key=lambda place: (left[place], place))
        bins[best].append(row)
        left[best] -= sizes[row]
    return [sorted(place) for place in bins]


@pytest.mark.slow
@settings(max_examples=133, derandomize=True)
@given(LENGTHS, st.integers(60, 200))
def test_it_is_best_fit_decreasing(sizes: list[int], room: int) -> None:
    bins = pack(sizes, room)
    packed = [bins.rows[a:b].tolist() for a, b in zip(bins.offsets, bins.offsets[1:], strict=False)]
    assert packed == naive(sizes, room)


@settings(max_examples=40, derandomize=True)
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
    packed = [bins.rows[a:b].tolist() for a, b in zip(bins.offsets, bins.offsets[1:], strict=False)]
    assert packed == naive(sizes, 64)


def test_large_bins_cost_no_more_than_small_ones() -> None:
    """Room used to be held in a bit set with a bit for each token of a bin."""
    sizes = np.random.default_rng(0).integers(1, 5000, 30).tolist()
    tracemalloc.start()
    bins = pack(sizes, MOST_TOKENS)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(bins), bins.tokens.tolist()) == (1, [sum(sizes)])
    assert most < 2**22


def test_what_does_not_fit_is_refused_and_never_cut() -> None:
    with pytest.raises(PackError, match="2 rows have more than 10 tokens, the longest 12"):
        pack([11, 3, 12], 10)
    with pytest.raises(PackError, match="holds nothing"):
        pack([1], 0)
    with pytest.raises(PackError, match="more than an index can count; write at most 2147483647"):
        pack([1], 9_999_999_999_999)
    assert len(pack([], 10)) == 0
    assert pack([], 10).fill == 1


def tokens(sizes: list[int]) -> pa.Table:
    """Rows of which each id says row and place: 100 * row + place."""
    ids = [[100 * row + at for at in range(size)] for row, size in enumerate(sizes)]
    labels = [[-100 if at % 2 else id for at, id in enumerate(row)] for row in ids]
    return pa.table({"input_ids": pa.array(ids, IDS), "labels": pa.array(labels, IDS)})


def test_packed_rows_are_the_rows_and_positions_begin_anew() -> None:
    sizes = [3, 7, 5, 2, 5, 1, 8]
    bins = pack(sizes, 10)
    table = packed(tokens(sizes), bins)
    assert table.schema == PACKED
    whole = tokens(sizes).to_pylist()
    for number, row_of_bin in enumerate(table.to_pylist()):
        rows = bins.rows[bins.offsets[number] : bins.offsets[number + 1]]
        assert row_of_bin["input_ids"] == [id for row in rows for id in whole[row]["input_ids"]]
        assert row_of_bin["labels"] == [label for row in rows for label in whole[row]["labels"]]
        assert row_of_bin["position_ids"] == [at for row in rows for at in range(sizes[row])]
        assert row_of_bin["seq_lengths"] == [sizes[row] for row in rows]


def test_an_index_is_read_as_it_was_written(tmp_path: Path) -> None:
    bins = pack([3, 7, 5, 2, 5, 1, 8], 10)
    assert index_table(bins).schema == PACK_INDEX
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
    assert [entry["split"] for entry in facts["packs"]] == ["train", "test"]
    for entry in facts["packs"]:
        sizes = lengths(built, facts.files, entry["split"])
        bins = read_index(built / entry["path"], entry["max_tokens"])
        assert (entry["bins"], entry["rows"]) == (len(bins), len(sizes))
        assert entry["rows"] == facts["splits"][entry["split"]]["token_rows"]
        assert entry["tokens"] == facts["splits"][entry["split"]]["tokens"] == sizes.sum()
        assert entry["fill"] == round(entry["tokens"] / entry["bins"] / 900, 4)
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
    assert [entry["max_tokens"] for entry in facts["packs"]] == [900, 900, 2048, 2048]
    assert facts.model_copy(update={"packs": ()}) == old.model_copy(update={"packs": ()})
    assert not list(out.rglob(".*.partial"))


def test_rows_that_a_bin_cannot_hold_leave_the_folder_as_it_was(built: Path) -> None:
    before = {path: path.read_bytes() for path in built.rglob("*") if path.is_file()}
    with pytest.raises(PackError, match="is never cut"):
        repack(built, 50)
    assert {path: path.read_bytes() for path in built.rglob("*") if path.is_file()} == before


@pytest.fixture
def long_test_row(built: Path, tmp_path: Path) -> tuple[Path, int]:
    """A folder of which the train rows fit into a bin, and a test row does not."""
    out = tmp_path / "out"
    shutil.copytree(built, out)
    path = next((out / "tokens").glob("train-*"))
    table, size = pq.read_table(path), 300
    shorter = pa.array([min(size, length) for length in table["length"].to_pylist()], pa.int32())
    place = table.column_names.index("length")
    pq.write_table(table.set_column(place, table.schema.field("length"), shorter), path)
    assert lengths(out, read_manifest(out).files, "test").max() > size
    return out, size


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_test_row_that_does_not_fit_leaves_no_index_of_train(
    long_test_row: tuple[Path, int],
) -> None:
    """The index of train used to be left behind, and the folder was no longer sound."""
    out, size = long_test_row
    before = contents(out)
    with pytest.raises(PackError, match=f"rows have more than {size} tokens"):
        repack(out, size)
    assert contents(out) == before


@pytest.mark.parametrize("fails_at", ["second index", "manifest"])
def test_a_disk_that_is_full_leaves_the_folder_as_it_was(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    out = tmp_path / "out"
    shutil.copytree(built, out)
    before, written, write_table = contents(out), list[Path](), pq.write_table

    def write(table: pa.Table, path: Path, **options: object) -> None:
        written.append(path)
        if fails_at == "second index" and len(written) == 2:
            raise OSError("no space left on device")
        write_table(table, path, **options)

    def text(facts: object) -> str:
        raise OSError("no space left on device")

    monkeypatch.setattr(pq, "write_table", write)
    if fails_at == "manifest":
        monkeypatch.setattr(manifest, "text", text)
    with pytest.raises(OSError, match="no space left"):
        repack(out, 2048)
    assert len(written) == 2
    assert contents(out) == before


def test_a_recipe_that_packs_must_make_rows_that_fit() -> None:
    for chosen, words in (
        (
            ["pack.max_tokens=100", "render.max_tokens=null", "render.overflow=drop"],
            "render.max_tokens is not set",
        ),
        (["pack.max_tokens=100", "render.max_tokens=200"], "render.max_tokens is 200"),
        (["pack.max_tokens=100", "render=null"], "pack needs rows of tokens"),
    ):
        with pytest.raises(ConfigError, match=words):
            load_recipe("sample", chosen)
    for number, words in ((0, "greater than or equal to 1"), (10**13, "less than or equal to")):
        with pytest.raises(ConfigError, match=words):
            load_recipe("sample", [f"pack.max_tokens={number}"])


def test_messages_alone_cannot_be_packed(tmp_path: Path) -> None:
    build_dataset(load_recipe("sample", ["render=null"]), tmp_path / "out")
    with pytest.raises(PackError, match="holds messages and no tokens"):
        repack(tmp_path / "out", 100)
