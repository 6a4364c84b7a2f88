"""The pages of what stands in a folder: reasons of the ledger, tables, manifest."""

from __future__ import annotations

import inspect

import pyarrow as pa
from pydantic import BaseModel

from chatdata.core import ledger
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.tables import TABLES
from chatdata.steps import ways
from chatdata.steps.filters import FILTERS
from tests.support.reference import models

_LEDGER = """\
# Ledger

The ledger has a row for every record, message and conversation that was read, with exactly one
outcome: `kept`, or one reason. For each unit, what was read is what was kept and what was
dropped, or the build fails. `chatdata explain` shows the row of an id, `chatdata show --dropped
REASON` what a reason took.

"""
_TABLES = """\
# Tables

A dataset is a folder of Parquet files: `TABLE/SPLIT-NNNNN-of-NNNNN.parquet`. Some columns are
there only where some row needs them. `load_dataset` takes the tables by the names that the card
lists.

"""
_MANIFEST = """\
# Manifest

`manifest.json` says what a dataset is. It is written last, so a folder that has one is whole. In
Python, `chatdata.read_manifest(folder)` gives it with types.

"""
_COLUMNS = {
    "unit": "`record`, `message`, `conversation`, `answer` or `repeat`",
    "id": "what it is called",
    "conversation": "where a message stood last",
    "outcome": "`kept` or `dropped`",
    "reason": "why it was dropped",
    "detail": "more words, and never words of the content",
    "source": "the name of the source",
}


def ledger_page() -> str:
    """Columns and reasons of the ledger."""
    columns = [[f"`{name}`", _COLUMNS[name]] for name in ledger.SCHEMA]
    reasons = [
        [f"`{reason}`", words, ways._WAYS.get(reason, ""), "yes" if reason in ledger.CHOSEN else ""]
        for reason, words in ledger.REASONS.items()
        if reason not in FILTERS
    ]
    filters = [[f"[`{name}`](filters.md#{name})", each.about] for name, each in FILTERS.items()]
    head = ["reason", "what it is", "to keep it", "by intent"]
    parts = [
        f"{_LEDGER}{models.table(['column', 'meaning'], columns)}",
        "## Reasons of reading and building\n",
        "What goes by intent does not count for `max_dropped`.\n",
        models.table(head, reasons),
        "## Filters as reasons\n",
        models.table(["reason", "what it is"], filters),
    ]
    return "\n".join(parts)


def tables_page() -> str:
    """The columns of each table."""
    parts = [_TABLES]
    for table in TABLES:
        rows = [[f"`{field.name}`", _kind(field.type)] for field in table.schema]
        local = " It stays on this machine." if table.is_local else ""
        parts += [f"## {table.name}\n\n{table.row[0].upper()}{table.row[1:]}.{local}\n\n"]
        parts += [models.table(["column", "type"], rows), "\n"]
    return "".join(parts)


def _kind(of: pa.DataType) -> str:
    if pa.types.is_list(of):
        return f"list of {_kind(of.value_type)}"
    if pa.types.is_struct(of):
        return "{" + ", ".join(f"`{field.name}`: {_kind(field.type)}" for field in of) + "}"
    return str(of)


def manifest_models() -> list[type[BaseModel]]:
    """The models of the manifest, each once, in the order in which they are met."""
    seen: list[type[BaseModel]] = [Manifest]
    for model in seen:
        model.model_rebuild()
        for field in model.model_fields.values():
            seen += [m for m in dict.fromkeys(models.models_in(field.annotation)) if m not in seen]
    return seen


def manifest_page() -> str:
    """The keys of the manifest, and of the parts that it names."""
    titles = {model: _title(model) for model in manifest_models()}
    anchors = {model: title.lower().replace(" ", "-") for model, title in titles.items()}
    models.LINKS.update({model: f"[{title}](#{anchors[model]})" for model, title in titles.items()})
    parts = [_MANIFEST, "## The keys\n\n", models.document(Manifest)]
    for model in manifest_models()[1:]:
        about = " ".join(inspect.cleandoc(model.__doc__ or "").split("\n\n")[0].split())
        parts += [f"\n## {_title(model)}\n\n{about}\n\n", models.document(model)]
    return "".join(parts)


def _title(model: type[BaseModel]) -> str:
    clash = [m for m in manifest_models() if m.__name__ == model.__name__]
    return (
        model.__name__
        if len(clash) == 1
        else f"{model.__name__} of {model.__module__.split('.')[1]}"
    )
