"""The line: source, messages, drop, thread, split, render, write. The only module that composes.

A build runs in parts. Reading spreads messages over parts by a hash of their group, so a part
holds whole trees and whole conversations. Each part is then a pure function of its messages and
the recipe; what must see everything (duplicates) is decided between two rounds over the parts,
in `corpus`.
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

import numpy as np
import polars as pl

from chatdata import sources
from chatdata.core import files, ledger, schema
from chatdata.core.errors import BuildError
from chatdata.core.hashing import fraction_column, hash_column
from chatdata.dataset import manifest, rows, shards
from chatdata.pipeline import annotate, engines, global_pass, partitions, reading
from chatdata.pipeline import inputs as input_files
from chatdata.pipeline import job as jobs
from chatdata.pipeline import output as folder
from chatdata.pipeline.find import as_recipe
from chatdata.pipeline.global_pass import Decided
from chatdata.pipeline.inputs import Input
from chatdata.pipeline.job import Done, Finished, Job, Shaped
from chatdata.pipeline.recipe import Recipe
from chatdata.render import certificate
from chatdata.render.certificate import Findings
from chatdata.render.encoding import audit as audits
from chatdata.render.encoding.audit import Audit
from chatdata.render.encoding.encoder import EncoderDiffers
from chatdata.render.rows import Render, Rendered, fit, render
from chatdata.render.segments import Texts
from chatdata.steps import clean, filtering, filters, split, threads, trees
from chatdata.steps.clean import Cleaned
from chatdata.steps.figures import FiguresByKey
from chatdata.steps.filtering import Drop

Progress = Callable[[str, int, int], None]
Task = TypeVar("Task")
Result = TypeVar("Result")
PREVIEW_GROUPS = 100


def silent(step: str, done: int, total: int) -> None:
    """Reports no progress."""


def build(
    recipe: Recipe | str | Path,
    out: str | Path,
    *,
    inputs: Sequence[str] = (),
    workers: int = 1,
    engine: str = "local",
    verify: str = audits.DEFAULT,
    progress: Progress = silent,
) -> manifest.Manifest:
    """Builds a dataset into the folder `out` and returns its manifest.

    `recipe` is a recipe, the name of a shipped recipe, or the path of a file. `inputs` replace the
    files of the recipe's sources (`PATH` or `SOURCE=PATH`). The bytes written depend on the recipe
    and the input alone, not on `workers` or `engine`. `verify` is how a fast tokenizer library is
    watched, where one is installed: `audit` compares a sample of its ids with those of
    `tokenizers`, `full` compares all, and `off` does not use the library. `progress` is called with
    (step, done, total); a total of 0 is unknown. Raises a ChatdataError, and leaves nothing behind,
    where something is wrong.
    """
    recipe, one_in = as_recipe(recipe), audits.mode(verify).one_in
    with files.new_folder(Path(out), manifest.FILE) as new:
        found = input_files.locate(recipe, inputs)
        job = jobs.prepare(recipe, found, new / ".work")
        with engines.start(engine, min(workers, job.parts)) as running:
            done = _line(job, found, running, progress, one_in, new)
        ledger.check_dropped(done.counts, recipe.max_dropped)
        shutil.rmtree(job.work)
        return folder.describe(job, found, done, new)


def preview(recipe: Recipe | str | Path, *, inputs: Sequence[str] = ()) -> manifest.Manifest:
    """The manifest that a build of the first trees or conversations would have, without files.

    `recipe` is as for `build`. Writes nothing but temporary files, which it removes.
    """
    recipe = as_recipe(recipe)
    with tempfile.TemporaryDirectory(prefix="chatdata-") as work, engines.start("local", 1) as here:
        found = input_files.locate(recipe, inputs)
        job = jobs.prepare(recipe, found, Path(work))
        job = replace(job, first_groups=PREVIEW_GROUPS, parts=1)
        return folder.draft(job, found, _line(job, found, here, silent, None, None))


def _line(
    job: Job,
    found: Sequence[Input],
    running: engines.Workers,
    progress: Progress,
    one_in: int | None,
    out: Path | None,
) -> Done:
    """From sources to shards in `out`, where one is given, with the ledger balanced."""

    def each(
        step: str, function: Callable[[Job, Task], Result], tasks: Sequence[Task]
    ) -> Iterator[Result]:
        for number, result in enumerate(running.map(functools.partial(function, job), tasks)):
            yield result
            progress(step, number + 1, len(tasks))

    encoding = running.submit(functools.partial(jobs.choose_encoder, one_in=one_in), job)
    read, problems = reading.read(job, found, progress)
    shaped = list(each("dropping, threading", _shape, range(job.parts)))
    decided = global_pass.decide(job)
    tasks = [(part, decided.of_part(part)) for part in range(job.parts)]
    job = replace(_with_sample(job, shaped), encoding=encoding.result())
    try:
        finished, files = _write(job, each("splitting, rendering", _finish, tasks), problems, out)
    except EncoderDiffers as difference:
        job = jobs.without_fast(job, difference)
        finished, files = _write(job, each("again, by tokenizers", _finish, tasks), problems, out)
    read["conversations"] += sum(part.conversations for part in shaped)
    counts = ledger.add([*(part.counts for part in finished), reading.counts(read, problems)])
    _check_ids(finished)
    findings = Findings()
    for part in finished:
        findings.add(part.findings)
    cleaned = sum((part.cleaned for part in shaped), Cleaned())
    figures = sum((part.figures for part in shaped), job.figures)
    balanced = ledger.balance(read, counts)
    return Done(
        finished,
        balanced,
        files,
        findings,
        job.encoding,
        cleaned,
        figures,
        decided.near,
    )


def _write(
    job: Job, finished: Iterator[Finished], problems: pl.DataFrame, out: Path | None
) -> tuple[list[Finished], list[dict[str, Any]]]:
    """Writes parts as they are finished. Nothing is left where one of them fails."""
    if out is None:
        return list(finished), []
    output, results = folder.Output(job, out, problems), []
    try:
        for part, result in enumerate(finished):
            output.add(part)
            results.append(result)
    except BaseException:
        output.discard()
        raise
    return results, output.finish()


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
    read = [
        (source.format, _read(job, number, part))
        for number, source in enumerate(job.recipe.source.values())
    ]
    there = [(format, own) for format, own in read if own is not None]
    laid = [_lay(job, format, messages) for format, (messages, _, _) in there]
    cleaned = sum((counts for _, (_, counts, _) in there), Cleaned())
    figures = sum((figures for _, (_, _, figures) in there), FiguresByKey())
    messages = pl.concat([one.messages for one in laid] or [schema.empty(schema.MESSAGES)])
    events = [schema.empty(ledger.EVENTS), *(one.events for one in laid)]
    for drop in job.drops("conversation"):
        messages, happened = _drop_conversations(messages, drop)
        events.append(happened)
    messages.write_ipc(job.file("shaped", part))
    pl.concat(events).write_ipc(job.file("events", part))
    global_pass.write_keys(job, part, messages)
    came_to_be = sum(one.conversations for one in laid)
    kept = messages["conversation"].n_unique()
    return Shaped(part, came_to_be, kept, cleaned, figures)


def _read(job: Job, number: int, part: int) -> tuple[pl.DataFrame, Cleaned, FiguresByKey] | None:
    """What a source has in this part: cleaned, redacted, looked into where a filter asks for it."""
    frames = list(partitions.spooled(job.work / f"read-{number}", part))
    if not frames:
        return None
    messages, cleaned = clean.clean(pl.concat(frames), job.recipe.steps())
    messages, figures = annotate.annotate(job, messages)
    return messages, cleaned, figures


def _lay(job: Job, format: str, messages: pl.DataFrame) -> threads.Laid:
    drops = job.drops("message")
    listed = {drop.filter.name for drop in drops}
    always = [drop for drop in filters.always() if drop.filter.name not in listed]
    marked = filtering.mark(messages, [*always, *drops])
    is_tree = sources.get(format).SCHEMA is schema.NODES
    return (trees.lay if is_tree else threads.cut)(marked, job.recipe.threads)


def _drop_conversations(messages: pl.DataFrame, drop: Drop) -> tuple[pl.DataFrame, pl.DataFrame]:
    hit = messages.select(drop.expression()).to_series()
    gone = messages.filter(hit).unique("conversation", keep="first", maintain_order=True)
    return _without(messages, gone, pl.lit(drop.filter.name), pl.lit(None, pl.String))


def _without(
    messages: pl.DataFrame, gone: pl.DataFrame, reason: pl.Expr, detail: pl.Expr
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The messages without some conversations, and the events of what went."""
    if gone.is_empty():
        return messages, schema.empty(ledger.EVENTS)
    lost = ledger.events("conversation", gone, "conversation", reason, detail)
    kept = messages.join(gone, on="conversation", how="anti", maintain_order="left")
    return kept, pl.concat([lost, ledger.vanished(messages, kept, lost, "")])


# -------------------------------------------------------------------- second round: split, render


def _finish(job: Job, task: tuple[int, Decided]) -> Finished:
    """Drops repeats, splits, renders and lays out the rows of one part."""
    part, decided = task
    messages, repeated = _drop_repeats(pl.read_ipc(job.file("shaped", part)), decided)
    messages = _in_order(job, messages, decided)
    rendered, lost, findings, audit = None, schema.empty(ledger.EVENTS), Findings(), Audit()
    if job.recipe.render is not None:
        rendered, lost, findings, audit = _render(job, job.recipe.render, messages)
        messages = rendered.messages
    own = _rows(job, messages, rendered, decided)
    earlier = pl.read_ipc(job.file("events", part))
    events = ledger.follow(pl.concat([earlier, repeated, lost, _kept_events(messages, own)]))
    partitions.save(ledger.entries(events).to_arrow().cast(shards.LEDGER), job.file("ledger", part))
    for kind, name, table in own.tables():
        partitions.save(table, job.file(f"{kind}-{name}", part))
    languages = Counter(lang or "unknown" for lang in own.messages["lang"].to_pylist())
    by_source = Counter(own.messages["source"].to_pylist())
    leaking = split.leaking_groups(pl.Series(own.messages["group"]), own.splits)
    return Finished(
        ledger.tally(events),
        own.totals(),
        own.sizes(),
        own.digests(),
        languages,
        by_source,
        leaking,
        findings,
        audit,
    )


def _drop_repeats(messages: pl.DataFrame, decided: Decided) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Drops what is decided over all parts, one reason after the other."""
    happened = [schema.empty(ledger.EVENTS)]
    first = messages.unique("conversation", keep="first", maintain_order=True)
    for repeats in decided.removed.partition_by("reason", maintain_order=True):
        gone = first.join(repeats, on="conversation", maintain_order="left")
        messages, events = _without(messages, gone, pl.col("reason"), pl.col("detail"))
        happened.append(events)
    return messages, pl.concat(happened)


def _in_order(job: Job, messages: pl.DataFrame, decided: Decided) -> pl.DataFrame:
    """The messages in the order in which they are published, those of the test split last."""
    order = hash_column(messages["group"], "order")
    splits = _splits(job, _at_home(messages["group"], decided))
    ordered = messages.with_columns(order=order, split=splits)
    ordered = ordered.sort("split", "order", "conversation", "position")
    return ordered.select(schema.MESSAGES.keys())


def _at_home(groups: pl.Series, decided: Decided) -> pl.Series:
    """The groups, or in their place the group whose split they take."""
    own = decided.homes
    return groups.replace(own["group"], own["home"])


def _splits(job: Job, groups: pl.Series) -> pl.Series:
    percent = job.recipe.split.test_percent if job.recipe.split else 0
    return split.split_of(groups, percent).cast(pl.Enum(split.SPLITS))


def _render(
    job: Job, options: Render, messages: pl.DataFrame
) -> tuple[Rendered, pl.DataFrame, Findings, Audit]:
    """The rows of tokens, the events of the messages that have none, what the certificate finds
    in a sample of the rows, chosen by a hash of their ids, and what was audited."""
    tokenizer = job.load_tokenizer(options)
    encoder = job.encoder(tokenizer)
    texts = Texts(tokenizer, encoder)
    fitted = fit(messages, texts, options)
    once = job.recipe.threads.train_once
    learnt = threads.train_once(fitted.messages) if once else fitted.messages
    rendered = render(learnt, fitted.windows, texts, options)
    ids = pl.Series(rendered.ids, dtype=pl.String)
    chosen = fraction_column(ids, "certificate") < job.sample
    findings = certificate.examine(rendered, tokenizer, options.train_on, chosen)
    certificate.demand(findings, tokenizer)
    return rendered, pl.concat([fitted.events, rendered.events]), findings, encoder.audit


def _rows(
    job: Job, messages: pl.DataFrame, rendered: Rendered | None, decided: Decided
) -> rows.Rows:
    at_home = _at_home(messages["group"], decided)
    published = rows.message_rows(messages.with_columns(at_home))
    splits = _splits(job, pl.Series(published["group"])).cast(pl.String)
    if rendered is None:
        return rows.Rows(published, None, np.empty(0, np.int64), splits)
    return rows.Rows(published, rows.token_rows(rendered), rows.owners(published, rendered), splits)


def _kept_events(messages: pl.DataFrame, own: rows.Rows) -> pl.DataFrame:
    """Events of what is published: each row, and each message in the first row that holds it."""
    nothing = pl.lit(None, pl.String)
    first = messages.unique(schema.MESSAGE_KEY, keep="first", maintain_order=True)
    conversations = messages.unique("conversation", keep="first", maintain_order=True)
    where = pl.concat_str(pl.lit("in "), pl.lit(own.splits), pl.lit(own.several()))
    return pl.concat(
        [
            ledger.events("message", first, "message", nothing),
            ledger.events("conversation", conversations, "conversation", nothing, where),
        ]
    )
