"""`answer`: a model answers a file of prompts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from chatdata.core import disk
from chatdata.core.errors import ChatdataError
from trainer import shipped
from trainer.evaluation import answering, endpoint, prompts
from trainer.evaluation.commands.shared import (
    NAMED,
    Progress,
    number_option,
    out_option,
    temperature_option,
)
from trainer.evaluation.endpoint import Endpoint


@click.command()
@click.argument("model")
@click.option(
    "--prompts",
    "file",
    required=True,
    type=NAMED,
    help='Lines of {"prompt": ...}: coding, plots, or a file.',
)
@out_option("file")
@click.option("--revision", help="The revision of a model on the Hub.")
@click.option(
    "--few-shot",
    type=NAMED,
    help="A few-shot prompt that makes a base model an assistant: assistant, technical, a file.",
)
@click.option("--system", help="The system turn.")
@click.option("--endpoint", "url", help="An OpenAI-compatible endpoint that has MODEL.")
@number_option("--batch-size", 32, "Prompts at a time.")
@number_option("--max-new-tokens", 512, "The most tokens of an answer.")
@temperature_option(0.0, "0: always the most likely token.")
@number_option("--seed", 0, "The seed of sampling.", least=0)
def answer(
    model: str,
    file: Path,
    out: Path,
    revision: str | None,
    few_shot: Path | None,
    system: str | None,
    url: str | None,
    batch_size: int,
    max_new_tokens: int,
    temperature: float,
    seed: int,
) -> None:
    """Answer prompts with MODEL, a folder, a repository on the Hub, or a model of an endpoint.

    A run that ended early goes on where it was. Models that are compared should answer the same
    file with the same settings; they stop where their answers end.

    \b
    python -m trainer.evaluation answer out/sample-model \\
        --prompts recipes/prompts/coding.jsonl --out out/tuned.jsonl
    """
    sampling = {"temperature": temperature, "max_new_tokens": max_new_tokens}
    about: dict[str, Any] = {"model": model, "revision": revision, "endpoint": url, "seed": seed}
    about |= sampling
    try:
        with disk.in_words():
            few_shot = few_shot and shipped.find(few_shot, "prompts")
            listed = prompts.read(shipped.find(file, "prompts"))
            if url is None:
                about["few_shot"] = few_shot and few_shot.read_text(encoding="utf-8")
                lines = _answer_here(listed, out, about, few_shot, system, batch_size)
            else:
                _check_remote(few_shot, revision)
                endpoint.check_installed()
                where = Endpoint(url, temperature, max_new_tokens, concurrency=batch_size)
                lines = answering.ask(
                    where, listed, out, system=system, about=about, progress=Progress("answers")
                )
    except ChatdataError as error:
        raise click.ClickException(str(error)) from None
    _tell(lines, out)


def _check_remote(few_shot: Path | None, revision: str | None) -> None:
    for option, value in (("--few-shot", few_shot), ("--revision", revision)):
        if value is not None:
            raise click.UsageError(f"{option} is for a model that runs here, not for --endpoint.")


def _answer_here(
    listed: list[prompts.Prompt],
    out: Path,
    about: dict[str, Any],
    few_shot: Path | None,
    system: str | None,
    batch_size: int,
) -> list[dict[str, Any]]:
    from transformers import set_seed
    from transformers.utils import logging

    from trainer.chat import few_shot as shots
    from trainer.chat import generation
    from trainer.chat.prompt_window import TemplateWriter, Writer

    logging.disable_progress_bar()
    set_seed(about["seed"])
    network, tokenizer = generation.load(about["model"], about["revision"])
    shown = shots.load(few_shot) if few_shot else None
    writer: Writer = shots.FewShot(shown, tokenizer) if shown else TemplateWriter(tokenizer)
    chat_model = generation.ChatModel(network, tokenizer, writer)
    settings = {"temperature": about["temperature"], "max_new_tokens": about["max_new_tokens"]}
    sampling = chat_model.sampling({"repetition_penalty": 1.0, **settings})
    return answering.answer(
        chat_model,
        sampling,
        listed,
        out,
        batch_size=batch_size,
        system=system,
        about=about,
        progress=Progress("answers"),
    )


def _tell(lines: list[dict[str, Any]], out: Path) -> None:
    """Says how the answers ended."""
    ends = Counter(line["finish_reason"] for line in lines)
    tokens = sum(line["tokens"] for line in lines)
    counted = ", ".join(f"{number} {reason}" for reason, number in sorted(ends.items()))
    click.echo(f"{len(lines)} answers, {tokens} tokens: {counted}\n{out}")
