"""The commands with which a recipe is written: list, recipe, new."""

from __future__ import annotations

import click

from chatdata.cli import options
from chatdata.cli.terminal import print_json


@click.command("list")
@click.argument("name", required=False)
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
@click.argument("name", required=False)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of recipes, for editors.")
def recipe(name: str | None, schema: bool) -> None:
    """Print a recipe that comes with chatdata, to read or to change.

    \b
    chatdata recipe sharegpt
    chatdata recipe sharegpt > mine.yaml
    chatdata recipe --schema > recipe.schema.json
    """
    from chatdata.pipeline import find, shipped

    if schema:
        from chatdata.pipeline import recipe_schema

        print_json(recipe_schema.schema())
    elif name is None:
        names = ", ".join(path.stem for path in shipped.recipes())
        raise click.UsageError(f"name a recipe ({names}), or ask for the --schema of all.")
    else:
        click.echo(find.find(name).read_text(encoding="utf-8"), nl=False)
