"""The command line: a paragraph a command. Parse, call, print."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chatdata import __version__
from chatdata.cli import inspect, progress, publish
from chatdata.core.errors import ChatdataError
from chatdata.pipeline import engines
from chatdata.render.encoding import audit

if TYPE_CHECKING:
    from rich.console import Console


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command; a failure that the user can mend becomes one line and status 1."""
        try:
            return super().invoke(ctx)
        except ChatdataError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chatdata")
def main() -> None:
    """From raw conversations to a masked, versioned dataset, provably.

    \b
    chatdata build sample                    build the embedded sample
    chatdata show out/sample-1.0.0 -n 2      look at it, trained tokens marked
    chatdata explain out/sample-1.0.0 ID     what became of a message, and why
    """


def _recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """RECIPE, --input and --set, as `check` and `build` have them."""
    return click.argument("recipe")(inspect.recipe_settings(command))


_as_json = click.option("as_json", "--json", is_flag=True, help="Print JSON.")
_out = click.argument("out", type=click.Path(path_type=Path))


@main.command("list")
def list_() -> None:
    """Sources, cleaners, filters, templates and recipes: their names and a line about each."""
    from chatdata import sources
    from chatdata.core import config
    from chatdata.pipeline import find
    from chatdata.render import templates
    from chatdata.steps.clean import CLEANERS
    from chatdata.steps.filters import FILTERS
    from chatdata.steps.secrets import KINDS

    tables: dict[str, dict[str, str]] = {
        "sources": {n: (sources.get(n).__doc__ or "").splitlines()[0] for n in sources.names()},
        "cleaners": {name: own.about for name, own in CLEANERS.items()},
        "filters": {name: own.about for name, own in FILTERS.items()},
        "kinds of secrets": {str(kind): about for kind, about in KINDS.items()},
        "templates": templates.choices(),
        "recipes": {p.stem: config.load_yaml(p).get("about", "") for p in find.shipped()},
    }
    width = max(len(name) for entries in tables.values() for name in entries)
    for title, entries in tables.items():
        click.secho(title, bold=True)
        for name, about in entries.items():
            click.echo(f"  {name:<{width}} {about}")


@main.command()
@_recipe_options
@_as_json
def check(recipe: str, inputs: tuple[str, ...], settings: tuple[str, ...], as_json: bool) -> None:
    """Parse RECIPE strictly, read the first trees or conversations, render and count them.

    Writes nothing. Ends with status 1 where a build would stop.

    \b
    chatdata check oasst1-en --input en.jsonl --set render.tokenizer=PATH
    """
    from chatdata.cli import show
    from chatdata.core import ledger
    from chatdata.pipeline.build import preview
    from chatdata.pipeline.find import load

    loaded = load(recipe, settings)
    facts = preview(loaded, inputs=inputs)
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        console = _console()
        show.counts(facts, console)
        show.splits(facts, console)
        show.certificate(facts, console)
    ledger.check_dropped(facts["counts"], loaded.max_dropped)


@main.command()
@_recipe_options
@click.option(
    "--out", type=click.Path(path_type=Path), help="The folder to build. [out/NAME-VERSION]"
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=engines.cores,
    show_default="one for each core",
    help="Processes; small inputs need one.",
)
@click.option("--engine", type=click.Choice(engines.ENGINES), default="local", show_default=True)
@click.option(
    "--verify",
    type=click.Choice(list(audit.AUDIT_MODES)),
    default=audit.DEFAULT,
    show_default=True,
    help="How a fast tokenizer library (pip install 'chatdata[fast]') is watched: an audit of "
    "what is new in the texts, all texts, or do not use it.",
)
@_as_json
def build(
    recipe: str,
    inputs: tuple[str, ...],
    settings: tuple[str, ...],
    out: Path | None,
    workers: int,
    engine: str,
    verify: str,
    as_json: bool,
) -> None:
    """Build the dataset that RECIPE (a name or a path) describes.

    The same recipe and input give the same bytes with any number of workers.

    \b
    chatdata build oasst1-en --input en.jsonl --out out/o
    chatdata build oasst1-en --set threads.policy=best_rank --set split.test_percent=5
    """
    from chatdata.cli import show
    from chatdata.pipeline.build import build as run
    from chatdata.pipeline.find import load

    loaded = load(recipe, settings)
    folder = out or Path("out") / f"{loaded.name}-{loaded.version}"
    with progress.bar() as shown:
        facts = run(
            loaded,
            folder,
            inputs=inputs,
            workers=workers,
            engine=engine,
            verify=verify,
            progress=shown,
        )
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    console = _console()
    show.counts(facts, console)
    show.splits(facts, console)
    show.certificate(facts, console)
    show.packs(facts.get("packs", []), console)
    click.echo(f"{facts['content_hash']}\n{folder}")


@main.command()
@_out
@click.option("--id", "row", help="The row of this id.")
@click.option("-n", "number", type=click.IntRange(1), default=3, show_default=True, help="Rows.")
@click.option("--split", type=click.Choice(["train", "test"]), help="Rows of this split alone.")
def show(out: Path, row: str | None, number: int, split: str | None) -> None:
    """Show conversations of a built folder, trained tokens marked.

    Trained tokens are green; without colours they stand in ⟦ ⟧.
    """
    from chatdata.cli.show import conversations

    conversations(out, _console(), id=row, number=number, split=split)


@main.command()
@_out
@_as_json
def stats(out: Path, as_json: bool) -> None:
    """Numbers of a built folder: rows, turns, tokens, sources, languages, what was dropped."""
    from chatdata.cli.show import stats as show_stats
    from chatdata.dataset import reader

    numbers = reader.stats(out)
    if as_json:
        click.echo(json.dumps(numbers, indent=2, ensure_ascii=False))
    else:
        show_stats(numbers, _console())


@main.command()
@_out
@click.option("--max-tokens", type=click.IntRange(1), required=True, help="Tokens in a bin.")
@_as_json
def pack(out: Path, max_tokens: int, as_json: bool) -> None:
    """Pack the rows of a built folder into bins: an index, beside those that are there.

    The rows are not touched and never cut. A trainer reads the index to put short rows together.

    \b
    chatdata pack out/sample-1.0.0 --max-tokens 1024
    """
    from chatdata.cli.show import packs
    from chatdata.dataset.pack import repack

    entries = repack(out, max_tokens)
    if as_json:
        click.echo(json.dumps(entries, indent=2, ensure_ascii=False))
    else:
        packs(entries, _console())


@main.command()
@_out
@click.argument("id")
@_as_json
def explain(out: Path, id: str, as_json: bool) -> None:
    """What became of a message, a conversation or an unreadable record, and why.

    ID is as in the ledger: a message's, a conversation's (`sharegpt/QWJhYvA_0`, or its last
    part) or a place in a file (`dump.jsonl:17`).
    """
    from chatdata.cli.show import explanation
    from chatdata.dataset import reader

    found = reader.explain(out, id)
    if as_json:
        click.echo(json.dumps(found.to_dicts(), indent=2, ensure_ascii=False))
    else:
        explanation(found, _console())


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


for _command in (
    inspect.diff,
    inspect.verify,
    inspect.report,
    publish.push,
    publish.pull,
    publish.doctor,
):
    main.add_command(_command)


if __name__ == "__main__":
    main()
