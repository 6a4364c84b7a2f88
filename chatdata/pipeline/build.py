"""A build: source, messages, drop, thread, split, render, write. The only module that composes.

A build runs in parts. Reading spreads messages over parts by a hash of their group, so a part
holds whole trees and whole conversations. Each part is then a pure function of its messages and
the recipe; what must see everything (duplicates) is decided between two passes over the parts,
in `global_pass`. Parts follow each other in the order of that hash, and rows within a part too, so
neither the number of parts nor of workers shows in the output.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from chatdata.core import disk, files, ledger, tallies
from chatdata.core.errors import BuildError
from chatdata.dataset import dropped, manifest, replacing, tables
from chatdata.dataset.entries import ShardEntry
from chatdata.pipeline import (
    digests,
    downloads,
    encoders,
    engines,
    global_pass,
    reading,
    spill,
    spreading,
    stages,
)
from chatdata.pipeline.context import BuildContext, EncoderChoice
from chatdata.pipeline.describe import describe, optional_columns
from chatdata.pipeline.find import as_recipe
from chatdata.pipeline.global_pass import GlobalDecisions
from chatdata.pipeline.input_files import look_at, refuse_input_in
from chatdata.pipeline.inputs import Input, locate, with_replaced_files
from chatdata.pipeline.output import OutputWriter
from chatdata.pipeline.prepare import parts_of, prepare
from chatdata.pipeline.progress import Progress, silent
from chatdata.pipeline.reading import ReadResult
from chatdata.pipeline.recipe import Recipe
from chatdata.pipeline.runner import Runner, store_of
from chatdata.pipeline.stats import BuildResult, PairDigests, PartStats, total
from chatdata.render import certificate
from chatdata.render.encoding import audit
from chatdata.render.encoding.encoder import EncoderDiffers
from chatdata.steps import labels, split
from chatdata.steps.entries import ForgottenEntry
from chatdata.steps.forgetting import ForgetList


def build(
    recipe: Recipe | str | Path,
    out: str | Path,
    *,
    inputs: Sequence[str] = (),
    input_license: str | None = None,
    workers: int = 1,
    engine: str = "local",
    verify: str = audit.DEFAULT,
    force: bool = False,
    keep_dropped: bool = True,
    progress: Progress = silent,
    cache: bool = True,
    reused: Progress = silent,
) -> manifest.Manifest:
    """Builds a dataset into the folder `out`, which may be a URL, and returns its manifest.

    `recipe` is a recipe, the name of a shipped recipe, or the path of a file. `inputs` replace the
    files of the recipe's sources (`PATH` or `SOURCE=PATH`); what the recipe states as their licence
    is replaced by `input_license`. The bytes written depend on the recipe
    and the input alone, not on `workers` or `engine`. `verify` is how a fast tokenizer library is
    watched, where one is installed: `audit` compares a sample of its ids with those of
    `tokenizers`, `full` compares all, and `off` does not use the library. An `out` that holds the
    same build is replaced, but for what its users have put into it; `force` replaces any build.
    The words of what is dropped are kept in the folder `dropped`, which is never published, unless
    `keep_dropped` is false. `progress` is called with (step, done, total); a total of 0 is unknown.
    What stages make of parts is kept in the user's cache, and taken from it, unless `cache` is
    false; `reused` is called with (stage, parts from the cache, all parts).
    Raises a ChatdataError, and leaves nothing behind, where something is wrong.
    """
    stated = with_replaced_files(as_recipe(recipe), inputs, input_license)
    with downloads.writing(out, progress) as folder:
        return build_as_stated(
            stated,
            folder,
            inputs=inputs,
            workers=workers,
            engine=engine,
            verify=verify,
            force=force,
            keep_dropped=keep_dropped,
            progress=progress,
            cache=cache,
            reused=reused,
        )


def build_as_stated(
    recipe: Recipe,
    out: str | Path,
    *,
    inputs: Sequence[str] = (),
    workers: int = 1,
    engine: str = "local",
    verify: str = audit.DEFAULT,
    force: bool = False,
    keep_dropped: bool = True,
    progress: Progress = silent,
    cache: bool = True,
    reused: Progress = silent,
) -> manifest.Manifest:
    """What `build` does, of a recipe whose licences hold for `inputs` too."""
    one_in = audit.mode(verify).one_in
    with downloads.kept(), replacing.new_dataset(Path(out)) as folder:
        located = locate(recipe, inputs)
        refuse_input_in(Path(out), located)
        parts = parts_of(located)
        with engines.start(engine, min(workers, parts)) as running:  # they start meanwhile
            given = look_at(located)
            disk.check_room(folder.parent, spill.least(recipe, given))
            context = prepare(recipe, located, folder / ".work", parts)
            context = replace(context, keeps_dropped=keep_dropped)
            stated = context.recipe.resolved()
            replacing.check_same(Path(out), stated, given.entries, is_forced=force)
            runner = Runner(running, progress, store_of(recipe) if cache else None, reused)
            result = run_pipeline(context, located, runner, one_in, folder)
        if runner.store is not None:
            runner.store.cache.tidy()
        _check_dropped(result, recipe, folder)
        check_splits(recipe, result.stats.totals.by_split)
        _check_pairs(recipe, result.answers)
        given.check_unchanged()
        with files.removing(context.files.folder):
            described = describe(context, given.entries, result, folder)
        replacing.keep_words(Path(out), folder)
        return described


def _check_dropped(result: BuildResult, recipe: Recipe, folder: Path) -> None:
    """Raises BuildError where too much was dropped, with an example of each reason in its notes."""
    try:
        tallies.check_dropped(result.counts, recipe.max_dropped, tables.LEDGER.files_in(folder))
    except BuildError as error:
        for line in dropped.examples(folder):
            error.add_note(line)
        raise


def check_splits(recipe: Recipe, splits: Mapping[str, Mapping[str, int]]) -> str | None:
    """What is to be said of a split that has no rows by chance, or since conversations that are
    alike share a split; None where both have some.

    Raises BuildError where it is neither.
    """
    percent = recipe.split.test_percent if recipe.split else 0
    rows = {name: figures["rows"] for name, figures in splits.items()}
    empty = split.empty_split(rows, percent)
    if empty is None or empty.is_chance:
        return empty.words if empty else None
    tied = [drop.filter.name for drop in recipe.drops() if drop.options.get("keep") == "all"]
    if not 1 <= percent <= 99:
        raise BuildError(empty.words)
    if not tied:
        raise BuildError(
            f"{empty.words} Conversations of a group share a split: those of a tree, and of "
            "ShareGPT those of one name with numbers (talk_0, talk_1)."
        )
    return (
        f"{empty.words} Where nearly all conversations are alike, they share a split by "
        f"`{tied[0]}`; without it in `drop` they do not."
    )


def run_pipeline(
    context: BuildContext,
    inputs: Sequence[Input],
    runner: Runner,
    one_in: int | None,
    out: Path | None,
) -> BuildResult:
    """The result of a build, from sources to shards in `out`, where it is given.

    `one_in` is how many texts there are to one that `tokenizers` encodes too; None: a fast encoder
    is not used.
    """
    read = reading.read(context, inputs, runner.workers, runner.progress)
    spreading.spread_buckets(context.files, len(inputs), runner)
    encoder = _choose_encoder(context, runner, one_in)
    first = _first_pass(context, runner)
    context.files.remove_messages(len(inputs))
    if read.is_whole:
        _check_named(context.recipe.keep, first, read)
        _check_labels(context.recipe, first)
    decisions = _decide(context, runner, first, encoder)
    context = replace(
        context,
        encoder=encoder.result(),
        sample=_sample(first),
        columns=optional_columns(first),
    )
    written = _second_pass(context, runner, decisions, read, out)
    stats = first + written.stats
    return BuildResult(
        stats=stats,
        content_hash=stats.digests.content_hash(context.files),
        counts=_balance(read, stats),
        answers=_answers(context.recipe, stats),
        files=written.files,
        encoder=written.encoder,
        near_duplicates=decisions.near_duplicates,
        epochs=decisions.epochs,
        forgotten=_forgotten(context, first, read),
        read=read,
    )


def _first_pass(context: BuildContext, runner: Runner) -> PartStats:
    parts = runner.run("dropping, threading", stages.FIRST, context, context.parts)
    return PartStats(figures=context.figures) + total(parts)


def _choose_encoder(
    context: BuildContext, runner: Runner, one_in: int | None
) -> Future[EncoderChoice]:
    """The encoder of a build, which a worker chooses as the first of what it does."""
    choose = functools.partial(encoders.choose_encoder, one_in=one_in)
    return runner.workers.submit(choose, replace(context, store=runner.store))


def _decide(
    context: BuildContext, runner: Runner, first: PartStats, encoder: Future[EncoderChoice]
) -> GlobalDecisions:
    """What is decided of all parts together: repeats, near ones too, and the shares of sources."""
    kept_by_hand = [*context.recipe.keep, *first.kept]
    counted = functools.partial(_counted, context, runner, encoder, _sample(first))
    repeats = functools.partial(runner.run_here, stages.REPEATS, context)
    return global_pass.decide(context, kept_by_hand, counted, repeats)


def _counted(
    context: BuildContext,
    runner: Runner,
    encoder: Future[EncoderChoice],
    sample: float,
    removed: pl.DataFrame,
) -> pl.DataFrame:
    """The `tokens` and `trained_tokens` of the conversations that are not removed."""
    tasks = [(part, removed.filter(part=part)) for part in context.parts]

    def count(context: BuildContext) -> pl.DataFrame:
        return pl.concat(runner.run("counting tokens", stages.COUNT, context, tasks))

    context = replace(context, encoder=encoder.result(), sample=sample)
    try:
        return count(context)
    except EncoderDiffers as difference:
        return count(encoders.without_fast(context, difference))


def _check_named(keep: Sequence[str], first: PartStats, read: ReadResult) -> None:
    """Raises BuildError where an id of `keep` names nothing that could be read: a name that means
    nothing is a mistake, and nobody would see that what was meant is dropped."""
    for id in keep:
        if id in first.named:
            continue
        if (row := read.problems.find(id)) is not None:
            raise BuildError(
                f"keep names '{id}', which could not be read ({row['reason']}: {row['detail']}), "
                "and so cannot be kept; mend the file, or take the id out of `keep`."
            )
        raise BuildError(
            f"keep names '{id}', and no message or conversation has this id; take it out of "
            "`keep`, or write an id as the ledger does (`chatdata explain OUT ID`)."
        )


def _forgotten(context: BuildContext, first: PartStats, read: ReadResult) -> ForgottenEntry | None:
    """What the manifest says of the ids that the recipe takes out; None where it takes out none."""
    if not context.forget:
        return None
    known = first.forgotten if read.is_whole else None
    return ForgetList(tuple(context.forget_ids()), context.forget).entry(known)


def _check_labels(recipe: Recipe, first: PartStats) -> None:
    """Raises BuildError where the filter of labels names some that no message has."""
    for drop in recipe.drops():
        if drop.filter.name == labels.KEY:
            unknown = labels.unknown(drop.options, first.figures.entry(labels.KEY))
            if unknown:
                raise BuildError(unknown)


def _sample(first: PartStats) -> float:
    """The share of the rows that gives the certificate about SAMPLE of them."""
    return certificate.sample_share(first.threaded)


@dataclass(frozen=True, slots=True)
class _Written:
    """The rows of all parts: their figures, the files, and the encoder that made all ids."""

    stats: PartStats
    files: tuple[ShardEntry, ...]
    encoder: EncoderChoice


def _second_pass(
    context: BuildContext,
    runner: Runner,
    decisions: GlobalDecisions,
    read: ReadResult,
    out: Path | None,
) -> _Written:
    """Runs the second pass, once more by `tokenizers` alone where a fast encoder differs."""
    tasks = [(part, decisions.of_part(part)) for part in context.parts]

    def run(step: str, context: BuildContext) -> _Written:
        parts = runner.run(step, stages.SECOND, context, tasks)
        return _write(context, parts, read, out, runner)

    try:
        return run("splitting, rendering", context)
    except EncoderDiffers as difference:
        return run("again, by tokenizers", encoders.without_fast(context, difference))


def _write(
    context: BuildContext,
    parts: Iterable[PartStats],
    read: ReadResult,
    out: Path | None,
    runner: Runner,
) -> _Written:
    """Writes parts as they come. Nothing is left where a part fails."""
    if out is None:
        return _Written(total(parts), (), context.encoder)
    written = (*tables.TABLES, tables.DROPPED) if context.keeps_dropped else tables.TABLES
    with OutputWriter(context, out, written, runner).all_or_nothing() as shards:
        for entries in read.problems.entries():
            shards.add_rows(tables.LEDGER, tables.LEDGER.splits[0], entries)
        if context.keeps_dropped:
            shards.add_file(tables.DROPPED, context.files.problems)
        stats = shards.add_all(parts)
        return _Written(stats, shards.finish(), context.encoder)


def _balance(read: ReadResult, stats: PartStats) -> tallies.Counts:
    """The counts of the ledger. Raises BuildError where they do not add up."""
    conversations = read.units["conversations"] + stats.conversations
    units = {**read.units, "conversations": conversations}
    return tallies.balance(units, stats.tally + read.tally())


def _answers(recipe: Recipe, stats: PartStats) -> Mapping[str, Any] | None:
    """What became of the answers of trees, where a recipe makes pairs of them. Raises BuildError
    where the counts do not add up."""
    if recipe.threads.pairs is None:
        return None
    _check_ids(stats.pair_digests, "pairs")
    unit = f"{ledger.ANSWER}s"
    return tallies.balance({unit: stats.answers}, stats.tally, [unit])[unit]


def _check_pairs(recipe: Recipe, answers: Mapping[str, Any] | None) -> None:
    """Raises BuildError where a recipe makes pairs and none is left."""
    if answers is None or answers["kept"]:
        return
    reasons = ", ".join(f"{number} {reason}" for reason, number in answers["dropped"].items())
    raise BuildError(
        f"threads.pairs is {recipe.threads.pairs}, and no pair is left of the {answers['read']} "
        f"answers in trees of source '{', '.join(recipe.source)}'"
        f"{f' ({reasons})' if reasons else ''}; name a source with ranks, or leave `pairs` out."
    )


def _check_ids(parts: Iterable[PairDigests], what: str) -> None:
    """Raises BuildError where two rows of pairs have the same id."""
    for id, times in Counter(id for part in parts for id, _ in part).most_common(1):
        if times > 1:
            raise digests.same_id(id, times, what)
