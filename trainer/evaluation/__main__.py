"""Measures how well a model answers, with numbers that say how sure they are.

python -m trainer.evaluation judge base.jsonl tuned.jsonl --endpoint URL --model NAME --out run
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click

from chatdata.core import disk, interrupts
from chatdata.core.errors import ChatdataError
from trainer.evaluation import answering, endpoint, judging, prompts
from trainer.evaluation.endpoint import Endpoint
from trainer.evaluation.judging import Job

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure how well a model answers."""


@main.command()
@click.argument("a", type=_FILE)
@click.argument("b", type=_FILE)
@click.option("--endpoint", "url", required=True, help="An OpenAI-compatible endpoint (.../v1).")
@click.option(
    "--model", "models", required=True, multiple=True, help="A judge; repeat it for several."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder to write.")
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True)
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    default=1024,
    show_default=True,
    help="The longest reply of a judge.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Requests at a time.",
)
@click.option(
    "--retries",
    type=click.IntRange(0),
    default=6,
    show_default=True,
    help="Tries after an error of the server or the network.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--price",
    type=(click.FloatRange(0), click.FloatRange(0)),
    metavar="READ WRITTEN",
    help="Prices of a million tokens that a judge reads and writes.",
)
@click.option("--dry-run", is_flag=True, help="Say what the run would ask for, and ask nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def judge(
    a: Path,
    b: Path,
    url: str,
    models: tuple[str, ...],
    out: Path,
    seed: int,
    price: tuple[float, float] | None,
    dry_run: bool,
    as_json: bool,
    **asking: Any,
) -> None:
    """Let judges compare the answers in A with those in B: lines of id, prompt and answer.

    Each pair is judged twice, with either answer in front. A run that ended early goes on where it
    was: what OUT holds is not asked again. The key to the endpoint is OPENAI_API_KEY.

    \b
    python -m trainer.evaluation judge tuned.jsonl base.jsonl \\
        --endpoint http://127.0.0.1:8000/v1 --model some-judge --out out/judged
    """
    job = Job(a, b, Endpoint(url, **asking), tuple(dict.fromkeys(models)), seed)
    try:
        with disk.in_words():
            endpoint.check_installed()
            _announce(job, out, price)
            if dry_run:
                return
            summary = judging.judge(job, out, _Progress("replies"))
    except ChatdataError as error:
        raise click.ClickException(str(error)) from None
    click.echo(json.dumps(summary, indent=2) if as_json else _in_words(summary, out))
    if summary["failed"]:
        raise click.ClickException(
            f"{summary['failed']} pairs lack a reply; run the command again to ask for these."
        )


@main.command()
@click.argument("model")
@click.option("--prompts", "file", required=True, type=_FILE, help='Lines of {"prompt": ...}.')
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The file to write.")
@click.option("--revision", help="The revision of a model on the Hub.")
@click.option(
    "--few-shot",
    type=_FILE,
    help="A few-shot prompt (recipes/prompts/NAME.yaml) that makes a base model an assistant.",
)
@click.option("--system", help="The system turn.")
@click.option("--endpoint", "url", help="An OpenAI-compatible endpoint that has MODEL.")
@click.option(
    "--batch-size", type=click.IntRange(1), default=8, show_default=True, help="Prompts at a time."
)
@click.option("--max-new-tokens", type=click.IntRange(1), default=512, show_default=True)
@click.option(
    "--temperature",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="0: always the most likely token.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
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
            listed = prompts.read(file)
            if url is None:
                about["few_shot"] = few_shot and few_shot.read_text(encoding="utf-8")
                lines = _answer_here(listed, out, about, few_shot, system, batch_size)
            else:
                _check_remote(few_shot, revision)
                endpoint.check_installed()
                where = Endpoint(url, temperature, max_new_tokens, concurrency=batch_size)
                lines = answering.ask(
                    where, listed, out, system=system, about=about, progress=_Progress("answers")
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
        progress=_Progress("answers"),
    )


def _tell(lines: list[dict[str, Any]], out: Path) -> None:
    """Says how the answers ended."""
    ends = Counter(line["finish_reason"] for line in lines)
    tokens = sum(line["tokens"] for line in lines)
    counted = ", ".join(f"{number} {reason}" for reason, number in sorted(ends.items()))
    click.echo(f"{len(lines)} answers, {tokens} tokens: {counted}\n{out}")


def _announce(job: Job, out: Path, price: tuple[float, float] | None) -> None:
    """Says before the first request how many there will be, and what they cost."""
    paired, requests = judging.plan(job)
    left = judging.estimate(job, requests, out / judging.REPLIES)
    cost = ""
    if price:
        most = (left.read * price[0] + left.written * price[1]) / 1e6
        cost = f", at most about {most:.2f}"
    click.echo(
        f"{len(paired.pairs)} pairs, {left.requests} requests: about {left.read} tokens to read, "
        f"at most {left.written} to write{cost}",
        err=True,
    )
    for name, ids in (("A", paired.only_first), ("B", paired.only_second)):
        if ids:
            click.echo(f"{len(ids)} prompts are answered in {name} alone: {_some(ids)}", err=True)


def _some(ids: list[str], most: int = 3) -> str:
    return ", ".join(ids[:most]) + (", ..." if len(ids) > most else "")


class _Progress:
    """Prints how many there are, in a terminal each time, else at the end."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __call__(self, done: int, of: int) -> None:
        if sys.stderr.isatty() or done == of:
            end = "\n" if done == of else ""
            sys.stderr.write(f"\r{done} of {of} {self.what}{end}")
            sys.stderr.flush()


def _in_words(summary: dict[str, Any], out: Path) -> str:
    lines = []
    if summary["win_rate"] is not None:
        low, high = summary["win_rate_interval"]
        lines += [
            f"A wins {summary['win_rate']:.1%} of {summary['n']} pairs ({low:.1%} to {high:.1%}); "
            f"at equal length {summary['length_controlled_win_rate']:.1%}",
            f"the place decided {summary['position_bias']:.1%} of the pairs; the longer answer was "
            f"preferred {_share(summary['length_bias'])} of the time",
        ]
    else:
        lines.append("no pair has a verdict")
    counts = ("ties", "inconsistent", "unparsed", "refused", "failed")
    lines.append(", ".join(f"{summary[name]} {name}" for name in counts))
    for name, table in summary["scores"].items():
        means = " and ".join(f"{_mean(table[side]['mean'])} for {side}" for side in ("A", "B"))
        lines.append(f"{name}: scores of {means} on average, of 1 to 8")
    return "\n".join([*lines, str(out)])


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _mean(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    interrupts.run(main)
