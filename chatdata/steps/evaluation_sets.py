"""Evaluation sets: files of test questions, as texts.

`.jsonl`, `.json` and `.parquet` hold records, `.csv` and `.tsv` rows, `.txt` and `.md` an item a
line; all but Parquet may be gzipped. An item may have several texts (question, choices, answer).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from chatdata.core.errors import SourceError
from chatdata.core.hashing import sha256_file
from chatdata.sources import File
from chatdata.sources.records import SUFFIXES, Record
from chatdata.sources.records import read as read_records

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "set": pl.String,
    "item": pl.String,  # its id, or its number in the file
    "text": pl.String,
}

_TABLES = {".csv": ",", ".tsv": "\t"}
_LINES = (".txt", ".md")
_NAMES = ("task_id", "question_id", "id", "qid", "ind")  # what an item may be named for
_ADDRESSES = ("http://", "https://")


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationSet:
    """An evaluation set: its name, the hash of its file, and its texts, of schema SCHEMA."""

    name: str
    sha256: str
    texts: pl.DataFrame

    def items(self) -> int:
        """How many items the set has."""
        return self.texts["item"].n_unique()


def read(file: File, fields: Sequence[str]) -> EvaluationSet:
    """The evaluation set in a file. Options and errors are those of `texts`."""
    return EvaluationSet(file.label, sha256_file(file.path), texts(file, fields))


def texts(file: File, fields: Sequence[str]) -> pl.DataFrame:
    """The texts of an evaluation set, of schema SCHEMA, several rows an item.

    `fields` are the keys of a record that count; none: all, at any depth, but for lone addresses.
    Raises SourceError where the file cannot be read to its end, or holds no texts.
    """
    rows = [
        {"set": file.label, "item": _name(value, number), "text": text}
        for number, value in enumerate(_items(file), start=1)
        for text in _texts(_chosen(value, fields))
    ]
    if not rows:
        wanted = f" in {', '.join(fields)}" if fields else ""
        raise SourceError(f"'{file.path}' has no texts{wanted}; name a file of test questions.")
    return pl.DataFrame(rows, schema=SCHEMA)


def _items(file: File) -> Iterator[Any]:
    kind = Path(file.path.name.removesuffix(".gz")).suffix.lower()
    try:
        if kind in _TABLES:
            table = pl.read_csv(file.path, separator=_TABLES[kind], infer_schema=False, glob=False)
            yield from table.to_dicts()
        elif kind in _LINES:
            open_ = gzip.open if file.path.suffix == ".gz" else open
            with open_(file.path, "rt", encoding="utf-8") as lines:
                yield from lines
        else:
            yield from _records(file)
    except (pl.exceptions.PolarsError, OSError, EOFError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())[:200]
        raise SourceError(f"'{file.path}' is not a readable evaluation set ({problem}).") from None


def _records(file: File) -> Iterator[Any]:
    if not file.path.name.endswith(SUFFIXES):
        kinds = ", ".join([*SUFFIXES, *_TABLES, *_LINES])
        raise SourceError(f"'{file.path}' is not an evaluation set; chatdata reads {kinds}.")
    for record in read_records(file.path, file.label, lambda value: isinstance(value, dict)):
        if not isinstance(record, Record):
            raise SourceError(
                f"'{file.path}' cannot be read to its end ({record.where}: {record.detail}); "
                "an incomplete evaluation set would miss contamination, so repair the file."
            )
        yield record.value


def _name(value: Any, number: int) -> str:
    facts = value if isinstance(value, Mapping) else {}
    named = [str(facts[key]) for key in _NAMES if isinstance(facts.get(key), str | int)]
    return named[0] if named else str(number)


def _chosen(value: Any, fields: Sequence[str]) -> Any:
    if not fields or not isinstance(value, Mapping):
        return value
    return [value[key] for key in fields if key in value]


def _texts(value: Any) -> Iterator[str]:
    """Yields all texts in a value, at any depth."""
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, Mapping):
            waiting += reversed(list(inner.values()))
        elif isinstance(inner, list):
            waiting += reversed(inner)
        elif isinstance(inner, str) and inner.strip() and not inner.startswith(_ADDRESSES):
            yield inner.encode(errors="replace").decode()  # a lone surrogate is no word
