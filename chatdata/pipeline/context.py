"""The context of a build: what every part has to know, frozen, so that it travels to workers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chatdata.core import arrow
from chatdata.pipeline.cache import Store
from chatdata.pipeline.partitions import PartitionFiles
from chatdata.pipeline.recipe import Recipe
from chatdata.render.encoding.audit import SAMPLE
from chatdata.render.options import Render
from chatdata.render.parity import ParityCounts
from chatdata.steps.entries import ForgetFile
from chatdata.steps.figures import FiguresByKey
from chatdata.steps.filtering import Drop, Unit


@dataclass(frozen=True, slots=True)
class TokenizerSource:
    """Where the tokenizer of a build is: its folder (None: built in), its name, and the options
    of `render`, which name the template."""

    folder: Path | None
    name: str
    options: Render


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """Which encoder makes ids of texts: a fast one that was admitted, or `tokenizers`.

    `tokenizers` encodes one text in `one_in` too, whatever the text holds. `remark` says why the
    fast encoder is not used.
    """

    name: str = ""
    is_fast: bool = False
    one_in: int = SAMPLE
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """A build, as its parts see it."""

    recipe: Recipe
    files: PartitionFiles
    figures: FiguresByKey  # of no messages at all
    tokenizer: TokenizerSource | None = None  # None: nothing is rendered
    probes: ParityCounts | None = None  # what the certificate found in its probes
    encoder: EncoderChoice = EncoderChoice()
    sample: float = 1.0  # the share of the rows that the certificate looks at
    columns: frozenset[str] = (
        frozenset()
    )  # those of the optional columns of tables that are written
    forget: tuple[ForgetFile, ...] = ()  # the files of ids that are taken out
    keeps_dropped: bool = False  # whether the words of what is dropped are written
    first_groups: int | None = None  # only so many groups of each source are read
    store: Store | None = None  # where what is proved is kept; None: nowhere

    @property
    def parts(self) -> range:
        """The numbers of the parts."""
        return range(self.files.parts)

    def forget_ids(self) -> list[str]:
        """The ids that the recipe takes out."""
        return arrow.read_table(self.files.forget)["id"].to_list() if self.forget else []

    def drops(self, unit: Unit) -> list[Drop]:
        """The filters of the recipe that look at a unit, in their order."""
        return [drop for drop in self.recipe.drops() if drop.filter.unit == unit]
