"""`benchmark`: models beside each other on the usual tasks, by lm-eval."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chatdata.core import disk
from chatdata.core.errors import ChatdataError, ConfigError
from trainer.evaluation.commands.shared import Progress, number_option, out_option

if TYPE_CHECKING:
    from trainer.evaluation.benchmarks.benchmark import Job
    from trainer.evaluation.benchmarks.checks import Warning
    from trainer.evaluation.benchmarks.folder import Cell

TASKS = "arc_challenge,hellaswag,mmlu,truthfulqa_mc2"
_TEMPLATES = {"no": (False,), "yes": (True,), "both": (False, True)}


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option("--tasks", default=TASKS, show_default=True, help="Names of lm-eval, or humaneval.")
@out_option("folder")
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    help="A folder of tasks for lm-eval, or of plain files: nothing is asked of the Hub.",
)
@click.option(
    "--chat-template",
    type=click.Choice(list(_TEMPLATES)),
    default="both",
    show_default=True,
    help="Whether the model's chat template writes the questions.",
)
@click.option(
    "--shots",
    default="leaderboard",
    show_default=True,
    help="Examples before a question: N, TASK=N,..., or the Open LLM Leaderboard's numbers "
    "(its first version: arc_challenge 25, hellaswag 10, mmlu 5, truthfulqa_mc2 0).",
)
@click.option("--limit", type=click.IntRange(1), help="The first items of each task only.")
@click.option("--system", help="The system turn.")
@number_option("--batch-size", 8, "Requests at a time.")
@number_option("--samples", 1, "HumanEval: answers to each problem; 10 of them give pass@10.")
@click.option(
    "--temperature",
    type=click.FloatRange(0),
    help="HumanEval: 0 for a single sample, else 0.8, unless given.",
)
@number_option("--max-new-tokens", 512, "The most tokens of an answer.")
@number_option("--seed", 0, "The seed of sampling.", least=0)
@click.option("--card", is_flag=True, help="Put the tables into the card of the last MODEL, too.")
def benchmark(models: tuple[str, ...], out: Path, card: bool, **options: Any) -> None:
    """Measure MODELs on benchmarks, beside each other, by EleutherAI's lm-eval.

    A run that ended early goes on where it was. OUT has results.json, tables, and all items.

    \b
    python -m trainer.evaluation benchmark base out/tuned --data benchmarks --out out/benchmarked
    """
    try:
        with disk.in_words():
            _check_installed()
            from trainer.evaluation import card as cards
            from trainer.evaluation.benchmarks import benchmark as benchmarks
            from trainer.evaluation.benchmarks import report

            results = benchmarks.benchmark(_job(models, options), out, _told())
            if card:
                cards.put(Path(models[-1]), "benchmarks", report.section(results))
    except ChatdataError as error:
        raise click.ClickException(str(error)) from None
    click.echo(report.table(results))
    if shown := report.differences(results):
        click.echo(f"\n{shown}")
    click.echo(f"\n{out / 'results.json'}")
    if failed := results["failed"]:
        raise click.ClickException(f"{len(failed)} runs failed: {failed[0]['reason']}")


def _check_installed() -> None:
    import importlib.util

    for name in ("lm_eval", "scipy", "torch", "transformers"):
        if importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"'{name}' is not installed; benchmarks need the extras train and eval: "
                "pip install -e '.[train,eval]'."
            )


def _job(models: tuple[str, ...], options: dict[str, Any]) -> Job:
    from trainer.evaluation.benchmarks.benchmark import Job
    from trainer.evaluation.benchmarks.humaneval import Settings

    names = [name.strip() for name in options["tasks"].split(",") if name.strip()]
    if not names:
        raise click.UsageError("--tasks names no task; write for example --tasks arc_easy.")
    samples, temperature = options["samples"], options["temperature"]
    if temperature is None:
        temperature = 0.0 if samples == 1 else 0.8
    if samples > 1 and temperature == 0:
        raise click.UsageError("--temperature 0 makes all --samples alike; raise it.")
    return Job(
        models=models,
        tasks=names,
        shots=_shots(options["shots"], names),
        templates=_TEMPLATES[options["chat_template"]],
        data=options["data"],
        limit=options["limit"],
        system=options["system"],
        batch_size=options["batch_size"],
        drawing=Settings(samples, temperature, options["max_new_tokens"], options["seed"]),
    )


def _shots(text: str, names: list[str]) -> dict[str, int | None]:
    """The number of examples of each task; None is the task's own, or else the leaderboard's."""
    if text == "leaderboard":
        return dict.fromkeys(names)
    if text.isdigit():
        return {name: int(text) for name in names}
    given: dict[str, str] = {}
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        if name not in names or not number.isdigit():
            raise click.UsageError(
                f"--shots: '{part.strip()}' is no TASK=N of a task in --tasks; write for example "
                f"--shots {names[0]}=5, or a number for all."
            )
        given[name] = number
    return {name: int(given[name]) if name in given else None for name in names}


def _told() -> Any:
    from trainer.evaluation.benchmarks.benchmark import Told

    stream = sys.stderr  # progress bars of others are kept out of it while a task runs

    def begins(cell: Cell) -> None:
        click.echo(f"{cell.task}, {cell.model} ({cell.how})", file=stream)

    def warns(cell: Cell, warning: Warning) -> None:
        some = f"{warning.requests} of {warning.of} requests: " if warning.of else ""
        click.echo(f"  warning, {warning.check}: {some}{warning.words}", file=stream)

    def fails(cell: Cell, reason: str) -> None:
        click.echo(f"  failed: {reason}", file=stream)

    def ends(cell: Cell, run: dict[str, Any]) -> None:
        if "skipped" in run:
            click.echo(f"  left out: {run['skipped']}", file=stream)
            return
        for remark in run["remarks"]:
            click.echo(f"  note: {remark}", file=stream)
        values = [f"{name} {value['value']:.4f}" for name, value in run["metrics"].items()]
        click.echo(f"  {', '.join(values)}, n {run['n']}", file=stream)

    return Told(begins, warns, fails, ends, Progress("answers"), Progress("problems tried"))
