"""The parts of a manifest that no step counts: files, counts, splits and the recipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from chatdata.core.document import Flag, Number, Part, Real, Sha256, Verbatim
from chatdata.core.paths import is_inside
from chatdata.dataset.histogram import Histogram
from chatdata.render.entries import ParityEntry, RenderEntry


def _inner(path: str) -> str:
    if not is_inside(path):
        raise ValueError("is not a path inside the folder")
    return path


InnerPath = Annotated[str, AfterValidator(_inner)]
Digest = Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]


# --------------------------------------------------------------------------------------- files


class ListedFile(Part):
    """A file that a manifest of any format lists, wherever the path leads."""

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
    """An index that packs the rows of a split into bins: of the build's tokens, or of a rendering
    that was added."""

    split: str
    rendering: str | None = None
    algorithm: str = ""
    max_tokens: Number
    bins: Number
    rows: Number
    tokens: Number
    fill: Real


class SourceFile(Part):
    """A file that was read."""

    name: str  # of the source
    path: str
    sha256: Sha256
    bytes: Number
    repo: str | None = None
    revision: str | None = None
    shape: str | None = None  # that was recognised, or several, joined


# -------------------------------------------------------------------------------------- figures


class Count(Part):
    """What became of all records, messages or conversations: read = kept + dropped."""

    read: Number
    kept: Number
    dropped: dict[str, Number]  # by reason


class Counts(Part):
    """The counts of records, messages and conversations."""

    records: Count
    messages: Count
    conversations: Count

    def items(self) -> Iterator[tuple[str, Count]]:
        """Yields the name of each unit and its count."""
        yield "records", self.records
        yield "messages", self.messages
        yield "conversations", self.conversations


class SplitEntry(Part):
    """The size of a split.

    Without rows of tokens, the last three figures are not given; those of a rendering that was
    added say nothing of messages and bytes.
    """

    rows: Number
    messages: Number = 0
    bytes: Number = 0
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


class RenderingCounts(Part):
    """What a rendering keeps of the messages and conversations of its folder."""

    messages: Count
    conversations: Count

    def items(self) -> Iterator[tuple[str, Count]]:
        """Yields the name of each unit and its count."""
        yield "messages", self.messages
        yield "conversations", self.conversations


class RenderingEntry(Part):
    """A rendering that was added to a dataset.

    `options` are those of `render`. The content hash is of its rows of tokens alone. `versions`
    are those of the packages that made the rows.
    """

    options: Any
    content_hash: Digest
    counts: RenderingCounts
    splits: Splits
    lengths: dict[str, Histogram]
    render: RenderEntry
    versions: dict[str, str]


class PairsEntry(Part):
    """The pairs of ranked answers: their splits, the number of questions that they are of, and what
    became of the answers of the trees. The content hash is of the pairs alone."""

    content_hash: Digest
    splits: Splits
    questions: Number
    answers: Count


class RankedEntry(Part):
    """The questions whose answers are ranked, with all of them: their splits, and their hash."""

    content_hash: Digest
    splits: Splits


class PairTokensEntry(Part):
    """The pairs as rows of tokens: their splits, how many pairs are left out, by reason, and what
    of a sample was compared with the template. The content hash is of these rows alone."""

    content_hash: Digest
    splits: Splits
    left_out: dict[str, Number]
    compared: ParityEntry


class Leakage(Part):
    """Groups with rows in both splits; a build has none."""

    groups_in_both: Number


class Share(Part):
    """The share of a source among all rows, and its weight, cap and licence in the recipe.

    `epochs` is how often what there is of it was taken, as `mix` measures it; tokens stand there
    where a recipe mixes.
    """

    source: str
    rows: Number
    share: Real
    weight: Real | None
    cap: int | None
    license: str | None
    epochs: Real | None = None
    tokens: Number | None = None
    trained_tokens: Number | None = None


class Example(Part):
    """Something that was dropped: its unit and id, what the ledger says of it, and its place in a
    file where that is known."""

    unit: str
    id: str
    detail: str
    place: str = ""

    def in_words(self, reason: str) -> str:
        """The example of a reason, in a line."""
        place = f" in {self.place}" if self.place and self.place != self.id else ""
        detail = f": {self.detail}" if self.detail else ""
        return f"{reason}, for example {self.unit} {self.id}{place}{detail}"


class Preview(Part):
    """What a preview of a build looked at: all of the input or the first part of it, and an example
    of what was dropped for each reason.

    How many records that were stands in `counts`, of how many bytes in `sources`.
    """

    is_whole: Flag
    examples: dict[str, Example]


class ExtensionEntry(Part):
    """A source, cleaner, filter or template that is not chatdata's: of an installed package, or a
    function of a Python file."""

    kind: str
    name: str
    about: str
    package: str | None = None
    file: str | None = None
    sha256: Sha256 | None = None


# --------------------------------------------------------------------------------------- recipe


class SourceOptions(Part):
    """The options of a source that say where its files come from."""

    repo: str | None
    revision: str | None
    files: tuple[str, ...]
    name: str | None
    license: str | None


class ThreadOptions(Part):
    """The options of `threads` that a card tells."""

    train_once: bool
    pairs: str | None = None
    margin: int = 1


class SplitOptions(Part):
    """How many percent of the groups are for testing."""

    test_percent: Real


class MixOptions(Part):
    """What weights and caps of sources measure."""

    by: str


class PublishOptions(Part):
    """Where the dataset is published."""

    repo: str | None


class RecipeEntry(Verbatim):
    """The resolved recipe, written verbatim; the fields are the keys that cards and checks read."""

    source: dict[str, SourceOptions]
    threads: ThreadOptions
    drop: tuple[dict[str, dict[str, Any]], ...]
    split: SplitOptions | None
    publish: PublishOptions | None
    mix: MixOptions | None = None
    render: Any = None  # the options of `render`, which that package checks

    @property
    def repo(self) -> str | None:
        """The repository in which the dataset is published."""
        return self.publish.repo if self.publish else None

    @property
    def filters(self) -> dict[str, dict[str, Any]]:
        """The options of each filter, in the order in which they run."""
        entries = [(name, options) for entry in self.drop for name, options in entry.items()]
        return {options["function"] if n == "python" else n: options for n, options in entries}

    @property
    def test_percent(self) -> float:
        """How many percent of the groups are for testing."""
        return self.split.test_percent if self.split else 0

    def at_version(self, version: str) -> RecipeEntry:
        """The same recipe with another version."""
        return RecipeEntry.model_validate({**self.as_json(), "version": version})
