"""The line: source, messages, drop, thread, split, render, write. The only module that composes.

A build runs in parts. Reading spreads messages over parts by a hash of their group, so a part
holds whole trees and whole conversations. Each part is then a pure function of its messages and
the recipe; what must see everything (duplicates) is decided between two rounds over the parts.
Parts follow each other in the order of that hash, and rows within a part too, so neither the
number of parts nor of workers shows in the output.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import pyarrow as pa

from chatdata import (
    certificate,
    engines,
    filters,
    folder,
    language,
    ledger,
    manifest,
    parts,
    reading,
    rows,
    schema,
    sources,
    split,
    threads,
    trees,
    write,
)
from chatdata import inputs as input_files
from chatdata import job as jobs
from chatdata.certificate import Findings
from chatdata.errors import BuildError
from chatdata.filters import Drop
from chatdata.hashing import digest_column, fraction_column, hash_column
from chatdata.inputs import Input
from chatdata.job import Done, Finished, Job, Shaped
from chatdata.pieces import Texts
from chatdata.recipe import Recipe
from chatdata.render import Render, fit, render

Progress = Callable[[str, int, int], None]
Task = TypeVar("Task")
Result = TypeVar("Result")
PREVIEW_GROUPS = 100


def _silent(step: str, done: int, total: int) -> None:
    """Reports no progress."""


def build(
    recipe: Recipe,
    out: str | Path,
    *,
    inputs: Sequence[str] = (),
    workers: int = 1,
    engine: str = "local",
    progress: Progress = _silent,
) -> manifest.Manifest:
    """Builds a dataset into the folder `out` and returns its manifest.

    `inputs` replace the files of the recipe's sources (`PATH` or `SOURCE=PATH`). The bytes
    written depend on the recipe and the input alone, not on `workers` or `engine`. `progress`
    is told (step, done, total); a total of 0 is not known. Raises a ChatdataError, and leaves
    nothing behind, where something is wrong.
    """
    run = functools.partial(engines.get(engine), workers=workers)
    with write.new_folder(Path(out)) as new:
        found = input_files.locate(recipe, inputs)
        job = jobs.prepare(recipe, found, new / ".work")
        done = _line(job, found, run, progress)
        ledger.check_dropped(done.counts, recipe.max_dropped)
        files = folder.write_shards(job, done, new, progress)
        shutil.rmtree(job.work)
        return folder.describe(job, found, done, files, new)


def preview(recipe: Recipe, *, inputs: Sequence[str] = ()) -> manifest.Manifest:
    """The manifest that a build of the first trees or conversations would have, without files.

    Writes nothing but temporary files, which it removes.
    """
    run = functools.partial(engines.get("local"), workers=1)
    with tempfile.TemporaryDirectory(prefix="chatdata-") as work:
        found = input_files.locate(recipe, inputs)
        job = jobs.prepare(recipe, found, Path(work))
        job = replace(job, first_groups=PREVIEW_GROUPS, parts=1)
        return folder.draft(job, found, _line(job, found, run, _silent), [])


def _line(
    job: Job, found: Sequence[Input], run: Callable[..., Iterator[Any]], progress: Progress
) -> Done:
    """From sources to tables that are ready to be written, with the ledger balanced."""

    def each(
        step: str, function: Callable[[Job, Task], Result], tasks: Sequence[Task]
    ) -> list[Result]:
        results = []
        for result in run(functools.partial(function, job), tasks):
            results.append(result)
            progress(step, len(results), len(tasks))
        return results

    read, problems = reading.read(job, found, progress)
    shaped = each("dropping, threading", _shape, range(job.parts))
    repeats = _repeats(shaped)
    job = _with_sample(job, shaped)
    finished = each("splitting, rendering", _finish, list(enumerate(repeats)))
    read["conversations"] += sum(part.conversations for part in shaped)
    counts = ledger.add([*(part.counts for part in finished), reading.counts(read, problems)])
    _check_ids(finished)
    findings = Findings()
    for part in finished:
        findings.add(part.findings)
    return Done(finished, ledger.balance(read, counts), problems, findings)


def _check_ids(finished: Sequence[Finished]) -> None:
    """Raises BuildError where two rows have one id."""
    ids = [id for part in finished for id, _ in part.digests]
    for id, times in Counter(ids).most_common(1):
        if times > 1:
            raise BuildError(
                f"{times} conversations have the id '{id}' and different groups; give them ids or "
                "groups of their own."
            )


def _with_sample(job: Job, shaped: Sequence[Shaped]) -> Job:
    """The job with the share of rows that gives the certificate about SAMPLE of them."""
    rows = sum(part.kept for part in shaped)
    return replace(job, sample=min(1.0, certificate.SAMPLE / max(1, rows)))


# -------------------------------------------------------------------- first round: drop, thread


def _shape(job: Job, part: int) -> Shaped:
    """Drops messages, lays threads and drops conversations of one part."""
    laid = [
        one
        for number, name in enumerate(job.recipe.source)
        for one in _lay(job, number, name, part)
    ]
    messages = pl.concat([one.messages for one in laid] or [schema.empty(schema.MESSAGES)])
    events = [schema.empty(schema.EVENTS), *(one.events for one in laid)]
    for drop in job.drops("conversation"):
        messages, happened = _drop_conversations(messages, drop)
        events.append(happened)
    messages.write_ipc(job.file("shaped", part))
    pl.concat(events).write_ipc(job.file("events", part))
    came_to_be = sum(one.conversations for one in laid)
    kept = messages["conversation"].n_unique()
    return Shaped(part, came_to_be, kept, _keys(job, messages))


def _lay(job: Job, number: int, source: str, part: int) -> Iterator[threads.Laid]:
    frames = list(parts.spooled(job.work / f"read-{number}", part))
    if not frames:
        return
    messages = pl.concat(frames)
    drops = job.drops("message")
    for drop in drops:
        if "lang" in drop.filter.needs:
            messages = language.label(messages, drop.options["decide"])
    listed = {drop.filter.name for drop in drops}
    always = [drop for drop in filters.always() if drop.filter.name not in listed]
    marked = filters.mark(messages, [*always, *drops])
    is_tree = sources.get(source).SCHEMA is schema.NODES
    yield (trees.lay if is_tree else threads.cut)(marked, job.recipe.threads)


def _drop_conversations(messages: pl.DataFrame, drop: Drop) -> tuple[pl.DataFrame, pl.DataFrame]:
    hit = messages.select(drop.expression()).to_series()
    gone = messages.filter(hit).unique("conversation", keep="first", maintain_order=True)
    return _without(messages, gone, pl.lit(drop.filter.name), pl.lit(None, pl.String))


def _without(
    messages: pl.DataFrame, gone: pl.DataFrame, reason: pl.Expr, detail: pl.Expr
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The messages without some conversations, and the events of what went."""
    if gone.is_empty():
        return messages, schema.empty(schema.EVENTS)
    lost = schema.events("conversation", gone, "conversation", reason, detail)
    kept = messages.join(gone, on="conversation", how="anti", maintain_order="left")
    return kept, pl.concat([lost, schema.vanished(messages, kept, lost, "")])


# ---------------------------------------------------------------- between: all conversations


def _keys(job: Job, messages: pl.DataFrame) -> pl.DataFrame:
    """What the corpus filter compares: a digest for each conversation."""
    compared = [drop.filter.expression(**drop.options) for drop in job.drops("corpus")]
    if not compared:
        return pl.DataFrame(schema={"conversation": pl.String, "digest": pl.String})
    keys = messages.group_by("conversation", maintain_order=True).agg(key=compared[0].first())
    return keys.select("conversation", digest=digest_column(keys["key"]))


def _repeats(shaped: Sequence[Shaped]) -> list[pl.DataFrame]:
    """For each part, its conversations that repeat one with a smaller id: (conversation, of)."""
    keys = pl.concat([part.keys.with_columns(part=pl.lit(part.part)) for part in shaped])
    keys = keys.sort("digest", "conversation")
    first = pl.col("conversation").first().over("digest")
    repeats = keys.with_columns(of=first).filter(pl.col("conversation") != pl.col("of"))
    return [
        repeats.filter(pl.col("part") == part.part).select("conversation", "of") for part in shaped
    ]


# -------------------------------------------------------------------- second round: split, render


def _finish(job: Job, task: tuple[int, pl.DataFrame]) -> Finished:
    """Drops repeats, splits, renders and lays out the rows of one part."""
    part, repeats = task
    messages, repeated = _drop_repeats(pl.read_ipc(job.file("shaped", part)), repeats)
    messages = _in_order(messages)
    if job.recipe.render is None:
        messages, tokens, lost, findings = messages, None, schema.empty(schema.EVENTS), Findings()
    else:
        messages, tokens, lost, findings = _render(job, job.recipe.render, messages)
    own = _rows(job, messages, tokens)
    earlier = pl.read_ipc(job.file("events", part))
    events = pl.concat([earlier, repeated, lost, _kept_events(messages, own.splits)])
    parts.save(ledger.entries(events).to_arrow().cast(write.LEDGER), job.file("ledger", part))
    for kind, table in own.kinds().items():
        for name in split.SPLITS:
            here = pa.array((own.splits == name).to_list(), pa.bool_())
            parts.save(table.filter(here), job.file(f"{kind}-{name}", part))
    languages = Counter(lang or "unknown" for lang in own.messages["lang"].to_pylist())
    leaking = split.leaking_groups(pl.Series(own.messages["group"]), own.splits)
    return Finished(ledger.tally(events), own.totals(), own.digests(), languages, leaking, findings)


def _drop_repeats(
    messages: pl.DataFrame, repeats: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    gone = messages.join(repeats, on="conversation", how="inner", maintain_order="left")
    gone = gone.unique("conversation", keep="first", maintain_order=True)
    return _without(messages, gone, pl.lit("duplicate"), "says the same as " + pl.col("of"))


def _in_order(messages: pl.DataFrame) -> pl.DataFrame:
    """The messages in the order in which they are published."""
    order = hash_column(messages["group"], "order")
    ordered = messages.with_columns(order=order).sort("order", "conversation", "position")
    return ordered.select(schema.MESSAGES.keys())


def _render(
    job: Job, options: Render, messages: pl.DataFrame
) -> tuple[pl.DataFrame, pa.Table, pl.DataFrame, Findings]:
    """The messages that are published, their rows of tokens, the events of the others, and what
    the certificate finds in a sample of the rows, chosen by a hash of their ids."""
    tokenizer = job.load_tokenizer(options)
    texts = Texts(tokenizer)
    fitted = fit(messages, texts, options)
    once = job.recipe.threads.train_once
    learnt = threads.train_once(fitted.messages) if once else fitted.messages
    rendered = render(learnt, texts, options)
    ids = pl.Series(rendered.conversations, dtype=pl.String)
    chosen = fraction_column(ids, "certificate") < job.sample
    findings = certificate.examine(rendered, tokenizer, options.train_on, chosen)
    certificate.demand(findings, tokenizer)
    lost = pl.concat([fitted.events, rendered.events])
    return rendered.messages, rows.token_rows(rendered), lost, findings


def _rows(job: Job, messages: pl.DataFrame, tokens: pa.Table | None) -> rows.Rows:
    published = rows.message_rows(messages)
    percent = job.recipe.split.test_percent if job.recipe.split else 0
    splits = split.split_of(pl.Series(published["group"]), percent)
    return rows.Rows(published, tokens, splits)


def _kept_events(messages: pl.DataFrame, splits: pl.Series) -> pl.DataFrame:
    """Events of what is published: each row, and each message in the first row that holds it."""
    nothing = pl.lit(None, pl.String)
    first = messages.unique(schema.MESSAGE_KEY, keep="first", maintain_order=True)
    conversations = messages.unique("conversation", keep="first", maintain_order=True)
    where = pl.concat_str(pl.lit("in "), pl.lit(splits))
    return pl.concat(
        [
            schema.events("message", first, "message", nothing),
            schema.events("conversation", conversations, "conversation", nothing, where),
        ]
    )
