"""`arena`: people compare the answers of two to four models."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import click

from chatdata.core import disk
from chatdata.core.errors import ChatdataError, ConfigError
from trainer.evaluation import journal
from trainer.evaluation.arena import book, contest, exports
from trainer.evaluation.arena import summary as summaries
from trainer.evaluation.commands.shared import FILE

_INSTALL = "pip install 'gradio>=6.31,<7' 'starlette>=1.0' 'nltk>=3.9'"


@click.command()
@click.argument("files", type=FILE, nargs=-1, metavar="[A B [C [D]]]")
@click.option("--out", type=click.Path(path_type=Path), help="The folder to write.")
@click.option(
    "--summary",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Sum up the judgements of a folder, and open no page.",
)
@click.option("--annotator", help="Who judges; without it the page asks for a name.")
@click.option(
    "--verdicts",
    type=FILE,
    multiple=True,
    help="The verdicts.jsonl of `judge` on two of the files, to be compared with people.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=7860,
    show_default=True,
    help="The port of the page.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="The seed of the order of matches.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def arena(
    files: tuple[Path, ...],
    out: Path | None,
    folder: Path | None,
    annotator: str | None,
    verdicts: tuple[Path, ...],
    host: str,
    port: int,
    seed: int,
    as_json: bool,
) -> None:
    """Let people rank two to four files of answers, whose they do not know, and correct the best.

    Every click is saved at once; the same command goes on where people were. Ctrl-C ends it with
    the summary and the files that a build reads.

    \b
    python -m trainer.evaluation arena tuned.jsonl base.jsonl --out out/arena
    python -m trainer.evaluation arena --summary out/arena
    """
    if bool(files) == (folder is not None) or (files and out is None):
        raise click.UsageError("name the files of answers and --out, or --summary with a folder.")
    try:
        with disk.in_words():
            _check_installed("nltk")
            if folder is None and out is not None:
                _open_page(files, out, seed, annotator, host, port, verdicts)
            numbers = _sum_up(folder or out or Path(), verdicts)
    except ChatdataError as error:
        raise click.ClickException(str(error)) from None
    click.echo(json.dumps(numbers, indent=2) if as_json else _in_words(numbers))


def _open_page(
    files: tuple[Path, ...],
    out: Path,
    seed: int,
    annotator: str | None,
    host: str,
    port: int,
    verdicts: tuple[Path, ...],
) -> None:
    """Returns when the page is closed."""
    _check_installed("gradio")
    from trainer.evaluation.arena import page

    name = None if annotator is None else book.name(annotator)
    made = contest.of_files(files, seed)
    if made.settings["left_out"]:
        click.echo(f"{made.settings['left_out']} prompts lack an answer and are left out", err=True)
    out.mkdir(parents=True, exist_ok=True)
    with journal.alone(out):
        contest.settle(made, out)
        _sum_up(out, verdicts)  # what is wrong with verdicts is said before people work
        written = book.Book(made, out)
        try:
            page.run(written, lambda: _sum_up(out, verdicts), name, host, port)
        finally:
            written.close()


def _check_installed(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ConfigError(f"arena needs {package}, which is not installed; run `{_INSTALL}`.")


def _sum_up(out: Path, verdicts: tuple[Path, ...]) -> dict[str, Any]:
    """Writes the summary of a folder, and what a build reads. Returns the summary."""
    loaded, said_by = contest.load(out), book.judgements(out)
    numbers = summaries.summary(loaded, said_by, verdicts)
    contest.write(out / summaries.SUMMARY, json.dumps(numbers, indent=2) + "\n")
    exports.export(loaded, said_by, out)
    return numbers


def _in_words(numbers: dict[str, Any]) -> str:
    names = numbers["models"]
    lines = [
        f"{numbers['prompts_judged']} of {numbers['prompts']} prompts judged, "
        f"by {', '.join(numbers['annotators']) or 'nobody'}: {numbers['n']} judgements"
    ]
    if not numbers["n"]:
        return lines[0]
    for pair in numbers["pairs"]:
        lines.append(
            f"{names[pair['first']]} wins {pair['win_rate']:.1%} against {names[pair['second']]} "
            f"({_range(pair['win_rate_interval'], '.1%')}), {pair['ties']} ties"
        )
    for letter, model in numbers["ranks"].items():
        ends = _range(model["mean_rank_interval"], ".2f")
        lines.append(f"{names[letter]}: mean rank {model['mean_rank']:.2f} ({ends})")
    places = ", ".join(f"{share:.1%}" for share in numbers["position_bias"]["first_by_place"])
    lines.append(f"first by place on the page: {places}")
    return "\n".join([*lines, *_agreement(numbers)])


def _agreement(numbers: dict[str, Any]) -> list[str]:
    between = numbers["agreement"]
    lines = [] if between is None else [f"annotators agree: alpha {_number(between['alpha'])}"]
    for judge, of in numbers["judges"].items():
        people = of["with_people"]
        lines.append(
            f"{judge} agrees with people on {_number(people['equal'], '.1%')} of "
            f"{people['pairs']} pairs: kappa {_number(people['kappa'])}"
        )
    return lines


def _range(ends: list[float], form: str) -> str:
    return f"{ends[0]:{form}} to {ends[1]:{form}}"


def _number(value: float | None, form: str = ".2f") -> str:
    return "-" if value is None else f"{value:{form}}"
