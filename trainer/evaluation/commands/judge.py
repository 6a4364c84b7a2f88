"""`judge`: language models compare the answers of two models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from chatdata.core import disk
from chatdata.core.errors import ChatdataError
from trainer.evaluation import endpoint, judging
from trainer.evaluation.commands.shared import (
    AS_JSON,
    DRY_RUN,
    FILE,
    URL,
    Progress,
    cost_of,
    number_option,
    out_option,
    price_option,
    request_options,
    temperature_option,
)
from trainer.evaluation.endpoint import Endpoint
from trainer.evaluation.judging import Job


@click.command()
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@URL
@click.option(
    "--model", "models", required=True, multiple=True, help="A judge; repeat it for several."
)
@out_option("folder")
@temperature_option(0.0, "0: the judge's most likely words.")
@number_option("--max-tokens", 1024, "The longest reply of a judge.")
@request_options(8)
@number_option("--seed", 0, "The seed of the order of comparisons.", least=0)
@price_option("a judge")
@DRY_RUN
@AS_JSON
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
            summary = judging.judge(job, out, Progress("replies"))
    except ChatdataError as error:
        raise click.ClickException(str(error)) from None
    click.echo(json.dumps(summary, indent=2) if as_json else _in_words(summary, out, price))
    if summary["failed"]:
        raise click.ClickException(
            f"{summary['failed']} pairs lack a reply; run the command again to ask for these."
        )


def _announce(job: Job, out: Path, price: tuple[float, float] | None) -> None:
    """Says before the first request how many there will be, and what they cost."""
    paired, requests = judging.plan(job)
    left = judging.estimate(job, requests, out / judging.REPLIES)
    cost = ""
    if price:
        cost = f", at most about {cost_of((left.read, left.written), price):.2f}"
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


def _in_words(summary: dict[str, Any], out: Path, price: tuple[float, float] | None) -> str:
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
    usage = summary["usage"]
    tokens = usage["tokens_read"], usage["tokens_written"]
    cost = f", {cost_of(tokens, price):.2f}" if price else ""
    counted = f"{tokens[0]} tokens read, {tokens[1]} written{cost}"
    return "\n".join([*lines, f"{usage['replies']} replies, {counted}", str(out)])


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _mean(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
