"""`run-code`: the code in answers runs, in a sandbox."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from chatdata.core import disk
from chatdata.core.errors import ChatdataError
from trainer.evaluation.commands.shared import FILE, Progress

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("run-code")
@click.argument("answers", type=FILE)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder to write.")
@click.option("--python", type=str, help="The Python that programs get, with its packages.")
@click.option(
    "--workers",
    type=click.IntRange(1, 128),
    default=lambda: max(1, min(8, (os.cpu_count() or 2) - 1)),
    help="Programs at a time.  [default: one less than the processors, at most 8]",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    help="The longest that a program runs.",
)
@click.option(
    "--memory-mb",
    type=click.IntRange(64),
    default=1024,
    show_default=True,
    help="The memory of all processes of a program.",
)
@click.option(
    "--verdicts", type=FILE, help="The verdicts.jsonl of `judge`, whose scores go beside."
)
@click.option(
    "--side",
    type=click.Choice(["A", "B"]),
    default="A",
    show_default=True,
    help="Which answers these were for the judge.",
)
@click.option(
    "--beside", type=_FOLDER, multiple=True, help="A run whose figures the gallery shows too."
)
@click.option(
    "--no-sandbox",
    is_flag=True,
    help="Run programs with all rights of yours, where nothing can guard them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def run_code(
    answers: Path,
    out: Path,
    seconds: float,
    memory_mb: int,
    no_sandbox: bool,
    beside: tuple[Path, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Run the code in ANSWERS, lines of id, prompt, answer, and perhaps test.

    The program is the last block of Python in an answer, behind what it needs of earlier blocks. It
    passes where its test raises nothing. A run that ended early goes on where it was.

    \b
    python -m trainer.evaluation run-code tuned.jsonl --out out/ran
    """
    from trainer.evaluation import running
    from trainer.evaluation.sandbox import Limits

    limits = Limits(
        seconds=seconds,
        cpu_seconds=max(1, round(seconds)),
        memory_mb=memory_mb,
        address_space_mb=max(4096, 2 * memory_mb),
    )
    job = running.Job(answers, limits, is_isolated=not no_sandbox, beside=beside, **options)
    try:
        with disk.in_words([out]):
            summary = running.run(job, out, Progress("programs"))
    except ChatdataError as error:
        raise click.ClickException(str(error)) from None
    click.echo(json.dumps(summary, indent=2) if as_json else _in_words(summary, out))
    if failed := summary["statuses"].get("not_run"):
        raise click.ClickException(
            f"{failed} programs were not run: 'error' in results.jsonl says why; run it again."
        )


def _in_words(summary: dict[str, Any], out: Path) -> str:
    lines = []
    if summary["with_test"]:
        low, high = summary["pass_rate_interval"]
        lines.append(
            f"{summary['passed']} of {summary['with_test']} pass their test: "
            f"{summary['pass_rate']:.1%} ({low:.1%} to {high:.1%})"
        )
    else:
        lines.append("no answer has a test; the status says which programs ran")
    lines.append(_listed(summary["statuses"]))
    for key, words in (
        ("missing_packages", "packages that the Python of the sandbox lacks"),
        ("languages", "languages that are not run"),
    ):
        if summary[key]:
            lines.append(f"{words}: {_listed(summary[key])}")
    if summary["figures"]:
        lines.append(f"{summary['figures']} figures, in {out / 'gallery.html'}")
    if summary.get("judge", {}).get("n"):
        means = summary["judge"]["mean_score"]
        given = ", ".join(f"{name} {mean:.2f}" for name, mean in means.items() if mean is not None)
        lines.append(f"the judges' mean score: {given}")
    return "\n".join([*lines, str(out)])


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items())
