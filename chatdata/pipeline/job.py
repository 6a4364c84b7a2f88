"""What every part of a build has to know, and what it hands back."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from chatdata import hub
from chatdata.core import ledger
from chatdata.core.errors import ConfigError, SourceError
from chatdata.core.hashing import sha256_file, sha256_json
from chatdata.pipeline.inputs import Input, evaluation_sets, without_paths
from chatdata.pipeline.recipe import Recipe
from chatdata.render import certificate
from chatdata.render import tokenizer as tokenizers
from chatdata.render.certificate import ParityCounts
from chatdata.render.encoding import fast
from chatdata.render.encoding.fast import Audit, EngineDiffers
from chatdata.render.options import Render
from chatdata.render.templates import TEMPLATES
from chatdata.render.tokenizer import Tokenizer
from chatdata.steps import clean, contamination, redact
from chatdata.steps import evaluation_sets as evalsets
from chatdata.steps.filters import Drop, Unit

PART_BYTES = 8 * 2**20  # of input, about
_MOST_PARTS = 1024


@dataclass(frozen=True, slots=True)
class Encoding:
    """Which engine makes ids of texts: a fast one that was admitted, or `tokenizers`.

    `one_in` is the share of texts that both encode, whatever they hold. `remark` says why the
    fast one is not used.
    """

    name: str = ""
    is_fast: bool = False
    one_in: int = fast.SAMPLE
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
    sets: tuple[dict[str, Any], ...] = ()  # of evaluation: set, sha256, items, too_short

    @property
    def overlaps(self) -> Path:
        """Where the index of the evaluation sets stands, if the recipe names any."""
        return self.work / "overlaps"

    def file(self, kind: str, part: int) -> Path:
        """Where a table of a part stands."""
        return self.work / f"{kind}-{part:05d}.arrow"

    def drops(self, unit: Unit) -> list[Drop]:
        """The recipe's filters that look at this."""
        return [drop for drop in self.recipe.drops() if drop.filter.unit == unit]

    def decides_language(self) -> str | None:
        """Whose word a language is by (a filter's `decide`), or None where nobody asks."""
        asking = (drop for drop in self.drops("message") if "lang" in drop.filter.needs)
        return next((str(drop.options["decide"]) for drop in asking), None)

    def load_tokenizer(self, options: Render) -> Tokenizer:
        """The tokenizer of a recipe that renders; each process loads it once."""
        return _load(self.tokenizer, self.tokenizer_name, options.model_dump_json())

    def engine(self, tokenizer: Tokenizer) -> fast.Engine:
        """What makes ids of the texts of one part."""
        own = _fast(tokenizer) if self.encoding.is_fast else None
        return own.session(self.encoding.one_in) if own else fast.Reference(tokenizer.text)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found in messages: secrets by kind, and items of evaluation sets."""

    secrets: redact.Counts = field(default_factory=dict)
    overlaps: list[pl.DataFrame] = field(default_factory=list)  # of columns contamination.FOUND


@dataclass(frozen=True, slots=True)
class Shaped:
    """A part after its threads are laid."""

    part: int
    conversations: int  # that came into being
    kept: int
    disagreements: list[pl.DataFrame]  # between the sources' labels and the detector
    cleaned: clean.Counts
    seen: Seen


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
    files: list[dict[str, Any]]  # the manifest's entries for the shards
    findings: ParityCounts
    encoding: Encoding
    disagreements: list[dict[str, Any]]  # the manifest's entry
    cleaned: clean.Counts
    seen: Seen
    near_duplicates: dict[str, dict[str, Any]]  # by filter


def prepare(recipe: Recipe, found: Sequence[Input], work: Path) -> Job:
    """Plans the parts, and proves the template on the tokenizer before anything is read."""
    size = sum(_text_size(file.path) for source in found for file in source.files)
    parts = max(1, min(_MOST_PARTS, size // PART_BYTES))
    work.mkdir(exist_ok=True)
    sets = _index(recipe, work)
    recipe = without_paths(recipe, found)
    if recipe.render is None:
        return Job(recipe, work, parts, sets=sets)
    folder, name = _find_tokenizer(recipe.render.tokenizer)
    options = recipe.render.model_copy(update={"tokenizer": name})
    template = TEMPLATES[options.template]
    folder = template.prepare(folder, name, options, work / "tokenizer")
    recipe = recipe.model_copy(update={"render": options})
    job = Job(recipe, work, parts, folder, name, sets=sets)
    return replace(job, probes=certificate.certify(job.load_tokenizer(options), options))


def choose_engine(job: Job, one_in: int | None) -> Encoding:
    """What makes ids of texts: a fast engine that passes its examination, or `tokenizers`.

    `one_in` is the share of texts that a fast engine is compared on at least; None: none is used.
    """
    if job.recipe.render is None:
        return Encoding()
    reference = f"tokenizers {tokenizers.version()}"
    if one_in is None:
        return Encoding(reference)
    own = job.load_tokenizer(job.recipe.render)
    _engines.clear()
    admitted = fast.admit(own.text)
    if isinstance(admitted, fast.Refusal):
        return Encoding(reference, remark=admitted.reason)
    _engines[_key(own)] = admitted
    return Encoding(admitted.name, is_fast=True, one_in=one_in)


def without_fast(job: Job, difference: EngineDiffers) -> Job:
    """The job with `tokenizers` in place of a fast engine that was found to be wrong."""
    reference = f"tokenizers {tokenizers.version()}"
    return replace(job, encoding=Encoding(reference, remark=str(difference)))


def _index(recipe: Recipe, work: Path) -> tuple[dict[str, Any], ...]:
    """Indexes the evaluation sets of a recipe. Returns the facts about each."""
    files = evaluation_sets(recipe)
    if not files:
        return ()
    (options,) = (drop.options for drop in recipe.drops() if "against" in drop.options)
    texts = {file.label: evalsets.texts(file, options["fields"]) for file in files}
    rule = contamination.Rule(options["ngram"], options["min_words"], options["common"])
    index = contamination.index(pl.concat(texts.values()), rule)
    contamination.save(index, work / "overlaps")
    items, found = (
        {n: own["item"].n_unique() for n, own in texts.items()},
        contamination.comparable(index),
    )
    return tuple(
        {
            "set": file.label,
            "sha256": sha256_file(file.path),
            "items": items[file.label],
            "too_short": items[file.label] - found.get(file.label, 0),
        }
        for file in files
    )


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


_engines: dict[str, fast.Fast] = {}  # of this process, by tokenizer and template


def _fast(tokenizer: Tokenizer) -> fast.Fast | None:
    """The fast engine that this build has admitted; each process makes it once."""
    key = _key(tokenizer)
    if key not in _engines:
        prepared = fast.prepare(tokenizer.text)
        if isinstance(prepared, fast.Refusal):
            return None
        _engines.clear()
        _engines[key] = prepared
    return _engines[key]


def _key(tokenizer: Tokenizer) -> str:
    return f"{tokenizer.name} {tokenizer.sha256} {sha256_json(tokenizer.template.facts())}"


@functools.lru_cache(maxsize=1)
def _load(folder: Path | None, name: str, options: str) -> Tokenizer:
    chosen = Render.model_validate_json(options)
    return TEMPLATES[chosen.template].load(folder, name, chosen)
