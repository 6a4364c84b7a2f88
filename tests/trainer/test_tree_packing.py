"""Trees trained once: the tokens of the rows, the loss and the gradients of the rows."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import numpy as np
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import default_data_collator

from chatdata.core.errors import ConfigError
from tests.support.forests import NO_LIMIT, batch_of, forest, items_of, planned
from tests.support.row_by_row import lists
from tests.support.steps import step
from tests.support.tiny import (
    IGNORED,
    KINDS,
    Row,
    arrays,
    assert_same,
    conversation,
    joined,
    loss_and_gradients,
    model,
    one_by_one,
    targets_of,
)
from trainer.data import tree_attention
from trainer.data.isolation import ALLOWED, leak
from trainer.data.tree_packing import PackedTree, TreeCollator, bins_of, counts, pack_tree, tree_of
from trainer.data.tree_planning import Trees, plan

pytestmark = pytest.mark.filterwarnings("ignore")  # other people's deprecations


def ready(network: Any) -> Any:
    """The network, made to see ancestors alone."""
    assert tree_attention.prepare(network) == tree_attention.SDPA
    return network


# ------------------------------------------------------------------------------------- tokens


def ancestors(tree: PackedTree, token: int) -> list[int]:
    """The tokens that a token sees; the last is the token itself."""
    return [at for at in range(token + 1) if token < tree.subtree_ends[at]]


ROWS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=8)


@pytest.mark.slow
@settings(max_examples=300, derandomize=True)
@given(ROWS)
def test_a_tree_holds_each_beginning_once_and_a_token_sees_only_its_path(
    rows: list[list[int]],
) -> None:
    tree = tree_of([{"input_ids": row, "labels": row} for row in rows])
    beginnings = {tuple(row[: size + 1]) for row in rows for size in range(len(row))}
    seen = [[int(tree.ids[at]) for at in ancestors(tree, token)] for token in range(len(tree.ids))]
    assert sorted(map(tuple, seen)) == sorted(beginnings)
    assert tree.depths.tolist() == [len(path) - 1 for path in seen]
    targets = [(seen[parent], int(tree.ids[child])) for parent, child in pairs(tree)]
    wanted = [(row[:at], row[at]) for row in rows for at in range(1, len(row))]
    assert sorted(targets) == sorted(wanted)  # as labelled: each row trains all that it has


def pairs(tree: PackedTree) -> Iterable[tuple[int, int]]:
    return zip(tree.parents.tolist(), tree.children.tolist(), strict=True)


def golden(ids: Sequence[Any], labels: Sequence[Any], once: bool = True) -> Trees:
    """The trees of rows of a group, in which 9 ends turns."""
    return plan(lists(ids), lists(labels), np.zeros(len(ids), np.int64), 100, 9, once)


def test_a_golden_that_can_be_read() -> None:
    #        0  1  2  3  4      the stop token is 9
    rows = [[1, 2, 3, 9, 5, 9], [1, 2, 4, 9], [1, 2, 3, 9, 6, 7, 9]]
    ids = [np.array(row, np.int32) for row in rows]
    labels = [np.where(np.arange(len(row)) < 2, IGNORED, row) for row in ids]
    (planned_tree,) = golden(ids, labels)
    assert [(path.row, path.shared, path.trained) for path in planned_tree.paths] == [
        (0, 0, ((2, 4), (4, 6))),  # 3 9 and 5 9
        (2, 4, ((4, 7),)),  #          6 7 9; 3 9 is trained already
        (1, 2, ((2, 4),)),  #      4 9
    ]
    packed = pack_tree(planned_tree, ids)
    assert packed.ids.tolist() == [1, 2, 3, 9, 5, 9, 6, 7, 9, 4, 9]
    assert packed.depths.tolist() == [0, 1, 2, 3, 4, 5, 4, 5, 6, 2, 3]
    assert packed.subtree_ends.tolist() == [11, 11, 9, 9, 6, 6, 9, 9, 9, 11, 11]
    assert list(pairs(packed)) == [
        *((1, 2), (2, 3), (3, 4), (4, 5)),
        *((3, 6), (6, 7), (7, 8)),
        *((1, 9), (9, 10)),
    ]


def test_two_replies_that_begin_alike_are_two() -> None:
    """Tokens that the replies share stand once, and are trained for each reply, as in the rows."""
    rows = [[1, 2, 5, 6, 9], [1, 2, 5, 7, 9]]
    ids = [np.array(row, np.int32) for row in rows]
    labels = [np.where(np.arange(5) < 2, IGNORED, row) for row in ids]
    (planned_tree,) = golden(ids, labels)
    assert list(pairs(pack_tree(planned_tree, ids))) == [
        (1, 2),
        (2, 3),
        (3, 4),
        (1, 2),
        (2, 5),
        (5, 6),
    ]


def test_two_replies_of_the_same_words_are_one_unless_both_are_labelled_once() -> None:
    """Rows that train a message in every row do not tell how often; else both are kept."""
    rows = [[1, 2, 5, 9, 3], [1, 2, 5, 9, 4]]
    ids = [np.array(row, np.int32) for row in rows]
    labels = [np.array([IGNORED, IGNORED, 5, 9, IGNORED], np.int32)] * 2
    (trained_once,) = golden(ids, labels)
    (as_labelled,) = golden(ids, labels, once=False)
    assert list(pairs(pack_tree(trained_once, ids))) == [(1, 2), (2, 3)]
    assert list(pairs(pack_tree(as_labelled, ids))) == [(1, 2), (2, 3)] * 2


def test_a_span_that_is_trained_in_part_is_not_lost() -> None:
    """Rows that label the end of an answer, and all of it: every label is trained."""
    ids = [np.array([1, 2, 5, 9, 3]), np.array([1, 2, 5, 9, 4])]
    labels = [np.array([-100, -100, -100, 9, 3]), np.array([-100, 2, 5, 9, 4])]
    (planned_tree,) = golden(ids, labels)
    assert {child for _, child in pairs(pack_tree(planned_tree, ids))} == {1, 2, 3, 4, 5}


def test_spans_end_where_labels_or_turns_do() -> None:
    ids = np.array([7, 1, 9, 2, 9, 3, 4, 9, 5])
    labels = np.array([7, 1, 9, 2, 9, IGNORED, 4, 9, IGNORED])
    group = np.zeros(1, np.int64)

    def planned_of(labels: Any, stop: int | None) -> Trees:
        return plan(lists([ids]), lists([labels]), group, 100, stop, once=True)

    (path,) = planned_of(labels, 9)[0].paths
    assert path.trained == ((1, 3), (3, 5), (6, 8))  # 7 has nothing before it
    (path,) = planned_of(labels, None)[0].paths
    assert path.trained == ((1, 5), (6, 8))
    assert len(planned_of(np.full(9, IGNORED), 9)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_trees_that_are_too_long_are_cut_and_nothing_is_trained_twice(seed: int) -> None:
    always, once, groups = forest(seed)
    whole = planned(always, groups)
    assert [tree.repeated for tree in whole] == [0, 0]
    limit = max(len(row["input_ids"]) for row in always) + 3
    trees = planned(always, groups, limit)
    assert len(trees) > 2
    assert max(tree.tokens for tree in trees) <= limit
    counts_cut, counts_whole = (
        counts(planned_trees, bins_of(planned_trees, NO_LIMIT), len(always), 1)
        for planned_trees in (trees, whole)
    )
    assert counts_cut["targets"] == counts_whole["targets"] == targets_of(once)
    assert counts_cut["tokens"] == counts_whole["tokens"] + counts_cut["repeated"]
    items = items_of(always, trees, limit)
    trained = joined(
        [tuple(packed.ids[ancestors(packed, child)].tolist()) for _, child in pairs(packed)]
        for packed in (items[number] for number in range(len(items)))
    )
    wanted = [
        tuple(row["input_ids"][: at + 1])
        for row in once
        for at in range(1, len(row["labels"]))
        if row["labels"][at] != IGNORED
    ]
    assert sorted(trained) == sorted(wanted)
    with pytest.raises(ConfigError, match=r"a row has \d+ tokens and a tree may have 5"):
        planned(always, groups, 5)


def test_a_row_that_trains_nothing_of_its_own_is_left_out() -> None:
    """The tokens of such a row would only be context, and no path sees them."""
    rows = [[1, 2, 9], [1, 2, 9, 3, 4], [1, 2, 9, 3, 5, 9]]
    ids = [np.array(row, np.int32) for row in rows]
    labels = [np.where(row == 3, IGNORED, row) for row in ids]
    labels[1][:] = IGNORED
    labels[2][:3] = IGNORED
    (tree,) = golden(ids, labels)
    assert [(path.row, path.shared) for path in tree.paths] == [(0, 0), (2, 3)]
    assert tree.tokens == 6


# ------------------------------------------------------------------------- loss and gradients


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_trees_have_the_loss_of_their_rows_trained_once(kind: str, seed: int) -> None:
    always, once, groups = forest(seed)
    network, targets = model(kind, seed), targets_of(once)
    alone = loss_and_gradients(network, one_by_one(once), targets)
    ready(network)
    limit = max(len(row["input_ids"]) for row in once) + 3
    for rows, first_alone in ((always, True), (once, False), (once, True)):
        for size in (NO_LIMIT, limit):
            batch = batch_of(rows, planned(rows, groups, size, first_alone), size)
            assert int((batch["shift_labels"] != IGNORED).sum()) == targets
            assert_same(alone, loss_and_gradients(network, [batch], targets))


@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_that_is_labelled_twice_may_count_twice(kind: str) -> None:
    """Without `once` the loss is that of the rows with their labels."""
    always, _, groups = forest(1)
    network, targets = model(kind, 1), targets_of(always)
    alone = loss_and_gradients(network, one_by_one(always), targets)
    batch = batch_of(always, planned(always, groups, once=False))
    assert_same(alone, loss_and_gradients(ready(network), [batch], targets))


def test_each_tree_may_be_a_row_of_a_batch() -> None:
    """Shorter trees are padded; padding sees only itself and is seen by no token."""
    always, once, groups = forest(2, trees=3)
    network, targets = model("llama", 2), targets_of(once)
    alone = loss_and_gradients(network, one_by_one(once), targets)
    ids = arrays(always, "input_ids")
    batch = TreeCollator(pad_id=0)([pack_tree(tree, ids) for tree in planned(always, groups)])
    assert batch["input_ids"].shape[0] == 3
    assert_same(alone, loss_and_gradients(ready(network), [batch], targets))
    sees = tree_attention.tree_sdpa_mask(
        batch_size=3,
        q_length=batch["input_ids"].shape[1],
        kv_length=batch["input_ids"].shape[1],
        mask_function=tree_attention.causal_mask_function,
        attention_mask=batch["attention_mask"],
    )
    assert sees is not None
    padding = torch.tensor(
        [
            [at >= len(pack_tree(tree, ids).ids) for at in range(sees.shape[-1])]
            for tree in planned(always, groups)
        ]
    )
    assert sees[:, 0].sum(-1)[padding].tolist() == [1] * int(padding.sum())
    assert sees[:, 0].sum(-2)[padding].tolist() == [1] * int(padding.sum())


@pytest.mark.parametrize("broken", ["labels", "positions", "mask"])
def test_a_batch_without_labels_positions_or_mask_differs(broken: str) -> None:
    """The equality of the tests above can fail."""
    always, once, groups = forest(3)
    network, targets = model("llama", 3), targets_of(once)
    alone = loss_and_gradients(network, one_by_one(once), targets)
    batch = batch_of(always, planned(always, groups))
    if broken == "labels":  # the next token, as in a row, in place of the children
        del batch["shift_labels"], batch["logits_to_keep"]
    if broken == "positions":
        batch["position_ids"] = torch.arange(batch["input_ids"].shape[1])[None]
    if broken == "mask":
        del batch["attention_mask"]
    with pytest.raises(AssertionError):
        assert_same(alone, loss_and_gradients(ready(network), [batch], targets))


def test_a_sliding_window_slides_along_the_path() -> None:
    always, once, groups = forest(4)
    network, targets = model("mistral", 4, sliding_window=5), targets_of(once)
    alone = loss_and_gradients(network, one_by_one(once), targets)
    batch = batch_of(always, planned(always, groups))
    assert_same(alone, loss_and_gradients(ready(network), [batch], targets))
    whole = model("mistral", 4, sliding_window=None)
    with pytest.raises(AssertionError):  # the window matters here
        assert_same(alone, loss_and_gradients(ready(whole), [batch], targets))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_the_trainer_is_that_of_the_rows(kind: str, tmp_path: Path) -> None:
    always, once, groups = forest(5)

    def fresh() -> Any:
        return model(kind, 5, torch.float32)

    plain = step(fresh(), Dataset.from_list(once), default_data_collator, 1, tmp_path)
    limit = max(len(row["input_ids"]) for row in once) + 3
    items = items_of(always, planned(always, groups, limit), limit)
    for size in (1, len(items)):
        weights = step(ready(fresh()), items, TreeCollator(pad_id=0), size, tmp_path)
        for name, weight in plain.items():
            torch.testing.assert_close(weights[name], weight, rtol=0, atol=2e-6)


# ---------------------------------------------------------------------------------- the guard


def test_a_model_that_does_not_read_bounds_fails() -> None:
    """A model that was not prepared must fail, and not train with the wrong mask."""
    always, _, groups = forest(0)
    batch = batch_of(always, planned(always, groups))
    for kind in KINDS:
        with pytest.raises(IndexError):
            model(kind, 0)(**batch)


def batch_of_rows(rows: Sequence[Row]) -> dict[str, Any]:
    return TreeCollator(pad_id=0)([tree_of(rows)])


@pytest.mark.parametrize("kind", KINDS)
def test_branches_do_not_see_each_other(kind: str) -> None:
    assert leak(ready(model(kind, 0)), batch_of_rows) == 0

    def flat(rows: Sequence[Row]) -> dict[str, Any]:
        return {**batch_of_rows(rows), "attention_mask": None}

    assert leak(ready(model(kind, 0)), flat) > ALLOWED


@pytest.mark.parametrize("kind", KINDS)
def test_a_prepared_model_still_reads_plain_rows(kind: str, tmp_path: Path) -> None:
    rng = random.Random(0)
    rows = [conversation(rng, 4) for _ in range(4)]
    network, targets = model(kind, 0), targets_of(rows)
    alone = loss_and_gradients(network, one_by_one(rows), targets)
    prompt = torch.tensor([[1, 5, 6, 7]])
    generated = network.generate(prompt, max_new_tokens=5, do_sample=False)
    ready(network)
    assert_same(alone, loss_and_gradients(network, [TreeCollator(0)(rows)], targets))
    assert_same(alone, loss_and_gradients(network, one_by_one(rows), targets))
    assert torch.equal(network.generate(prompt, max_new_tokens=5, do_sample=False), generated)
    network.save_pretrained(tmp_path)
    assert "tree" not in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("mamba", "MambaForCausalLM has layers of the type 'linear_attention'"),
        ("bloom", "BloomForCausalLM computes attention or logits in a special way"),
    ],
)
def test_models_that_would_see_more_are_refused(kind: str, words: str) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "n_head": 2}
    with pytest.raises(ConfigError, match=words):
        tree_attention.prepare(model(kind, 0, torch.float32, **sizes))
