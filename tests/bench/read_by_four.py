"""Whether transformers 4 reads what the trainer saves: python -m tests.bench.read_by_four PYTHON

PYTHON is the interpreter of an environment with transformers 4.57 and torch. Small models of some
families are saved as the trainer saves them; the other interpreter loads each with its tokenizer.
Prints whether ids, prompt and logits are the same. Ends with status 1 where they are not.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import torch

from chatdata import build_dataset, load_recipe
from trainer import config
from trainer.data import dataset
from trainer.model import load, portable

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
MODELS: dict[str, dict[str, Any]] = {
    "gpt_bigcode": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256},
    "gpt_neox": {key: SIZES[key] for key in SIZES if key != "num_key_value_heads"},
    "llama": SIZES | {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}},
    "llama, scaled": SIZES | {"rope_parameters": LLAMA3},
    "mistral": SIZES | {"rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}},
    "qwen2": SIZES | {"rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}},
    "qwen3": SIZES | {"rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}},
    "phi3": SIZES | {"pad_token_id": 0},
    "gemma3_text": SIZES | {"head_dim": 8},
}
TEXT = "def f(x):\n    return x  # a line of words, long enough for positions to matter"
READ = """
import json, sys, torch, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
transformers.logging.set_verbosity_error()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
ids = tokenizer(sys.argv[2]).input_ids
prompt = tokenizer.apply_chat_template(
    [{"role": "user", "content": "a"}], add_generation_prompt=True, tokenize=False)
logits = model(torch.tensor([ids])).logits[0, -1].tolist()
print(json.dumps([transformers.__version__, ids, tokenizer(prompt).input_ids, logits]))
"""


def read(python: str, folder: Path) -> tuple[list[Any] | None, str]:
    """What an interpreter reads of a model; None and the reason where it does not."""
    command = [python, "-c", READ, str(folder), TEXT]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return None, (done.stderr.strip().splitlines() or [""])[-1]
    return json.loads(done.stdout.splitlines()[-1]), ""


def compared(python: str, folder: Path) -> str:
    """How what two versions read of a model differs."""
    ours, _ = read(sys.executable, folder)
    theirs, reason = read(python, folder)
    if ours is None or theirs is None:
        return f"NOT READ: {reason[:150]}"
    gap = (torch.tensor(ours[3]) - torch.tensor(theirs[3])).abs().max()
    is_same = ours[1:3] == theirs[1:3] and gap < 1e-5
    return f"{'same' if is_same else 'ANOTHER'} in {theirs[0]}, logits within {gap:.1e}"


@click.command()
@click.argument("python")
@click.option("--as-saved", is_flag=True, help="Without what the trainer rewrites.")
def main(python: str, as_saved: bool) -> None:
    """Saves small models, and reads them by another version of transformers."""
    is_bad = False
    with tempfile.TemporaryDirectory() as name:
        build_dataset(load_recipe("sample"), Path(name) / "sample")
        sample = Path(name) / "sample"
        tokenizer = load.load_tokenizer(sample, dataset.find(str(sample)).rendering)
        for title, shape in MODELS.items():
            kind = title.partition(",")[0]
            made = config.Model(config={"model_type": kind, "bos_token_id": 256, **shape})
            folder = Path(name) / title.replace(", ", "-")
            load.load_model(made, tokenizer, seed=1).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            if not as_saved:
                portable.write(folder)
            line = compared(python, folder)
            click.echo(f"{title}: {line}")
            is_bad |= not line.startswith("same")
    sys.exit(is_bad)


if __name__ == "__main__":
    main()
