"""A model as somebody publishes it, before it is tuned on a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer import config
from trainer.data import dataset
from trainer.model import load

TINY = {
    "model_type": "gpt_bigcode",
    "n_layer": 1,
    "n_head": 2,
    "n_embd": 16,
    "n_positions": 2048,
    "attn_pdrop": 0,
    "resid_pdrop": 0,
    "embd_pdrop": 0,
}


def save(sample: Path, folder: Path, shape: dict[str, Any] | None = None) -> Path:
    """The folder of a model without control tokens, whose vocabulary is that of bytes."""
    tokenizer = load.load_tokenizer(sample, dataset.find(str(sample)).rendering)
    fitted = {**(shape or TINY), "vocab_size": 257, "eos_token_id": 256, "bos_token_id": 256}
    network = load.load_model(config.Model(config=fitted), tokenizer, seed=7)
    network.resize_token_embeddings(257)
    network.config.eos_token_id = network.generation_config.eos_token_id = 256
    network.save_pretrained(folder)
    return folder
