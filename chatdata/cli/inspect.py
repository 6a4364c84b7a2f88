"""The commands that look at built folders: diff, verify, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chatdata.cli import options, progress
from chatdata.cli.terminal import console, note, print_json
from chatdata.core.errors import ChatdataError

if TYPE_CHECKING:
    from chatdata.verify.verification import Verdict


@click.command()
@click.argument("before")
@click.argument("after")
@click.option(
    "-n", "number", type=click.IntRange(0), default=3, show_default=True, help="Examples."
)
@options.as_json
def diff(before: str, after: str, number: int, as_json: bool) -> None:
    """What differs between two datasets: rows by id, counts, recipe, template.

    Each is a built folder or a published version (org/name@1.0.0).

    Says which rows are added, removed, changed or moved to the other split, and what the ledgers
    know of them; shows a few, the words that changed in colour ([-old-]{+new+} without).

    \b
    chatdata diff out/sample-1.0.0 out/sample-1.1.0
    chatdata diff org/sample@1.0.0 out/sample-1.1.0
    """
    from chatdata.cli.show_diff import difference
    from chatdata.verify.dataset_diff import between

    found = between(_folder(before), _folder(after), number)
    if as_json:
        print_json(found.as_json())
    else:
        difference(found, console())


@click.command()
@click.argument("out")
@click.option("--full", is_flag=True, help="Render all rows again, not a sample.")
@click.option("--rebuild", is_flag=True, help="Build again from the recipe and compare the bytes.")
@options.recipe_settings
@options.workers
@options.as_json
def verify(
    out: str,
    full: bool,
    rebuild: bool,
    inputs: tuple[str, ...],
    settings: tuple[str, ...],
    workers: int,
    as_json: bool,
) -> None:
    """Check that a built folder, or a published version, is what its manifest says.

    Files and hashes; columns; rows, ledger, splits and packs, counted again; the content hash,
    made again; tokens, rendered again with the saved tokenizer. Ends with status 1 where one
    fails. --input and --set are for --rebuild, as in a build.

    \b
    chatdata verify out/sample-1.0.0
    chatdata verify out/sample-1.0.0 --rebuild
    """
    from dataclasses import asdict

    from chatdata.cli.show_diff import verdicts
    from chatdata.verify import verification

    if not rebuild and (inputs or settings):
        raise click.UsageError("--input and --set are for --rebuild.")
    folder = _folder(out)
    with progress.bar() as shown:
        found = verification.verdicts_on(folder, everything=full, progress=shown)
    if rebuild:
        found.append(_rebuilt(folder, inputs, settings, workers))
    strangers = verification.strangers(folder)
    if as_json:
        print_json([asdict(own) for own in found])
    else:
        verdicts(found, strangers, console())
    verification.demand(found, out)


def _rebuilt(
    folder: Path, inputs: tuple[str, ...], settings: tuple[str, ...], workers: int
) -> Verdict:
    from chatdata.verify.rebuild import problems
    from chatdata.verify.verification import Verdict

    try:
        with progress.bar() as shown:
            found = problems(
                folder, inputs=inputs, settings=settings, workers=workers, progress=shown
            )
    except ChatdataError as error:
        found = [str(error).removesuffix(".")]
    about = "A build from the recipe writes the same bytes"
    return Verdict("rebuild", about, "failed" if found else "ok", found)


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
def report(out: Path) -> None:
    """Write OUT/report.html: a page about a built folder, for a browser, in one file.

    Counts and reasons with examples of what was dropped, lengths, languages, the certificate, and
    conversations with their trained tokens marked.
    """
    from chatdata.dataset.report import write

    click.echo(write(out))


def _folder(spec: str) -> Path:
    """The folder that an argument names: a built one, or that of a published version."""
    from chatdata.publish import pull

    return pull.folder(spec, note=note)
