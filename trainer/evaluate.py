"""Measures a model on a split that was not trained on: loss over trained tokens, bits per byte.

    python -m trainer.evaluate MODEL out/sample-1.0.0

loss           nats for each trained token, over all trained tokens: an answer weighs as much as it
               is long, and the size of batches does not matter
bits_per_byte  bits for all trained tokens, over the UTF-8 bytes of the text that they spell. The
               end of a turn costs bits and spells nothing. Comparable across tokenizers
end_loss       nats for each token that ends a turn: how surprised the model is to stop
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch
from transformers import EvalPrediction, PreTrainedTokenizerBase, PrinterCallback, TrainingArguments

from chatdata.core import disk, interrupts
from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import ChatdataError, OutputError
from chatdata.render.token_spans import trained_spans
from trainer.config import Model
from trainer.data import batching
from trainer.data import dataset as data
from trainer.model import adapters, vocabulary
from trainer.model.load import load_model, load_tokenizer
from trainer.run.trainer import Trainer


@dataclass(frozen=True, slots=True)
class Measure:
    """The measure of a model on the rows of a split."""

    bytes: int  # of the text of the trained tokens
    stop_ids: tuple[int, ...]

    def reduce(self, logits: Any, labels: torch.Tensor) -> torch.Tensor:
        """The nats of each row of a batch, float32 of shape (rows, 2): of its trained tokens, and
        of the trained tokens that end turns. For `preprocess_logits_for_metrics`."""
        scores = logits[0] if isinstance(logits, tuple) else logits
        targets = labels[:, 1:]
        nats = torch.nn.functional.cross_entropy(
            scores[:, :-1].flatten(0, 1).float(),
            targets.flatten(),
            ignore_index=IGNORE_INDEX,
            reduction="none",
        ).view(targets.shape)
        ends = torch.isin(targets, torch.tensor(self.stop_ids, device=targets.device))
        return torch.stack([nats.sum(1), (nats * ends).sum(1)], dim=1)

    def metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        """The numbers of a whole split. For `compute_metrics`."""
        nats, ends = torch.as_tensor(prediction.predictions).double().sum(0).tolist()
        targets = torch.as_tensor(prediction.label_ids)[:, 1:]
        trained = int((targets != IGNORE_INDEX).sum())
        ended = int(torch.isin(targets, torch.tensor(self.stop_ids)).sum())
        return {
            "token_loss": nats / trained,
            "bits_per_byte": nats / math.log(2) / max(self.bytes, 1),
            "end_loss": ends / max(ended, 1),
            "trained_tokens": trained,
        }


def measure(rows: Any, tokenizer: PreTrainedTokenizerBase, stop_ids: Sequence[int]) -> Measure:
    """The measure of a model on these rows."""
    return Measure(trained_bytes(rows, tokenizer), tuple(stop_ids))


def trained_bytes(rows: Any, tokenizer: PreTrainedTokenizerBase) -> int:
    """The UTF-8 bytes of the text of all trained tokens, without control tokens."""
    answers = [ids for labels in rows["labels"] for ids in _trained_ids(np.asarray(labels))]
    texts = tokenizer.batch_decode(
        answers, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return sum(len(text.encode()) for text in texts)


def _trained_ids(labels: npt.NDArray[np.int64]) -> Iterator[list[int]]:
    """Yields the ids of each span of trained tokens of a row."""
    for start, end in trained_spans(labels).tolist():
        yield labels[start:end].tolist()


# --------------------------------------------------------------------------------------- command


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model")
@click.argument("dataset")
@click.option(
    "--split",
    type=click.Choice(["test", "train"]),
    default="test",
    show_default=True,
    help="The split to measure on.",
)
@click.option("--rendering", help="An added rendering of the dataset. [the tokens of its build]")
@click.option(
    "--allow-new-tokenizer",
    is_flag=True,
    help="Measure a model that has another tokenizer than the rows.",
)
@click.option(
    "--batch-size", type=click.IntRange(1), default=4, show_default=True, help="Rows of a batch."
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def main(
    model: str,
    dataset: str,
    split: str,
    rendering: str | None,
    allow_new_tokenizer: bool,
    batch_size: int,
    as_json: bool,
) -> None:
    """Measure MODEL (a model, or an adapter) on DATASET, a folder that `chatdata build` wrote.

    A model without embeddings for the dataset's control tokens gets random embeddings, as before
    training.
    """
    try:
        with disk.in_words():
            numbers = evaluate(model, dataset, split, batch_size, rendering, allow_new_tokenizer)
    except ChatdataError as error:
        raise click.ClickException(str(error)) from None
    click.echo(json.dumps(numbers, indent=2) if as_json else _summary(numbers))


def evaluate(
    model: str,
    dataset: str,
    split: str = "test",
    batch_size: int = 4,
    rendering: str | None = None,
    allow_new_tokenizer: bool = False,
) -> dict[str, Any]:
    """The numbers of a model on a split: loss, bits_per_byte, end_loss, trained_tokens, rows.

    Raises ConfigError for a model with another tokenizer than the rows, unless that is allowed.
    """
    source = data.find(dataset, rendering=rendering)
    tokenizer = load_tokenizer(source.folder, source.rendering)
    if not allow_new_tokenizer:
        vocabulary.check(model, None, tokenizer, source.rendering.entry.tokenizer.control_ids)
    rows = data.load_tokens(source.folder, source.rendering, split)
    if rows is None:
        raise OutputError(f"'{dataset}' has no {split} rows; choose another --split.")
    rows = rows.select_columns(data.COLUMNS)
    measured = measure(rows, tokenizer, list(source.rendering.entry.tokenizer.stop_ids))
    trainer = Trainer(
        model=_load(model, tokenizer),
        args=_arguments(batch_size),
        data_collator=batching.padding(tokenizer),
        compute_metrics=measured.metrics,
        preprocess_logits_for_metrics=measured.reduce,
    )
    trainer.remove_callback(PrinterCallback)
    metrics = trainer.evaluate(rows, metric_key_prefix="on")
    keys = ("loss", "bits_per_byte", "end_loss", "trained_tokens")
    numbers = {key: metrics[f"on_{key}"] for key in keys}
    return {"rows": len(rows), "bytes": measured.bytes, **numbers}


def _load(model: str, tokenizer: PreTrainedTokenizerBase) -> Any:
    if adapters.is_adapter(Path(model)):
        return adapters.load(Path(model))[0]
    return load_model(Model(path=model), tokenizer, seed=0)


def _arguments(batch_size: int) -> TrainingArguments:
    on_cpu = not torch.cuda.is_available()
    return TrainingArguments(
        per_device_eval_batch_size=batch_size,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
    )


def _summary(numbers: dict[str, Any]) -> str:
    return (
        f"{numbers['rows']} rows, {numbers['trained_tokens']} trained tokens: loss "
        f"{numbers['loss']:.4f}, {numbers['bits_per_byte']:.4f} bits per byte, "
        f"end of turns {numbers['end_loss']:.4f}"
    )


if __name__ == "__main__":
    interrupts.run(main)
