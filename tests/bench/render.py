"""From messages on disk to labelled rows on disk: this project and what one would use instead.

python tests/bench/render.py --input "$CHATDATA_SHAREGPT" --tokenizer data/tokenizers/starcoder
python tests/bench/render.py --input "$CHATDATA_SHAREGPT" --tokenizer data/tokenizers/qwen3 \
    --way "chatdata, a row for each answer" --way "TRL, a row for each answer"

Every way reads the same file of messages and uses the same tokenizer and template. Each run is a
process of its own, and may use all cores; its seconds are those of the work, without the start of
Python and imports.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import click

Way = Callable[[Path, Path, Path], float]  # messages, tokenizer, output: the seconds it took


# -------------------------------------------------------------------------------------- the ways


def chatdata(messages: Path, tokenizer: Path, out: Path) -> float:
    """A whole build: ledger, split, messages and tokens as Parquet, card, certificate."""
    return _build(messages, tokenizer, out, "audit")


def chatdata_reference(messages: Path, tokenizer: Path, out: Path) -> float:
    """The same without a fast library."""
    return _build(messages, tokenizer, out, "off")


def chatdata_answers(messages: Path, tokenizer: Path, out: Path) -> float:
    """A whole build by the tokenizer's own template, where that writes a row for each answer."""
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(tokenizer / "plain")  # imports what the build would import
    return _build(messages, tokenizer, out, "audit", "tokenizer")


def _build(
    messages: Path, tokenizer: Path, out: Path, verify: Any, template: str = "starchat"
) -> float:
    from chatdata.pipeline.build import build
    from chatdata.pipeline.find import load

    recipe = out.with_suffix(".yaml")
    recipe.write_text(
        "name: bench\nversion: 1.0.0\nsource: {jsonl: {files: [x.jsonl]}}\nmax_dropped: 1\n"
        f"render: {{template: {template}, tokenizer: '{tokenizer / 'plain'}'}}\n"
    )
    begin = time.perf_counter()
    build(load(recipe), out, inputs=[str(messages)], verify=verify, workers=os.cpu_count() or 1)
    return time.perf_counter() - begin


def trl(messages: Path, tokenizer: Path, out: Path) -> float:
    """TRL's SFTTrainer with `assistant_only_loss`: its preparation of the dataset."""
    return _trl(messages, _with_template(tokenizer), out, assistant_only_loss=True)


def trl_answers(messages: Path, tokenizer: Path, out: Path) -> float:
    """TRL's preparation of a prompt and a completion for each answer, by the own template."""
    from transformers import AutoTokenizer

    answers = out.with_suffix(".jsonl")
    with messages.open() as file, answers.open("w") as rows:
        for line in file:
            turns = json.loads(line)["messages"]
            ends = [i for i, turn in enumerate(turns) if i and turn["role"] == "assistant"]
            pairs = ({"prompt": turns[:end], "completion": turns[end : end + 1]} for end in ends)
            rows.writelines(json.dumps(pair) + "\n" for pair in pairs)
    tokenizer_of_rows = AutoTokenizer.from_pretrained(tokenizer / "plain")
    return _trl(answers, tokenizer_of_rows, out, completion_only_loss=True)


def _trl(messages: Path, tokenizer_of_rows: Any, out: Path, **mask: bool) -> float:
    import torch
    from datasets import disable_progress_bars, load_dataset
    from transformers import GPT2Config, GPT2LMHeadModel
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(tokenizer_of_rows), n_layer=1, n_embd=8, n_head=1)
    )
    options = SFTConfig(output_dir=str(out), max_length=None, use_cpu=True, report_to=[], **mask)
    begin = time.perf_counter()
    dataset = load_dataset("json", data_files=str(messages), split="train", cache_dir=str(out))
    SFTTrainer(model, options, train_dataset=dataset, processing_class=tokenizer_of_rows)
    return time.perf_counter() - begin


def apply_chat_template(messages: Path, tokenizer: Path, out: Path, processes: int = 1) -> float:
    """`apply_chat_template` with its own mask, through `datasets.map`."""
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    reader = _with_template(tokenizer)

    def render(row: dict[str, Any]) -> dict[str, Any]:
        encoded = reader.apply_chat_template(
            row["messages"], return_dict=True, return_assistant_tokens_mask=True
        )
        ids, mask = encoded["input_ids"], encoded["assistant_masks"]
        labels = [id if kept else -100 for id, kept in zip(ids, mask, strict=True)]
        return {"input_ids": ids, "labels": labels}

    begin = time.perf_counter()
    dataset = load_dataset("json", data_files=str(messages), split="train", cache_dir=str(out))
    dataset.map(render, remove_columns=dataset.column_names, num_proc=processes)
    return time.perf_counter() - begin


def apply_chat_template_2(messages: Path, tokenizer: Path, out: Path) -> float:
    """The same in two processes."""
    return apply_chat_template(messages, tokenizer, out, 2)


def floor(messages: Path, tokenizer: Path, out: Path) -> float:
    """`tokenizers` on the plain text of the messages, from memory, and nothing else."""
    import tokenizers

    plain = tokenizers.Tokenizer.from_file(str(tokenizer / "plain" / "tokenizer.json"))
    with messages.open() as file:
        texts = [turn["content"] for line in file for turn in json.loads(line)["messages"]]
    begin = time.perf_counter()
    for start in range(0, len(texts), 4096):
        plain.encode_batch_fast(texts[start : start + 4096], add_special_tokens=False)
    return time.perf_counter() - begin


WAYS: dict[str, Way] = {
    "chatdata, fast": chatdata,
    "chatdata": chatdata_reference,
    "TRL, assistant_only_loss": trl,
    "apply_chat_template, map": apply_chat_template,
    "apply_chat_template, map, 2 processes": apply_chat_template_2,
    "floor: encode_batch_fast": floor,
}
ANSWERS: dict[str, Way] = {
    "chatdata, a row for each answer": chatdata_answers,
    "TRL, a row for each answer": trl_answers,
}

# StarChat with the tags that transformers needs for its mask.
TAGGED = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}"
    "{{ '<|assistant|>\n' }}{% generation %}{{ message['content'] + '<|end|>' }}"
    "{% endgeneration %}{{ '\n' }}{% else %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


def _with_template(tokenizer: Path) -> Any:
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(tokenizer / "tagged")
    loaded.pad_token = loaded.eos_token
    return loaded


# ---------------------------------------------------------------------------------- measurement


def prepare(path: Path, source: str, tokenizer: Path, folder: Path, copies: int, limit: int) -> int:
    """Writes the messages of `path` as one JSON a line, and the tokenizer with its template."""
    import polars as pl

    from chatdata.pipeline.build import build
    from chatdata.pipeline.find import load

    recipe = folder / "prepare.yaml"
    recipe.write_text(
        f"name: x\nversion: 1.0.0\nsource: {{{source}: {{files: [x.json]}}}}\nmax_dropped: 1\n"
    )
    build(load(recipe), folder / "prepared", inputs=[str(path)])
    rows = pl.read_parquet(folder / "prepared" / "messages" / "*.parquet").head(limit)
    with (folder / "messages.jsonl").open("w") as file:
        for copy in range(copies):
            for row in rows.select("id", "messages").iter_rows(named=True):
                name = f"{row['id']}/{copy}"
                messages = row["messages"]
                if copy:  # another text, so that no way finds it in a cache
                    messages = [
                        {**message, "content": f"{copy} {message['content']}"}
                        for message in messages
                    ]
                file.write(json.dumps({"id": name, "messages": messages}) + "\n")
    write_tokenizer(tokenizer, folder / "tokenizer")
    return rows.height * copies


def write_tokenizer(tokenizer: Path, folder: Path) -> None:
    """Writes a tokenizer into a new folder, as it is and with the template of the mask."""
    from transformers import AutoTokenizer

    folder.mkdir()
    (folder / "plain").symlink_to(tokenizer.resolve())
    tagged = AutoTokenizer.from_pretrained(tokenizer)
    special = ["<|system|>", "<|assistant|>", "<|user|>", "<|end|>"]
    tagged.add_special_tokens({"additional_special_tokens": special})
    tagged.chat_template = TAGGED
    tagged.save_pretrained(folder / "tagged")


class Measured(NamedTuple):
    """What one run took: seconds of work and with the start, MB of its largest process and of
    all its processes, each page that they share counted once."""

    seconds: float
    with_start: float
    largest: float
    together: float


def measure(name: str, folder: Path) -> Measured:
    """Runs one way in a process of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        environment = {**os.environ, "HF_HOME": out, "HF_DATASETS_OFFLINE": "1"}
        environment["CHATDATA_CACHE"] = "off"
        command = [sys.executable, "-W", "ignore", __file__, "--run", name, "--work", str(folder)]
        begin = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--scratch", f"{out}/out"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        together = 0.0
        while process.poll() is None:
            together = max(together, _together(process.pid))
            time.sleep(0.5)  # looking at all pages takes time of those who are measured
        whole = time.perf_counter() - begin
        assert process.stdout is not None
        printed = process.stdout.read()
        if process.returncode:
            sys.exit(f"{name} ended with status {process.returncode}")
        seconds, largest = (float(word) for word in printed.split()[-2:])
        return Measured(seconds, whole, largest, together)


def _together(pid: int) -> float:
    """The memory of a process and its children, in MB (their PSS)."""
    import psutil

    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
        return sum(process.memory_full_info().pss for process in processes) / 2**20
    except psutil.Error:  # one of them has just ended
        return 0.0


def _run(name: str, work: Path, scratch: Path) -> None:
    import resource

    seconds = {**WAYS, **ANSWERS}[name](work / "messages.jsonl", work / "tokenizer", scratch)
    # Not `ru_maxrss` of this process: it remembers what stood there before `exec`.
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1])  # type: ignore[index]
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"\n{seconds} {max(peak, children) / 1024}")


@click.command()
@click.option("--input", "path", type=click.Path(exists=True, path_type=Path))
@click.option("--source", default="sharegpt", show_default=True, help="The format of --input.")
@click.option("--tokenizer", type=click.Path(exists=True, path_type=Path))
@click.option("--rounds", default=3, show_default=True)
@click.option("--conversations", default=10**9, help="Use so many only.")
@click.option("--copies", default=1, help="Each conversation so many times, each time another.")
@click.option(
    "--way", "chosen", multiple=True, type=click.Choice([*WAYS, *ANSWERS]), default=[*WAYS]
)
@click.option("--run", hidden=True)
@click.option("--work", hidden=True, type=click.Path(path_type=Path))
@click.option("--scratch", hidden=True, type=click.Path(path_type=Path))
def main(
    path: Path,
    source: str,
    tokenizer: Path,
    rounds: int,
    conversations: int,
    copies: int,
    chosen: tuple[str, ...],
    run: str | None,
    work: Path,
    scratch: Path,
) -> None:
    """Measures all ways in `rounds` rounds, one after the other in each."""
    if run is not None:
        _run(run, work, scratch)
        return
    names = ("tokenizers", "transformers", "datasets", "trl", "fastokens", "polars", "pyarrow")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = prepare(path, source, tokenizer, folder, copies, conversations)
        print(f"{rows} conversations, {(folder / 'messages.jsonl').stat().st_size / 1e6:.0f} MB")
        print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
        print({name: metadata.version(name) for name in names})
        runs: dict[str, list[Measured]] = {name: [] for name in chosen}
        for _ in range(rounds):
            for name, timed in runs.items():
                timed.append(measure(name, folder))
                print(f"  {name}: {timed[-1]}", file=sys.stderr)
    base = statistics.median(timed.seconds for timed in runs[chosen[0]])
    print(f"| way | seconds | with start | peak MB | of all | times {chosen[0]} |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, timed in runs.items():
        seconds, *others = (statistics.median(values) for values in zip(*timed, strict=True))
        start, largest, together = others
        figures = f"{seconds:.1f} | {start:.1f} | {largest:.0f} | {together:.0f}"
        print(f"| {name} | {figures} | {seconds / base:.1f} |")


if __name__ == "__main__":
    main()
