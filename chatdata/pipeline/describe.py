"""What tells what a built dataset is: recipe, tokenizer, card, and last the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chatdata.core import config, template_variables, train_parts
from chatdata.core.constants import RECIPE_FILE, SPLITS, TOKENIZER_FOLDER
from chatdata.core.hashing import sha256_file, sha256_pairs
from chatdata.dataset import card, histogram, manifest, pack, plots, schemas, tables
from chatdata.dataset.entries import (
    Count,
    Counts,
    FileEntry,
    Leakage,
    PairsEntry,
    PairTokensEntry,
    RankedEntry,
    RecipeEntry,
    RenderingCounts,
    RenderingEntry,
    Share,
    SourceFile,
    Splits,
)
from chatdata.dataset.histogram import Histogram
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.plots import Drawn
from chatdata.pipeline import encoders, extended
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.recipe import Recipe
from chatdata.pipeline.stats import BuildResult, PartStats
from chatdata.render import certificate
from chatdata.render.entries import (
    EncoderEntry,
    ParityEntry,
    RenderEntry,
    TemplateEntry,
    TokenizerEntry,
)
from chatdata.steps import joining, keeping, labels, secrets


def describe(
    context: BuildContext, sources: Sequence[SourceFile], result: BuildResult, folder: Path
) -> Manifest:
    """Writes recipe, tokenizer, plots, card, and last the manifest, into the folder of a build.

    Returns the manifest.
    """
    return complete(context, draft(context, sources, result), folder)


def complete(
    context: BuildContext, described: Manifest, folder: Path, drawn: Drawn | None = None
) -> Manifest:
    """Writes what tells of a folder: recipe, tokenizer, packs, plots, card, and last the manifest.

    `described` is the manifest without these, and `drawn` the plots that need no drawing. Returns
    the whole manifest.
    """
    recipe = config.dump_yaml(context.recipe.resolved())
    (folder / RECIPE_FILE).write_text(recipe, encoding="utf-8")
    extras = [folder / RECIPE_FILE]
    if context.tokenizer is not None:
        extras += encoders.load_tokenizer(context.tokenizer).save(folder / TOKENIZER_FOLDER)
    if context.recipe.pack:
        packs = pack.write_indexes(folder, described.files, context.recipe.pack.max_tokens)
        described = described.model_copy(update={"packs": packs})
    extras += plots.write(folder, described, drawn)
    entries = tuple(
        FileEntry(path=path.relative_to(folder).as_posix(), sha256=sha256_file(path))
        for path in extras
    )
    described = described.model_copy(update={"extras": entries})
    for name, text in card.pages(described).items():
        (folder / name).write_text(text, encoding="utf-8")
    manifest.write(folder, described)
    return described


def draft(context: BuildContext, sources: Sequence[SourceFile], result: BuildResult) -> Manifest:
    """The manifest of a build, without what `describe` adds."""
    recipe, stats = context.recipe, result.stats
    figures = (*_FIGURES, *_TOKEN_FIGURES) if recipe.render else _FIGURES
    splits = _splits(stats, figures)
    described = Manifest(
        name=recipe.name,
        version=recipe.version,
        about=recipe.about,
        license=recipe.publish.license if recipe.publish else None,
        format=manifest.FORMAT,
        content_hash=result.content_hash,
        recipe_hash=recipe.hash(),
        recipe=RecipeEntry.model_validate(recipe.resolved()),
        sources=_with_shapes(sources, result),
        counts=Counts.model_validate(result.counts),
        cleaned=stats.cleaned.entry(),
        splits=splits,
        languages=_languages(stats),
        lengths=_lengths(stats),
        shares=_shares(recipe, stats, result.epochs),
        language_disagreements=stats.figures.entry("language_disagreements"),
        secrets=stats.figures.entry("secrets"),
        near_duplicates=result.near_duplicates or None,
        contamination=stats.figures.entry("contamination"),
        labels=stats.figures.entry(labels.KEY),
        pieces=stats.figures.entry(joining.KEY),
        kept_by_hand=stats.figures.entry(keeping.KEY),
        leakage=Leakage(groups_in_both=stats.leaking_groups),
        render=_render_entry(context, result, splits),
        files=result.files,
        versions=manifest.versions(_packages(recipe)),
    )
    return described.model_copy(update=_where_there_is_any(context, result))


def _where_there_is_any(context: BuildContext, result: BuildResult) -> dict[str, Any]:
    """The fields of a manifest that stand in it only where a build has what they tell of."""
    stats = result.stats
    noted = {
        "not_read": result.read.not_read if result.read else None,
        "repeats": stats.repeats,
        "extensions": extended.entries(context.recipe),
        "forgotten": result.forgotten,
    }
    fields = _optional(stats, optional_columns(stats))
    fields |= {key: value for key, value in noted.items() if value}
    if result.answers is not None:
        fields["pairs"] = _pairs_entry(stats, result.answers)
        fields["ranked"] = _ranked_entry(stats)
        fields |= _pair_tokens(context, stats)
    return fields


def _with_shapes(files: Sequence[SourceFile], result: BuildResult) -> tuple[SourceFile, ...]:
    """The files with the shapes that were recognised in them, or in what they hold."""
    shapes = result.read.shapes if result.read else {}
    return tuple(_with_shape(file, shapes.get(file.name, {})) for file in files)


def _with_shape(file: SourceFile, shapes: Mapping[str, str]) -> SourceFile:
    inside = [shape for path, shape in shapes.items() if path.startswith(f"{file.path}/")]
    names = dict.fromkeys([shapes[file.path]] if file.path in shapes else inside)
    return file.model_copy(update={"shape": ", ".join(names)}) if names else file


def redraft(context: BuildContext, before: Manifest, result: BuildResult) -> Manifest:
    """The manifest of a folder whose rows of tokens were made again, without what `complete` adds.

    What is known of the sources alone stays as it stands in `before`.
    """
    recipe, stats = context.recipe, result.stats
    splits = _splits(stats, (*_FIGURES, *_TOKEN_FIGURES))
    made_by = manifest.versions([*_PACKAGES, *_RENDERING_PACKAGES])
    changed = {
        "format": manifest.FORMAT,
        "content_hash": result.content_hash,
        "recipe_hash": recipe.hash(),
        "recipe": RecipeEntry.model_validate(recipe.resolved()),
        "counts": Counts.model_validate(result.counts),
        "splits": splits,
        "languages": _languages(stats),
        "lengths": _lengths(stats),
        "render": _render_entry(context, result, splits),
        "files": result.files,
        "versions": {**before.versions, **made_by},
        "extras": (),
    }
    changed |= _optional(stats, tables.optional_columns_of(before))
    if before.pairs is not None:
        changed |= _pair_tokens(context, stats)
    if before.packs:
        changed["packs"] = ()
    if before.renders:
        changed["renders"] = {}
    if before.kept_by_hand is not None:
        changed["kept_by_hand"] = stats.figures.entry(keeping.KEY)
    if before.shares is not None:
        epochs = {share.source: share.epochs for share in before.shares if share.epochs is not None}
        changed["shares"] = _shares(recipe, stats, epochs)
    if before.repeats is not None:
        changed["repeats"] = stats.repeats
    return before.model_copy(update=changed)


def rendering_entry(context: BuildContext, result: BuildResult) -> RenderingEntry:
    """What the manifest says of a rendering that is added to a folder."""
    assert context.recipe.render is not None
    stats = result.stats
    splits = _splits(stats, ("rows", *_TOKEN_FIGURES))
    render = _render_entry(context, result, splits)
    assert render is not None
    lengths = {name: sizes for name, sizes in _lengths(stats).items() if name in _TOKEN_LENGTHS}
    return RenderingEntry(
        options=context.recipe.render.model_dump(mode="json"),
        content_hash=result.content_hash,
        counts=RenderingCounts.model_validate(result.counts),
        splits=splits,
        lengths=lengths,
        render=render,
        versions=manifest.versions([*_ROW_PACKAGES, *_RENDERING_PACKAGES]),
    )


_FIGURES = ("rows", "messages", "bytes")  # of a split
_TOKEN_FIGURES = ("token_rows", "tokens", "trained_tokens")
_TOKEN_LENGTHS = ("tokens", "trained_tokens")
_ROW_PACKAGES = ("polars", "pyarrow")
_PACKAGES = (*_ROW_PACKAGES, plots.PACKAGE)  # that every build uses
_RENDERING_PACKAGES = ("tokenizers",)


def _splits(stats: PartStats, figures: Sequence[str]) -> Splits:
    totals = stats.totals.by_split
    return Splits.model_validate(
        {name: {figure: totals[name][figure] for figure in figures} for name in SPLITS}
    )


def _languages(stats: PartStats) -> dict[str, int]:
    """The rows in each language, the most frequent language first."""
    return dict(sorted(stats.languages.items(), key=lambda item: (-item[1], item[0])))


def optional_columns(stats: PartStats) -> frozenset[str]:
    """The optional columns of a dataset: what a conversation has after the first pass."""
    return tables.optional_columns(
        variables=stats.with_variables > 0,
        weights=stats.with_weights > 0,
        parts=stats.with_parts > 0,
    )


def _optional(stats: PartStats, columns: frozenset[str]) -> dict[str, Any]:
    """The figures of the optional columns of a dataset."""
    figures: dict[str, Any] = {}
    if template_variables.KEY in columns:
        figures["variables"] = dict(sorted(stats.variables.items()))
    if schemas.WEIGHT in columns:
        figures["weighted_messages"] = stats.weighted_messages
    if train_parts.KEY in columns:
        figures["messages_in_parts"] = stats.messages_in_parts
    return figures


def _pairs_entry(stats: PartStats, answers: Mapping[str, Any]) -> PairsEntry:
    return PairsEntry(
        content_hash=sha256_pairs(pair for part in stats.pair_digests for pair in part),
        splits=Splits.model_validate(stats.pair_totals.by_split),
        questions=stats.questions,
        answers=Count.model_validate(answers),
    )


def _ranked_entry(stats: PartStats) -> RankedEntry:
    return RankedEntry(
        content_hash=sha256_pairs(row for part in stats.ranked_digests for row in part),
        splits=Splits.model_validate(stats.ranked_totals.by_split),
    )


def _pair_tokens(context: BuildContext, stats: PartStats) -> dict[str, PairTokensEntry]:
    """What the manifest says of the rows of tokens of pairs, where the recipe renders."""
    if context.tokenizer is None:
        return {}
    by_number = sorted(stats.pairs_without_tokens.items(), key=lambda item: (-item[1], item[0]))
    entry = PairTokensEntry(
        content_hash=sha256_pairs(pair for part in stats.pair_token_digests for pair in part),
        splits=Splits.model_validate(stats.pair_token_totals.by_split),
        left_out=dict(by_number),
        compared=ParityEntry.model_validate(stats.pair_parity.counts()),
    )
    return {"pair_tokens": entry}


def _shares(
    recipe: Recipe, stats: PartStats, epochs: Mapping[str, float]
) -> tuple[Share, ...] | None:
    """What each source gave, where a recipe has several or limits the one it has."""
    sources = {options.name or key: options for key, options in recipe.source.items()}
    if len(sources) < 2 and all(options.cap is None for options in sources.values()):
        return None
    return tuple(
        Share(
            source=name,
            rows=stats.sources[name],
            share=round(stats.sources[name] / max(1, stats.sources.total()), 4),
            weight=options.weight,
            cap=options.cap,
            license=options.license,
            **_mixed(recipe, stats, name, epochs),
        )
        for name, options in sources.items()
    )


def _mixed(
    recipe: Recipe, stats: PartStats, source: str, epochs: Mapping[str, float]
) -> dict[str, Any]:
    """The figures of a source that stand in the manifest where the recipe has `mix`."""
    if recipe.mix is None:
        return {}
    nothing = dict.fromkeys(("tokens", "trained_tokens"), 0) if recipe.render else {}
    tokens = stats.source_tokens.by_split.get(source, nothing)
    return {"epochs": epochs.get(source, 0.0), **tokens}


def _lengths(stats: PartStats) -> dict[str, Histogram]:
    """How long conversations and rows of tokens are."""
    return {name: histogram.describe(stats.lengths.each(name)) for name in stats.lengths.by_name}


def _render_entry(context: BuildContext, result: BuildResult, splits: Splits) -> RenderEntry | None:
    if context.tokenizer is None or context.probes is None:
        return None
    options, tokenizer = context.tokenizer.options, encoders.load_tokenizer(context.tokenizer)
    return RenderEntry(
        template=TemplateEntry.model_validate(tokenizer.template.facts()),
        tokenizer=TokenizerEntry(
            name=tokenizer.name,
            sha256=tokenizer.sha256,
            control_ids=tokenizer.control_ids(),
            stop_ids=tuple(tokenizer.stops()),
        ),
        train_on=options.model_dump(mode="json")["train_on"],
        max_tokens=options.max_tokens,
        overflow=options.overflow,
        token_rows=splits.total("token_rows"),
        tokens=splits.total("tokens"),
        trained_tokens=splits.total("trained_tokens"),
        **result.stats.unknown.entry(tokenizer),
        certificate=certificate.manifest_entry(
            context.probes, result.stats.parity, tokenizer, _encoder_entry(result)
        ),
    )


def _encoder_entry(result: BuildResult) -> EncoderEntry:
    """What made the ids, and what of them was compared with `tokenizers`."""
    encoder = result.encoder
    entry: dict[str, Any] = {"name": encoder.name}
    if encoder.remark:
        entry["remark"] = encoder.remark
    if encoder.is_fast:
        entry["audit"] = {"one_in": encoder.one_in, **result.stats.audit.counts()}
    return EncoderEntry(**entry)


def _packages(recipe: Recipe) -> list[str]:
    """The packages whose version may change the bytes of this build."""
    packages = [*_PACKAGES]
    packages += _RENDERING_PACKAGES if recipe.render else []
    packages += secrets.PACKAGES if recipe.redact else []
    packages += [package for step in recipe.steps() for package in step.cleaner.packages]
    packages += [package for drop in recipe.drops() for package in drop.filter.packages]
    packages += extended.packages(recipe)
    return packages
