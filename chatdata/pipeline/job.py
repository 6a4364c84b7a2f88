"""What every part of a build has to know, and what it hands back."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chatdata import hub
from chatdata.core import ledger
from chatdata.core.errors import ConfigError, SourceError
from chatdata.core.hashing import sha256_json
from chatdata.dataset.manifest import ShardEntry
from chatdata.pipeline.inputs import Input, option_files, without_paths
from chatdata.pipeline.recipe import Recipe
from chatdata.render import certificate
from chatdata.render import tokenizer as tokenizers
from chatdata.render.certificate import ParityCounts
from chatdata.render.encoding import admission
from chatdata.render.encoding.audit import SAMPLE, Audit
from chatdata.render.encoding.encoder import EncoderDiffers, FastEncoder
from chatdata.render.encoding.libraries import Encoder, ReferenceEncoder
from chatdata.render.options import Render
from chatdata.render.templates import TEMPLATES
from chatdata.render.tokenizer import Tokenizer
from chatdata.steps import filtering, redact
from chatdata.steps.clean import Cleaned
from chatdata.steps.duplicates import ClustersEntry
from chatdata.steps.figures import FiguresByKey
from chatdata.steps.filtering import Drop, Unit

PART_BYTES = 8 * 2**20  # of input, about
_MOST_PARTS = 1024


@dataclass(frozen=True, slots=True)
class Encoding:
    """Which encoder makes ids of texts: a fast one that was admitted, or `tokenizers`.

    `one_in` is the share of texts that both encode, whatever they hold. `remark` says why the
    fast one is not used.
    """

    name: str = ""
    is_fast: bool = False
    one_in: int = SAMPLE
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """A build, as its parts see it."""

    recipe: Recipe
    work: Path  # a folder for tables in between
    parts: int
    tokenizer: Path | None = None  # its folder; None: the built-in one, or nothing is rendered
    tokenizer_name: str = ""
    probes: ParityCounts | None = None
    encoding: Encoding = Encoding()
    sample: float = 1.0  # the share of the rows that the certificate looks at
    first_groups: int | None = None  # read no more than these
    figures: FiguresByKey = field(default_factory=FiguresByKey)  # of no messages at all

    @property
    def columns(self) -> Path:
        """The folder of what is prepared for the columns that filters declare."""
        return self.work / "columns"

    def file(self, kind: str, part: int) -> Path:
        """Where a table of a part stands."""
        return self.work / f"{kind}-{part:05d}.arrow"

    def drops(self, unit: Unit) -> list[Drop]:
        """The recipe's filters that look at this."""
        return [drop for drop in self.recipe.drops() if drop.filter.unit == unit]

    def load_tokenizer(self, options: Render) -> Tokenizer:
        """The tokenizer of a recipe that renders; each process loads it once."""
        return _load(self.tokenizer, self.tokenizer_name, options.model_dump_json())

    def encoder(self, tokenizer: Tokenizer) -> Encoder:
        """What makes ids of the texts of one part."""
        fast = _fast(tokenizer) if self.encoding.is_fast else None
        return fast.session(self.encoding.one_in) if fast else ReferenceEncoder(tokenizer.text)


@dataclass(frozen=True, slots=True)
class Shaped:
    """A part after its threads are laid."""

    part: int
    conversations: int  # that came into being
    kept: int
    cleaned: Cleaned
    figures: FiguresByKey


@dataclass(frozen=True, slots=True)
class Finished:
    """A part that is ready to be written."""

    counts: ledger.Counts
    totals: dict[str, dict[str, int]]  # by split: rows, messages, bytes, tokens, trained_tokens
    sizes: dict[str, npt.NDArray[np.int64]]  # of conversations and of rows of tokens
    digests: list[tuple[str, bytes]]
    languages: dict[str, int]  # of rows
    sources: dict[str, int]  # of rows
    leaking_groups: int
    findings: ParityCounts
    audit: Audit


@dataclass(frozen=True, slots=True)
class Done:
    """All parts, and the sums over them."""

    finished: list[Finished]
    counts: ledger.Counts
    files: tuple[ShardEntry, ...]
    findings: ParityCounts
    encoding: Encoding
    cleaned: Cleaned
    figures: FiguresByKey
    near_duplicates: dict[str, ClustersEntry]  # by filter


def prepare(recipe: Recipe, found: Sequence[Input], work: Path) -> Job:
    """Plans the parts, and proves the template on the tokenizer before anything is read."""
    size = sum(_text_size(file.path) for source in found for file in source.files)
    parts = max(1, min(_MOST_PARTS, size // PART_BYTES))
    work.mkdir(exist_ok=True)
    figures = _prepare_columns(recipe, work / "columns")
    recipe = without_paths(recipe, found)
    if recipe.render is None:
        return Job(recipe, work, parts, figures=figures)
    folder, name = _find_tokenizer(recipe.render.tokenizer)
    options = recipe.render.model_copy(update={"tokenizer": name})
    template = TEMPLATES[options.template]
    folder = template.prepare(folder, name, options, work / "tokenizer")
    recipe = recipe.model_copy(update={"render": options})
    job = Job(recipe, work, parts, folder, name, figures=figures)
    return replace(job, probes=certificate.certify(job.load_tokenizer(options), options))


def choose_encoder(job: Job, one_in: int | None) -> Encoding:
    """What makes ids of texts: a fast encoder that passes its test, or `tokenizers`.

    `one_in` is the share of texts that a fast encoder is compared on at least; None: none is used.
    """
    if job.recipe.render is None:
        return Encoding()
    reference = f"tokenizers {tokenizers.version()}"
    if one_in is None:
        return Encoding(reference)
    own = job.load_tokenizer(job.recipe.render)
    _encoders.clear()
    admitted = admission.admit(own.text)
    if isinstance(admitted, admission.Refusal):
        return Encoding(reference, remark=admitted.reason)
    _encoders[_key(own)] = admitted
    return Encoding(admitted.name, is_fast=True, one_in=one_in)


def without_fast(job: Job, difference: EncoderDiffers) -> Job:
    """The job with `tokenizers` in place of a fast encoder that was found to be wrong."""
    reference = f"tokenizers {tokenizers.version()}"
    return replace(job, encoding=Encoding(reference, remark=str(difference)))


def _prepare_columns(recipe: Recipe, folder: Path) -> FiguresByKey:
    """Prepares what makes the columns of filters. Returns the figures of no messages at all."""
    figures = FiguresByKey({redact.KEY: redact.Secrets()} if recipe.redact else {})
    drops = [drop for drop in recipe.drops() if drop.filter.column]
    files = {drop.filter.name: option_files(drop) for drop in drops}
    return figures + filtering.prepare_columns(drops, files, folder)


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


_encoders: dict[str, FastEncoder] = {}  # of this process, by tokenizer and template


def _fast(tokenizer: Tokenizer) -> FastEncoder | None:
    """The fast encoder that this build has admitted; each process makes it once."""
    key = _key(tokenizer)
    if key not in _encoders:
        prepared = admission.prepare(tokenizer.text)
        if isinstance(prepared, admission.Refusal):
            return None
        _encoders.clear()
        _encoders[key] = prepared
    return _encoders[key]


def _key(tokenizer: Tokenizer) -> str:
    return f"{tokenizer.name} {tokenizer.sha256} {sha256_json(tokenizer.template.facts())}"


@functools.lru_cache(maxsize=1)
def _load(folder: Path | None, name: str, options: str) -> Tokenizer:
    chosen = Render.model_validate_json(options)
    return TEMPLATES[chosen.template].load(folder, name, chosen)
