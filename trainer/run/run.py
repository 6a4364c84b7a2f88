"""A run that is about to begin: what is trained on what, by whom, and where it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import DataCollatorForSeq2Seq, PreTrainedModel

from trainer.config import TrainConfig
from trainer.data import batching, dataset
from trainer.model import adapters, load
from trainer.run import log, strategy
from trainer.run.strategy import Place


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A recipe with its dataset, laid out, its tokenizer and its place among the ranks."""

    config: TrainConfig
    here: Place
    source: dataset.Source
    tokenizer: Any
    outline: PreTrainedModel  # the model, without memory behind its weights
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
        return list(self.source.facts.rendering.tokenizer.control_ids.values())

    @property
    def stop_ids(self) -> list[int]:
        """The ids of the tokens that end turns."""
        return list(self.source.facts.rendering.tokenizer.stop_ids)

    def started(self) -> dict[str, Any]:
        """What identifies the run, for one that goes on from it."""
        return {
            "ranks": self.here.ranks,
            "content_hash": self.source.facts.content_hash,
            "recipe": self.config.model_dump(mode="json"),
        }

    def checkpoint(self) -> str | None:
        """Where the run goes on from; None where it begins."""
        found = log.last_checkpoint(self.output, self.here.ranks) if self.resume else None
        return None if found is None else str(found)


def prepare(config: TrainConfig, here: Place, resume: bool = False, repo: str | None = None) -> Run:
    """The run of a recipe, without the weights of its model."""
    source = dataset.find(config.dataset, config.allow_moving_revision)
    tokenizer = load.load_tokenizer(source.folder, source.facts)
    rows = dataset.train_rows(source)
    outline = load.outline(load.load_config(config.model, tokenizer), len(tokenizer))
    at_hand = config.model_copy(update={"dataset": str(source.folder)})
    laid = batching.lay_out(at_hand, source.facts, rows, outline, tokenizer)
    longest = max(rows[dataset.LENGTH])
    return Run(config, here, source, tokenizer, outline, laid, longest, resume, repo)


def load_network(run: Run) -> Any:
    """The model of a run, with its adapter if it has one; to be called by all ranks."""
    config, seed = run.config, run.config.training.seed
    network = load.load_model(
        config.model,
        run.tokenizer,
        seed,
        load.weights_dtype(config),
        adapters.quantization(config.adapter),
    )
    strategy.same_on_all_ranks("dataset", run.source.facts.content_hash)
    strategy.same_on_all_ranks("embeddings", load.embedding_digest(network))
    batching.prepare(config, network)
    if config.adapter is None:
        return network
    return adapters.add(network, config.adapter, config.model, run.control_ids, seed)


def collator(run: Run) -> Callable[[list[Any]], Any]:
    """What makes batches: of items as they were laid out, and of plain rows, padded."""
    padded = DataCollatorForSeq2Seq(run.tokenizer)

    def collate(items: list[Any]) -> Any:
        if not isinstance(items[0], Mapping):
            return run.layout.collator(items)
        return padded([{key: item[key] for key in dataset.COLUMNS} for item in items])

    return collate
