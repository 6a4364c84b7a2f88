"""`prompts`: sets of prompts; `generate` has a model make one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click

from chatdata.core import disk
from chatdata.core.errors import ChatdataError
from trainer.evaluation import endpoint, prompt_requests
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


@click.group()
def prompts() -> None:
    """Make sets of prompts."""


@prompts.command()
@click.option(
    "--kind",
    type=click.Choice(prompt_requests.KINDS),
    help="Prompts that ask for code, or for a review of code with a bug; without it three of the "
    "first to one of the second.",
)
@click.option(
    "--n",
    "number",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="How many prompts are wanted.",
)
@URL
@click.option("--model", required=True, help="The model that makes the prompts.")
@out_option("file")
@click.option(
    "--against",
    multiple=True,
    type=FILE,
    help="A file of an evaluation set, whose questions no prompt may hold; repeat it for several.",
)
@click.option(
    "--likeness",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="The share of common runs of two words from which on a prompt repeats another.",
)
@number_option("--per-request", 5, "Prompts asked for.")
@click.option(
    "--max-requests",
    type=click.IntRange(1),
    help="The most requests, earlier runs counted.  [default: three times as many as N needs]",
)
@temperature_option(1.0, "A larger number asks for less alike prompts.")
@number_option("--max-tokens", 2048, "The longest reply.")
@request_options(4)
@number_option("--seed", 0, "Where in the lists of topics to begin.", least=0)
@price_option("the model")
@DRY_RUN
@AS_JSON
def generate(
    kind: prompt_requests.Kind | None,
    number: int,
    url: str,
    model: str,
    out: Path,
    against: tuple[Path, ...],
    likeness: float,
    per_request: int,
    max_requests: int | None,
    seed: int,
    price: tuple[float, float] | None,
    dry_run: bool,
    as_json: bool,
    **asking: Any,
) -> None:
    """Have a model write coding prompts: lines of {"prompt": ...} for `answer`.

    What repeats another prompt or holds a question of an evaluation set is left out. The run asks
    on until N prompts are of use. One that ended early goes on where it was: what stands beside
    OUT is not asked again. The key to the endpoint is OPENAI_API_KEY.

    \b
    python -m trainer.evaluation prompts generate --n 100 --endpoint http://127.0.0.1:8000/v1 \\
        --model some-model --out out/prompts.jsonl
    """
    from trainer.evaluation import generating
    from trainer.evaluation.sifting import Sieve

    try:
        with disk.in_words():
            endpoint.check_installed()
            kinds = [kind] if kind else list(prompt_requests.KINDS)
            job = generating.Job(
                generating.quotas(number, kinds),
                Endpoint(url, **asking),
                model,
                Sieve.of(likeness, against),
                per_request,
                max_requests or 3 * math.ceil(number / per_request) + 1,
                seed,
            )
            _announce(generating.estimate(job, out), price)
            if dry_run:
                return
            result = generating.generate(job, out, Progress("prompts"))
    except ChatdataError as error:
        raise click.ClickException(str(error)) from None
    summary = result.summary
    click.echo(json.dumps(summary, indent=2) if as_json else _in_words(summary, out, price))
    if not result.is_complete:
        raise click.ClickException(
            f"{summary['prompts']} of {number} prompts after {summary['usage']['requests']} "
            "requests; raise --max-requests to ask on."
        )


def _announce(left: Any, price: tuple[float, float] | None) -> None:
    """Says before the first request how many there will be, and what they cost."""
    cost = ""
    if price:
        most = left.most * cost_of((left.read, left.written), price)
        cost = f", at most about {most:.2f}"
    click.echo(
        f"{left.fewest} to {left.most} requests: about {left.read} tokens to read in each, at most "
        f"{left.written} to write{cost}",
        err=True,
    )


def _in_words(summary: dict[str, Any], out: Path, price: tuple[float, float] | None) -> str:
    used, usage = summary["usage"], summary["replies"]
    kinds = ", ".join(f"{number} {kind}" for kind, number in summary["kinds"].items())
    dropped = ", ".join(f"{number} {reason}" for reason, number in summary["dropped"].items())
    replies = ", ".join(f"{number} {name}" for name, number in usage.items())
    tokens = (used["tokens_read"], used["tokens_written"])
    cost = f", {cost_of(tokens, price):.2f}" if price else ""
    return "\n".join(
        [
            f"{summary['prompts']} prompts ({kinds}) of {summary['read']} that were read",
            f"dropped: {dropped}, {summary['unread_lines']} half lines",
            f"replies: {replies}",
            f"{used['requests']} requests, {tokens[0]} tokens read, {tokens[1]} written{cost}",
            str(out),
        ]
    )
