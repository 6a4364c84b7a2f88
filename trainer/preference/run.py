"""A run on pairs: its data as items, its model, and its Trainer."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PrinterCallback

from chatdata.core.errors import ConfigError, OutputError
from trainer.config import TrainConfig
from trainer.data import dataset, isolation, tree_attention
from trainer.data.batching import Layout
from trainer.model import load
from trainer.preference import losses, pairs, reference, scoring
from trainer.preference.batches import MODEL_KEYS, Collator, Items, in_blocks
from trainer.preference.pairs import Answer, Item
from trainer.preference.trainer import PairTrainer, metrics, without_dropout
from trainer.run import callbacks, checkpoints, log, strategy
from trainer.run import run as runs
from trainer.run.run import Run
from trainer.run.strategy import Place


@dataclass(frozen=True, slots=True, eq=False)
class PairRun(Run):
    """A run on the pairs of a dataset: those to train on, and those of the test split."""

    train: Items = field(kw_only=True)
    test: Items | None = field(kw_only=True)
    longer: list[str] = field(kw_only=True)  # the ids of the pairs that `max_length` leaves out
    not_shared: str | None = field(kw_only=True)  # why prompts are computed for each answer

    @property
    def trees(self) -> bool:
        """Whether a prompt is computed once for all answers to it."""
        return self.not_shared is None

    def started(self) -> dict[str, Any]:
        """What identifies the run: the pairs too."""
        hashes = {"pairs": pairs.entry(self.source).content_hash}
        return Run.started(self) | hashes


def prepare(
    config: TrainConfig, here: Place, resume: bool = False, repo: str | None = None
) -> PairRun:
    """The run of a recipe with an objective for pairs, without the weights of its model."""
    config = _as_without_dropout(config)
    source = dataset.find(config.dataset, config.allow_moving_revision, config.rendering)
    pairs.entry(source)
    tokenizer = load.load_tokenizer(source.folder, source.rendering)
    train, test, longer = _splits(config, source)
    model = _meta_model(config, tokenizer)
    not_shared = _not_shared(config, model)
    layout = _layout(config, train, test, not_shared, int(tokenizer.pad_token_id))
    layout.counts["left_out"] = len(longer)
    longest = max(items.longest for items in (train, test) if items is not None)
    more: dict[str, Any] = {
        "train": train,
        "test": test,
        "longer": longer,
        "not_shared": not_shared,
    }
    return PairRun(config, here, source, tokenizer, model, layout, longest, resume, repo, **more)


def _as_without_dropout(config: TrainConfig) -> TrainConfig:
    """The recipe, whose adapter has no dropout, also where the recipe says nothing."""
    if config.adapter is None:
        return config
    adapter = config.adapter.model_copy(update={"lora_dropout": 0.0})
    return config.model_copy(update={"adapter": adapter})


def _splits(config: TrainConfig, source: dataset.Source) -> tuple[Items, Items | None, list[str]]:
    """The items of both splits, and the ids of the pairs that are left out."""
    items: dict[str, Items] = {}
    longer: list[str] = []
    for split in ("train", "test"):
        read = pairs.read(source, split)
        if read is not None:
            kept, left_out = read.without_longer(config.preference.max_length)
            longer += left_out
            items |= {split: _items(config, kept, split)} if len(kept) else {}
    if "train" not in items:
        raise OutputError(
            f"'{source.folder}' has no pairs to train on"
            + (f": {len(longer)} are longer than preference.max_length" if longer else "")
            + "; build it with a smaller test split, or of more trees."
        )
    return items["train"], items.get("test"), longer


def _items(config: TrainConfig, kept: pairs.Pairs, split: str) -> Items:
    """The items of a split; those of KTO have an order and answers to others."""
    training = config.training
    if config.objective != "kto":
        return Items(kept)
    if split == "train":
        size, seed = training.per_device_train_batch_size, training.seed
        return Items(kept, *in_blocks(len(kept), size, seed))
    return Items(kept, *in_blocks(len(kept), training.per_device_eval_batch_size, None))


def _meta_model(config: TrainConfig, tokenizer: Any) -> PreTrainedModel:
    loaded = load.load_config(config.model, tokenizer)
    if config.objective == "reward":
        return scoring.meta_model(loaded, len(tokenizer))
    return load.meta_model(loaded, len(tokenizer))


def _not_shared(config: TrainConfig, model: PreTrainedModel) -> str | None:
    """Why prompts are computed for each answer; None where they are computed once.

    Prepares the model for trees. Raises ConfigError where the recipe asks for what the model cannot
    do.
    """
    wanted = config.preference.share_prompt
    if wanted is False:
        return "the recipe says so"
    reason = "a reward is read off the end of a row" if config.objective == "reward" else None
    try:
        if reason is None:
            tree_attention.prepare(model)
    except ConfigError as error:
        reason = str(error).removeprefix("tree_packing: ").partition(";")[0].partition(", and")[0]
    if reason is not None and wanted:
        raise ConfigError(
            f"preference.share_prompt: {reason}; set it to false, so that each answer is a row."
        )
    return reason


def _layout(
    config: TrainConfig, train: Items, test: Items | None, not_shared: str | None, pad_id: int
) -> Layout:
    trees = not_shared is None
    rows, in_trees = train.row_tokens(), train.item_tokens()
    tokens = int(in_trees.sum()) if trees else rows
    counts: dict[str, Any] = {
        "pairs": len(train),
        "test_pairs": 0 if test is None else len(test),
        "row_tokens": rows,
        "tokens": tokens,
        "saved": round(1 - tokens / rows, 4),
        "max_tokens": int(in_trees.max()) if trees else train.longest,
        "beta": losses.beta(config),
    }
    return Layout(train, Collator(pad_id, trees), _callbacks(config, trees, pad_id), counts)


def _callbacks(config: TrainConfig, trees: bool, pad_id: int) -> list[Any]:
    """The proofs, before the first step, that a token sees what it should."""
    if config.objective == "reward":
        return []
    if not trees:
        return [isolation.CheckOrder()]
    pack = partial(_as_pair, Collator(pad_id, trees=True))
    return [isolation.CheckOrder(), isolation.CheckIsolation("preference.share_prompt", pack)]


def _as_pair(collator: Collator, rows: Any) -> dict[str, Any]:
    """What a model is given of two rows that begin alike, as a pair."""
    ids = [np.array(row["input_ids"]) for row in rows]
    size = len(isolation.STEM)
    answers = [Answer(row[size:], np.ones(len(row) - size, bool)) for row in ids]
    batch = collator([Item(0, ids[0][:size], answers)])
    return {key: batch[key] for key in MODEL_KEYS}


# ------------------------------------------------------------------------------------ the model


def load_network(run: PairRun) -> Any:
    """The model of a run, with the recipe's adapter and without dropout. Must be called by all
    ranks."""
    network = scoring.load_network(run) if run.config.objective == "reward" else None
    network = network or runs.load_network(run)
    strategy.same_on_all_ranks("pairs", pairs.entry(run.source).content_hash)
    base = network.get_base_model() if hasattr(network, "get_base_model") else network
    if run.trees:
        tree_attention.prepare(base)
    without_dropout(network)
    return network


def make_trainer(run: PairRun, network: Any, arguments: Any) -> PairTrainer:
    """The Trainer of a run, whose items know what the base says of them, where that is needed."""
    if run.test is not None:
        arguments.eval_on_start = run.checkpoint() is None
    trainer = PairTrainer(
        run.config,
        model=network,
        args=arguments,
        train_dataset=run.layout.items,
        eval_dataset=run.test,
        processing_class=run.tokenizer,
        data_collator=run.layout.collator,
        callbacks=[
            log.Report(run.output),
            *callbacks.asked_for(run),
            checkpoints.Listing(),
            *run.layout.callbacks,
        ],
        compute_metrics=partial(metrics, run.config),
    )
    trainer.with_muon = run.config.training.optim == "muon"
    trainer.remove_callback(PrinterCallback)
    callbacks.introduce(trainer)
    if run.config.objective in losses.WITH_REFERENCE:
        reference.add(run, trainer)
    return trainer
