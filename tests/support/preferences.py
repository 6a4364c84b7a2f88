"""Pairs of the embedded sample, a small base, and runs on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from chatdata import build_dataset, load_recipe
from trainer import config
from trainer.data import dataset
from trainer.model import load
from trainer.preference import run as pair_runs
from trainer.run import strategy

RECIPE = Path(__file__).parent.parent.parent / "recipes" / "train" / "preferences.yaml"
TINY = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
}


def build(folder: Path) -> Path:
    """The sample with its pairs: six to train on, one to test on."""
    changed = ["threads.pairs=all", "split.test_percent=60"]
    build_dataset(load_recipe("sample", changed), folder)
    return folder


def save_base(pairs: Path, folder: Path) -> Path:
    """The folder of a model that has the tokens of the pairs."""
    source = dataset.find(str(pairs))
    tokenizer = load.load_tokenizer(source.folder, source.rendering)
    network = load.load_model(config.Model(config=TINY), tokenizer, seed=7)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def settings(pairs: Path, base: Path, output: Path) -> list[str]:
    """What three quick steps from a base change in the shipped recipe."""
    return [
        f"dataset={pairs}",
        f"model={{path: {base}}}",
        f"output={output}",
        "preference={}",
        "report_to=[]",
        "training.max_steps=3",
        "training.learning_rate=1e-2",
        "training.warmup_steps=0",
        "training.lr_scheduler_type=constant",
    ]


def recipe(pairs: Path, base: Path, output: Path, *more: str) -> config.TrainConfig:
    """The shipped recipe, with this base."""
    return config.load(RECIPE, [*settings(pairs, base, output), *more])


def prepared(recipe: config.TrainConfig) -> tuple[pair_runs.PairRun, Any]:
    """The run of a recipe, and its Trainer."""
    here = strategy.place()
    run = pair_runs.prepare(recipe, here)
    arguments = strategy.arguments(recipe, here)
    return run, pair_runs.make_trainer(run, pair_runs.load_network(run), arguments)


def disturb(network: torch.nn.Module) -> None:
    """Moves the weights, the same each time, so that the model is no longer its base."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=generator)


def loss_and_gradients(network: Any, loss: torch.Tensor) -> tuple[float, dict[str, torch.Tensor]]:
    """A loss, and its gradients by the names of the weights."""
    network.zero_grad()
    loss.backward()
    return float(loss), {
        name: weight.grad.clone()
        for name, weight in network.named_parameters()
        if weight.grad is not None
    }
