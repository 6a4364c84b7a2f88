"""Trains the same trees as padded rows, packed rows and trees, interleaved: tokens and time.

python tests/bench/tree_packing.py --input en-validation.jsonl --model models/stories260K

An epoch of each way trains the same tokens (each answer once), by the trainer's own code. Every
batch has room for about `--tokens` tokens, so that steps of the ways are comparable.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import torch
from transformers import Trainer, TrainingArguments, set_seed

from chatdata import build_dataset, load_recipe
from chatdata.dataset.pack import repack
from trainer.config import TrainConfig
from trainer.data import batching, dataset
from trainer.model import load as models

LARGER = {  # a model whose weights cost more than its attention, as those of real models do
    "model_type": "llama",
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "max_position_embeddings": 2048,
}


def built(input: str, tokenizer: str, max_tokens: int, folder: Path) -> Path:
    """The English trees, every path that fits, each answer trained once."""
    settings = [
        f"render.tokenizer={tokenizer}",
        f"render.max_tokens={max_tokens}",
        "render.overflow=cut",
        "threads.train_once=true",
        "split.test_percent=0",
    ]
    build_dataset(load_recipe("oasst1-en", settings), folder, inputs=[input])
    return folder


def recipes(folder: Path, model: dict[str, Any], tokens: int, rows: int) -> dict[str, TrainConfig]:
    """A train recipe for each way."""

    def recipe(batch: int, **settings: Any) -> TrainConfig:
        training = {"per_device_train_batch_size": batch, "learning_rate": 1e-4}
        return TrainConfig.model_validate(
            {
                "dataset": str(folder),
                "model": model,
                "output": "-",
                "training": training,
                **settings,
            }
        )

    return {
        f"{rows} padded rows": recipe(rows),
        "packed rows": recipe(1, packing=tokens),
        "trees": recipe(1, tree_packing=tokens),
    }


def prepared(recipe: TrainConfig) -> tuple[batching.Layout, Any]:
    """The layout of a recipe and its model."""
    folder = Path(recipe.dataset)
    source = dataset.find(str(folder))
    rows = dataset.train_rows(source)
    tokenizer = models.load_tokenizer(folder, source.rendering)
    network = models.load_model(recipe.model, tokenizer, seed=0)
    return batching.make_batches(recipe, source, rows, network, tokenizer), network


def computed(layout: batching.Layout, batch: int) -> tuple[int, int]:
    """The tokens of an epoch, padding included, and those that are trained."""
    items = [layout.items[at] for at in range(len(layout.items))]  # type: ignore[arg-type]
    batches = [layout.collator(items[at : at + batch]) for at in range(0, len(items), batch)]
    trained = [
        batch_arrays.get("shift_labels", batch_arrays["labels"][:, 1:]) for batch_arrays in batches
    ]
    return (
        sum(batch_arrays["input_ids"].numel() for batch_arrays in batches),
        sum(int((batch_arrays != -100).sum()) for batch_arrays in trained),
    )


def epoch(recipe: TrainConfig, steps: int, output: str) -> tuple[float, float]:
    """Seconds and seconds of CPU for each step of an epoch, or of some."""
    layout, network = prepared(recipe)
    set_seed(0)
    arguments = TrainingArguments(
        output_dir=output,
        per_device_train_batch_size=recipe.training.per_device_train_batch_size,
        num_train_epochs=1,
        max_steps=steps,
        learning_rate=recipe.training.learning_rate,
        bf16=recipe.training.bf16,
        save_strategy="no",
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
        disable_tqdm=True,
        logging_strategy="no",
    )
    trainer = Trainer(network, arguments, layout.collator, layout.items)
    begin = time.process_time()
    done = trainer.train()
    spent = time.process_time() - begin
    return done.metrics["train_runtime"] / done.global_step, spent / done.global_step


def report(ways: dict[str, TrainConfig], runs: dict[str, list[tuple[float, float]]]) -> None:
    """Prints a table: what an epoch of each way computes, and what it costs."""
    print("| way | tokens an epoch | trained | steps | steps/s | seconds | CPU s | rows / it |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    base = 0.0
    for name, recipe in ways.items():
        batch = recipe.training.per_device_train_batch_size
        layout, _ = prepared(recipe)
        tokens, trained = computed(layout, batch)
        steps = -(-len(layout.items) // batch)  # type: ignore[arg-type]
        times = "| | | | |"
        if runs[name]:
            wall, spent = (
                statistics.median(timed) * steps for timed in zip(*runs[name], strict=True)
            )
            base = base or spent
            times = f"| {steps / wall:.2f} | {wall:.0f} | {spent:.0f} | {base / spent:.2f} |"
        print(f"| {name} | {tokens} | {trained} | {steps} {times}")


@click.command()
@click.option("--input", required=True, help="OASST1 messages, as JSON lines.")
@click.option("--model", type=click.Path(exists=True), required=True, help="A model's folder.")
@click.option("--larger", is_flag=True, help="Train a random model of 13 million parameters.")
@click.option("--max-tokens", default=512, show_default=True, help="Of a row.")
@click.option("--tokens", default=2048, show_default=True, help="Of a batch.")
@click.option("--steps", default=-1, help="Steps of each run; all of an epoch if not given.")
@click.option("--rounds", default=3, show_default=True, help="0: count tokens, train nothing.")
def main(
    input: str, model: str, larger: bool, max_tokens: int, tokens: int, steps: int, rounds: int
) -> None:
    """Compares tokens and time of three ways to train on trees."""
    print({name: metadata.version(name) for name in ("torch", "transformers")}, os.cpu_count())
    with tempfile.TemporaryDirectory() as scratch:
        folder = built(input, model, max_tokens, Path(scratch) / "data")
        repack(folder, tokens)
        chosen = {"config": LARGER} if larger else {"path": model}
        ways = recipes(folder, chosen, tokens, tokens // max_tokens)
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, recipe in ways.items():
                runs[name].append(epoch(recipe, steps, scratch))
        print(prepared(ways["trees"])[0].summary)
        report(ways, runs)


if __name__ == "__main__":
    main()
