"""The commands that look at rows and at the ledger of a built folder: show, explain, stats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chatdata.cli import completing, options
from chatdata.cli.terminal import console, note, paged, print_json
from chatdata.core.constants import SPLITS
from chatdata.core.errors import OutputError

if TYPE_CHECKING:
    from rich.console import Console

    from chatdata.cli.choosing import Choice


@click.command()
@options.dataset
@click.option(
    "--id",
    "id",
    shell_complete=completing.row_ids,
    help="The row with this id, or the rows of this conversation.",
)
@click.option(
    "-n", "number", type=click.IntRange(1), default=3, show_default=True, help="How many."
)
@click.option("--random", "seed", type=int, metavar="SEED", help="Some by chance, not the first.")
@click.option("--grep", "words", metavar="TEXT", help="Those that say this, in capitals or not.")
@click.option(
    "--lang",
    metavar="CODE",
    shell_complete=completing.languages,
    help="Those in this language (en).",
)
@click.option(
    "--source", metavar="NAME", shell_complete=completing.sources, help="Those of this source."
)
@click.option("--split", type=click.Choice(SPLITS), help="Those of this split.")
@click.option("--ids", is_flag=True, help="A line for each token: its id, its part, its text.")
@click.option("--tree", is_flag=True, help="The whole tree, with the path that is kept.")
@click.option(
    "--dropped",
    is_flag=False,
    flag_value="",
    metavar="[REASON]",
    shell_complete=completing.reasons,
    help="What was dropped instead, for a reason or for any.",
)
@click.option("--pairs", is_flag=True, help="Pairs of ranked answers instead.")
@options.rendering
@options.no_pager
def show(
    out: Path,
    ids: bool,
    tree: bool,
    dropped: str | None,
    pairs: bool,
    rendering: str | None,
    no_pager: bool,
    **asked: Any,
) -> None:
    """Show conversations of a built folder, trained tokens marked.

    Trained tokens are green, those of reasoning, of calls and of the end of an answer in colours
    of their own; without colours trained tokens stand in ⟦ ⟧. What is longer than the terminal is
    shown in a pager ($PAGER).

    \b
    chatdata show out/sample-1.0.0 --random 1 --lang en
    chatdata show out/sample-1.0.0 --grep bakery
    chatdata show out/sample-1.0.0 --tree --id oasst1/bread/bread-a1a
    chatdata show out/sample-1.0.0 --dropped empty
    """
    from chatdata.cli.choosing import Choice

    choice = Choice(**asked)
    if dropped is not None:
        _refuse("--dropped", ids, tree, pairs, rendering, choice.id, choice.split, choice.lang)
    elif pairs:
        _refuse("--pairs", ids, tree, rendering, choice.words)
    elif tree:
        _refuse("--tree", ids, rendering)
    with paged(no_pager) as shown:
        if dropped is not None:
            _show_dropped(out, dropped or None, choice, shown)
        elif pairs:
            _show_pairs(out, choice, shown)
        elif tree:
            _show_trees(out, choice, shown)
        else:
            _show_rows(out, choice, ids, rendering, shown)


_GOES_WITH = {
    "--dropped": "-n, --random, --grep and --source",
    "--pairs": "-n, --random, --lang, --source, --split and --id",
    "--tree": "-n, --random, --grep, --lang, --source, --split and --id",
}


def _refuse(option: str, *others: object) -> None:
    """Raises UsageError where an option is given that has no meaning beside another."""
    if any(others):
        raise click.UsageError(f"{option} goes with {_GOES_WITH[option]} alone.")


def _show_dropped(out: Path, reason: str | None, choice: Choice, shown: Console) -> None:
    from chatdata.cli import show_dropped

    selection = show_dropped.find(out, reason, choice)
    show_dropped.print_entries(out, selection, shown)
    if not selection.number:
        note("nothing of that kind was dropped")


def _show_pairs(out: Path, choice: Choice, shown: Console) -> None:
    from chatdata.cli import show_pairs

    show_pairs.print_pairs(show_pairs.find(out, choice), shown)


def _show_trees(out: Path, choice: Choice, shown: Console) -> None:
    from chatdata.cli import show_tree

    show_tree.print_trees(show_tree.find(out, choice), shown)


def _show_rows(out: Path, choice: Choice, ids: bool, rendering: str | None, shown: Console) -> None:
    from chatdata.cli import show_rows

    chosen = show_rows.find(out, choice, rendering)
    decoder = show_rows.decoder(out, rendering)
    if not ids:
        show_rows.print_rows(chosen.rows, decoder, shown, choice.pattern())
    elif decoder is None:
        raise OutputError(f"'{out}' has no tokens, so no --ids; build it with a tokenizer.")
    else:
        show_rows.print_ids(chosen.rows, decoder, shown)
    if chosen.fitting is not None and chosen.fitting > len(chosen.rows):
        note(f"{len(chosen.rows):,} of {chosen.fitting:,} rows that fit; -n shows more")


@click.command()
@options.dataset
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
@options.dataset
@click.argument("id", shell_complete=completing.ledger_ids)
@options.as_json
@options.no_pager
def explain(out: Path, id: str, as_json: bool, no_pager: bool) -> None:
    """Say what became of a message or a conversation, and why.

    ID is an id of the ledger: of a message, of a conversation (`sharegpt/QWJhYvA_0`, or its last
    part), or the place of a record that was dropped (`dump.jsonl:17`). Of what was dropped, the
    text is printed too, and the setting of a build that would keep it.
    """
    from chatdata.cli import keeping
    from chatdata.cli.show_outcomes import print_explanation
    from chatdata.dataset import dropped, reader

    outcomes = dropped.with_words(out, reader.explain(out, id))
    ways = keeping.to_keep(out, outcomes.to_dicts())
    if as_json:
        rows = zip(outcomes.to_dicts(), ways, strict=True)
        print_json([{**row, "to_keep": way} for row, way in rows])
    else:
        with paged(no_pager) as shown:
            print_explanation(outcomes, ways, shown)
