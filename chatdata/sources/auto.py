"""Conversations in any shape that is known: each file is recognised by its first records.

Shapes are those of `shapes.SHAPES`, listed with examples in docs/formats.md: lists of messages,
questions and answers, texts that a template wrote, exports of accounts, sessions of agents, trees.
Each file has a shape of its own, which fits most of its first records and no record of which fits
another; a record further on that does not fit is refused. What a shape does not look at is counted
as not read, as in every source.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from chatdata.core import schema
from chatdata.core.errors import SourceError
from chatdata.sources import _preference, oasst
from chatdata.sources._linear import Turn, read_more
from chatdata.sources._nearest import describe, nearest
from chatdata.sources._shape import IsRecord
from chatdata.sources._variables import NO_VARIABLES, Variables
from chatdata.sources.batches import COUNTED, Batch, BatchBuilder, File, Problem
from chatdata.sources.cutting import Split, pieces
from chatdata.sources.fields import Fields, check
from chatdata.sources.fields import shape as fields_shape
from chatdata.sources.naming import Names
from chatdata.sources.records import Record, Unreadable, of_record, read_files, unpack, unpacked
from chatdata.sources.records import read as read_values
from chatdata.sources.shapes import SHAPES, pairs
from chatdata.sources.shapes._base import Conversations, Forest, Node, Sessions, Shape, Tree, Trees

SCHEMA = schema.EITHER
IDS = "auto"

UNKNOWN = "no known shape"
# Of shapes that are as near, the simplest is named: a question and its answer.
_BY_LIKENESS = (*pairs.SHAPES, *(shape for shape in SHAPES if shape not in pairs.SHAPES))
_BY_NAME = {shape.name: shape for shape in SHAPES}
_LOOKED_AT = 64  # records of a file, by which it is recognised


def read(
    files: Sequence[File],
    name: str,
    ids: str,
    variables: Mapping[str, str] = NO_VARIABLES,
    fields: Fields | None = None,
) -> Iterator[Batch]:
    """Yields the messages of all files as rows of EITHER.

    `variables` names the key of a record from which a variable of its template comes, `fields` the
    shape of all files where it is none of those that are known. Raises SourceError where no file
    has a known shape, for a file whose records fit two, and for one that has not the fields.
    """
    reader = _Reader(name, Names(ids), Variables(variables))
    with unpacked(files) as inner:
        yield from _read(reader, inner, fields)


def splits(
    files: Sequence[File],
    folder: Path,
    variables: Mapping[str, str] = NO_VARIABLES,
    fields: Fields | None = None,
) -> Iterator[Split]:
    """Yields what the files are read in, one after the other; archives are unpacked into a folder.

    Raises SourceError as `read` does before it reads.
    """
    recognised = _recognised(list(unpack(files, folder)), fields)
    for file, shape in _in_order(recognised):
        if shape is None or isinstance(shape, Sessions):
            yield Split(file, shape.name if shape else None)
        else:
            yield from (Split(piece, shape.name) for piece in pieces(file, _test(shape)))


def read_split(
    split: Split,
    name: str,
    names: Names,
    variables: Mapping[str, str] = NO_VARIABLES,
    fields: Fields | None = None,
) -> Iterator[Batch]:
    """Yields the messages of a split as rows of EITHER."""
    shape = fields_shape(fields) if fields else _BY_NAME.get(split.shape or "")
    reader = _Reader(name, names, Variables(variables))
    for batch in reader.read([(split.file, shape)]):
        yield replace(batch, rows=_as_either(batch.rows))


def _test(shape: Shape) -> IsRecord:
    """The test by which the records of a file of a shape are read."""
    if isinstance(shape, Conversations):
        return shape.reads or shape.fits
    return oasst.is_record if isinstance(shape, Forest) else shape.fits


def _read(reader: _Reader, files: Sequence[File], fields: Fields | None) -> Iterator[Batch]:
    conversations = 0
    for batch in reader.read(_recognised(files, fields)):
        conversations += batch.conversations
        yield replace(batch, rows=_as_either(batch.rows))
    if conversations:
        reader.variables.check_seen(reader.name)


_Recognised = Sequence[tuple[File, Shape | None]]


def _recognised(files: Sequence[File], fields: Fields | None) -> _Recognised:
    """The files with their shapes. Raises SourceError where no file has any."""
    recognised = [(file, _with_fields(file, fields) or recognise(file)) for file in files]
    if not any(shape for _, shape in recognised):
        _refuse_unknown(files[0])
    return recognised


def _in_order(recognised: _Recognised) -> _Recognised:
    """The files in the order in which they are read. Messages of Open Assistant come last, since a
    message may stand in another file than its tree."""
    return sorted(recognised, key=lambda pair: isinstance(pair[1], Forest))


def recognise(file: File) -> Shape | None:
    """The shape of a file, by its first records; None where none fits half of them.

    Raises SourceError where a record fits two shapes, and the shape would be a guess.
    """
    values = list(_first(file))
    fitting = [[shape for shape in SHAPES if shape.fits(value)] for value in values]
    for shapes in fitting:
        if len(shapes) > 1:
            names = " and ".join(f"'{shape.name}'" for shape in shapes[:2])
            raise SourceError(
                f"'{file.path}' has a record that fits {names}, and which is meant is not to be "
                "guessed; name its fields (`fields`, see docs/formats.md), or take one of them out."
            )
    counts = Counter(shapes[0].name for shapes in fitting if shapes)
    if not counts or 2 * max(counts.values()) < len(values):
        return None
    name = max(counts, key=lambda shape: counts[shape])
    return next(shape for shape in SHAPES if shape.name == name)


def _with_fields(file: File, fields: Fields | None) -> Shape | None:
    """The shape that a recipe describes, checked against the first records of a file."""
    if fields is None:
        return None
    described = fields_shape(fields)
    check(fields, list(_first(file, described.fits)), str(file.path))
    return described


def _first(file: File, is_record: IsRecord | None = None) -> Iterator[object]:
    """Yields the first values of a file."""
    items = read_values(file.path, file.label, is_record or _fits_any)
    records = (item for item in items if isinstance(item, Record))
    yield from (record.value for record in itertools.islice(records, _LOOKED_AT))


def _fits_any(value: object) -> bool:
    return any(shape.fits(value) for shape in SHAPES)


def _refuse_unknown(file: File) -> None:
    """Raises SourceError for a file of no known shape, in two lines."""
    values = list(_first(file))
    if not values:
        raise SourceError(f"'{file.path}' holds no record{_first_problem(file)}.")
    near = nearest([value for value in values if not _fits_any(value)] or values, _BY_LIKENESS)
    way = "name the fields in the recipe (`fields`, see docs/formats.md)"
    if any(map(_preference.has_keys, values)):  # which no fields can name
        way = "write the answers to choose from as docs/formats.md has them"
    raise SourceError(f"'{file.path}' has {UNKNOWN}: {describe(values)}.\n{near}; {way}.")


def _first_problem(file: File) -> str:
    """What the first problem of a file without a record is, in words; nothing where it has none."""
    items = read_values(file.path, file.label, _fits_any)
    problems = (item for item in items if isinstance(item, Unreadable))
    return next((f": {item.where} is {item.reason} ({item.detail})" for item in problems), "")


def _as_either(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of MESSAGES or NODES as rows of EITHER."""
    missing = [
        pl.lit(None, dtype).alias(name)
        for name, dtype in schema.EITHER.items()
        if name not in rows.columns
    ]
    counted = [COUNTED] if COUNTED in rows.columns else []
    return rows.with_columns(missing).select(*schema.EITHER, *counted)


@dataclass(slots=True)
class _Reader:
    """What reads the files of a source, each by its shape."""

    name: str
    names: Names
    variables: Variables

    def read(self, recognised: _Recognised) -> Iterator[Batch]:
        """Yields the messages of files, in the order of `_in_order`."""
        forests = [(file, shape) for file, shape in recognised if isinstance(shape, Forest)]
        for file, shape in recognised:
            if isinstance(shape, Forest):
                continue
            yield from _saying({file.label: shape}, self._file(file, shape))
        if forests:
            records = read_files([file for file, _ in forests], oasst.is_record)
            shapes = {file.label: shape for file, shape in forests}
            yield from _saying(shapes, oasst.read_records(records, self.name, self.names))

    def _file(self, file: File, shape: Shape | None) -> Iterator[Batch]:
        if isinstance(shape, Conversations):
            format_ = shape.format(self.variables)
            return read_more([file], self.name, self.names, format_, shape.keys)
        if isinstance(shape, Trees | Sessions):
            return self._trees(file, shape)
        return _refused(file)

    def _trees(self, file: File, shape: Trees | Sessions) -> Iterator[Batch]:
        builder = BatchBuilder(schema.NODES)
        records: list[Record] = []
        for record in read_files([file], shape.fits, shape.keys):
            builder.records += 1
            if isinstance(record, Problem):
                builder.add_problem(record)
                continue
            builder.add_beside(record.where, record.beside)
            if isinstance(shape, Trees):
                self._add(builder, shape.read(record.value), record)
            else:
                records.append(record)
            if builder.is_full():
                yield builder.take()
        if records and isinstance(shape, Sessions):
            tree = shape.read([record.value for record in records])
            self._add(builder, tree, records[0])
        yield builder.take()

    def _add(self, builder: BatchBuilder, tree: Tree, record: Record) -> None:
        """Adds a tree, and what was not looked at. A tree without an id is named for its words."""
        if tree.refusal:
            builder.add_problem(of_record(record, tree.reason, tree.refusal))
            return
        if isinstance(record.value, dict):
            builder.add_unread(record.where, "records", record.value, tree.keys)
        for message in tree.messages:
            builder.add_unread(record.where, "messages", message, tree.message_keys)
        id = f"{self.names.ids}/{tree.id}" if tree.id else self._named_for_words(tree)
        if not tree.nodes:
            detail = f"no turns, in {record.where}"
            where = record.where
            builder.add_problem(
                Problem("conversation", id, "no_turns", detail, where, is_counted=not tree.id)
            )
            builder.conversations += 1
        for node in tree.nodes:
            builder.add(**_row(node, id, self.name, record.where))

    def _named_for_words(self, tree: Tree) -> str:
        words = json.dumps([(node.id, node.parent, node.turn) for node in tree.nodes])
        name = hashlib.sha256(words.encode(errors="surrogatepass")).hexdigest()[:16]
        id = f"{self.names.ids}/{name}"
        self.names.trees[id] += bool(tree.nodes)
        return self.names.with_occurrence(id)


def _row(node: Node, group: str, source: str, where: str) -> dict[str, object]:
    """A row of NODES."""
    beside = {name: getattr(node.turn, name) for name in Turn._fields if name != "train"}
    return {
        **beside,
        "train": node.turn.train and node.turn.role == "assistant",
        "group": group,
        "parent": node.parent,
        "message": node.id,
        "source": source,
        "where": where,
        "rank": node.rank,
        "rejected": node.is_rejected,
        "created": node.created,
        "deleted": False,
        "synthetic": False,
    }


def _saying(shapes: Mapping[str, Shape | None], batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yields the batches, the first of which names the shapes of their files."""
    names = {label: shape.name if shape else UNKNOWN for label, shape in shapes.items()}
    for batch in batches:
        yield replace(batch, shapes=names)
        names = {}


def _refused(file: File) -> Iterator[Batch]:
    """Yields the records of a file that has no known shape, as what became no row."""
    builder = BatchBuilder(schema.NODES)
    for problem in read_files([file], lambda value: False):
        builder.records += 1
        if isinstance(problem, Problem):
            builder.add_problem(problem)
        if builder.is_full():
            yield builder.take()
    yield builder.take()
