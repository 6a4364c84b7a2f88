"""Tunes a real model on real trees, on a CPU: does it learn to answer, and to stop?

python tests/bench/learn.py --input en-validation.jsonl --model models/stories260K
python tests/bench/learn.py --input en-validation.jsonl --gguf SmolLM2-135M-Instruct.Q4_1.gguf \
    --tokenizer tokenizers/smollm2 --template tokenizer --steps 36 --batch 2 --rate 2e-5 \
    --max-tokens 384 --test-percent 3 --prompts 4

The dataset is built, the model trained and both measured by the commands that a user has. What is
held out are whole trees. An answer is begun for the first question of each, and ends or does not.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, set_seed

from chatdata.dataset import manifest, reader, renderings
from trainer.config import Model
from trainer.model.load import load_model, load_tokenizer

ROOT = Path(__file__).parents[2]
PACKAGES = ("torch", "transformers", "accelerate", "tokenizers")


def command(*words: object) -> None:
    """Runs a module as a user does, on all the processors there are."""
    subprocess.run([sys.executable, "-m", *map(str, words)], check=True, cwd=ROOT)


def from_gguf(gguf: Path, tokenizer: Path, out: Path) -> Path:
    """A model that transformers reads, from the single file of another."""
    options = {"gguf_file": gguf.name}
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **options)
    network = AutoModelForCausalLM.from_config(
        AutoConfig.from_pretrained(gguf.parent, **options), dtype=torch.float32
    )
    network.load_state_dict(read.state_dict())  # as it was read, it may be neither saved nor tuned
    network.save_pretrained(out)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(out)
    return out


def questions(folder: Path, number: int) -> list[list[dict[str, str]]]:
    """The first questions of the trees that are held out, one of each."""
    rows = reader.scan(folder, "messages", ["test"]).collect()
    first = rows.unique("group", keep="first", maintain_order=True).head(number)
    return [[dict(row["messages"][0])] for row in first.to_dicts()]


@torch.no_grad()
def ended(network: Any, tokenizer: Any, asked: list[Any], tokens: int, sampled: bool) -> list[int]:
    """The tokens of each answer that ends by itself within `tokens`."""
    set_seed(0)
    options = {"do_sample": True, "temperature": 0.7, "top_p": 0.95} if sampled else {}
    sizes = []
    for messages in asked:
        prompt = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt"
        )
        start = prompt["input_ids"].shape[1]
        answer = network.generate(**prompt, max_new_tokens=tokens, **options)[0, start:]
        if answer[-1] == tokenizer.eos_token_id:
            sizes.append(len(answer))
    return sizes


def show(name: str, network: Any, tokenizer: Any, asked: list[Any], tokens: int) -> None:
    """Prints how many answers end, and one of them."""
    network.eval()
    network.config.use_cache = True
    for sampled in (False, True):
        finished = ended(network, tokenizer, asked, tokens, sampled)
        how = "sampled" if sampled else "greedy"
        print(f"{name}, {how}: {len(finished)} of {len(asked)} answers end within {tokens} tokens")


@click.command()
@click.option("--input", "path", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--model", type=click.Path(exists=True, path_type=Path))
@click.option("--gguf", type=click.Path(exists=True, path_type=Path))
@click.option("--tokenizer", type=click.Path(exists=True, path_type=Path))
@click.option("--template", default="starchat", show_default=True)
@click.option("--steps", default=400, show_default=True)
@click.option("--batch", default=8, show_default=True)
@click.option("--rate", default=1e-3, show_default=True)
@click.option("--max-tokens", default=512, show_default=True, help="Of a row.")
@click.option("--test-percent", default=10.0, show_default=True)
@click.option("--prompts", default=100, show_default=True)
@click.option("--answer", default=200, show_default=True, help="Tokens of an answer, at most.")
def main(path: Path, model: Path, gguf: Path, tokenizer: Path, **options: Any) -> None:
    """Builds, trains, measures."""
    with tempfile.TemporaryDirectory() as scratch:
        base = from_gguf(gguf, tokenizer, Path(scratch) / "base") if gguf else model.resolve()
        run(path.resolve(), base, Path(scratch), **options)


def run(
    path: Path,
    base: Path,
    scratch: Path,
    template: str,
    steps: int,
    batch: int,
    rate: float,
    max_tokens: int,
    test_percent: float,
    prompts: int,
    answer: int,
) -> None:
    """All of it, in a folder of its own."""
    data, out = scratch / "data", scratch / "tuned"
    render = [
        f"template={template}",
        f"tokenizer={base}",
        f"max_tokens={max_tokens}",
        "overflow=cut",
    ]
    keys = [f"render.{key}" for key in render] + [f"split.test_percent={test_percent}"]
    settings = [word for key in keys for word in ("--set", key)]
    command("chatdata", "build", "oasst1-en", "--input", path, "--out", data, *settings)
    keys = [
        *(f"dataset={data}", f"model={{path: {base}}}", f"output={out}", "deepspeed=null"),
        *(f"training.max_steps={steps}", f"training.learning_rate={rate}"),
        *("training.warmup_steps=0.05", "training.logging_steps=20", "report_to=[]"),
        f"training.per_device_train_batch_size={batch}",
        f"training.per_device_eval_batch_size={batch}",
    ]
    settings = [word for key in keys for word in ("--set", key)]
    begin = time.perf_counter()
    command("trainer.train", ROOT / "recipes" / "train" / "sample.yaml", *settings)
    print(f"{steps} steps of {batch} rows: {time.perf_counter() - begin:.0f} s with both tests")
    print(platform.machine(), {name: metadata.version(name) for name in PACKAGES})
    facts = json.loads((out / "chatdata.json").read_text())
    print(json.dumps(facts["results"], indent=1))
    asked = questions(data, prompts)
    known = load_tokenizer(data, renderings.of(manifest.read(data)))
    show("before", load_model(Model(path=str(base)), known, seed=0), known, asked, answer)
    show("after", AutoModelForCausalLM.from_pretrained(out), known, asked, answer)
    shutil.copy(out / "loss.png", tempfile.gettempdir())


if __name__ == "__main__":
    main()
