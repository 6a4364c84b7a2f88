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

    path: str = Field(description="The path in the folder.")
    sha256: str = Field(description="The SHA-256 of the file.")


class FileEntry(ListedFile):
    """A file of the folder."""

    path: InnerPath = Field(description="The path in the folder.")
    sha256: Sha256 = Field(description="The SHA-256 of the file.")


class ShardEntry(FileEntry):
    """A Parquet file with rows of a table."""

    rows: Number = Field(description="Rows in the shard.")


class PackEntry(FileEntry):
    """An index that packs the rows of a split into bins: of the build's tokens, or of a rendering
    that was added."""

    split: str = Field(description="The split that is packed.")
    rendering: str | None = Field(
        default=None,
        description="The rendering that is packed; that of the build unless it is set.",
    )
    algorithm: str = Field(default="", description="How bins were filled.")
    max_tokens: Number = Field(description="Tokens that a bin holds.")
    bins: Number = Field(description="Bins in the index.")
    rows: Number = Field(description="Rows in all bins.")
    tokens: Number = Field(description="Tokens in all bins.")
    fill: Real = Field(description="The share of the bins that is filled.")


class SourceFile(Part):
    """A file that was read."""

    name: str = Field(description="The name of the source.")
    path: str = Field(description="The file as the recipe names it.")
    sha256: Sha256 = Field(description="The SHA-256 of the file.")
    bytes: Number = Field(description="The size of the file.")
    repo: str | None = Field(default=None, description="The repository on the Hub.")
    revision: str | None = Field(default=None, description="The commit of the repository.")
    shape: str | None = Field(
        default=None, description="The shape that was recognised, or several, joined."
    )


# -------------------------------------------------------------------------------------- figures


class Count(Part):
    """What became of all records, messages or conversations: read = kept + dropped."""

    read: Number = Field(description="How many were read.")
    kept: Number = Field(description="How many were kept.")
    dropped: dict[str, Number] = Field(description="How many were dropped, by reason.")


class Counts(Part):
    """The counts of records, messages and conversations."""

    records: Count = Field(description="What files hold: lines, elements, rows.")
    messages: Count = Field(description="Messages.")
    conversations: Count = Field(description="Conversations.")

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

    rows: Number = Field(description="Conversations.")
    messages: Number = Field(default=0, description="Messages.")
    bytes: Number = Field(default=0, description="Bytes of the shards of messages.")
    token_rows: Number = Field(default=0, description="Rows of tokens.")
    tokens: Number = Field(default=0, description="Tokens.")
    trained_tokens: Number = Field(default=0, description="Tokens with a label.")


class Splits(Part):
    """The splits, train and test."""

    __pydantic_extra__: dict[str, SplitEntry]

    train: SplitEntry = Field(description="The split for training.")
    test: SplitEntry = Field(description="The split for testing.")

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

    messages: Count = Field(description="Messages.")
    conversations: Count = Field(description="Conversations.")

    def items(self) -> Iterator[tuple[str, Count]]:
        """Yields the name of each unit and its count."""
        yield "messages", self.messages
        yield "conversations", self.conversations


class RenderingEntry(Part):
    """A rendering that was added to a dataset.

    `options` are those of `render`. The content hash is of its rows of tokens alone. `versions`
    are those of the packages that made the rows.
    """

    options: Any = Field(description="The options of `render`.")
    content_hash: Digest = Field(description="The hash of its rows of tokens alone.")
    counts: RenderingCounts = Field(description="What it keeps of the folder.")
    splits: Splits = Field(description="The size of each split.")
    lengths: dict[str, Histogram] = Field(description="Histograms of the lengths of its rows.")
    render: RenderEntry = Field(description="How its rows were made.")
    versions: dict[str, str] = Field(description="Versions of the packages that made its rows.")


class PairsEntry(Part):
    """The pairs of ranked answers: their splits, the number of questions that they are of, and what
    became of the answers of the trees. The content hash is of the pairs alone."""

    content_hash: Digest = Field(description="The hash of the pairs alone.")
    splits: Splits = Field(description="Pairs in each split.")
    questions: Number = Field(description="Questions that the pairs are of.")
    answers: Count = Field(description="What became of the answers of trees.")


class RankedEntry(Part):
    """The questions whose answers are ranked, with all of them: their splits, and their hash."""

    content_hash: Digest = Field(description="The hash of these rows alone.")
    splits: Splits = Field(description="Questions in each split.")


class PairTokensEntry(Part):
    """The pairs as rows of tokens: their splits, how many pairs are left out, by reason, and what
    of a sample was compared with the template. The content hash is of these rows alone."""

    content_hash: Digest = Field(description="The hash of these rows alone.")
    splits: Splits = Field(description="Pairs in each split.")
    left_out: dict[str, Number] = Field(description="Pairs that are left out, by reason.")
    compared: ParityEntry = Field(description="What of a sample was compared with the template.")


class Leakage(Part):
    """Groups with rows in both splits; a build has none."""

    groups_in_both: Number = Field(
        description="How many groups have rows in both splits; 0 in every build."
    )


class Share(Part):
    """The share of a source among all rows, and its weight, cap and licence in the recipe.

    `epochs` is how often what there is of it was taken, as `mix` measures it; tokens stand there
    where a recipe mixes.
    """

    source: str = Field(description="The name of the source.")
    rows: Number = Field(description="Rows that it gave.")
    share: Real = Field(description="Its share of all rows.")
    weight: Real | None = Field(description="Its weight in the recipe.")
    cap: int | None = Field(description="Its cap in the recipe.")
    license: str | None = Field(description="Its licence in the recipe.")
    epochs: Real | None = Field(
        default=None, description="How often what there is of it was taken."
    )
    tokens: Number | None = Field(default=None, description="Tokens that it gave.")
    trained_tokens: Number | None = Field(default=None, description="Trained tokens that it gave.")


class Example(Part):
    """Something that was dropped: its unit and id, what the ledger says of it, and its place in a
    file where that is known."""

    unit: str = Field(description="Record, message or conversation.")
    id: str = Field(description="Its id.")
    detail: str = Field(description="What the ledger says of it.")
    place: str = Field(default="", description="Its file and line, where that is known.")

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

    is_whole: Flag = Field(description="Whether all of the input was looked at.")
    examples: dict[str, Example] = Field(description="An example of what was dropped, by reason.")


class ExtensionEntry(Part):
    """A source, cleaner, filter or template that is not chatdata's: of an installed package, or a
    function of a Python file."""

    kind: str = Field(description="Source, cleaner, filter or template.")
    name: str = Field(description="Its name in the recipe.")
    about: str = Field(description="The first line of its docstring.")
    package: str | None = Field(default=None, description="The package that adds it.")
    file: str | None = Field(default=None, description="The Python file that has it.")
    sha256: Sha256 | None = Field(default=None, description="The SHA-256 of the file.")


# --------------------------------------------------------------------------------------- recipe


class SourceOptions(Part):
    """The options of a source that say where its files come from."""

    repo: str | None = Field(description="The repository on the Hub.")
    revision: str | None = Field(description="The commit of the repository.")
    files: tuple[str, ...] = Field(description="The files as the recipe names them.")
    name: str | None = Field(description="The name of the source, where the recipe gives it one.")
    license: str | None = Field(description="The licence of the source.")


class ThreadOptions(Part):
    """The options of `threads` that a card tells."""

    train_once: bool = Field(
        description="Whether an answer of several paths is trained in one alone."
    )
    pairs: str | None = Field(default=None, description="How pairs are chosen.")
    margin: int = Field(default=1, description="The least difference of the ranks of a pair.")


class SplitOptions(Part):
    """How many percent of the groups are for testing."""

    test_percent: Real = Field(description="How many percent of the groups are for testing.")


class MixOptions(Part):
    """What weights and caps of sources measure."""

    by: str = Field(description="What weights and caps measure.")


class PublishOptions(Part):
    """Where the dataset is published."""

    repo: str | None = Field(description="The repository on the Hub.")


class RecipeEntry(Verbatim):
    """The resolved recipe, written verbatim; the fields are the keys that cards and checks read."""

    source: dict[str, SourceOptions] = Field(description="The sources, by name.")
    threads: ThreadOptions = Field(description="How conversations begin and end.")
    drop: tuple[dict[str, dict[str, Any]], ...] = Field(description="The filters.")
    split: SplitOptions | None = Field(description="The splits.")
    publish: PublishOptions | None = Field(description="Where the dataset goes.")
    mix: MixOptions | None = Field(default=None, description="How sources are mixed.")
    render: Any = Field(default=None, description="How tokens are made.")

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
