"""What a dataset says of itself: `manifest.json`, written last and read first.

`Manifest` writes, checks and reads the file. A model of figures that a step counts stands beside
the step; this module composes them.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from chatdata.core import config
from chatdata.core.document import Number, Part, Real, Sha256, Verbatim
from chatdata.core.errors import ConfigError, OutputError, VerifyError
from chatdata.dataset.histogram import Histogram
from chatdata.render.entries import RenderEntry
from chatdata.steps.clean import CleanedEntry
from chatdata.steps.contamination import OverlapEntry
from chatdata.steps.duplicates import ClustersEntry
from chatdata.steps.language import DisagreementEntry
from chatdata.steps.redact import SecretEntry

FORMAT = 1  # of the folder; a build of another format is not read
FILE = "manifest.json"

_KEYS = ("name", "version", "format", "content_hash", "recipe_hash", "sources", "counts", "splits")


def _is_inside(path: str) -> str:
    """Refuses a path that could lead out of the folder."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise ValueError("is not a path inside the folder")
    return path


InnerPath = Annotated[str, AfterValidator(_is_inside)]
Digest = Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]


# --------------------------------------------------------------------------------------- files


class ListedFile(Part):
    """A file that a manifest of any format lists, wherever its path may lead."""

    path: str
    sha256: str


class FileEntry(ListedFile):
    """A file of the folder."""

    path: InnerPath
    sha256: Sha256


class ShardEntry(FileEntry):
    """A Parquet file with rows of a table."""

    rows: Number


class PackEntry(FileEntry):
    """An index that packs the rows of a split into bins."""

    split: str
    algorithm: str = ""
    max_tokens: Number
    bins: Number
    rows: Number
    tokens: Number
    fill: Real


class SourceFile(Part):
    """A file that was read."""

    name: str  # of its source
    path: str
    sha256: Sha256
    bytes: Number
    repo: str | None = None
    revision: str | None = None


# -------------------------------------------------------------------------------------- figures


class Count(Part):
    """What became of all records, messages or conversations: read = kept + dropped."""

    read: Number
    kept: Number
    dropped: dict[str, Number]  # by reason


class Counts(Part):
    """The counts of each unit."""

    records: Count
    messages: Count
    conversations: Count

    def items(self) -> Iterator[tuple[str, Count]]:
        """Yields the name of each unit and its count."""
        yield "records", self.records
        yield "messages", self.messages
        yield "conversations", self.conversations


class SplitEntry(Part):
    """How large a split is; of a dataset without rows of tokens the last three are not given."""

    rows: Number
    messages: Number
    bytes: Number
    token_rows: Number = 0
    tokens: Number = 0
    trained_tokens: Number = 0


class Splits(Part):
    """The splits, train and test."""

    __pydantic_extra__: dict[str, SplitEntry]

    train: SplitEntry
    test: SplitEntry

    def items(self) -> Iterator[tuple[str, SplitEntry]]:
        """Yields the name of each split and its entry."""
        yield "train", self.train
        yield "test", self.test
        yield from (self.__pydantic_extra__ or {}).items()

    def get(self, name: str) -> SplitEntry | None:
        """The split of this name."""
        return dict(self.items()).get(name)

    def total(self, figure: str) -> int:
        """The sum of a figure, such as `rows`, over the splits."""
        return sum(getattr(split, figure) for _, split in self.items())


class Leakage(Part):
    """Groups with rows in both splits; a build has none."""

    groups_in_both: Number


class Share(Part):
    """What a source gave of all rows, and the weight and the cap that it has in the recipe."""

    source: str
    rows: Number
    share: Real
    weight: Real | None
    cap: int | None
    license: str | None


# --------------------------------------------------------------------------------------- recipe


class SourceOptions(Part):
    """The options of a source that say where its files come from."""

    repo: str | None
    revision: str | None
    files: tuple[str, ...]
    name: str | None
    license: str | None


class ThreadOptions(Part):
    """The options of threads that a card speaks of."""

    train_once: bool


class SplitOptions(Part):
    """How many percent of the groups are for testing."""

    test_percent: Real


class PublishOptions(Part):
    """Where the dataset is published."""

    repo: str | None


class RecipeEntry(Verbatim):
    """The resolved recipe, written as it is; the fields are what is read of it here."""

    source: dict[str, SourceOptions]
    threads: ThreadOptions
    drop: tuple[dict[str, dict[str, Any]], ...]
    split: SplitOptions | None
    publish: PublishOptions | None
    render: Any = None  # the options of `render`, which that package checks

    @property
    def repo(self) -> str | None:
        """The repository in which the dataset is published."""
        return self.publish.repo if self.publish else None

    @property
    def filters(self) -> dict[str, dict[str, Any]]:
        """The options of each filter, in the order in which they run."""
        return {name: options for entry in self.drop for name, options in entry.items()}

    @property
    def test_percent(self) -> float:
        """How many percent of the groups are for testing."""
        return self.split.test_percent if self.split else 0

    def at_version(self, version: str) -> RecipeEntry:
        """The same recipe with another version."""
        return RecipeEntry.model_validate({**self.as_json(), "version": version})


# ------------------------------------------------------------------------------------- manifest


class Listing(Part):
    """What is read of a manifest of any format, whoever wrote it: a version and its files."""

    version: str
    format: Any = None
    content_hash: Any = None
    files: tuple[ListedFile, ...] = ()
    extras: tuple[ListedFile, ...] = ()
    packs: tuple[ListedFile, ...] = ()

    @field_validator("extras", "packs", mode="before")
    @classmethod
    def _null_is_empty(cls, value: Any) -> Any:
        return () if value is None else value


class Manifest(Part):
    """The manifest of a dataset.

    The fields stand in the order of the keys in the file. `manifest["counts"]` is the plain value
    of a key of the file.
    """

    name: str
    version: str
    about: str
    license: str | None
    format: int
    content_hash: Digest
    recipe_hash: Digest
    recipe: RecipeEntry
    sources: tuple[SourceFile, ...]
    counts: Counts
    cleaned: dict[str, CleanedEntry] | None = None  # by cleaner
    splits: Splits
    languages: dict[str, Number]  # rows by language
    lengths: dict[str, Histogram]
    shares: tuple[Share, ...] | None = None
    language_disagreements: tuple[DisagreementEntry, ...] | None = None
    secrets: dict[str, SecretEntry] | None = None  # by kind
    near_duplicates: dict[str, ClustersEntry] | None = None  # by filter
    contamination: tuple[OverlapEntry, ...] | None = None
    leakage: Leakage
    render: RenderEntry | None
    files: tuple[ShardEntry, ...]
    versions: dict[str, str]
    packs: tuple[PackEntry, ...] = ()
    extras: tuple[FileEntry, ...] = ()

    @model_validator(mode="after")
    def _token_figures_are_given(self) -> Self:
        figures = {"token_rows", "tokens", "trained_tokens"} if self.render else set()
        for name, split in self.splits.items():
            if missing := figures - split.model_fields_set:
                raise ValueError(f"the key 'splits.{name}.{min(missing)}' is missing.")
        return self

    @property
    def rendering(self) -> RenderEntry:
        """How the rows of tokens were made. Raises OutputError where there are none."""
        if self.render is None:
            raise OutputError(
                f"'{self.name}' holds messages and no tokens; build it with "
                "--set render.tokenizer=PATH."
            )
        return self.render

    def __getitem__(self, key: str) -> Any:
        """The plain value of a key of the file. Raises KeyError for a key that is not there."""
        return self.model_dump(mode="json", exclude_unset=True, include={key})[key]


# ------------------------------------------------------------------------- reading and writing


def read(folder: Path) -> Manifest:
    """The manifest of a finished build.

    Raises OutputError where the folder holds none that this chatdata can read, and VerifyError
    for the first key that is not what it has to be.
    """
    return parsed(_values(folder))


def read_listing(folder: Path) -> Listing:
    """The files that the manifest of a finished build lists, before the rest of it is checked.

    Raises OutputError where the folder holds no manifest that this chatdata can read.
    """
    return _listing(_values(folder), f"'{folder / FILE}'")


def parse(text: bytes) -> Manifest | Listing | None:
    """The manifest in a file of a repository, which may have been written by anybody.

    A `Listing` where the file is of another format, or not whole; None where it is no manifest.
    """
    try:
        values = json.loads(text)
        listing = _listing(_with_keys(values, FILE), FILE)
    except (ValueError, OutputError):
        return None
    try:
        return Manifest.model_validate(values)
    except ValidationError:
        return listing


def parsed(values: Mapping[str, Any]) -> Manifest:
    """The manifest that has these plain values.

    Raises VerifyError for the first key that is not what it has to be.
    """
    try:
        return config.parse(Manifest, values, FILE)
    except ConfigError as error:
        raise VerifyError(f"{error} Build the folder again with this chatdata.") from None


def _values(folder: Path) -> Mapping[str, Any]:
    """The plain values of the manifest of a finished build, of this format."""
    path = folder / FILE
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        unfinished = "is not a finished build (it has no manifest.json)"
        state = unfinished if folder.is_dir() else "is not there"
        raise OutputError(f"'{folder}' {state}; make one with `chatdata build`.") from None
    except (OSError, ValueError) as error:
        raise OutputError(f"'{path}' cannot be read ({error}); build the folder again.") from None
    checked = _with_keys(values, f"'{path}'")
    _check_format(checked, f"'{path}'")
    _listing(checked, f"'{path}'")
    return checked


def _with_keys(values: Any, where: str) -> Mapping[str, Any]:
    """The values, if they are a mapping with the keys of a manifest; else raises OutputError."""
    checked: dict[str, Any] = values if isinstance(values, dict) else {}
    if missing := [key for key in _KEYS if key not in checked]:
        raise OutputError(f"{where} has no '{missing[0]}'; build the folder again.")
    return checked


def _check_format(values: Mapping[str, Any], where: str) -> None:
    if values["format"] != FORMAT:
        raise OutputError(
            f"{where} has format {values['format']!r} and this chatdata reads {FORMAT}; "
            "build the folder again or install the chatdata that wrote it."
        )


def _listing(values: Mapping[str, Any], where: str) -> Listing:
    try:
        return Listing.model_validate(values)
    except ValidationError:
        raise OutputError(
            f"{where} has no version, or its lists of files are not lists of path and sha256; "
            "build the folder again."
        ) from None


def write(folder: Path, manifest: Manifest) -> Path:
    """Writes the manifest into a folder that is otherwise complete. Returns its path."""
    path = folder / FILE
    path.write_text(text(manifest), encoding="utf-8")
    return path


def text(manifest: Manifest) -> str:
    """The manifest as it stands in its file."""
    return json.dumps(manifest.as_json(), indent=2, ensure_ascii=False) + "\n"


def hashes(manifest: Manifest | Listing) -> dict[str, str]:
    """The SHA-256 of each file that a manifest lists, by its path in the folder."""
    listed: Sequence[ListedFile] = (*manifest.files, *manifest.extras, *manifest.packs)
    return {file.path: file.sha256 for file in listed}


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The installed versions of packages that affect bytes, with chatdata's."""
    from chatdata import __version__

    known = {"chatdata": __version__, "python": platform.python_version()}
    return {
        "chatdata": __version__,
        **{name: known.get(name) or metadata.version(name) for name in sorted(packages)},
    }
