"""Trees of columns are those made row by row; the groups of rows are those of a dict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import numpy as np
import pyarrow as pa

from chatdata.core.errors import ConfigError, OutputError
from chatdata.core.row_id import conversation_of
from tests.support import row_by_row
from trainer.data import dataset, tree_planning

STOP = 9


def random_rows(rng: Any, rows: int, vocabulary: int) -> tuple[list[Any], list[Any], list[int]]:
    """Rows that mostly begin like another, some of them empty, some untrained; in groups that are
    mixed or not."""
    ids: list[Any] = []
    labels: list[Any] = []
    for _ in range(rows):
        stem = ids[rng.integers(len(ids))] if ids and rng.random() < 0.7 else np.empty(0, np.int32)
        stem = stem[: rng.integers(len(stem) + 1)]
        new = rng.integers(0, vocabulary, rng.integers(6))
        row = np.concatenate([stem, new]).astype(np.int32)
        ids.append(np.where(row == vocabulary - 1, STOP, row).astype(np.int32))
        trained = rng.random(len(row)) < rng.choice([0.0, 0.5, 0.9, 1.0])
        labels.append(np.where(trained, ids[-1], -100))
    groups = rng.integers(0, max(rows // 4, 1), rows)
    return ids, labels, (groups if rng.random() < 0.5 else np.sort(groups)[::-1]).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("stop", [STOP, None])
def test_trees_are_those_made_row_by_row(
    once: bool, stop: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(18)
    trains = row_by_row.train_once if once else iter
    seen = 0
    for number in range(150):
        monkeypatch.setattr(tree_planning, "BATCH_TOKENS", int(rng.choice([1, 20, 1000])))
        ids, labels, groups = random_rows(rng, number % 40, int(rng.integers(2, 30)))
        limit = max(map(len, ids), default=1) + int(rng.integers(20)) + 1
        paths_of = row_by_row.paths_of(ids, labels, stop)
        wanted = row_by_row.plan(groups, limit, paths_of, trains)
        columns = row_by_row.lists(ids), row_by_row.lists(labels)
        trees = tree_planning.plan(*columns, np.array(groups), limit, stop, once)
        assert list(trees) == wanted
        seen += len(wanted)
    assert seen > 500


def test_a_long_row_is_refused_as_it_was() -> None:
    ids = [np.arange(size) for size in (3, 7, 9)]
    columns, groups = row_by_row.lists(ids), np.zeros(3, np.int64)
    with pytest.raises(ConfigError, match="a row has 7 tokens and a tree may have 5"):
        tree_planning.plan(columns, columns, groups, 5, None, once=True)


def test_the_least_of_ranges() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 100, 50)
    firsts = rng.integers(0, 50, 300)
    ends = firsts + 1 + rng.integers(0, 50 - firsts)
    wanted = [values[first:end].min() for first, end in zip(firsts, ends, strict=True)]
    assert tree_planning.lowest(values, firsts, ends).tolist() == wanted
    assert len(tree_planning.lowest(values, firsts[:0], ends[:0])) == 0


def test_the_sample_has_the_trees_that_it_had(sample: Path) -> None:
    source = dataset.find(str(sample))
    rows = dataset.train_rows(source)
    groups = dataset.load_groups(sample, source.manifest, source.rendering, "train")
    ids, labels = (dataset.Lists(rows.data.column(name)) for name in ("input_ids", "labels"))
    stop = list(source.rendering.entry.tokenizer.stop_ids)[-1]
    limit = int(dataset.lengths(rows).max())
    paths_of = row_by_row.paths_of(ids, labels, stop)
    wanted = row_by_row.plan(groups.tolist(), limit, paths_of, row_by_row.train_once)
    assert list(tree_planning.plan(ids, labels, groups, limit, stop, once=True)) == wanted
    assert 0 < len(wanted) < len(rows)


def test_groups_are_those_of_the_conversations() -> None:
    """Also where an id of a conversation ends like that of one of several rows."""
    group = {"a": "x", "b": "y", "b#1": "x", "c": "z", "d#2-3#4": "y"}
    rows = ["b#1", "a#0-2", "b", "c", "b#1#3", "a", "d#2-3#4"]
    conversations = pa.chunked_array([list(group)[:2], list(group)[2:]])
    names_of_groups = pa.chunked_array([list(group.values())[:2], list(group.values())[2:]])
    at = dataset.conversations_of(pa.chunked_array([rows[:3], rows[3:]]), conversations)
    numbers = dataset.numbered(names_of_groups)[at].tolist()
    names = [group[row if row in group else conversation_of(row)] for row in rows]
    number_of = dict(zip(names, numbers, strict=True))
    assert [number_of[name] for name in names] == numbers
    assert len(set(numbers)) == len(set(names))
    assert dataset.conversations_of(conversations, conversations).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(OutputError, match="row 'e#1' is of no conversation"):
        dataset.conversations_of(pa.chunked_array([["a", "e#1"]]), conversations)
