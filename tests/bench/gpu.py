"""The checks that need a GPU, in one go.

python -m tests.bench.gpu --input en-validation.jsonl --tokenizer smollm2

trees     trained tokens a second of trees by FlexAttention beside packed rows, at 2,048 and 8,192
zero3     an adapter that ZeRO-3 trains, saved and loaded
disk      a step with optimizer and weights offloaded to a disk
pairs     DPO with prompts that are computed once, beside prompts that are computed twice

Each is a process of its own with a limit, and what it printed is a line of JSON; a check that fails
stops no other. Without a CUDA GPU nothing is run, and the status is 2.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch

from chatdata import build_dataset, load_recipe
from chatdata.dataset.pack import repack
from tests.bench.tree_packing import built, computed, epoch, prepared, recipes

LARGE = {  # 230,720,512 parameters with a vocabulary of 49,152
    "model_type": "llama",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 16,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "tie_word_embeddings": True,
    "max_position_embeddings": 8192,
}
SMALL = LARGE | {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
LENGTHS = {True: (2048, 8192), False: (256, 512)}  # with a GPU, and to try this script
LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1", "-m"]
_OF_LAUNCHER = re.compile(r"^[EW]\d{4} .*elastic", re.MULTILINE)  # which hides what failed
Settings = dict[str, Any]


def trees(input: str, tokenizer: str, work: Path, model: Settings, steps: int) -> Settings:
    """Trained tokens a second, and the peak of memory, of both ways at both lengths."""
    measured: Settings = {}
    for length in LENGTHS[torch.cuda.is_available()]:
        folder = built(input, tokenizer, length, work / str(length))
        repack(folder, length)
        ways = recipes(folder, {"config": model}, length, 1)
        for name in ("packed rows", "trees"):
            measured[f"{name}, {length}"] = _speed(ways[name], steps, str(work))
        measured[f"ratio, {length}"] = round(
            measured[f"trees, {length}"]["trained_a_second"]
            / measured[f"packed rows, {length}"]["trained_a_second"],
            3,
        )
    return measured


def _speed(recipe: Any, steps: int, output: str) -> Settings:
    training = recipe.training.model_copy(update={"bf16": torch.cuda.is_available()})
    recipe = recipe.model_copy(update={"training": training})
    layout, _ = prepared(recipe)
    tokens, trained = computed(layout, 1)
    epoch(recipe, 3, output)  # what is compiled is compiled
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    seconds, _ = epoch(recipe, steps, output)
    peak = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0
    items = len(layout.items)  # type: ignore[arg-type]
    return {
        "tokens": tokens,
        "trained": trained,
        "seconds_a_step": round(seconds, 4),
        "trained_a_second": round(trained / items / seconds, 1),
        "peak_gib": round(peak, 2),
    }


def zero3(input: str, tokenizer: str, work: Path, model: Settings, steps: int) -> Settings:
    """The adapter that one rank of ZeRO-3 saves, measured again by another process."""
    adapter = "lora" if torch.cuda.is_available() else "none"  # which ZeRO-3 refuses on CPUs
    settings = {"adapter": adapter, "training.max_steps": steps, "strategy": "zero3"}
    folder = _train(work, "sample", model, settings)
    _run([*LAUNCH[-1:], "trainer.evaluate", str(folder), str(work / "sample")])
    return json.loads((folder / "chatdata.json").read_text())["results"]


def disk(input: str, tokenizer: str, work: Path, model: Settings, steps: int) -> Settings:
    """A step whose optimizer and weights are on a disk."""
    values = json.loads(Path("trainer/zero3_nvme_offload.json").read_text())
    for what in ("offload_optimizer", "offload_param"):
        values["zero_optimization"][what]["nvme_path"] = str(work)
    (work / "nvme.json").write_text(json.dumps(values))
    settings = {"deepspeed": str(work / "nvme.json"), "training.max_steps": 1}
    folder = _train(work, "sample", model, settings)
    return json.loads((folder / "chatdata.json").read_text())["results"]


def pairs(input: str, tokenizer: str, work: Path, model: Settings, steps: int) -> Settings:
    """Seconds of DPO with and without shared prompts, and the losses, which are the same."""
    measured: Settings = {}
    for shared in (True, False):
        settings = {"objective": "dpo", "preference.share_prompt": shared, "strategy": "single"}
        begin = time.monotonic()
        folder = _train(work, "pairs", model, settings | {"training.max_steps": steps})
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        losses = [entry["loss"] for entry in map(json.loads, lines) if "loss" in entry]
        measured[f"shared {shared}"] = {"seconds": time.monotonic() - begin, "losses": losses}
    return measured


CHECKS: dict[str, Callable[..., Settings]] = {
    function.__name__: function for function in (trees, zero3, disk, pairs)
}


def _train(work: Path, data: str, model: Settings, settings: Settings) -> Path:
    """The folder of a run of the trainer in a process of its own."""
    if not (work / data).exists():
        more = ["threads.pairs=all", "split.test_percent=60"] if data == "pairs" else []
        build_dataset(load_recipe("sample", more), work / data)
    out = work / f"{data}-{abs(hash(json.dumps(settings))) % 10**6}"
    values = {
        "dataset": work / data,
        "model": json.dumps({"config": model}),
        "output": out,
        "report_to": "[]",
        "deepspeed": "null",
        "training.bf16": torch.cuda.is_available(),
        "training.warmup_steps": 0,
        "training.per_device_train_batch_size": 2,
    } | settings
    options = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    is_alone = settings.get("strategy") == "single"
    start = LAUNCH[-1:] if is_alone else LAUNCH
    _run([*start, "trainer.train", "recipes/train/sample.yaml", *options])
    return out


def _run(words: list[str]) -> None:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    if done.returncode:
        reason = _OF_LAUNCHER.split(done.stderr)[0].strip()[-800:]
        raise RuntimeError(f"{' '.join(words[:3])}: {reason}")


def _one_check(name: str, options: list[str], seconds: int) -> Settings:
    command = [sys.executable, "-m", "tests.bench.gpu", *options, "--only", name]
    pipes: Settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **pipes) as process:
        try:
            out, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # or else its ranks would keep the GPU
            return {"check": name, "failed": f"took more than {seconds} s"}
    if process.returncode:
        return {"check": name, "failed": errors.strip()[-800:]}
    return {"check": name, **json.loads(out.splitlines()[-1])}


@click.command()
@click.option("--input", required=True, help="OASST1 messages, as JSON lines.")
@click.option("--tokenizer", required=True, help="The folder of a tokenizer.")
@click.option("--steps", default=20, show_default=True)
@click.option("--limit", default=200, show_default=True, help="Seconds of a check.")
@click.option("--only", type=click.Choice(list(CHECKS)), help="One check, in this process.")
@click.option("--on-cpu", is_flag=True, help="A small model on a CPU, to try this script.")
def main(
    input: str, tokenizer: str, steps: int, limit: int, only: str | None, on_cpu: bool
) -> None:
    """Runs the checks that need a GPU."""
    if not torch.cuda.is_available() and not on_cpu:
        click.echo("this machine has no CUDA GPU; nothing was run", err=True)
        sys.exit(2)
    options = ["--input", input, "--tokenizer", tokenizer, "--steps", str(steps)]
    options += ["--on-cpu"] if on_cpu else []
    if only is None:
        for name in CHECKS:
            click.echo(json.dumps(_one_check(name, options, limit)))
        return
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    with tempfile.TemporaryDirectory() as name:
        model = SMALL if on_cpu else LARGE
        click.echo(json.dumps(CHECKS[only](input, tokenizer, Path(name), model, steps)))


if __name__ == "__main__":
    main()
