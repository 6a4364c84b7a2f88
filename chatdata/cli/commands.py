"""The command line: each command parses, calls and prints."""

from __future__ import annotations

from pathlib import Path

import click

from chatdata import __version__
from chatdata.cli import audit as auditing
from chatdata.cli import cache as cache_command
from chatdata.cli import inspect, looking, options, publish, recipes
from chatdata.cli import render as rendering_again
from chatdata.cli.group import Group
from chatdata.cli.terminal import console, loudness, note, print_json
from chatdata.pipeline import engines
from chatdata.render.encoding import audit

_AUDIT_MODES = "; ".join(f"{name}: {mode.meaning}" for name, mode in audit.AUDIT_MODES.items())


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@options.loudness
@click.version_option(__version__, prog_name="chatdata")
def main() -> None:
    """From raw conversations to a masked, versioned dataset, with proof.

    \b
    chatdata build sample                    build the embedded sample
    chatdata show out/sample-1.0.0 -n 2      look at it, trained tokens marked
    chatdata explain out/sample-1.0.0 ID     what became of a message, and why
    chatdata new mine --from FILE            a recipe for conversations of yours

    `chatdata COMMAND --help` has the options of a command, and examples.
    """


@main.command()
@options.recipe
@options.input_license
@options.as_json
@options.loudness
def check(
    recipe: str,
    inputs: tuple[str, ...],
    settings: tuple[str, ...],
    python: tuple[str, ...],
    input_license: str | None,
    as_json: bool,
) -> None:
    """Try a recipe on the first conversations, without writing.

    RECIPE, a name or a path, is parsed strictly; then the first conversations of each source are
    read, rendered and counted. Ends with status 1 where a build would stop.

    \b
    chatdata check oasst1-en --input en.jsonl --set render.tokenizer=PATH
    """
    options.check_recipe(recipe, settings)
    from chatdata.pipeline.find import load

    loaded = load(recipe, settings, python)
    options.expect_hub(loaded, inputs)
    from chatdata.cli.show import print_manifest, print_preview
    from chatdata.core import tallies
    from chatdata.pipeline.build import check_splits
    from chatdata.pipeline.preview import preview

    manifest = preview(loaded, inputs=inputs, input_license=input_license)
    if as_json:
        print_json(manifest.as_json())
    elif loudness() >= 0:
        print_manifest(manifest, console())
        print_preview(manifest, console())
    examples = manifest.preview.examples if manifest.preview else {}
    details = {reason: example.detail for reason, example in examples.items()}
    tallies.check_dropped(manifest.counts.as_json(), loaded.max_dropped, details=details)
    is_whole = manifest.preview is not None and manifest.preview.is_whole
    if is_whole and (words := check_splits(loaded, manifest.splits.as_json())):
        note(words)


@main.command()
@options.recipe
@click.option(
    "--out", type=options.PLACE, help="The folder to build, or its URL. [out/NAME-VERSION]"
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
@options.cache
@click.option("--verify", "old_name", type=click.Choice(list(audit.AUDIT_MODES)), hidden=True)
@options.force
@options.as_json
@options.loudness
def build(
    recipe: str,
    inputs: tuple[str, ...],
    settings: tuple[str, ...],
    python: tuple[str, ...],
    out: str | Path | None,
    input_license: str | None,
    workers: int,
    engine: str,
    check_encoder: str | None,
    no_dropped: bool,
    cache: bool,
    old_name: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Build the dataset that a recipe describes.

    RECIPE is a name of `chatdata list recipes`, or the path of a file. The same recipe and input
    give the same bytes with any number of workers.

    \b
    chatdata build oasst1-en --input en.jsonl --out out/o
    chatdata build oasst1-en --set threads.policy=best_rank
    chatdata build oasst1-en --set drop.wrong_language.allow=[en,de]
    """
    options.check_recipe(recipe, settings)
    from chatdata.pipeline.find import load

    loaded = load(recipe, settings, python)
    options.expect_hub(loaded, inputs)
    from chatdata.cli import building

    if old_name is not None:
        note("--verify of `chatdata build` is now called --check-encoder")
    built = building.make(
        loaded,
        out or Path("out") / f"{loaded.name}-{loaded.version}",
        inputs=inputs,
        input_license=input_license,
        workers=workers,
        engine=engine,
        verify=check_encoder or old_name or audit.DEFAULT,
        force=force,
        keep_dropped=not no_dropped,
        cache=cache,
    )
    building.tell(built, as_json)


@main.command()
@options.changed_folder
@click.option(
    "--max-tokens", type=click.IntRange(1), required=True, help="The most tokens in a bin."
)
@options.rendering
@options.as_json
def pack(out: Path, max_tokens: int, rendering: str | None, as_json: bool) -> None:
    """Add an index to a built folder that packs its rows into bins.

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


for _command in (
    recipes.new,
    recipes.recipe,
    recipes.list_,
    looking.show,
    looking.explain,
    looking.stats,
    rendering_again.render,
    cache_command.cache,
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
