"""`report`: a page of what the other commands found out."""

from __future__ import annotations

from pathlib import Path

import click

from chatdata.core import disk
from chatdata.core.errors import ChatdataError

_PATH = click.Path(exists=True, path_type=Path)


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=_PATH)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The page; without it report.html in RUN."
)
@click.option(
    "--price",
    type=(click.FloatRange(0), click.FloatRange(0)),
    metavar="READ WRITTEN",
    help="Prices of a million tokens that a judge reads and writes.",
)
@click.option(
    "--card",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of a model, whose card gets a section with the results.",
)
def report(
    runs: tuple[Path, ...],
    out: Path | None,
    price: tuple[float, float] | None,
    card: Path | None,
) -> None:
    """Write a page of runs: folders that these commands wrote, files of answers, or a folder of
    such.

    The page is a single file that loads nothing; the same runs give the same bytes.

    \b
    python -m trainer.evaluation report out/judged --out report.html
    """
    from trainer.evaluation.reporting import card_section, folders, page

    try:
        with disk.in_words():
            taken, left = folders.runs(runs)
            path = out or _beside(runs[0]) / page.FILE
            page.write(taken, path, price)
            if card is not None:
                card_section.write(taken, card)
    except ChatdataError as error:
        raise click.ClickException(str(error)) from None
    if left:
        click.echo(f"left out: {', '.join(str(entry) for entry in left)}", err=True)
    click.echo(path)


def _beside(run: Path) -> Path:
    return run if run.is_dir() else run.parent
