"""Answers that a model writes at each evaluation of a run, to prompts of the test split.

samples.jsonl   a line for each answer: the step, the prompt, the answer, and that of the data
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from transformers import GenerationConfig, TrainerCallback

from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import ConfigError
from chatdata.core.text import printable
from trainer.data import dataset
from trainer.run.run import Run
from trainer.training import Samples

FILE = "samples.jsonl"
Entry = dict[str, Any]
_SHOWN = 70  # characters of an answer on the terminal


class Prompt(NamedTuple):
    """The tokens before the first answer of a row, and those of the answer."""

    ids: list[int]
    answer: list[int]


def of_run(run: Run) -> Sampling | None:
    """The sampling that a recipe asks for. Raises ConfigError where the test split has no prompt
    for it."""
    wanted = run.config.samples
    if wanted is None:
        return None
    text = run.meta_model.config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    chosen = prompts(dataset.test_rows(run.source), wanted, positions)
    return Sampling(chosen, wanted, run.tokenizer, run.stop_ids)


def prompts(rows: Any, wanted: Samples, positions: int | None) -> list[Prompt]:
    """The prompts of the first rows of a test split behind which an answer has room.

    Raises ConfigError where there are none.
    """
    cut = (_cut(row["input_ids"], row["labels"]) for row in rows or [])
    room = (positions or 2**31) - wanted.max_new_tokens
    fitting = [prompt for prompt in cut if prompt and len(prompt.ids) <= room]
    if not fitting:
        raise ConfigError(
            "samples: no row of the test split has a prompt behind which "
            f"{wanted.max_new_tokens} tokens have room; lower samples.max_new_tokens, or leave "
            "out samples."
        )
    return fitting[: wanted.rows]


def _cut(ids: list[int], labels: list[int]) -> Prompt | None:
    start = next((at for at, label in enumerate(labels) if label != IGNORE_INDEX), 0)
    if not start:
        return None
    rest = range(start, len(labels))
    end = next((at for at in rest if labels[at] == IGNORE_INDEX), len(labels))
    return Prompt(list(ids[:start]), list(ids[start:end]))


class Sampling(TrainerCallback):
    """Lets the model answer greedily after each evaluation, on all ranks alike, and reports the
    answers. No random number is drawn, so that the run is the same without it."""

    def __init__(
        self, chosen: list[Prompt], wanted: Samples, tokenizer: Any, stop_ids: list[int]
    ) -> None:
        self.prompts, self.tokenizer = chosen, tokenizer
        self.callbacks: list[Any] = []  # of the run, some of which report
        self.settings = GenerationConfig(
            max_new_tokens=wanted.max_new_tokens,
            do_sample=False,
            eos_token_id=stop_ids,
            pad_token_id=tokenizer.pad_token_id,
        )

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keeps of an earlier file what comes before this run."""
        path = Path(args.output_dir) / FILE
        if state.is_world_process_zero and path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if json.loads(line)["step"] <= state.global_step > 0]
            path.write_text("".join(kept), encoding="utf-8")

    def on_evaluate(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Lets the model answer, and reports."""
        answers = [self._answer(more["model"], prompt) for prompt in self.prompts]
        if not state.is_world_process_zero:
            return
        entries = [
            {
                "step": state.global_step,
                "prompt": self._text(prompt.ids),
                "answer": self._text(answer),
                "expected": self._text(prompt.answer),
            }
            for prompt, answer in zip(self.prompts, answers, strict=True)
        ]
        with (Path(args.output_dir) / FILE).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
        for entry in entries:
            click.echo(f"step {state.global_step}: {_line(entry['answer'])}", err=True)
        for reporter in args.report_to:
            _REPORTERS[reporter](entries, state.global_step, self.callbacks)

    @torch.no_grad()
    def _answer(self, network: Any, prompt: Prompt) -> list[int]:
        network.eval()
        ids = torch.tensor([prompt.ids], device=network.device)
        written = network.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=self.settings,
            use_cache=True,
        )
        return written[0, len(prompt.ids) :].tolist()

    def _text(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def _line(answer: str) -> str:
    text = printable(" ".join(answer.split()), "�")
    return f"“{text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}”"


# ----------------------------------------------------------------------------- where they are shown


def _to_tensorboard(entries: list[Entry], step: int, callbacks: list[Any]) -> None:
    writers = [w for w in (getattr(callback, "tb_writer", None) for callback in callbacks) if w]
    for number, entry in enumerate(entries, 1):
        words = (f"{name}:\n\n    " + entry[name].replace("\n", "\n    ") for name in _COLUMNS)
        text = "\n\n".join(words)
        for writer in writers:
            writer.add_text(f"samples/{number}", text, step)


def _to_wandb(entries: list[Entry], step: int, callbacks: list[Any]) -> None:
    wandb = importlib.import_module("wandb")
    rows = [[entry[name] for name in ("step", *_COLUMNS)] for entry in entries]
    wandb.log({"samples": wandb.Table(columns=["step", *_COLUMNS], data=rows)})


def _to_trackio(entries: list[Entry], step: int, callbacks: list[Any]) -> None:
    frame = importlib.import_module("pandas").DataFrame(entries)
    trackio = importlib.import_module("trackio")
    trackio.log({"samples": trackio.Table(dataframe=frame)})


def _to_mlflow(entries: list[Entry], step: int, callbacks: list[Any]) -> None:
    text = json.dumps(entries, indent=2, ensure_ascii=False)
    importlib.import_module("mlflow").log_text(text, f"samples/{step:08}.json")


_COLUMNS = ("prompt", "answer", "expected")
_REPORTERS = {
    "tensorboard": _to_tensorboard,
    "wandb": _to_wandb,
    "trackio": _to_trackio,
    "mlflow": _to_mlflow,
}
