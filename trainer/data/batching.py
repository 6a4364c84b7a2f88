"""How rows stand in a batch: padded, packed, or as the trees that they come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
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
from chatdata.dataset.manifest import Manifest
from trainer.config import TrainConfig
from trainer.data import dataset, packing, tree_attention, tree_packing
from trainer.data.isolation import CheckIsolation


@dataclass(frozen=True, slots=True)
class Layout:
    """What the Trainer is given: items to train on, and what makes a batch of them, or of plain
    rows to evaluate on; `facts` and `summary` are what there is to say of it."""

    items: torch.utils.data.Dataset[Any]
    collator: Callable[[Any], dict[str, Any]]
    callbacks: list[TrainerCallback] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    summary: str = ""


def lay_out(
    config: TrainConfig,
    facts: Manifest,
    rows: Dataset,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> Layout:
    """The layout that a train recipe asks for, of the train rows of its dataset.

    Prepares the model for it. Raises ConfigError where the two do not fit together.
    """
    if config.tree_packing:
        return _trees(config, facts, rows, model, tokenizer)
    if config.packing:
        return _packed(config, facts, rows, model)
    return Layout(rows, DataCollatorForSeq2Seq(tokenizer))


def prepare(config: TrainConfig, model: PreTrainedModel) -> None:
    """Prepares another model for what was laid out, as `lay_out` does with its own."""
    if config.tree_packing:
        tree_attention.prepare(model)
    elif config.packing:
        packing.prepare(model, config.training.bf16)


def _packed(config: TrainConfig, facts: Manifest, rows: Dataset, model: PreTrainedModel) -> Layout:
    folder, size = Path(config.dataset), _number(config.packing)
    bins = packing.read_bins(folder, facts, "train", len(rows), size)
    collator = packing.PackingCollator(packing.prepare(model, config.training.bf16))
    check = CheckIsolation("packing", lambda own: collator([own]))
    said = packing.counts(bins)
    return Layout(packing.PackedRows(rows, bins), collator, [check], said, packing.say(said))


def _trees(
    config: TrainConfig,
    facts: Manifest,
    rows: Dataset,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> Layout:
    tree_attention.check_batch(config.training.per_device_train_batch_size)
    tree_attention.prepare(model)
    lengths = np.asarray(rows[dataset.LENGTH])
    limit = _number(config.tree_packing) or facts.rendering.max_tokens or int(lengths.max())
    trees = _planned(Path(config.dataset), facts, rows, limit)
    bins = tree_packing.bins_of(trees, limit)
    items = tree_packing.TreeRows(_lists(rows, "input_ids"), trees, bins)
    collator = tree_packing.TreeCollator(int(tokenizer.pad_token_id))
    check = CheckIsolation("tree_packing", lambda own: collator([tree_packing.tree_of(own)]))
    said = tree_packing.counts(trees, bins, len(rows), int(lengths.sum()))
    return Layout(items, collator, [check], said, tree_packing.say(said))


def _planned(folder: Path, facts: Manifest, rows: Dataset, limit: int) -> list[tree_packing.Tree]:
    """The trees of a dataset's rows. Rows that train each message once are taken at their word."""
    stops = list(facts.rendering.tokenizer.stop_ids)
    lay = partial(
        tree_packing.lay,
        ids=_lists(rows, "input_ids"),
        labels=_lists(rows, "labels"),
        stop=stops[-1] if stops else None,
    )
    once = load_yaml(folder / "recipe.yaml")["threads"]["train_once"]
    trains = iter if once else tree_packing.train_once
    return tree_packing.plan(dataset.load_groups(folder, facts, "train"), limit, lay, trains)


def _lists(rows: Dataset, name: str) -> dataset.Lists:
    return dataset.Lists(rows.data.column(name))


def _number(wanted: bool | int) -> int | None:
    """The number of tokens that a recipe names, None where it says `true`."""
    return None if isinstance(wanted, bool) else wanted
