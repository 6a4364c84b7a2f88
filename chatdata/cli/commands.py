"""The command line: each command parses, calls and prints."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chatdata import __version__
from chatdata.cli import audit as auditing
from chatdata.cli import inspect, options, progress, publish
from chatdata.cli import render as rendering_again
from chatdata.cli.terminal import console, note, print_json, say, visible
from chatdata.core import disk
from chatdata.core.constants import SPLITS
from chatdata.core.errors import ChatdataError, OutputError
from chatdata.pipeline import engines
from chatdata.render.encoding import audit

if TYPE_CHECKING:
    from chatdata.dataset.manifest import Manifest
    from chatdata.pipeline.recipe import Recipe

_AUDIT_MODES = "; ".join(f"{name}: {mode.meaning}" for name, mode in audit.AUDIT_MODES.items())


_NEW_OBJECTS_BEFORE_COLLECTION = 100_000  # Python's default is 700


@contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """Lets a command make more objects before Python looks for garbage among them.

    A command loads a thousand modules, whose objects live to its end: looking through them again
    and again is 4 % of the time of a small build.
    """
    usual = gc.get_threshold()
    gc.set_threshold(_NEW_OBJECTS_BEFORE_COLLECTION, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


_ARGUMENTS = "chatdata.arguments"


class _Group(click.Group):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments that are left for the command. All of them are kept for errors."""
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command. A failure that the user can mend becomes one line and status 1."""
        places = [Path(argument) for argument in ctx.meta[_ARGUMENTS]]
        try:
            with _rare_garbage_collection(), disk.in_words([*places, Path(".")]):
                return super().invoke(ctx)
        except ChatdataError as error:
            for line in getattr(error, "__notes__", ()):
                note(line)
            raise click.ClickException(visible(str(error))) from None
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception:
            if words := _damage(places):
                raise click.ClickException(visible(words)) from None
            raise


def _damage(places: Sequence[Path]) -> str | None:
    """What is wrong with a folder that a command was given; None where nothing is."""
    from chatdata.verify import damage

    return damage.in_words(places)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chatdata")
def main() -> None:
    """From raw conversations to a masked, versioned dataset, with proof.

    \b
    chatdata build sample                    build the embedded sample
    chatdata show out/sample-1.0.0 -n 2      look at it, trained tokens marked
    chatdata explain out/sample-1.0.0 ID     what became of a message, and why
    """


@main.command("list")
def list_() -> None:
    """List what a recipe can name: sources, cleaners, filters, templates and recipes.

    Options of cleaners and filters are shown with their defaults; `...` stands for an option that
    must be given.
    """
    from chatdata.cli import listing

    listing.print_tables(listing.tables())


@main.command()
@options.recipe
@options.input_license
@options.as_json
def check(
    recipe: str,
    inputs: tuple[str, ...],
    settings: tuple[str, ...],
    python: tuple[str, ...],
    input_license: str | None,
    as_json: bool,
) -> None:
    """Try RECIPE: parse it strictly, then read, render and count the first conversations.

    Writes nothing. Ends with status 1 where a build would stop.

    \b
    chatdata check oasst1-en --input en.jsonl --set render.tokenizer=PATH
    """
    from chatdata.cli.show import print_manifest, print_preview
    from chatdata.core import ledger
    from chatdata.pipeline.build import check_splits, preview
    from chatdata.pipeline.find import load

    loaded = load(recipe, settings, python)
    manifest = preview(loaded, inputs=inputs, input_license=input_license)
    if as_json:
        print_json(manifest.as_json())
    else:
        print_manifest(manifest, console())
        print_preview(manifest, console())
    examples = manifest.preview.examples if manifest.preview else {}
    details = {reason: example.detail for reason, example in examples.items()}
    ledger.check_dropped(manifest.counts.as_json(), loaded.max_dropped, details=details)
    is_whole = manifest.preview is not None and manifest.preview.is_whole
    if is_whole and (words := check_splits(loaded, manifest.splits.as_json())):
        note(words)


@main.command()
@options.recipe
@click.option(
    "--out", type=click.Path(path_type=Path), help="The folder to build. [out/NAME-VERSION]"
)
@options.input_license
@options.workers
@click.option(
    "--engine",
    type=click.Choice(engines.ENGINES),
    default="local",
    show_default=True,
    help="Where the workers run: on this machine, or on a Ray cluster.",
)
@click.option(
    "--check-encoder",
    type=click.Choice(list(audit.AUDIT_MODES)),
    show_default=audit.DEFAULT,
    help="How the ids of a faster tokenizer library (pip install 'fastokens>=0.3.5') are compared "
    f"with those of `tokenizers`. {_AUDIT_MODES}.",
)
@click.option(
    "--no-dropped",
    is_flag=True,
    help="Do not keep the text of what is dropped. It is in OUT/dropped, which is never published.",
)
@click.option("--verify", "old_name", type=click.Choice(list(audit.AUDIT_MODES)), hidden=True)
@options.force
@options.as_json
def build(
    recipe: str,
    inputs: tuple[str, ...],
    settings: tuple[str, ...],
    python: tuple[str, ...],
    out: Path | None,
    input_license: str | None,
    workers: int,
    engine: str,
    check_encoder: str | None,
    no_dropped: bool,
    old_name: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Build the dataset that RECIPE (a name or a path) describes.

    The same recipe and input give the same bytes with any number of workers.

    \b
    chatdata build oasst1-en --input en.jsonl --out out/o
    chatdata build oasst1-en --set threads.policy=best_rank --set split.test_percent=5
    """
    from chatdata.cli.show import print_examples, print_manifest
    from chatdata.dataset import dropped
    from chatdata.pipeline.build import build as run
    from chatdata.pipeline.build import check_splits
    from chatdata.pipeline.find import load

    loaded = load(recipe, settings, python)
    folder = out or Path("out") / f"{loaded.name}-{loaded.version}"
    if old_name is not None:
        note("--verify of `chatdata build` is now called --check-encoder")
    replaced = rendering_again.added_to(folder)
    with progress.bar() as shown:
        manifest = run(
            loaded,
            folder,
            inputs=inputs,
            input_license=input_license,
            workers=workers,
            engine=engine,
            verify=check_encoder or old_name or audit.DEFAULT,
            force=force,
            keep_dropped=not no_dropped,
            progress=shown,
        )
    rendering_again.note_left_behind(replaced, folder)
    _note_licenses(loaded, manifest)
    _note_not_kept(loaded.keep, folder)
    if words := check_splits(loaded, manifest.splits.as_json()):
        note(words)
    if as_json:
        print_json(manifest.as_json())
    else:
        print_manifest(manifest, console())
        if examples := dropped.examples(folder):
            print_examples(examples, console())
        if dropped.is_in(folder):
            say(f"more of them: chatdata show {folder} --dropped REASON")
        say(f"{manifest.content_hash}\n{folder}")


def _note_licenses(recipe: Recipe, manifest: Manifest) -> None:
    """Says where the licence that a recipe states does not hold for the files that were read."""
    for key, source in manifest.recipe.source.items():
        if source.license is None and recipe.source[key].license:
            note(
                f"the licence of '{source.name or key}' is not stated, since --input replaces its "
                "files; --input-license LICENSE states it"
            )


def _note_not_kept(keep: list[str], folder: Path) -> None:
    """Says what of a recipe's `keep` was dropped all the same, and why."""
    from chatdata.dataset import reader

    for row in reader.dropped_of(folder, keep).iter_rows(named=True) if keep else ():
        why = f"{row['reason']}: {row['detail']}" if row["detail"] else row["reason"]
        note(f"keep names '{row['id']}', and it was dropped all the same ({why})")


@main.command()
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
    chatdata show out/sample-1.0.0 --dropped empty     what was dropped, why, and how to keep it
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


@main.command()
@options.out_folder
@options.as_json
def stats(out: Path, as_json: bool) -> None:
    """Print numbers of a built folder: rows, turns, tokens, sources, languages, dropped rows."""
    from chatdata.cli.show import print_stats
    from chatdata.dataset import reader

    numbers = reader.stats(out)
    if as_json:
        print_json(numbers)
    else:
        print_stats(numbers, console())


@main.command()
@options.out_folder
@click.option(
    "--max-tokens", type=click.IntRange(1), required=True, help="The most tokens in a bin."
)
@options.rendering
@options.as_json
def pack(out: Path, max_tokens: int, rendering: str | None, as_json: bool) -> None:
    """Pack the rows of a built folder into bins: add an index to the folder.

    The rows are not changed and never cut. A trainer reads the index to put short rows together.

    \b
    chatdata pack out/sample-1.0.0 --max-tokens 1024
    """
    from chatdata.cli.show import print_packs
    from chatdata.dataset.pack import repack

    entries = repack(out, max_tokens, rendering)
    if as_json:
        print_json([entry.as_json() for entry in entries])
    else:
        print_packs(entries, console())


@main.command()
@options.out_folder
@click.argument("id")
@options.as_json
def explain(out: Path, id: str, as_json: bool) -> None:
    """Explain what became of a message, a conversation or an unreadable record, and why.

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


for _command in (
    rendering_again.render,
    inspect.diff,
    inspect.verify,
    inspect.report,
    auditing.audit,
    publish.push,
    publish.pull,
    publish.doctor,
):
    main.add_command(_command)


if __name__ == "__main__":
    main()
