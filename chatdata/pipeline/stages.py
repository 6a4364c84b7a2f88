"""The stages of a build whose results are kept, with all that they depend on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from chatdata.dataset import tables
from chatdata.pipeline import encoders, global_pass, layers, shard_rows
from chatdata.pipeline.cache import Store
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.first_pass import first_pass
from chatdata.pipeline.global_pass import FilterDecision, GlobalDecisions, Repeats
from chatdata.pipeline.second_pass import measured, second_pass
from chatdata.pipeline.shard_writing import WRITING
from chatdata.pipeline.stage import Done, Reads, Stage
from chatdata.pipeline.stats import PartStats
from chatdata.pipeline.tokenizing import CERTIFICATE


def _first_reads(context: BuildContext, part: int) -> Reads:
    files = context.files
    whole = [path for path in (files.forget, files.columns) if path.exists()]
    messages = (files.messages_of(number, part) for number in range(len(context.recipe.source)))
    return Reads(tuple(whole), tuple(messages))


def _first_writes(context: BuildContext, part: int) -> tuple[Path, ...]:
    keys = (f"keys-{number}" for number in range(len(context.drops("corpus"))))
    kinds = ("threaded", "outcomes", "groups", "nodes", *keys)
    return (context.files.spared(part), *(context.files.table(kind, part) for kind in kinds))


def _first_leaves(context: BuildContext, part: int) -> tuple[Path, ...]:
    kinds = ("threaded", "outcomes", "nodes")
    return (context.files.spared(part), *(context.files.table(kind, part) for kind in kinds))


def _first_in_layers(context: BuildContext, store: Store, part: int) -> Done[PartStats] | None:
    if not layers.can_keep(context):
        return None
    return layers.run(context, store, part, _first_reads(context, part))


FIRST: Stage[int, PartStats] = Stage(
    "first pass",
    first_pass,
    frozenset(["clean", "redact", "threads", "drop", "keep"]),
    _first_reads,
    _first_writes,
    _first_in_layers,
    frozenset(["forget"]),
    _first_leaves,
)


def _second_reads(context: BuildContext, task: tuple[int, GlobalDecisions]) -> Reads:
    part, _ = task
    files = context.files
    kinds = ["threaded", "outcomes", "groups", *(["nodes"] if context.recipe.threads.pairs else [])]
    of_part = [files.spared(part), *(files.table(kind, part) for kind in kinds)]
    return Reads((*of_part, *encoders.tokenizer_files(context)))


def _second_leaves(context: BuildContext, task: tuple[int, GlobalDecisions]) -> tuple[Path, ...]:
    part, _ = task
    made = [(table, split) for table in (*tables.TABLES, tables.DROPPED) for split in table.splits]
    return tuple(context.files.table(table.part(split), part) for table, split in made)


def _second_writes(context: BuildContext, task: tuple[int, GlobalDecisions]) -> tuple[Path, ...]:
    part, _ = task
    rows = _second_leaves(context, task)
    return (context.files.table("digests", part), *rows, *map(shard_rows.facts_file, rows))


_RENDERS = frozenset(["tokenizer", "encoder", "sample"])

SECOND: Stage[tuple[int, GlobalDecisions], PartStats] = Stage(
    "second pass",
    second_pass,
    frozenset(["threads", "keep", "mix", "split", "render"]),
    _second_reads,
    _second_writes,
    parts_of_context=_RENDERS | {"keeps_dropped"},
    leaves=_second_leaves,
)


def _measured_reads(context: BuildContext, task: tuple[int, pl.DataFrame]) -> Reads:
    part, _ = task
    return Reads((context.files.table("threaded", part), *encoders.tokenizer_files(context)))


COUNT: Stage[tuple[int, pl.DataFrame], pl.DataFrame] = Stage(
    "counting tokens",
    measured,
    frozenset(["threads", "split", "render"]),
    _measured_reads,
    parts_of_context=_RENDERS,
)


def _repeats_reads(context: BuildContext, task: Repeats) -> Reads:
    number, _, _ = task
    kinds = (f"keys-{number}", "groups")
    return Reads(tuple(context.files.table(kind, p) for kind in kinds for p in context.parts))


# Of all parts together, so in the first process.
REPEATS: Stage[Repeats, FilterDecision] = Stage(
    "duplicates", global_pass.decide_filter, frozenset(["drop"]), _repeats_reads
)

ALL: tuple[Stage[Any, Any], ...] = (FIRST, REPEATS, COUNT, SECOND, CERTIFICATE, WRITING)
