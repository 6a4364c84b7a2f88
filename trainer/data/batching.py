"""Rows as items and batches: padded, packed, or as the trees that they come from."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
)

from chatdata.core.config import load_yaml
from chatdata.core.constants import RECIPE_FILE
from chatdata.core.errors import ConfigError
from chatdata.dataset.schemas import WEIGHTS
from trainer.config import TrainConfig
from trainer.data import dataset, packing, tree_attention, tree_packing, tree_planning
from trainer.data.dataset import Source
from trainer.data.isolation import CheckIsolation


@dataclass(frozen=True, slots=True)
class Layout:
    """What the Trainer is given: items to train on, and the collator that makes a batch of items,
    or of plain rows to evaluate on. `counts` and `summary` describe both, for programs and as a
    line of text."""

    items: torch.utils.data.Dataset[Any]
    collator: Callable[[Any], dict[str, Any]]
    callbacks: list[TrainerCallback] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)
    summary: str = ""


def padding(tokenizer: PreTrainedTokenizerBase) -> DataCollatorForSeq2Seq:
    """The collator that pads rows on the right, wherever the tokenizer pads prompts: there a token
    keeps its position, which models with learnt positions do not take off the mask."""
    on_the_right = copy.copy(tokenizer)
    on_the_right.padding_side = "right"
    return DataCollatorForSeq2Seq(on_the_right)


def make_batches(
    config: TrainConfig,
    source: Source,
    rows: Dataset,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> Layout:
    """The items and batches that a train recipe asks for, of the train rows of its dataset.

    Prepares the model for these batches. Raises ConfigError for a model that cannot take them, and
    for trees of a dataset with weights or with repeats.
    """
    if config.tree_packing:
        return _trees(config, source, rows, model, tokenizer)
    if config.packing:
        return _packed(config, source, rows, model)
    return Layout(rows, padding(tokenizer))


def prepare(config: TrainConfig, model: PreTrainedModel) -> None:
    """Prepares a model for the batches of a recipe, as `make_batches` prepares its model."""
    if config.tree_packing:
        tree_attention.prepare(model)
    elif config.packing:
        packing.prepare(model, config.training.bf16)


def _packed(config: TrainConfig, source: Source, rows: Dataset, model: PreTrainedModel) -> Layout:
    size = _number(config.packing)
    bins = packing.read_bins(source.folder, source.rendering, "train", len(rows), size)
    collator = packing.PackingCollator(packing.prepare(model, config.training.bf16))
    check = CheckIsolation("packing", lambda rows: collator([rows]))
    counts = packing.counts(bins)
    summary = packing.summary(counts)
    return Layout(packing.PackedRows(rows, bins), collator, [check], counts, summary)


def _trees(
    config: TrainConfig,
    source: Source,
    rows: Dataset,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> Layout:
    if WEIGHTS in rows.column_names:
        raise ConfigError(
            f"tree_packing: '{config.dataset}' has weights, and paths that share an answer may "
            "give it several; train with --set tree_packing=false, or build it with the cleaner "
            "drop_weights."
        )
    if source.manifest.repeats:
        raise ConfigError(
            f"tree_packing: '{config.dataset}' has {source.manifest.repeats} repeats of "
            "conversations, and an answer of a tree is trained once; train with --set "
            "tree_packing=false, or build it without `mix.max_epochs`."
        )
    tree_attention.check_batch(config.training.per_device_train_batch_size)
    tree_attention.prepare(model)
    lengths = dataset.lengths(rows)
    limit = _number(config.tree_packing) or source.rendering.entry.max_tokens
    limit = limit or int(lengths.max())
    trees = _planned(source, rows, limit)
    bins = tree_packing.bins_of(trees, limit)
    items = tree_packing.TreeRows(_lists(rows, "input_ids"), trees, bins)
    collator = tree_packing.TreeCollator(int(tokenizer.pad_token_id))
    check = CheckIsolation("tree_packing", lambda rows: collator([tree_packing.tree_of(rows)]))
    counts = tree_packing.counts(trees, bins, len(rows), int(lengths.sum(dtype=np.int64)))
    return Layout(items, collator, [check], counts, tree_packing.summary(counts))


def _planned(source: Source, rows: Dataset, limit: int) -> tree_planning.Trees:
    """The trees of a dataset's rows. Where the recipe trains each message once, labels are kept."""
    stops = list(source.rendering.entry.tokenizer.stop_ids)
    labelled_once = load_yaml(source.folder / RECIPE_FILE)["threads"]["train_once"]
    return tree_planning.plan(
        _lists(rows, "input_ids"),
        _lists(rows, "labels"),
        dataset.load_groups(source.folder, source.manifest, source.rendering, "train"),
        limit,
        stop=stops[-1] if stops else None,
        once=not labelled_once,
    )


def _lists(rows: Dataset, name: str) -> dataset.Lists:
    return dataset.Lists(rows.data.column(name))


def _number(setting: bool | int) -> int | None:
    """The number of tokens that a recipe names; None for `true`."""
    return None if isinstance(setting, bool) else setting
