"""The page of the command line, and tables of commands of the trainer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import click

from chatdata.cli import main
from tests.support.reference.models import Wordless, prose, table

_HEAD = """\
# Command line

Data goes to standard output, notes and progress to standard error. The exit status is 0 where a
command did its work, 1 for an error in a sentence, 2 for wrong usage. `--help` of each command
says what stands here.

"""


def page() -> str:
    """All commands of chatdata."""
    context = click.Context(main)
    names = [name for name in main.list_commands(context) if not main.commands[name].hidden]
    return _HEAD + "\n".join(command(f"chatdata {name}", main.commands[name]) for name in names)


def command(name: str, of: click.Command, level: int = 2) -> str:
    """The section of a command: usage, words, options."""
    context = click.Context(of, info_name=name)
    usage = " ".join(of.collect_usage_pieces(context))
    parts = [f"{'#' * level} {name}\n", f"```text\n{name} {usage}\n```\n", f"{_words(name, of)}\n"]
    options = [o for o in of.params if isinstance(o, click.Option) and not o.hidden]
    if options:
        rows = [[_names(o), _help(name, o), _default(o, context)] for o in options]
        parts.append(table(["option", "meaning", "default"], rows))
    return "\n".join(parts)


def _words(name: str, of: click.Command) -> str:
    """The help of a command as Markdown: what is not to be wrapped is a block."""
    if not of.help:
        raise Wordless(f"`{name}` has no help")
    paragraphs = inspect.cleandoc(of.help).split("\n\n")
    return "\n\n".join(map(_paragraph, paragraphs))


def _paragraph(text: str) -> str:
    if text.startswith("\b"):
        return "```text\n" + text.removeprefix("\b").strip("\n") + "\n```"
    return prose(text)


def _names(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    if isinstance(option.type, click.Choice):
        return f"{names} {', '.join(f'`{choice}`' for choice in option.type.choices)}"
    if option.is_flag:
        return names
    value = option.make_metavar(click.Context(click.Command("x"))).removesuffix(" RANGE")
    return f"{names} {value}"


def _default(option: click.Option, context: click.Context) -> str:
    """The default of an option in words; nothing where leaving it out needs no words."""
    if isinstance(option.show_default, str):
        return option.show_default
    value: Any = option.get_default(context, call=False)
    is_stated = isinstance(value, str | int | float) and not isinstance(value, bool)
    if option.is_flag or not is_stated or isinstance(value, Callable):  # type: ignore[arg-type]
        return "must be given" if option.required else ""
    return f"`{value}`"


def _help(name: str, option: click.Option) -> str:
    if not option.help:
        raise Wordless(f"{option.opts[0]} of `{name}` has no help")
    return option.help
