"""The manifest of a dataset: `manifest.json`, written last and read first.

`Manifest` writes, checks and reads the file. The models of the figures of steps stand in
`steps.entries`, the rest in `entries`; this module composes them. A new figure touches the step and
its model, the field here, and its place in card and report.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from chatdata.core import config, storage, yaml_values
from chatdata.core.document import Number, Part
from chatdata.core.errors import ConfigError, OutputError, VerifyError
from chatdata.core.storage import Storage
from chatdata.dataset import finished
from chatdata.dataset.audit_entry import AuditEntry
from chatdata.dataset.entries import (
    Counts,
    Digest,
    ExtensionEntry,
    FileEntry,
    Leakage,
    ListedFile,
    PackEntry,
    PairsEntry,
    PairTokensEntry,
    Preview,
    RankedEntry,
    RecipeEntry,
    RenderingEntry,
    ShardEntry,
    Share,
    SourceFile,
    Splits,
)
from chatdata.dataset.histogram import Histogram
from chatdata.render.entries import RenderEntry
from chatdata.steps.entries import (
    CleanedEntry,
    ClustersEntry,
    DisagreementEntry,
    ForgottenEntry,
    LabelEntry,
    OverlapEntry,
    PiecesEntry,
    SecretEntry,
)

FORMAT = 2  # of the folders that are written
# Folders that are read: in format 1 a message is its role and its content.
FORMATS = (1, FORMAT)
FILE = finished.FILE

NAME = "[a-z0-9][a-z0-9_.-]*"  # of a rendering that was added: a part of names of folders
RenderingName = Annotated[str, Field(pattern=f"^{NAME}$")]

_KEYS = ("name", "version", "format", "content_hash", "recipe_hash", "sources", "counts", "splits")


class Listing(Part):
    """The version and the files in a manifest of any format, whoever wrote the manifest."""

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

    name: str = Field(description="The name of the dataset.")
    version: str = Field(description="The version of the dataset.")
    about: str = Field(description="What the dataset is, in a line.")
    license: str | None = Field(
        description="The licence of the dataset, where the recipe states it."
    )
    format: int = Field(
        description="The format of the folder; this chatdata writes 2, and reads 1 and 2."
    )
    content_hash: Digest = Field(description="The hash of all rows, whatever shards they stand in.")
    recipe_hash: Digest = Field(
        description="The hash of the resolved recipe and of the Python files that it names."
    )
    recipe: RecipeEntry = Field(description="The recipe with every default written out.")
    extensions: tuple[ExtensionEntry, ...] | None = Field(
        default=None,
        description="What the recipe names that is of installed packages, or of Python files.",
    )
    sources: tuple[SourceFile, ...] = Field(description="The files that were read.")
    counts: Counts = Field(description="What became of all records, messages and conversations.")
    not_read: dict[str, dict[str, dict[str, Number]]] | None = Field(
        default=None,
        description=(
            "Keys of records and messages that nothing looked at: by source, unit and key."
        ),
    )
    cleaned: dict[str, CleanedEntry] | None = Field(
        default=None, description="What each cleaner did, by cleaner."
    )
    pieces: PiecesEntry | None = Field(
        default=None, description="Pieces of conversations that were joined."
    )
    splits: Splits = Field(description="The size of each split.")
    languages: dict[str, Number] = Field(description="Rows by language.")
    variables: dict[str, Number] | None = Field(
        default=None, description="Rows by the variable that they give a chat template."
    )
    weighted_messages: Number | None = Field(default=None, description="Messages with a weight.")
    messages_in_parts: Number | None = Field(
        default=None, description="Messages of which only some parts are learnt."
    )
    lengths: dict[str, Histogram] = Field(
        description="Histograms of the lengths of rows: turns, characters, tokens."
    )
    shares: tuple[Share, ...] | None = Field(
        default=None,
        description="What each source gave, where there are several or the recipe mixes.",
    )
    repeats: Number | None = Field(
        default=None, description="Rows of conversations that are published again."
    )
    language_disagreements: tuple[DisagreementEntry, ...] | None = Field(
        default=None, description="Languages that a source declares and a detector contradicts."
    )
    secrets: dict[str, SecretEntry] | None = Field(
        default=None, description="Secrets that were found and replaced, by kind."
    )
    near_duplicates: dict[str, ClustersEntry] | None = Field(
        default=None, description="What near-duplicate filters found, by filter."
    )
    labels: dict[str, LabelEntry] | None = Field(
        default=None, description="Labels of the messages that were read, by name."
    )
    contamination: tuple[OverlapEntry, ...] | None = Field(
        default=None, description="What was found of evaluation sets."
    )
    kept_by_hand: dict[str, dict[str, Number]] | None = Field(
        default=None,
        description="What filters would have removed and the recipe keeps: by unit and filter.",
    )
    forgotten: ForgottenEntry | None = Field(
        default=None, description="What the recipe takes out for good."
    )
    leakage: Leakage = Field(description="Groups that stand in both splits.")
    pairs: PairsEntry | None = Field(default=None, description="The pairs of ranked answers.")
    ranked: RankedEntry | None = Field(
        default=None, description="All ranked answers to each question."
    )
    pair_tokens: PairTokensEntry | None = Field(
        default=None, description="The pairs as rows of tokens."
    )
    render: RenderEntry | None = Field(
        description="How the rows of tokens were made; null where there are none."
    )
    files: tuple[ShardEntry, ...] = Field(description="The shards of the tables.")
    versions: dict[str, str] = Field(description="Versions of the packages that may change bytes.")
    packs: tuple[PackEntry, ...] = Field(
        default=(), description="The indexes that pack rows into bins."
    )
    extras: tuple[FileEntry, ...] = Field(
        default=(), description="The remaining files: card, recipe, tokenizer, plots."
    )
    preview: Preview | None = Field(
        default=None, description="What `chatdata check` looked at; it stands in no folder."
    )
    renders: dict[RenderingName, RenderingEntry] = Field(
        default={}, description="The renderings that were added, by name."
    )
    audit: AuditEntry | None = Field(
        default=None, description="What `chatdata audit --card` said of the rows."
    )

    _order: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="wrap")
    @classmethod
    def _keep_order(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        manifest = handler(values)
        if isinstance(values, Mapping):
            manifest._order = tuple(values)
        return manifest

    @model_validator(mode="after")
    def _figures_are_given(self) -> Self:
        figures = {"messages", "bytes"}
        figures |= {"token_rows", "tokens", "trained_tokens"} if self.render else set()
        for name, split in self.splits.items():
            if missing := figures - split.model_fields_set:
                raise ValueError(f"the key 'splits.{name}.{min(missing)}' is missing.")
        return self

    def as_json(self) -> dict[str, Any]:
        """The manifest as plain values: keys in the order that was read, then keys added since."""
        values = super().as_json()
        read = [key for key in self._order if key in values]
        return {key: values[key] for key in dict.fromkeys([*read, *values])}

    def _repr_html_(self) -> str:
        """What was built, its sums and its certificate, as notebooks show them."""
        from chatdata.dataset import manifest_html

        return manifest_html.of(self)

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


def read(folder: str | Path) -> Manifest:
    """The manifest of a finished build, in a folder or behind a URL.

    Raises OutputError where the folder has no manifest that this chatdata can read, and
    VerifyError for the first key with a wrong value.
    """
    name = str(folder)
    if storage.is_remote(name):
        place = storage.at(name)
        where = f"{place.url.rstrip('/')}/{FILE}"
        values = _checked(lambda: _text_at(place), where)
    else:
        path = Path(storage.local_path(name))
        values, where = _values(path), str(path / FILE)
    _listing(values, f"'{where}'")  # its error says more than the first wrong value
    return parsed(values)


def _text_at(place: Storage) -> str:
    if (content := place.read(FILE)) is None:
        raise OutputError(unfinished(place.url))
    return content.decode()


def unfinished(url: str) -> str:
    """What is wrong with a URL that has no manifest, with the way out."""
    return (
        f"'{url}' is not a finished build (it has no {FILE}); build there with `chatdata build "
        "--out`, or wait until it is written."
    )


def is_ours(folder: Path) -> bool:
    """Whether a folder holds a manifest of chatdata, of any format."""
    try:
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and all(key in values for key in _KEYS)


def read_listing(folder: Path) -> Listing:
    """The version and the files of a finished build; the rest of the manifest is not checked.

    Raises OutputError where the folder has no manifest that this chatdata can read.
    """
    return _listing(_values(folder), f"'{folder / FILE}'")


def parse(text: bytes) -> Manifest | Listing | None:
    """The manifest in a file of a repository, which may have been written by anybody.

    A `Listing` for a manifest of another format or with wrong values; None for other files.
    """
    try:
        values = json.loads(text)
        listing = _listing(_with_keys(values, FILE), FILE)
    except (ValueError, RecursionError, OutputError):
        return None
    if yaml_values.fault(values):
        return None
    try:
        return Manifest.model_validate(values)
    except ValidationError:
        return listing


def parsed(values: Mapping[str, Any]) -> Manifest:
    """The manifest with these plain values. Raises VerifyError for the first wrong value."""
    try:
        return config.parse(Manifest, values, FILE)
    except ConfigError as error:
        raise VerifyError(f"{error} Build the folder again with this chatdata.") from None


def _values(folder: Path) -> Mapping[str, Any]:
    """The plain values of the manifest of a finished build, of this format."""
    path = folder / FILE
    try:
        return _checked(lambda: path.read_text(encoding="utf-8"), str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise finished.missing(folder) from None


def _checked(text: Callable[[], str], path: str) -> Mapping[str, Any]:
    """The plain values of a manifest's text, of this format. Errors name the path."""
    try:
        values: Any = json.loads(text())
    except RecursionError:
        raise OutputError(f"'{path}' is nested too deeply; build the folder again.") from None
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError) as error:
        raise OutputError(f"'{path}' cannot be read ({error}); build the folder again.") from None
    if fault := yaml_values.fault(values):
        raise OutputError(f"'{path}': {fault}; build the folder again.")
    checked = _with_keys(values, f"'{path}'")
    _check_format(checked, f"'{path}'")
    return checked


def _with_keys(values: Any, where: str) -> Mapping[str, Any]:
    """The values as a mapping. Raises OutputError where a key of every manifest is missing."""
    checked: dict[str, Any] = values if isinstance(values, dict) else {}
    if missing := [key for key in _KEYS if key not in checked]:
        raise OutputError(f"{where} has no '{missing[0]}'; build the folder again.")
    return checked


def _check_format(values: Mapping[str, Any], where: str) -> None:
    if values["format"] not in FORMATS:
        raise OutputError(
            f"{where} has format {values['format']!r} and this chatdata reads "
            f"{' and '.join(map(str, FORMATS))}; "
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
