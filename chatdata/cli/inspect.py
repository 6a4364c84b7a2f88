"""The commands that look at built folders: diff, verify, report."""

from __future__ import annotations

from pathlib import Path

import click

from chatdata.cli import options, progress
from chatdata.cli.terminal import console, print_json, say
from chatdata.core.errors import OutputError


@click.command()
@click.argument("before", type=options.DATASET)
@click.argument("after", type=options.DATASET)
@click.option(
    "-n", "number", type=click.IntRange(0), default=3, show_default=True, help="Number of examples."
)
@options.as_json
def diff(before: Path, after: Path, number: int, as_json: bool) -> None:
    """Compare two datasets: rows by id, counts, recipe, template.

    Each is a built folder or a published version (org/name@1.0.0).

    Lists the rows that were added, removed, changed or moved to the other split, with the reasons
    that the ledgers give, and shows a few of them. Changed words are coloured, or stand in
    [-old-]{+new+} without colours.

    \b
    chatdata diff out/sample-1.0.0 out/sample-1.1.0
    chatdata diff org/sample@1.0.0 out/sample-1.1.0
    """
    from chatdata.cli.show_diff import print_difference
    from chatdata.verify.dataset_diff import between

    difference = between(before, after, number)
    if as_json:
        print_json(difference.as_json())
    else:
        print_difference(difference, console())


@click.command()
@click.argument("out", metavar=options.ANY)
@click.option("--full", is_flag=True, help="Render all rows again, not only a sample.")
@click.option(
    "--rebuild", is_flag=True, help="Also build again from the recipe, and compare the bytes."
)
@options.recipe_settings
@options.python
@options.workers
@options.as_json
@options.loudness
def verify(
    out: str,
    full: bool,
    rebuild: bool,
    inputs: tuple[str, ...],
    settings: tuple[str, ...],
    python: tuple[str, ...],
    workers: int,
    as_json: bool,
) -> None:
    """Check that a built folder is what its manifest says.

    OUT may be a published version. Checks files and hashes, and columns; counts rows, ledger,
    splits and packs again; makes the content hash again; renders tokens again with the saved
    tokenizer. Ends with status 1 where a check fails. --input, --set and --python are for
    --rebuild, as in a build.

    \b
    chatdata verify out/sample-1.0.0
    chatdata verify out/sample-1.0.0 --rebuild
    """
    if not rebuild and (inputs or settings or python):
        raise click.UsageError("--input, --set and --python need --rebuild.")
    folder = options.folder(out, is_checked=False)
    from dataclasses import asdict

    from chatdata.cli.show_diff import print_verdicts
    from chatdata.verify import verification

    with progress.bar() as shown:
        verdicts = verification.verdicts_on(folder, everything=full, progress=shown)
    if rebuild:
        from chatdata.verify import rebuild as rebuilding

        given = {"inputs": inputs, "settings": settings, "python": python}
        with progress.bar() as shown:
            verdicts.append(rebuilding.verdict(folder, **given, workers=workers, progress=shown))
    if as_json:
        print_json([asdict(verdict) for verdict in verdicts])
    else:
        print_verdicts(verdicts, verification.unknown_files(folder), console())
    verification.demand(verdicts, out)


@click.command()
@click.argument("out", type=options.PLACE, metavar=options.ANY)
@click.option(
    "--against", metavar="BEFORE", help="Put OUT beside this dataset, which came before it."
)
@click.option(
    "--page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the page here. [OUT/report.html; OUT/comparison.html with --against]",
)
@click.option("--serve", is_flag=True, help="Serve a page of all conversations, on this machine.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="a free one",
    help="Port of --serve.",
)
def report(out: str | Path, against: str | None, page: Path | None, serve: bool, port: int) -> None:
    """Write a page about a built folder, for a browser.

    OUT/report.html is one file. Shows counts, reasons with examples of dropped conversations,
    lengths, languages, the certificate, and some conversations with their trained tokens marked.

    --against shows two versions side by side instead: counts, lengths, languages, what was dropped,
    trained tokens, and conversations that were changed, added or removed, with both texts. Which
    these are is what `chatdata diff BEFORE OUT` says.

    --serve shows all of them instead: search in text, filters, what was dropped, trees, each token
    with its id and part. The page is served at 127.0.0.1 alone until Ctrl-C, and writes nothing.
    The page of a published version is served, or written where --page says.

    \b
    chatdata report out/sample-1.0.0
    chatdata report out/sample-1.1.0 --against out/sample-1.0.0
    chatdata report out/sample-1.0.0 --serve
    """
    if port and not serve:
        raise click.UsageError("--port needs --serve.")
    if page and serve:
        raise click.UsageError("--page is for a page that is written; --serve writes none.")
    if not serve and page is None and options.is_published(str(out)):
        raise OutputError(
            f"'{out}' cannot be changed; say where the page goes with --page FILE, or look at it "
            "with --serve."
        )
    folder = options.folder(str(out))
    before = options.folder(against) if against else None
    if serve:
        _serve(folder, before, port)
        return
    written = _written(folder, before, page)
    if isinstance(out, str) and page is None:
        from chatdata.core import storage

        storage.at(out).put({written.name: written})
        say(f"{storage.shown(out).rstrip('/')}/{written.name}")
    else:
        say(str(written))


def _written(folder: Path, before: Path | None, page: Path | None) -> Path:
    """Writes the page about a folder, or about what changed since `before`. Returns its path."""
    if before is None:
        from chatdata.dataset import report as reports

        return reports.write(folder, page)
    from chatdata.verify import comparison

    return comparison.write(before, folder, page)


def _serve(folder: Path, before: Path | None, port: int) -> None:
    """Serves the page of all conversations until the command is interrupted."""
    from contextlib import suppress

    from chatdata.cli.browse.server import ADDRESS, Server

    try:
        server = Server(folder, port, before)
    except OSError as error:
        raise OutputError(
            f"port {port} of {ADDRESS} cannot be used ({error.strerror}); without --port the "
            "system picks a free one."
        ) from error
    say(f"{server.url} (Ctrl-C ends it)")
    with server, suppress(KeyboardInterrupt):
        server.serve_forever()
