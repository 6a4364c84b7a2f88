"""The preparation of a build: plans its parts, and proves the template before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from chatdata import hub
from chatdata.core.errors import ConfigError, SourceError
from chatdata.pipeline import encoders, partitions
from chatdata.pipeline.context import BuildContext, TokenizerSource
from chatdata.pipeline.inputs import Input, forget_list, option_files, without_paths
from chatdata.pipeline.partitions import PartitionFiles
from chatdata.pipeline.recipe import Recipe
from chatdata.render import certificate
from chatdata.render import tokenizer as tokenizers
from chatdata.render.templates import TEMPLATES
from chatdata.steps import filtering, joining, redact
from chatdata.steps.figures import Figures, FiguresByKey

PART_BYTES = 8 * 2**20  # of input, at most about
_MOST_PARTS = 2**14  # each has files in one folder, of which some are mapped together
_START = 1 << 20  # bytes of a file, by which its messages are counted
_ROW_BYTES = 300  # of a message in memory, beside its words, about


def prepare(recipe: Recipe, inputs: Sequence[Input], folder: Path, parts: int) -> BuildContext:
    """The context of a build in so many parts, whose tables in between go into `folder`.

    Raises RenderError where the template cannot be rendered exactly with the tokenizer, and
    ConfigError or SourceError where a file that the recipe names cannot be used.
    """
    files = PartitionFiles(folder, parts, partitions.per_bucket(parts))
    folder.mkdir(exist_ok=True)
    figures = _prepare_columns(recipe, files.columns)
    listed = forget_list(recipe.forget)
    if listed.files:
        pl.DataFrame({"id": listed.ids}, {"id": pl.String}).write_ipc(files.forget)
    context = BuildContext(
        recipe=without_paths(recipe, inputs), files=files, figures=figures, forget=listed.files
    )
    return context if recipe.render is None else with_tokenizer(context)


def parts_of(inputs: Sequence[Input]) -> int:
    """The number of parts of an input."""
    return parts_for(sum(_text_size(file.path) for source in inputs for file in source.files))


def parts_for(size: int) -> int:
    """The number of parts of so many bytes of text: a power of two, so that a little more input
    leaves the parts as they are, and what is kept of them."""
    return min(_MOST_PARTS, 1 << max(0, (size - 1) // PART_BYTES).bit_length())


def _prepare_columns(recipe: Recipe, folder: Path) -> FiguresByKey:
    """Prepares what makes the columns of filters. Returns the figures of no messages at all."""
    nothing: dict[str, Figures] = {
        **({redact.KEY: redact.Secrets()} if recipe.redact else {}),
        **({joining.KEY: joining.Pieces()} if recipe.threads.join else {}),
    }
    figures = FiguresByKey(nothing)
    drops = [drop for drop in recipe.drops() if drop.filter.column]
    files = {drop.filter.name: option_files(drop) for drop in drops}
    return figures + filtering.prepare_columns(drops, files, folder)


def _text_size(path: Path) -> int:
    """The size of a file in bytes, unpacked, as a guess; short messages weigh as rows do."""
    if not path.is_file():
        return 0
    packed = {".gz": 4, ".parquet": 3}.get(path.suffix, 1)
    with path.open("rb") as file:
        start = file.read(_START)
    objects = start.count(b"{") * path.stat().st_size // max(1, len(start))
    return max(path.stat().st_size * packed, objects * _ROW_BYTES)


def with_tokenizer(context: BuildContext) -> BuildContext:
    """The context with its tokenizer, and with what the certificate finds in the probes.

    Raises RenderError where the template cannot be rendered exactly with the tokenizer.
    """
    options = context.recipe.render
    assert options is not None
    folder, name = find_tokenizer(options.tokenizer)
    options = options.model_copy(update={"tokenizer": name})
    template = TEMPLATES[options.template]
    folder = template.prepare(folder, name, options, context.files.tokenizer)
    source = TokenizerSource(folder, name, options)
    return replace(
        context,
        recipe=context.recipe.model_copy(update={"render": options}),
        tokenizer=source,
        probes=certificate.certify(encoders.load_tokenizer(source), options),
    )


def find_tokenizer(spec: str) -> tuple[Path | None, str]:
    """The folder of a tokenizer and its name: built in, local, or `org/name[@revision]`."""
    path = Path(spec).expanduser()
    if spec == tokenizers.BYTES:
        return None, spec
    if path.exists():
        return path.resolve(), path.resolve().name
    repo, _, revision = spec.partition("@")
    if repo.count("/") != 1 or repo.startswith((".", "/", "~")):
        raise ConfigError(
            f"there is no tokenizer '{spec}'; write `bytes`, a folder, or a Hub repository "
            "(org/name)."
        )
    try:
        return hub.fetch(repo, revision or None, tokenizers.FILES, "model")[0], spec
    except SourceError as error:
        raise ConfigError(f"tokenizer: {error} For example --set render.tokenizer=PATH.") from None
