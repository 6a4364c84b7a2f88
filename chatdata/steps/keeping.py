"""What a recipe keeps by hand: filters leave alone the messages and conversations that it names.

A name spares what it names and nothing else: a message that stands behind a message that goes, goes
with it, unless that message is named too. What no template can write (`bad_content`,
`unknown_role`) cannot be kept, and `keep` chooses no path of a tree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from chatdata.core import ledger
from chatdata.steps import filtering
from chatdata.steps.figures import Counts, add_counts
from chatdata.steps.filtering import Drop

KEY = "kept_by_hand"  # of the manifest

# What was spared: the filter that would have removed it, and why.
SPARED: dict[str, pl.DataType | type[pl.DataType]] = dict.fromkeys(
    ("unit", "id", "reason", "detail"), pl.String
)

_NOTE = "; kept by hand, not dropped as "
NOTE = rf"(?s){_NOTE}(\w+).*$"  # ends the detail of what was kept by hand


@dataclass(frozen=True, slots=True)
class KeptByHand:
    """How many messages and conversations were kept by hand, by the filter that would have removed
    them."""

    counts: Counts = field(default_factory=dict)

    def __add__(self, more: KeptByHand) -> KeptByHand:
        """The figures of both."""
        return KeptByHand(add_counts(self.counts, more.counts))

    def entry(self) -> dict[str, dict[str, int]]:
        """The numbers by unit and filter, for the manifest."""
        return {unit: dict(sorted(of.items())) for unit, of in sorted(self.counts.items())}


def is_noted() -> pl.Expr:
    """Whether the detail of an outcome says that it was kept by hand."""
    return pl.col("detail").str.contains(NOTE)


def count(outcomes: pl.DataFrame) -> KeptByHand:
    """The figures of outcomes, or of rows of a ledger."""
    reason = pl.col("detail").str.extract(NOTE, 1)
    kept = outcomes.filter(pl.col("reason").is_null()).select("unit", reason=reason).drop_nulls()
    counts: dict[str, Counter[str]] = {}
    for unit, name, number in kept.group_by("unit", "reason").len().iter_rows():
        counts.setdefault(f"{unit}s", Counter())[name] = number
    return KeptByHand(counts)


def mark(
    messages: pl.DataFrame, drops: Sequence[Drop], always: Sequence[Drop], is_named: pl.Series
) -> pl.DataFrame:
    """The messages as `filtering.mark` marks them, with those that are named left alone by all
    filters but `always`.

    `spared_by` and `spared_why` are added: the filter that would have removed a message, and why.
    """
    marked = filtering.mark(messages, drops)
    nothing = pl.lit(None, pl.String)
    if not is_named.any():
        return marked.with_columns(spared_by=nothing, spared_why=nothing)
    names = {drop.filter.name for drop in always}
    spared = filtering.mark(messages, [drop for drop in drops if drop.filter.name in names])
    is_spared = is_named & spared["removed_by"].is_null()
    marked = marked.with_columns(
        spared_by=pl.when(is_spared).then("removed_by"),
        spared_why=pl.when(is_spared).then("why"),
    )
    columns = ("train", "removed_by", "on_removed", "why")
    return marked.with_columns(
        pl.when(is_named).then(spared[name]).otherwise(pl.col(name)).alias(name) for name in columns
    )


def spared_messages(marked: pl.DataFrame, names: pl.Series) -> pl.DataFrame:
    """Rows of SPARED for the messages that `mark` has spared, which have these names."""
    rows = marked.select(unit=pl.lit("message"), id=names, reason="spared_by", detail="spared_why")
    return rows.filter(pl.col("reason").is_not_null())


def split(rows: pl.DataFrame, ids: Sequence[str], reason: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of conversations that a filter would drop: those that go, and rows of SPARED for the
    conversations that are named by `ids`."""
    if not ids or rows.is_empty():
        return rows, pl.DataFrame(schema=SPARED)
    is_named = pl.col("conversation").is_in(ids)
    detail = pl.col("detail") if "detail" in rows.columns else pl.lit(None, pl.String)
    spared = rows.filter(is_named).unique("conversation", keep="first", maintain_order=True)
    spared = spared.select(
        unit=pl.lit("conversation"), id="conversation", reason=pl.lit(reason), detail=detail
    )
    return rows.filter(is_named.not_()), spared


def say(outcomes: pl.DataFrame, spared: pl.DataFrame) -> pl.DataFrame:
    """Outcomes of what is kept, of which the details say what was kept by hand.

    Of several filters that would have removed a conversation, the first is named.
    """
    if spared.is_empty():
        return outcomes
    why = pl.when(pl.col("detail").is_not_null()).then(" (" + pl.col("detail") + ")")
    notes = spared.unique(["unit", "id"], keep="first", maintain_order=True).select(
        "unit", "id", note=pl.concat_str(pl.lit(_NOTE), "reason", why.fill_null(""))
    )
    noted = outcomes.join(notes, on=["unit", "id"], how="left", maintain_order="left")
    noted = noted.with_columns(detail=pl.col("detail") + pl.col("note").fill_null(""))
    return noted.select(ledger.OUTCOMES.keys())
