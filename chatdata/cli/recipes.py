"""The commands with which a recipe is written: list, recipe, new."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from chatdata.cli import completing, options
from chatdata.cli.terminal import print_json, say
from chatdata.core.errors import BuildError, ConfigError, OutputError

_EXAMPLE = "chatdata:sample/sharegpt.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@click.command("list")
@click.argument("name", required=False, shell_complete=completing.names)
@options.as_json
def list_(name: str | None, as_json: bool) -> None:
    """List sources, cleaners, filters, templates and recipes.

    With NAME, one table (`filters`), or all about one entry of a table: what it does, its options
    with their defaults, and an example. `...` stands for an option that must be given.

    \b
    chatdata list filters
    chatdata list wrong_language
    """
    from chatdata.cli import entry_page, listing

    tables = listing.tables()
    if name is not None and name not in tables:
        chosen = listing.find(name, tables)
        if as_json:
            print_json([entry_page.as_json(*entry) for entry in chosen])
        for entry in [] if as_json else chosen:
            entry_page.print_page(*entry)
        return
    shown = tables if name is None else {name: tables[name]}
    if as_json:
        print_json(listing.as_json(shown))
    else:
        listing.print_tables(shown)


@click.command()
@click.argument("name", required=False, shell_complete=completing.shipped_recipes)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of recipes, for editors.")
def recipe(name: str | None, schema: bool) -> None:
    """Print a recipe that comes with chatdata, to read or to change.

    \b
    chatdata recipe sharegpt
    chatdata recipe sharegpt > mine.yaml
    chatdata recipe --schema > recipe.schema.json
    """
    from chatdata.pipeline import shipped

    if schema:
        from chatdata.pipeline import recipe_schema

        print_json(recipe_schema.schema())
    elif name is None:
        names = ", ".join(path.stem for path in shipped.recipes())
        raise click.UsageError(f"name a recipe ({names}), or ask for the --schema of all.")
    else:
        click.echo(shipped.find(name).read_text(encoding="utf-8"), nl=False)


@click.command()
@click.argument("name", type=click.Path(path_type=Path))
@click.option("--from", "source", metavar="FILE", help="A file, folder or pattern to read.")
@click.option("--force", is_flag=True, help="Replace a recipe that is there.")
def new(name: Path, source: str | None, force: bool) -> None:
    """Write a commented recipe, fitted to a file of conversations.

    Reads the first messages of FILE and writes NAME.yaml: the shape that was recognised, cleaners
    that have something to do, secrets and languages that occur, and a template that can write all
    of it. Without FILE the recipe reads an example that comes with chatdata. A JSON Schema for
    editors is written beside it.

    \b
    chatdata new mine --from dump.json
    chatdata build mine.yaml
    """
    from chatdata.pipeline import shipped

    path = name if name.suffix in (".yaml", ".yml") else name.with_name(f"{name.name}.yaml")
    if not _NAME.fullmatch(path.stem):
        raise ConfigError(f"'{path.stem}' is no name of a dataset; use letters, digits, . _ and -.")
    if path.exists() and not force:
        raise OutputError(f"'{path}' is there already; choose another name, or pass --force.")
    if source is not None:
        shipped.check_file(source)
    from chatdata.pipeline import look, new_recipe, recipe_schema

    seen = look.at([source or _EXAMPLE])
    files = [_seen_from(path.parent, source) if source else _EXAMPLE]
    comment = "" if source else "an example; write your files here"
    _write(path, new_recipe.text(path.stem, files, seen, note=comment))
    if _drops_most(path):
        _write(path, new_recipe.text(path.stem, files, seen, note=comment, drops_most=True))
    _write(path.with_name(new_recipe.SCHEMA_FILE), recipe_schema.as_text())
    say(f"{path} reads {files[0]} ({', '.join(seen.shapes)})\nnext: chatdata check {path}")
    say(f"      chatdata build {path}")


def _write(path: Path, text: str) -> None:
    from chatdata.core.files import place_file

    with place_file(path) as work:
        work.write_text(text, encoding="utf-8")


def _drops_most(path: Path) -> bool:
    """Whether a build by a recipe would stop, since most is dropped of what it begins with."""
    from chatdata.core import tallies
    from chatdata.pipeline.find import load
    from chatdata.pipeline.preview import preview

    recipe = load(path)
    counts = preview(recipe).counts
    try:
        tallies.check_dropped(counts.as_json(), recipe.max_dropped)
    except BuildError:
        return True
    return False


def _seen_from(folder: Path, source: str) -> str:
    """A path as it is written in a recipe in a folder; an address stays as it is."""
    if "://" in source or os.path.isabs(source):
        return source
    return os.path.relpath(source, folder)
