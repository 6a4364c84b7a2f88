"""The files of an audit, what each of them holds, and their rows in batches of bounded size."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from chatdata import sources
from chatdata.core import schema
from chatdata.core.errors import SourceError
from chatdata.dataset import finished, manifest, tables
from chatdata.sources import File, Problem
from chatdata.sources.records import ARROW, READABLE, Record, Unreadable, arrow_batches, read
from chatdata.sources.values import identifier
from chatdata.steps import filtering, filters, secrets, threads, trees
from chatdata.steps.secrets import Finding
from chatdata.verify.audit.findings import Kind
from chatdata.verify.audit.token_rows import COLUMNS, TokenRows

READ = READABLE  # the endings of files that are looked at
# Files beside data that are no data.
_BESIDE = re.compile(
    r"(manifest|croissant|dataset_info|dataset_infos|state|dataset_dict|config|generation_config"
    r"|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab)\.json|\..*"
)
_SPLIT = re.compile(r"(?:^|[^a-z])(train|test|validation|valid|val|dev|eval)(?![a-z])", re.I)
_SPLITS = {"valid": "validation", "val": "validation", "dev": "validation", "eval": "test"}
_AUDITED = ("messages", "tokens")  # tables of a folder that chatdata has built
_LOOKED_AT = 32  # records, by which the source of a file is chosen
_RECORDS = 2048  # records in a batch
_TOKEN_ROWS = 512  # rows of tokens in a batch


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the audit: what it holds, the split that its name tells, what reads it."""

    file: File
    split: str | None
    kind: Kind
    source: str = ""  # of messages
    has_rows: bool = False  # of messages whose rows of tokens are audited too


@dataclass(frozen=True, eq=False)
class Messages:
    """Whole conversations as rows of MESSAGES, in their order, and what could not be read.

    The column `talk` numbers the conversations of the batch, `split` names that of the file.
    """

    rows: pl.DataFrame
    records: int
    problems: list[Problem]
    has_rows: bool = False

    @functools.cached_property
    def spoken(self) -> pl.Series:
        """All that each message says: its thought, its words, its calls."""
        columns = [pl.col(name) for name in ("reasoning", "content", "tool_calls")]
        joined = pl.concat_str(columns, separator="\n", ignore_nulls=True)
        return self.rows.select(spoken=joined).to_series()

    @functools.cached_property
    def secrets(self) -> dict[int, list[Finding]]:
        """The secrets and personal data in what messages say, by the number of the row."""
        return secrets.find(self.spoken)


@dataclass(frozen=True, slots=True)
class Records:
    """Records of conversations as they stand in a file, before a source has read them."""

    records: list[Record]


Batch = Messages | Records | TokenRows


@dataclass(frozen=True, slots=True)
class Located:
    """The files of an audit, names of files that hold neither, and a built folder's tokenizer."""

    parts: tuple[Part, ...]
    unknown: tuple[str, ...]
    tokenizer: Path | None


def locate(paths: Sequence[Path]) -> Located:
    """The files that paths name: data files, folders of them, folders that chatdata has built.

    Raises SourceError for a path that is not there, and where nothing can be audited.
    """
    parts: list[Part] = []
    unknown: list[str] = []
    tokenizer = None
    for path in paths:
        finished.check_exists(path)
        if (path / manifest.FILE).is_file():
            parts += _built(path)
            tokenizer = tokenizer or _tokenizer(path)
        else:
            parts += _foreign(path, unknown)
    if not parts:
        names = " and ".join(map(str, paths))
        raise SourceError(
            f"'{names}' holds neither conversations nor rows of input_ids in a "
            f"{', '.join(READ)} file; docs/formats.md has the shapes that are read."
        )
    return Located(tuple(parts), tuple(unknown), tokenizer)


def batches(part: Part) -> Iterator[Batch]:
    """Yields the rows of a file, in order. Raises SourceError where it cannot be read at all."""
    if part.kind == "tokens":
        yield from _token_batches(part)
        return
    calls = False
    for batch in _message_batches(part):
        calls = calls or not batch.rows["tool_calls"].is_null().all()
        yield batch
    if calls:  # what sources mend can be seen in the records alone
        yield from _record_batches(part.file)


# ----------------------------------------------------------------------------------- which files


def _built(folder: Path) -> list[Part]:
    """The tables of messages and tokens in a folder that chatdata has built."""
    parts = []
    listing = manifest.read_listing(folder)
    kinds = {name: tables.of_path(name) for name in manifest.hashes(listing)}
    finished.check_files(
        folder, [name for name, table in kinds.items() if table and table.name in _AUDITED]
    )
    has_rows = any(table is not None and table.name == "tokens" for table in kinds.values())
    for name, table in kinds.items():
        file, split = File(folder / name, name), Path(name).name.partition("-")[0]
        if table is not None and table.name == "messages":
            parts.append(Part(file, split, "messages", "jsonl", has_rows))
        elif table is not None and table.name == "tokens":
            parts.append(Part(file, split, "tokens"))
    return parts


def _tokenizer(folder: Path) -> Path | None:
    path = folder / "tokenizer"
    return path if (path / "tokenizer.json").is_file() else None


def _foreign(path: Path, unknown: list[str]) -> Iterator[Part]:
    """Yields the files of a path that hold rows; names of other data files go to `unknown`.

    Raises SourceError for a single file that holds none.
    """
    if not path.is_dir():
        part = _part(File(path, path.name))
        if part is None:
            raise SourceError(
                f"'{path}' holds neither conversations nor rows of input_ids{_keys(path)}; "
                "docs/formats.md has the shapes that are read."
            )
        yield part
        return
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        is_data = file.name.endswith(READ) and not _BESIDE.fullmatch(file.name)
        if not is_data or not file.is_file() or any(p.startswith(".") for p in name.parts):
            continue
        part = _part(File(file, name.as_posix()))
        if part is None:
            unknown.append(name.as_posix())
        else:
            yield part


def _keys(path: Path) -> str:
    """The keys of the first record, in words."""
    first = next((record.value for record in _first(File(path, path.name))), None)
    if not isinstance(first, dict):
        return ""
    return f"; the keys of its first record are {', '.join(map(str, list(first)[:8])) or 'none'}"


def _part(file: File) -> Part | None:
    """What a file holds; None where it holds no rows of a known kind."""
    if not file.path.name.endswith(READ):
        return None
    records = list(itertools.islice(_first(file), _LOOKED_AT))
    split = split_of(file.label)
    if any(_has_ids(record.value) for record in records):
        return Part(file, split, "tokens")
    source = _source_of([record.value for record in records])
    return Part(file, split, "messages", source) if source else None


def split_of(name: str) -> str | None:
    """The split that a path names in its file or else in a folder; None where it names none."""
    for part in reversed(Path(name).parts):
        if match := _SPLIT.search(part):
            word = match[1].lower()
            return _SPLITS.get(word, word)
    return None


def _has_ids(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("input_ids"), list)


def _first(file: File) -> Iterator[Record]:
    """Yields the records of a file from its beginning, without those that cannot be read."""
    items = read(file.path, file.label, lambda value: isinstance(value, dict | list))
    yield from (item for item in items if isinstance(item, Record))


def _source_of(values: Sequence[Any]) -> str | None:
    """The source that reads most messages of some records; None where none reads any."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.jsonl"
        lines = (json.dumps(value, default=str) for value in values)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        file = File(path, path.name)
        scores = {name: _score(name, file) for name in sources.names()} if values else {}
    best = max(
        scores,
        key=lambda name: (scores[name], name == "jsonl", name != "auto"),
        default=None,
    )
    return best if best and scores[best] > 0 else None


def _score(source: str, file: File) -> int:
    """How many messages a source reads, twice those that it has no fault to find with."""
    score = 0
    with contextlib.suppress(SourceError):  # of no known shape
        for batch in sources.get(source).read([file], source, source):
            score += 2 * int(batch.rows["note"].is_null().sum()) + batch.rows.height
    return score


# -------------------------------------------------------------------------------------- messages


def _message_batches(part: Part) -> Iterator[Messages]:
    trees_: list[sources.Batch] = []
    for batch in sources.get(part.source).read([part.file], part.source, part.source):
        kinds = schema.by_kind(batch.rows)
        if any(schema.is_of_trees(rows) for rows in kinds):
            trees_.append(batch)
            continue
        for rows in kinds:
            numbered = _numbered(rows, part.split)
            yield Messages(numbered, batch.records, batch.problems, part.has_rows)
    if trees_:
        yield _of_trees(part, trees_)


def _record_batches(file: File) -> Iterator[Records]:
    records = _first(file)
    while chunk := list(itertools.islice(records, _RECORDS)):
        yield Records(chunk)


def _numbered(rows: pl.DataFrame, split: str | None) -> pl.DataFrame:
    talk = (pl.col("position") == 0).cum_sum()
    return rows.with_columns(talk=talk, split=pl.lit(split, pl.String))


def _of_trees(part: Part, batches_: Sequence[sources.Batch]) -> Messages:
    """All paths of the trees in a file: trees cannot be cut into batches."""
    nodes = pl.concat([batch.rows.select(schema.NODES.keys()) for batch in batches_])
    marked = filtering.mark(nodes, filters.always())
    threaded = trees.linearize(marked, threads.Threads())
    rows = _numbered(threaded.messages.sort("conversation", "position"), part.split)
    problems = [problem for batch in batches_ for problem in batch.problems]
    return Messages(rows, sum(batch.records for batch in batches_), problems, part.has_rows)


# ---------------------------------------------------------------------------------------- tokens


def _token_batches(part: Part) -> Iterator[TokenRows]:
    first = 0
    for frame in _token_frames(part.file):
        yield TokenRows.of(frame, part.split, part.file.label, first)
        first += frame.height


def _token_frames(file: File) -> Iterator[pl.DataFrame]:
    """Yields the columns of COLUMNS that a file has, in frames of bounded size."""
    if file.path.suffix == ".parquet":
        yield from _parquet_frames(file.path)
    elif file.path.suffix == ARROW:
        tables_ = map(pa.Table.from_batches, ([batch] for batch in arrow_batches(file.path)))
        yield from _regular(_frame(table, file.path) for table in tables_)
    else:
        rows = (_row(item) for item in read(file.path, file.label, _has_ids))
        while chunk := list(itertools.islice(rows, _TOKEN_ROWS)):
            columns = {key: [row.get(key) for row in chunk] for key in COLUMNS}
            yield pl.DataFrame(columns, schema=COLUMNS, strict=False)


def _row(item: Record | Unreadable) -> dict[str, Any]:
    """The columns of a row of tokens; none for what is no such row, which is then uneven."""
    value = item.value if isinstance(item, Record) else None
    if not isinstance(value, dict):
        return {}
    lists = {key: _cell(value.get(key)) for key in COLUMNS if key != "id"}
    return {"id": identifier(value.get("id")), **lists}


def _cell(value: object) -> list[Any] | None:
    """A list of a row; a list with a hole for what is no list."""
    return value if value is None or isinstance(value, list) else [None]


def _parquet_frames(path: Path) -> Iterator[pl.DataFrame]:
    try:
        with pq.ParquetFile(path) as file:
            names = [name for name in COLUMNS if name in file.schema_arrow.names]
            for batch in file.iter_batches(_TOKEN_ROWS, columns=names):
                yield _frame(pa.Table.from_batches([batch]), path)
    except pa.ArrowException as error:
        raise SourceError(f"'{path}' is not a readable Parquet file ({error}).") from None


def _frame(table: pa.Table, path: Path) -> pl.DataFrame:
    """The columns of COLUMNS of a table. Raises SourceError where one holds no lists of numbers."""
    names = [name for name in COLUMNS if name in table.column_names]
    frame = pl.DataFrame(pl.from_arrow(table.select(names)))
    try:
        return frame.cast({name: COLUMNS[name] for name in names}, strict=False)
    except pl.exceptions.PolarsError:
        types = ", ".join(f"{name} of {frame.schema[name]}" for name in names if name != "id")
        raise SourceError(
            f"'{path}' has {types}, which are no lists of whole numbers; name rows of tokens."
        ) from None


def _regular(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yields the rows of frames in frames of _TOKEN_ROWS rows."""
    for frame in frames:
        yield from frame.iter_slices(_TOKEN_ROWS)
