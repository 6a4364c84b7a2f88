"""The tables of a dataset folder, as data: where the shards of each are, and what a row is.

A new table is a `Table` in `TABLES`. Every table there is built, checked by `verify` and published;
a table with a config is listed in the card and in `croissant.json`. A rendering that was added to a
dataset has two tables more, named after it: of its rows of tokens, and of what it leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chatdata.core import arrow, template_variables, train_parts
from chatdata.core.constants import SPLITS
from chatdata.dataset import pair_rows, pair_tokens, ranked_rows, rows, schemas
from chatdata.dataset.entries import ListedFile, SplitEntry, Splits
from chatdata.dataset.manifest import NAME, Listing, Manifest
from chatdata.dataset.rows import Rows
from chatdata.render.entries import RenderEntry

File = TypeVar("File", bound=ListedFile)
_TOKENS = "tokens-"  # before what a template calls its rows
RowsBySplit = Mapping[str, pa.Table]


class Size(NamedTuple):
    """The size of a table in a split: rows, and bytes of their data."""

    rows: int
    bytes: int


def _no_rows(part: Rows) -> RowsBySplit:
    return {}


def _as_stored(table: pa.Table, schema: pa.Schema) -> pa.Table:
    return table


def _same_bytes(table: pa.Table) -> npt.NDArray[np.int64]:
    """A guess of the size of each row, in bytes: the same for all."""
    return np.full(table.num_rows, 200, np.int64)


def _no_config(manifest: Manifest) -> str | None:
    return None


def _no_size(split: SplitEntry) -> Size:
    return Size(0, 0)


def _splits_of_all(manifest: Manifest) -> Splits:
    return manifest.splits


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a dataset: the folder `name` with Parquet shards `SPLIT-NNNNN-of-NNNNN`.

    `row` says in words what a row is. `make` gives the rows of a part of a build, by split, and
    `complete` gives them the columns of a schema. `row_bytes` gives the size of each row,
    which decides where a shard ends. For `load_dataset`, `config` gives the name of the table in a
    dataset, None where the dataset has no such table, and `size` its size in a split, of the
    figures that `figures` takes from the manifest.
    """

    name: str
    schema: pa.Schema
    row: str
    make: Callable[[Rows], RowsBySplit] = _no_rows
    complete: Callable[[pa.Table, pa.Schema], pa.Table] = _as_stored
    row_bytes: Callable[[pa.Table], npt.NDArray[np.int64]] = _same_bytes
    config: Callable[[Manifest], str | None] = _no_config
    size: Callable[[SplitEntry], Size] = _no_size
    figures: Callable[[Manifest], Splits] = _splits_of_all
    splits: tuple[str, ...] = SPLITS
    filled: tuple[str, ...] = ()  # columns that are never null, and keys: `messages.role`
    first_schema: pa.Schema | None = None  # in folders of format 1, where another
    is_local: bool = False  # stays on this machine: no manifest lists it, nothing publishes it

    def schema_of(self, manifest: Manifest) -> pa.Schema:
        """The columns of the table in a folder with this manifest."""
        is_first = manifest.format == 1 and self.first_schema is not None
        return self.first_schema if is_first else self.schema_with(optional_columns_of(manifest))

    def schema_with(self, optional: Collection[str]) -> pa.Schema:
        """The columns of the table in a folder that has these of the optional columns."""
        return schemas.without(self.schema, schemas.OPTIONAL - set(optional))

    def shards(self, files: Iterable[File], split: str | None = None) -> list[File]:
        """The files of this table among `files`, of a split or of all splits, in order."""
        prefix = f"{self.name}/" if split is None else f"{self.name}/{split}-"
        return [file for file in files if file.path.startswith(prefix)]

    def files_in(self, folder: Path) -> list[Path]:
        """The shards of this table that are in a folder, in order."""
        return sorted((folder / self.name).glob("*.parquet"))

    def pattern(self, split: str) -> str:
        """The pattern that matches the shards of a split."""
        return f"{self.name}/{split}-*.parquet"

    def part(self, split: str) -> str:
        """The name of the file with the rows of a part of a build."""
        return f"{self.name}-{split}"


def optional_columns(*, variables: bool, weights: bool, parts: bool) -> frozenset[str]:
    """The optional columns of a folder of which a conversation has variables, or a message a weight
    or `train_parts`."""
    of_variables = [template_variables.KEY] if variables else []
    of_weights = [schemas.WEIGHT, schemas.WEIGHTS] if weights else []
    of_parts = [train_parts.KEY] if parts else []
    return frozenset([*of_variables, *of_weights, *of_parts])


def optional_columns_of(manifest: Manifest) -> frozenset[str]:
    """The optional columns of a folder with this manifest."""
    return optional_columns(
        variables=manifest.variables is not None,
        weights=manifest.weighted_messages is not None,
        parts=manifest.messages_in_parts is not None,
    )


# ----------------------------------------------------------------------------------- the tables


def _messages(part: Rows) -> RowsBySplit:
    return rows.by_split(part.messages, part.splits)


def _message_size(split: SplitEntry) -> Size:
    return Size(split.rows, split.bytes)


def _tokens(part: Rows) -> RowsBySplit:
    return rows.by_split(part.tokens, part.splits[part.owner]) if part.tokens is not None else {}


def _token_size(split: SplitEntry) -> Size:
    return Size(split.token_rows, split.tokens * _TOKEN_BYTES)


def _token_bytes(table: pa.Table) -> npt.NDArray[np.int64]:
    """The size of the arrays of each row, in bytes."""
    return arrow.numbers(table["length"]).astype(np.int64) * _TOKEN_BYTES


def _token_config(manifest: Manifest) -> str | None:
    return token_config(manifest.render) if manifest.render else None


def token_config(render: RenderEntry) -> str:
    """The name of the config of tokens: `tokens-` and what the template calls its rows."""
    return f"{_TOKENS}{slug(render.template.name, render.tokenizer.name)}"


def slug(template: str, tokenizer: str) -> str:
    """What a template calls the rows that it writes for a tokenizer, as a part of a name."""
    from chatdata.render.templates import TEMPLATES

    name = TEMPLATES[template].label(tokenizer) if template in TEMPLATES else template
    return re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-.") or "tokenizer"


def _pair_config(manifest: Manifest) -> str | None:
    return PAIRS.name if manifest.pairs else None


def _pair_figures(manifest: Manifest) -> Splits:
    assert manifest.pairs is not None
    return manifest.pairs.splits


def _ranked_config(manifest: Manifest) -> str | None:
    return RANKED.name if manifest.ranked else None


def _ranked_figures(manifest: Manifest) -> Splits:
    assert manifest.ranked is not None
    return manifest.ranked.splits


def _pair_token_config(manifest: Manifest) -> str | None:
    if manifest.pair_tokens is None or not manifest.pair_tokens.splits.total("rows"):
        return None
    return f"{PAIR_TOKENS.name}-{token_config(manifest.rendering).removeprefix(_TOKENS)}"


def _pair_token_figures(manifest: Manifest) -> Splits:
    assert manifest.pair_tokens is not None
    return manifest.pair_tokens.splits


def _pair_token_size(split: SplitEntry) -> Size:
    return Size(split.rows, split.tokens * _PAIR_TOKEN_BYTES)


_PAIR_TOKEN_BYTES = 4 * 2  # an id and a label, of int32
_TOKEN_BYTES = 4 * 3  # input_ids, attention_mask and labels, of int32

MESSAGES = Table(
    "messages",
    schemas.MESSAGES,
    "a row a conversation",
    make=_messages,
    complete=rows.complete_messages,
    row_bytes=rows.message_bytes,
    config=lambda manifest: "messages",
    size=_message_size,
    filled=("id", "group", "source", "messages.role"),
    first_schema=schemas.PLAIN_MESSAGES,
)
TOKENS = Table(
    "tokens",
    schemas.TOKENS,
    "a row of token ids and their labels",
    make=_tokens,
    complete=rows.complete_tokens,
    row_bytes=_token_bytes,
    config=_token_config,
    size=_token_size,
    filled=("id", "input_ids", "attention_mask", "labels", "length", "trained"),
)
PAIRS = Table(  # written by the second pass, where a recipe makes pairs
    "pairs",
    schemas.PAIRS,
    "a prompt with an answer that people preferred and one that they did not",
    row_bytes=pair_rows.sizes,
    config=_pair_config,
    size=_message_size,
    figures=_pair_figures,
    filled=("id", "group", "source", "question", "prompt.role", "chosen.role", "rejected.role"),
)
RANKED = Table(  # written with PAIRS
    "ranked",
    schemas.RANKED,
    "a prompt with all of its ranked answers, the best first",
    row_bytes=ranked_rows.row_bytes,
    config=_ranked_config,
    size=_message_size,
    figures=_ranked_figures,
    filled=("id", "group", "source", "prompt.role", "answers.role", "ranks"),
)
PAIR_TOKENS = Table(  # written beside PAIRS, where a recipe renders
    "pair-tokens",
    schemas.PAIR_TOKENS,
    "both sides of a pair as token ids and their labels",
    row_bytes=pair_tokens.row_bytes,
    config=_pair_token_config,
    size=_pair_token_size,
    figures=_pair_token_figures,
    filled=("id", "prompt_length", *pair_tokens.LISTS),
)
LEDGER = Table(
    "ledger",
    schemas.LEDGER,
    "what became of something read",
    splits=("ledger",),
    filled=("unit", "id", "outcome"),
)
PACKS = Table("packs", schemas.PACK_INDEX, "the rows of a bin", splits=())  # written by `pack`

TABLES: tuple[Table, ...] = (MESSAGES, TOKENS, PAIRS, RANKED, PAIR_TOKENS, LEDGER, PACKS)

# Not among TABLES, which are published.
DROPPED = Table(
    "dropped",
    schemas.DROPPED,
    "something that was dropped, with its words",
    row_bytes=rows.dropped_bytes,
    splits=("dropped",),
    is_local=True,
)


# ------------------------------------------------------------- of renderings that were added


def tokens_of(rendering: str) -> Table:
    """The table of the rows of tokens of an added rendering."""
    name = f"{TOKENS.name}-{rendering}"
    return replace(
        TOKENS,
        name=name,
        row=f"{TOKENS.row}, as {rendering} writes them",
        config=lambda manifest: name,
        figures=lambda manifest: manifest.renders[rendering].splits,
    )


def ledger_of(rendering: str) -> Table:
    """The table of what an added rendering leaves out, in rows like those of the ledger."""
    name = f"{LEDGER.name}-{rendering}"
    return replace(LEDGER, name=name, row=f"what {rendering} leaves out")


def packs_of(rendering: str | None) -> Table:
    """The table of the bins of a rendering; None stands for that of the build."""
    return PACKS if rendering is None else replace(PACKS, name=f"{PACKS.name}-{rendering}")


_ADDED: Mapping[str, Callable[[str], Table]] = {
    TOKENS.name: tokens_of,
    LEDGER.name: ledger_of,
    PACKS.name: packs_of,
}


# ------------------------------------------------------------------------------ which table


def of(manifest: Manifest | Listing) -> list[Table]:
    """The tables of a dataset: all of `TABLES`, and those of the renderings that were added."""
    renders = manifest.renders if isinstance(manifest, Manifest) else ()
    return [*TABLES, *(make(name) for name in renders for make in _ADDED.values())]


def named(name: str) -> Table | None:
    """The table of this name, which may be that of a rendering; None where no table has it."""
    known = next((table for table in TABLES if table.name == name), None)
    added = re.fullmatch(f"({'|'.join(_ADDED)})-({NAME})", name)
    return _ADDED[added[1]](added[2]) if added and known is None else known


def stored(name: str) -> Table:
    """The table of this name, which may be one that stays on this machine."""
    table = DROPPED if name == DROPPED.name else named(name)
    assert table is not None
    return table


def loadable() -> list[Table]:
    """The tables of every dataset that `load_dataset` may offer."""
    return [table for table in TABLES if table.config is not _no_config]


def of_path(path: str) -> Table | None:
    """The table whose folder holds a path; None for a path elsewhere."""
    folder, slash, _ = path.partition("/")
    return named(folder) if slash else None
