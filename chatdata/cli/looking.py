"""The commands that look at rows and at the ledger of a built folder: show, explain, stats."""

from __future__ import annotations

from pathlib import Path

import click

from chatdata.cli import options
from chatdata.cli.terminal import console, note, print_json
from chatdata.core.constants import SPLITS
from chatdata.core.errors import OutputError


@click.command()
@options.out_folder
@click.option("--id", "row", help="Only the row with this id, or the rows of this conversation.")
@click.option(
    "-n", "number", type=click.IntRange(1), default=3, show_default=True, help="Number of rows."
)
@click.option("--split", type=click.Choice(SPLITS), help="Only rows of this split.")
@click.option("--ids", is_flag=True, help="A line for each token: its id, its part, its text.")
@click.option(
    "--dropped",
    is_flag=False,
    flag_value="",
    metavar="[REASON]",
    help="What was dropped instead, for a reason or for any.",
)
@click.option("--pairs", is_flag=True, help="Pairs of ranked answers instead.")
@click.option("--grep", metavar="TEXT", help="With --dropped: only what says this text.")
@options.rendering
def show(
    out: Path,
    row: str | None,
    number: int,
    split: str | None,
    ids: bool,
    dropped: str | None,
    pairs: bool,
    grep: str | None,
    rendering: str | None,
) -> None:
    """Show conversations of a built folder, trained tokens marked.

    Trained tokens are green, those of reasoning, of calls and of the end of an answer in colours
    of their own; without colours trained tokens stand in ⟦ ⟧.

    \b
    chatdata show out/sample-1.0.0 -n 2
    chatdata show out/sample-1.0.0 --dropped empty
    """
    if dropped is not None:
        if row or split or ids or pairs or rendering:
            raise click.UsageError("--dropped goes with -n and --grep alone.")
        _show_dropped(out, dropped or None, grep, number)
    elif grep is not None:
        raise click.UsageError("--grep needs --dropped.")
    elif pairs:
        if ids or rendering:
            raise click.UsageError("--pairs goes with -n, --split and --id alone.")
        _show_pairs(out, row, number, split)
    else:
        _show_rows(out, row, number, split, ids, rendering)


def _show_dropped(out: Path, reason: str | None, words: str | None, number: int) -> None:
    from chatdata.cli import show_dropped

    selection = show_dropped.find(out, reason=reason, words=words, number=number)
    show_dropped.print_entries(selection, console())
    if not selection.number:
        note("nothing of that kind was dropped")


def _show_pairs(out: Path, row: str | None, number: int, split: str | None) -> None:
    from chatdata.cli import show_pairs

    show_pairs.print_pairs(show_pairs.find(out, id=row, number=number, split=split), console())


def _show_rows(
    out: Path, row: str | None, number: int, split: str | None, ids: bool, rendering: str | None
) -> None:
    from chatdata.cli import show_rows

    rows = show_rows.find(out, id=row, number=number, split=split, rendering=rendering)
    decoder = show_rows.decoder(out, rendering)
    if not ids:
        show_rows.print_rows(rows, decoder, console())
    elif decoder is None:
        raise OutputError(f"'{out}' has no tokens, so no --ids; build it with a tokenizer.")
    else:
        show_rows.print_ids(rows, decoder, console())


@click.command()
@options.out_folder
@options.as_json
def stats(out: Path, as_json: bool) -> None:
    """Print numbers: rows, turns, tokens, sources, languages, reasons."""
    from chatdata.cli.show import print_stats
    from chatdata.dataset import reader

    numbers = reader.stats(out)
    if as_json:
        print_json(numbers)
    else:
        print_stats(numbers, console())


@click.command()
@options.out_folder
@click.argument("id")
@options.as_json
def explain(out: Path, id: str, as_json: bool) -> None:
    """Say what became of a message or a conversation, and why.

    ID is an id of the ledger: of a message, of a conversation (`sharegpt/QWJhYvA_0`, or its last
    part), or a place in a file (`dump.jsonl:17`). Of what was dropped, the text is printed too.
    """
    from chatdata.cli.show_outcomes import print_explanation
    from chatdata.dataset import dropped, reader

    outcomes = dropped.with_words(out, reader.explain(out, id))
    if as_json:
        print_json(outcomes.to_dicts())
    else:
        print_explanation(outcomes, console())
