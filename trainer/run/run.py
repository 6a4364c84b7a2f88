"""A run that is about to begin: its model, its data, its processes and its last checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from chatdata.dataset.schemas import WEIGHTS
from trainer.config import TrainConfig
from trainer.data import batching, dataset, weighting
from trainer.model import adapters, load, pretrained
from trainer.run import checkpoints, strategy
from trainer.run.strategy import Place


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A recipe with its dataset, batches and tokenizer, and the place of this process among the
    ranks."""

    config: TrainConfig
    here: Place
    source: dataset.Source
    tokenizer: Any
    meta_model: PreTrainedModel  # the model, whose weights take no memory
    layout: batching.Layout
    longest: int  # the tokens of the longest row
    resume: bool = False
    repo: str | None = None  # on the Hub, to push to

    @property
    def output(self) -> Path:
        """The folder of the model."""
        return Path(self.config.output)

    @property
    def control_ids(self) -> list[int]:
        """The ids of the template's control tokens."""
        return list(self.source.rendering.entry.tokenizer.control_ids.values())

    @property
    def stop_ids(self) -> list[int]:
        """The ids of the tokens that end turns."""
        return list(self.source.rendering.entry.tokenizer.stop_ids)

    def started(self) -> dict[str, Any]:
        """What identifies the run, for a later run that goes on from its checkpoints."""
        path = self.config.model.path
        return {
            "ranks": self.here.ranks,
            "content_hash": self.source.rendering.content_hash,
            "base": path and pretrained.identity(path, self.meta_model.config),
            "recipe": self.config.model_dump(mode="json"),
        }

    def checkpoint(self) -> str | None:
        """The folder of the checkpoint that the run goes on from; None for a run that begins.

        Must be called by all ranks.
        """
        folder = checkpoints.same_choice(self.output, self.here.ranks) if self.resume else None
        return None if folder is None else str(folder)


def prepare(config: TrainConfig, here: Place, resume: bool = False, repo: str | None = None) -> Run:
    """The run of a recipe, without the weights of its model."""
    source = dataset.find(config.dataset, config.allow_moving_revision, config.rendering)
    tokenizer = load.load_tokenizer(source.folder, source.rendering)
    rows = dataset.train_rows(source)
    model = load.meta_model(load.load_config(config.model, tokenizer), len(tokenizer))
    layout = batching.make_batches(config, source, rows, model, tokenizer)
    longest = int(dataset.lengths(rows).max())
    return Run(config, here, source, tokenizer, model, layout, longest, resume, repo)


def load_network(run: Run) -> Any:
    """The model of a run, with the recipe's adapter. Must be called by all ranks."""
    config, seed = run.config, run.config.training.seed
    network = load.load_model(
        config.model,
        run.tokenizer,
        seed,
        load.weights_dtype(config),
        adapters.quantization(config.adapter),
    )
    strategy.same_on_all_ranks("dataset", run.source.rendering.content_hash)
    strategy.same_on_all_ranks("embeddings", load.embedding_digest(network))
    batching.prepare(config, network)
    if config.adapter is None:
        return network
    return adapters.add(network, config.adapter, config.model, run.control_ids, seed)


def collator(run: Run) -> Callable[[list[Any]], Any]:
    """The function that makes batches: of items of the layout, and of plain rows, padded."""
    pad = batching.padding(run.tokenizer)

    def collate(items: list[Any]) -> Any:
        if not isinstance(items[0], Mapping):
            return run.layout.collator(items)
        keys = [key for key in (*dataset.COLUMNS, WEIGHTS) if key in items[0]]
        return weighting.padded(pad, [{key: item[key] for key in keys} for item in items], "right")

    return collate
