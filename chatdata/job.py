"""What every part of a build has to know, and what it hands back."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from chatdata import certificate, hub, ledger
from chatdata import tokenizer as tokenizers
from chatdata.certificate import Findings
from chatdata.errors import ConfigError, SourceError
from chatdata.filters import Drop, Unit
from chatdata.inputs import Input, without_paths
from chatdata.recipe import Recipe
from chatdata.render import Render
from chatdata.templates import TEMPLATES
from chatdata.tokenizer import Tokenizer

PART_BYTES = 16 * 2**20  # of input, about
_MOST_PARTS = 1024


@dataclass(frozen=True, slots=True)
class Job:
    """A build, as its parts see it."""

    recipe: Recipe
    work: Path  # a folder for tables in between
    parts: int
    tokenizer: Path | None = None  # its folder; None: the built-in one, or nothing is rendered
    tokenizer_name: str = ""
    probes: Findings | None = None
    sample: float = 1.0  # the share of the rows that the certificate looks at
    first_groups: int | None = None  # read no more than these

    def file(self, kind: str, part: int) -> Path:
        """Where a table of a part stands."""
        return self.work / f"{kind}-{part:05d}.arrow"

    def drops(self, unit: Unit) -> list[Drop]:
        """The recipe's filters that look at this."""
        return [drop for drop in self.recipe.drops() if drop.filter.unit == unit]

    def load_tokenizer(self, options: Render) -> Tokenizer:
        """The tokenizer of a recipe that renders; each process loads it once."""
        return _load(self.tokenizer, self.tokenizer_name, options.template, options.system)


@dataclass(frozen=True, slots=True)
class Shaped:
    """A part after its threads are laid."""

    part: int
    conversations: int  # that came into being
    kept: int
    keys: pl.DataFrame  # conversation, digest: what the corpus filter compares


@dataclass(frozen=True, slots=True)
class Finished:
    """A part that is ready to be written."""

    counts: ledger.Counts
    totals: dict[str, dict[str, int]]  # by split: rows, messages, tokens, trained_tokens
    digests: list[tuple[str, bytes]]
    languages: dict[str, int]  # of rows
    leaking_groups: int
    findings: Findings


@dataclass(frozen=True, slots=True)
class Done:
    """All parts, and the sums over them."""

    finished: list[Finished]
    counts: ledger.Counts
    problems: pl.DataFrame  # events of what became no row
    findings: Findings


def prepare(recipe: Recipe, found: Sequence[Input], work: Path) -> Job:
    """Plans the parts, and proves the template on the tokenizer before anything is read."""
    size = sum(_text_size(file.path) for source in found for file in source.files)
    parts = max(1, min(_MOST_PARTS, size // PART_BYTES))
    work.mkdir(exist_ok=True)
    recipe = without_paths(recipe, found)
    if recipe.render is None:
        return Job(recipe, work, parts)
    folder, name = _find_tokenizer(recipe.render.tokenizer)
    options = recipe.render.model_copy(update={"tokenizer": name})
    job = Job(recipe.model_copy(update={"render": options}), work, parts, folder, name)
    return replace(job, probes=certificate.certify(job.load_tokenizer(options), options))


def _text_size(path: Path) -> int:
    """The size of a file, unpacked, as a guess."""
    packed = {".gz": 4, ".parquet": 3}.get(path.suffix, 1)
    return path.stat().st_size * packed if path.is_file() else 0


def _find_tokenizer(spec: str) -> tuple[Path | None, str]:
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
            "(org/name), for example --set render.tokenizer=PATH."
        )
    try:
        return hub.fetch(repo, revision or None, tokenizers.FILES, "model")[0], spec
    except SourceError as error:
        raise ConfigError(f"tokenizer: {error} For example --set render.tokenizer=PATH.") from None


@functools.lru_cache(maxsize=1)
def _load(folder: Path | None, name: str, template: str, system: str | None) -> Tokenizer:
    return tokenizers.load(folder, name, TEMPLATES[template], system)
