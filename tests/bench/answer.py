"""How fast prompts are answered: rows that come and go, beside a `generate` call for each prompt.

python tests/bench/answer.py MODEL --number 32 --max-new-tokens 96 --sizes 8,16,32

MODEL is a folder with a chat template. One by one is what the article did: the prompt in the
template, `generate` with its defaults but for the choice of tokens (the most likely) and their
number. Its prompts are done in pieces, between which the whole set is answered in batches, so that
both meet the same machine. Answers are compared.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import torch

from trainer.chat import generation
from trainer.chat.generation import ChatModel, Sampling
from trainer.chat.prompt_window import TemplateWriter
from trainer.evaluation import batches, prompts

ROOT = Path(__file__).parents[2]
CODING = ROOT / "recipes" / "prompts" / "coding.jsonl"

Written = list[list[int]]


class Clock:
    """Seconds of the clock and of CPU, and tokens, that are added up."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self.answers: Written = []

    def run(self, work: Callable[[], Written]) -> None:
        """Does some work, whose time and answers are added."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.answers += work()
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu

    def facts(self) -> dict[str, Any]:
        """What was measured."""
        tokens = sum(map(len, self.answers))
        return {
            "wall_s": round(self.wall, 1),
            "cpu_s": round(self.cpu, 1),
            "tokens": tokens,
            "tokens_per_s": round(tokens / self.wall, 1),
        }


def one_by_one(model: ChatModel, asked: Sequence[str], tokens: int) -> Written:
    """The article's way."""
    network: Any = model.network
    written = []
    for text in asked:
        inputs = model.tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        made = network.generate(**inputs, max_new_tokens=tokens, do_sample=False)
        written.append(made[0, inputs["input_ids"].shape[1] :].tolist())
    return written


def in_batches(model: ChatModel, asked: Sequence[str], tokens: int, size: int) -> Written:
    """Ours, with the prompts in the order of `answer`: the longest first."""
    sampling = Sampling(temperature=0, repetition_penalty=1, max_new_tokens=tokens)
    windows = [
        model.prompt_window([{"role": "user", "content": text}], sampling).ids for text in asked
    ]
    order = sorted(range(len(asked)), key=lambda number: -len(windows[number]))
    ids = [windows[number] for number in order]
    made = [each for ended in batches.generate(model, sampling, ids, size) for each in ended]
    return [ids for _, ids in sorted((order[each.prompt], each.ids) for each in made)]


@click.command(help=__doc__)
@click.argument("folder", metavar="MODEL")
@click.option("--prompts", "file", type=Path, default=CODING)
@click.option("--number", type=int, default=32)
@click.option("--max-new-tokens", "tokens", type=int, default=96)
@click.option("--sizes", default="8,16,32")
@click.option("--threads", type=int)
def main(
    folder: str, file: Path, number: int, tokens: int, sizes: str, threads: int | None
) -> None:
    """Prints a line of JSON for each way."""
    if threads:
        torch.set_num_threads(threads)
    network, tokenizer = generation.load(folder, None)
    model = ChatModel(network, tokenizer, TemplateWriter(tokenizer))
    every = prompts.read(file)
    asked = [each.prompt for each in every[:: max(1, len(every) // number)][:number]]
    ways = [int(size) for size in sizes.split(",")]
    piece = -(-len(asked) // (len(ways) + 1))
    alone, batched = Clock(), {size: Clock() for size in ways}
    in_batches(model, asked[:2], 4, 2)
    one_by_one(model, asked[:1], 4)
    for place, size in enumerate([*ways, 0]):
        some = asked[place * piece : (place + 1) * piece]
        alone.run(lambda some=some: one_by_one(model, some, tokens))
        if size:
            batched[size].run(lambda size=size: in_batches(model, asked, tokens, size))
    packages = ("torch", "transformers")
    print(
        json.dumps(
            {
                "model": folder,
                "parameters": network.num_parameters(),
                "dtype": str(network.dtype),
                "prompts": len(asked),
                "max_new_tokens": tokens,
                "threads": torch.get_num_threads(),
                "python": platform.python_version(),
                **{name: metadata.version(name) for name in packages},
            }
        )
    )
    print(json.dumps({"way": "one by one", **alone.facts()}))
    for size, clock in batched.items():
        same = sum(a == b for a, b in zip(alone.answers, clock.answers, strict=True))
        times = {"times": round(alone.wall / clock.wall, 2), "same_answers": same}
        print(json.dumps({"way": f"batches of {size}", **clock.facts(), **times}))


if __name__ == "__main__":
    main()
