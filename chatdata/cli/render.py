"""The command that renders a built folder again, into a new folder or beside what it holds."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import click

from chatdata.cli import options, progress
from chatdata.cli.cache import note_missing
from chatdata.cli.terminal import console, loudness, note, print_json, say
from chatdata.core.errors import ChatdataError


@click.command()
@click.argument("out", metavar=options.ANY)
@click.option(
    "--tokenizer",
    help="The tokenizer: `bytes`, a folder, or a Hub repository (org/name@revision).",
)
@click.option(
    "--template", help="A template of `chatdata list`. [the template that the folder has]"
)
@options.settings
@click.option(
    "--forget",
    multiple=True,
    metavar="FILE",
    help="Take out the conversations of this file of ids, for good.",
)
@click.option(
    "--out",
    "new",
    type=options.PLACE,
    metavar="DIR",
    help="The folder to write. [with --add or --remove: OUT itself]",
)
@click.option("--add", is_flag=True, help="Add the rendering to the folder, which stays as it is.")
@click.option(
    "--name", help="With --add: what the rendering is called. [after its template or tokenizer]"
)
@click.option("--remove", metavar="NAME", help="Remove the added rendering of this name.")
@options.workers
@options.cache
@options.force
@options.as_json
@options.loudness
def render(
    out: str,
    new: str | Path | None,
    add: bool,
    name: str | None,
    remove: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Render a built folder with another template or tokenizer.

    OUT may be a published version. The sources are not read. Ids, groups, splits, licences, and
    what may be learnt stay; so does the ledger, but for conversations that the template cannot
    write or that are too long.

    With --add, all that the folder holds stays, and the new tokens stand beside it (tokens-NAME):
    a dataset for several tokenizers. --remove NAME takes them out again.

    \b
    chatdata render out/sample-1.0.0 --tokenizer bytes --out out/bytes
    chatdata render org/x@1.0.0 --tokenizer PATH --template tokenizer --out out/x
    chatdata render out/sample-1.0.0 --tokenizer PATH --add --name qwen3
    chatdata render out/sample-1.0.0 --remove qwen3
    """
    from chatdata.pipeline import recipe_keys

    recipe_keys.check_rendering(chosen["settings"])
    if remove is not None:
        _check_alone(remove, add, name, chosen)
        _remove(out, remove, new, as_json)
    elif chosen["tokenizer"] is None:
        raise click.UsageError("name the tokenizer with --tokenizer, or a rendering with --remove.")
    elif add and chosen["forget"]:
        raise click.UsageError("--add leaves all rows as they are; forget with --out, or build.")
    elif add:
        del chosen["forget"]
        _add(out, new, as_json, name=name, **chosen)
    elif name is not None:
        raise click.UsageError(f"--name goes with --add; add it, or leave out --name {name}.")
    elif new is None:
        raise click.UsageError("name the folder to write with --out, or write into OUT with --add.")
    else:
        _render(out, new, as_json, **chosen)


def _check_alone(remove: str, add: bool, name: str | None, chosen: dict[str, Any]) -> None:
    """Raises UsageError for an option of what is rendered beside the name of what goes."""
    given = {
        "--add": add,
        "--name": name,
        "--tokenizer": chosen["tokenizer"],
        "--template": chosen["template"],
        "--set": chosen["settings"],
        "--forget": chosen["forget"],
    }
    for option, value in given.items():
        if value:
            raise click.UsageError(f"{option} renders, and --remove {remove} removes; give one.")


def _remove(out: str, name: str, new: str | Path | None, as_json: bool) -> None:
    folder = _changeable(out, new)
    from chatdata.pipeline.remove_rendering import remove_rendering

    after = remove_rendering(folder, name, new)
    if as_json:
        print_json(after.as_json())
    else:
        left = ", ".join(after.renders) or "none"
        say(f"removed {name}; added renderings that stay: {left}\n{new or folder}")


def _changeable(out: str, new: str | Path | None) -> Path:
    """The folder to change, or to change a copy of. Raises UsageError for a published version, or a
    dataset behind a URL, that no copy is to be made of."""
    from chatdata.core import storage

    if new is None and storage.is_remote(out):
        raise click.UsageError(
            f"{storage.shown(out)} is in storage; name a folder for a copy, or the URL, with --out."
        )
    if new is None and options.is_published(out):
        raise click.UsageError(f"{out} is a published version; name a folder for a copy (--out).")
    return options.folder(out)


def _render(out: str, new: str | Path, as_json: bool, **chosen: Any) -> None:
    folder = options.folder(out)
    from chatdata.cli import forgotten
    from chatdata.cli.show import print_manifest
    from chatdata.dataset import manifest
    from chatdata.pipeline.render_again import render_again

    before, replaced = manifest.read(folder), added_to(new)
    note_missing(chosen["cache"])
    with progress.bar() as shown:
        after = render_again(folder, new, progress=shown, **chosen)
    packed = {pack.max_tokens for pack in before.packs if pack.rendering is None}
    left_out = packed - {pack.max_tokens for pack in after.packs}
    for size in sorted(left_out):
        note(f"bins of {size} tokens are of the old rows; `chatdata pack {new}` makes new ones")
    note_left_behind({*before.renders, *replaced}, new)
    for line in forgotten.remarks(after.forgotten, folder):
        note(line)
    if as_json:
        print_json(after.as_json())
    else:
        if loudness() >= 0:
            print_manifest(after, console())
        say(f"{after.content_hash}\n{new}")


def _add(out: str, new: str | Path | None, as_json: bool, **chosen: Any) -> None:
    folder = _changeable(out, new)
    from chatdata.cli.show import print_rendering
    from chatdata.pipeline.add_rendering import add_rendering

    note_missing(chosen["cache"])
    with progress.bar() as shown:
        after = add_rendering(folder, new, progress=shown, **chosen)
    name, entry = list(after.renders.items())[-1]
    if as_json:
        print_json(after.as_json())
    else:
        if loudness() >= 0:
            print_rendering(name, entry, console())
        say(f"{entry.content_hash}\n{new or folder}")


def added_to(folder: str | Path) -> list[str]:
    """The names of the renderings that were added to a folder, which may be no dataset."""
    from chatdata.dataset import manifest

    try:
        return list(manifest.read(folder).renders)
    except ChatdataError:
        return []


def note_left_behind(names: Collection[str], folder: str | Path) -> None:
    """Says which added renderings a new folder does not have any more."""
    if names:
        note(
            f"added renderings are left behind: {', '.join(sorted(names))}; "
            f"`chatdata render {folder} --add` makes them again"
        )
