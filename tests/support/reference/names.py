"""The pages of what a recipe names: filters, cleaners, sources and shapes."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from chatdata import sources as reading
from chatdata.sources.shapes import SHAPES
from chatdata.steps.cleaning import CLEANERS
from chatdata.steps.filtering import Filter
from chatdata.steps.filters import FILTERS
from chatdata.steps.labels import Bound
from tests.support.formats import EXAMPLES
from tests.support.reference import models

_FILTERS = """\
# Filters

A filter is named for what it removes, and its name is the reason in the [ledger](ledger.md). A
recipe lists filters under `drop`, in the order of this page: filters of messages, of
conversations, of all conversations together.

"""
_UNITS = {
    "message": (
        "Of messages",
        "They run on each message, before conversations are made. Each has the option "
        "`on_removed`, which says what becomes of the conversation:\n\n"
        "- `cut`: the conversation ends before the message. This is the default, where a filter "
        "does not say another.\n"
        "- `drop`: the conversation goes as a whole.\n"
        "- `skip`: the message goes with its question or its answer.\n"
        "- `untrain`: the message stays, and is not trained. A message that no template can write "
        "cannot stay.",
    ),
    "conversation": (
        "Of conversations",
        "They look at the turns of a conversation, which goes as a whole.",
    ),
    "corpus": ("Of all conversations", "They compare conversations with each other."),
}
_CLEANERS = """\
# Cleaners

A cleaner changes content before any filter looks at it. A recipe lists cleaners under `clean`,
and they run in that order. Cleaning a second time changes nothing. The manifest counts what each
did.

"""
_SOURCES = """\
# Sources and shapes

A source reads files. A recipe names it under `source`, or says `format: NAME` below a name of
its choice.

"""
_SHAPES = """
## Shapes

The source `auto` recognises these shapes by the first records of a file;
[formats](../formats.md) says how. Each example is a file that the tests read.

"""


_RECORDS = {
    "Conversations": "A record is a conversation.",
    "Trees": "A record is a tree of messages.",
    "Sessions": "All records of a file together are a tree of messages.",
    "Forest": "Records are messages or trees of Open Assistant.",
}


def _options(options: type[BaseModel]) -> str:
    return "\n" + models.keys(options) if options.model_fields else ""


def _docstring(thing: Any) -> str:
    """A docstring as paragraphs of Markdown."""
    return models.prose(inspect.cleandoc(thing.__doc__ or "")) + "\n"


def entry(name: str, options: type[BaseModel]) -> Any:
    """An entry of a recipe's list, with an example of each option."""
    examples = {key: models.example_of(field) for key, field in options.model_fields.items()}
    given = {
        k: v
        for k, v in examples.items()
        if v is not PydanticUndefined and v != [] and v is not None
    }
    return {name: given} if given else name


def _filter_options(of: Filter) -> str:
    """The table of the options of a filter, without `on_removed`, which all filters have."""
    words = "" if of.on_removed == "cut" else f"\nHere `on_removed` is `{of.on_removed}`.\n"
    return words + _options(of.options)


def filter_entries() -> dict[str, Any]:
    """An example of each filter, as a recipe's list has it."""
    made = {name: entry(name, each.options) for name, each in FILTERS.items()}
    return made | {"labels": {"labels": {"toxicity": {"above": 0.5}}}}


def cleaner_entries() -> dict[str, Any]:
    """An example of each cleaner, as a recipe's list has it."""
    return {name: entry(name, each.options) for name, each in CLEANERS.items()}


def filters() -> str:
    """The page of filters."""
    examples, parts = filter_entries(), [_FILTERS]
    for unit, (title, about) in _UNITS.items():
        parts.append(f"## {title}\n\n{about}\n\n")
        parts += [_filter(f, examples[n]) for n, f in FILTERS.items() if f.unit == unit]
    return "".join(parts) + _functions()


def _filter(of: Filter, example: Any) -> str:
    needs = ", ".join(f"`{name}`" for name in sorted(of.needs))
    needs = f"\nIt needs what only some sources have: {needs}.\n" if needs else ""
    extra = "\n" + models.keys(Bound) if of.name == "labels" else ""
    about, options = _docstring(of.expression), _filter_options(of)
    return (
        f"### {of.name}\n\n{about}{needs}{options}{extra}"
        f"\n```yaml\ndrop: [{models.yaml(example)}]\n```\n\n"
    )


def _functions() -> str:
    return (
        "## python\n\nA function of a file of yours: [extending](../extending.md).\n\n"
        "```yaml\ndrop: [{python: {function: rules.py:shouting, on_removed: skip}}]\n```\n"
    )


def cleaners() -> str:
    """The page of cleaners."""
    examples = cleaner_entries()
    return _CLEANERS + "".join(
        f"## {name}\n\n{_docstring(each.function)}{_options(each.options)}"
        f"\n```yaml\nclean: [{models.yaml(examples[name])}]\n```\n\n"
        for name, each in CLEANERS.items()
    )


def sources() -> str:
    """The page of sources, and of the shapes that `auto` knows."""
    rows = [[f"`{name}`", reading.about(name), _yields(name)] for name in reading.names()]
    parts = [_SOURCES, models.table(["source", "reads", "gives"], rows), _SHAPES]
    for shape in SHAPES:
        record = EXAMPLES[shape.name].records[0]
        kind = type(shape).__name__
        made = _RECORDS[kind]
        parts.append(f"### {shape.name}\n\n{made}\n\n```json\n{_short(record)}\n```\n\n")
    return "".join(parts)


def _yields(name: str) -> str:
    """What a source makes of its files. Turns of lists have a position, those of trees a parent."""
    columns = reading.get(name).SCHEMA
    kinds = {"position": "conversations", "parent": "trees"}
    return ", ".join(kind for column, kind in kinds.items() if column in columns)


def _short(record: Any) -> str:
    """A record as JSON on a line."""
    text = json.dumps(record, ensure_ascii=False)
    return text if not isinstance(record, Mapping) or len(text) <= 600 else text[:600] + " …"
