"""What the base says of the answers, computed once and kept beside the data.

The base is the model before its first step; of an adapter, the model without it. So no second
model is in memory. The file is named by a hash of the weights, the pairs and how they stand in
items: what another model says is never taken.

    DATASET.reference/HASH.parquet      a row for each pair: its id, and the log-probabilities
"""

from __future__ import annotations

import hashlib
import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import TrainerCallback, set_seed

from chatdata.core.errors import ConfigError
from chatdata.core.files import place_file
from trainer.model import load
from trainer.preference import pairs
from trainer.preference.batches import Items
from trainer.run import strategy

if TYPE_CHECKING:
    from trainer.preference.run import PairRun
    from trainer.preference.trainer import PairTrainer

_VERSION = 2  # of how the numbers are made
_COLUMNS = ("chosen", "rejected", "chosen_stranger", "rejected_stranger")
_OF_ADAPTERS = ("lora_", "trainable_tokens_")  # in the names of weights that the base has not


def add(run: PairRun, trainer: PairTrainer) -> None:
    """Gives the items of a run the log-probabilities by the base. Must be called by all ranks.

    Several ranks compute them when the training begins: a model that Trainer has used before that
    is not made ready for training a second time. Raises ConfigError for such a run that goes on
    from a checkpoint, where they are not known.
    """
    weights = digest(trainer.model)
    unknown = {}
    for split, items in (("train", run.train), ("test", run.test)):
        if items is None:
            continue
        path = folder(run) / f"{name(run, weights, split, items)}.parquet"
        items.reference = _known(path, items, trainer)
        if items.reference is None:
            unknown[path] = (split, items)
        elif run.here.is_first:
            click.echo(f"reference of the {split} pairs: taken from '{path}'", err=True)
    computing = _Computing(run, trainer, unknown)
    if strategy.chosen(run.config, run.here.ranks) == "single":
        computing.compute()
    elif unknown and run.checkpoint() is not None:
        raise ConfigError(
            f"'{next(iter(unknown))}' is missing, which holds what the base says of the pairs; put "
            "it back, or begin anew in another output."
        )
    else:
        trainer.add_callback(computing)
    set_seed(run.config.training.seed)  # computing has drawn numbers


class _Computing(TrainerCallback):
    """Computes what is not known, and keeps it, at the latest when the training begins."""

    def __init__(
        self, run: PairRun, trainer: PairTrainer, unknown: dict[Path, tuple[str, Items]]
    ) -> None:
        self.run, self.trainer, self.unknown = run, trainer, unknown

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Computes what is left to compute."""
        self.compute()
        set_seed(args.seed)

    def compute(self) -> None:
        """Computes it with the model as it is. Must be called by all ranks."""
        for path, (split, items) in self.unknown.items():
            items.reference = _computed(self.trainer, items)
            if self.run.here.is_first:
                _tell(self.run, split, items, _keep(path, items))
        self.unknown = {}


def folder(run: PairRun) -> Path:
    """The folder of what bases say of a dataset: the recipe's, or beside the dataset, or, of a
    published dataset, beside the output."""
    if run.config.preference.reference is not None:
        return Path(run.config.preference.reference)
    beside = run.source.folder if run.source.provenance is None else run.output
    return beside.with_name(f"{beside.name}.reference")


def name(run: PairRun, weights: str, split: str, items: Items) -> str:
    """The name of the file of a split, by what its numbers depend on."""
    strangers = None if items.strangers is None else items.strangers.tolist()
    parts = {
        "version": _VERSION,
        "weights": weights,
        "pairs": pairs.entry(run.source).content_hash,
        "split": split,
        "bf16": run.config.training.bf16,
        "rows": items.pairs.rows[items.order].tolist(),
        "strangers": strangers,
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def digest(network: Any) -> str:
    """A hash of all weights of a model but those of its adapter."""
    hashed = hashlib.sha256()
    for key, weight in network.named_parameters():
        if not any(part in key for part in _OF_ADAPTERS):
            with load.gathered(weight):
                values = weight.detach().cpu().contiguous()
                hashed.update(f"{values.dtype} {tuple(values.shape)}".encode())
                hashed.update(values.flatten().view(torch.uint8).numpy().tobytes())
    return hashed.hexdigest()


def _computed(trainer: PairTrainer, items: Items) -> Any:
    network: Any = trainer.model
    as_base = network.disable_adapter() if hasattr(network, "disable_adapter") else nullcontext()
    with as_base:
        return trainer.log_probabilities(items)


# ------------------------------------------------------------------------------------- the file


def _known(path: Path, items: Items, trainer: PairTrainer) -> Any:
    """The numbers of a file, as the first rank reads them; None where they are not known."""
    read = [_read(path, items) if trainer.is_world_process_zero() else None]
    if torch.distributed.is_initialized():
        torch.distributed.broadcast_object_list(read)
    return read[0]


def _read(path: Path, items: Items) -> Any:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException):
        return None
    if table["id"].to_pylist() != items.ids():
        return None
    columns = [table[column].to_numpy() for column in table.column_names if column != "id"]
    return np.stack(columns, 1)


def _keep(path: Path, items: Items) -> str:
    """Writes what the base says of some items. Returns where, or why not."""
    numbers = np.asarray(items.reference, np.float32)
    columns = {"id": pa.array(items.ids(), pa.string())}
    columns |= {key: pa.array(of) for key, of in zip(_COLUMNS, numbers.T, strict=False)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with place_file(path) as new:
            pq.write_table(pa.table(columns), new)
    except OSError as error:
        return f"not kept: {error}"
    return f"kept in '{path}'"


def _tell(run: PairRun, split: str, items: Items, kept: str) -> None:
    rows = items.row_tokens()
    tokens = int(items.item_tokens().sum()) if run.trees else rows
    click.echo(
        f"reference of the {split} pairs: {len(items):,} pairs, {tokens:,} tokens computed "
        f"({rows - tokens:,} saved, since answers share their prompt); {kept}",
        err=True,
    )
