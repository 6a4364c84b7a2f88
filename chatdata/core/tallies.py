"""How many of each unit were read, kept and dropped: the arithmetic that proves a ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl

from chatdata.core.errors import BuildError
from chatdata.core.ledger import ANSWER, CHOSEN, IS_ITSELF, REPEAT

UNITS = ("records", "messages", "conversations")

Counts = dict[str, dict[str, Any]]  # of each unit: read, kept, and dropped by reason


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of each unit were kept, and how many were dropped for each reason."""

    kept: Counter[str] = field(default_factory=Counter)
    dropped: Mapping[str, Counter[str]] = field(default_factory=dict)

    def __add__(self, more: Tally) -> Tally:
        """The sum of both."""
        units = dict.fromkeys([*self.dropped, *more.dropped])
        dropped = {unit: self.of(unit) + more.of(unit) for unit in units}
        return Tally(self.kept + more.kept, dropped)

    def of(self, unit: str) -> Counter[str]:
        """How many of a unit were dropped, by reason."""
        return self.dropped.get(unit, Counter())


def tally(outcomes: pl.DataFrame) -> Tally:
    """The tally of a table of outcomes."""
    kept, dropped = Counter[str](), dict[str, Counter[str]]()
    for unit, reason, number in outcomes.group_by("unit", "reason").len().iter_rows():
        if reason is None:
            kept[f"{unit}s"] = number
        else:
            dropped.setdefault(f"{unit}s", Counter())[reason] = number
    return Tally(kept, dropped)


def balance(read: Mapping[str, int], tally: Tally, units: Sequence[str] = UNITS) -> Counts:
    """The counts of some units: what was read, and its tally, the most frequent reasons first.

    Raises BuildError where read differs from kept + dropped in any unit.
    """
    balanced: Counts = {}
    for unit in units:
        kept, dropped = tally.kept[unit], tally.of(unit)
        accounted = kept + dropped.total()
        if read[unit] != accounted:
            raise BuildError(
                f"the ledger does not add up: {read[unit]} {unit} were read and {accounted} are "
                "accounted for. This is a bug in chatdata; please report it with the recipe."
            )
        by_number = sorted(dropped.items(), key=lambda item: (-item[1], item[0]))
        balanced[unit] = {"read": read[unit], "kept": kept, "dropped": dict(by_number)}
    return balanced


def check_dropped(
    counts: Counts,
    max_dropped: float,
    entries: Sequence[Path] = (),
    details: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Raises BuildError where a larger share of any unit was dropped than the author expects, or
    nothing is left.

    What the thread policy left out by intent does not count. `entries` are files of the ledger, in
    which the most frequent detail of the main reason is looked up; without files, `details` has it
    by reason.
    """
    for unit, count in counts.items():
        faults = {r: n for r, n in count["dropped"].items() if r not in CHOSEN}
        share = sum(faults.values()) / max(1, count["read"])
        if share > max_dropped:
            reason = max(faults, key=lambda r: faults[r])
            detail = _mostly(reason, entries) or _quoted(details.get(reason))
            raise BuildError(
                f"{share:.1%} of the {unit} would be dropped; the main reason is '{reason}' "
                f"({faults[reason]} of {count['read']}){detail}. max_dropped is "
                f"{max_dropped:g}; correct the recipe, or allow more with --set max_dropped=1."
            )
    if not counts["conversations"]["kept"]:
        raise BuildError(_nothing_left(counts, entries, details))


def _nothing_left(counts: Counts, entries: Sequence[Path], details: Mapping[str, str]) -> str:
    """Why no conversation is left, in words."""
    unit = next((unit for unit in reversed(UNITS) if counts[unit]["dropped"]), None)
    if unit is None:
        return "no conversation is left, since none was read; name files that hold some."
    reason, number = max(counts[unit]["dropped"].items(), key=lambda item: item[1])
    detail = _mostly(reason, entries) or _quoted(details.get(reason))
    return (
        f"no conversation is left; the main reason is '{reason}' ({number} of "
        f"{counts[unit]['read']} {unit}){detail}. Correct the recipe or the files."
    )


def _mostly(reason: str, entries: Sequence[Path]) -> str:
    """The most frequent detail of what has a reason in files of the ledger, in words; "" without
    any."""
    if not entries:
        return ""
    is_meant = (pl.col("reason") == reason) & (pl.col("detail") != "") & IS_ITSELF
    table = pl.scan_parquet(list(entries), glob=False).filter(is_meant)
    details = table.group_by("detail").len().sort(["len", "detail"], descending=[True, False])
    most = details.head(1).collect()["detail"].to_list()
    return _quoted(most[0] if most else None)


def _quoted(detail: str | None) -> str:
    return f', mostly "{detail}"' if detail else ""


def examples(entries: pl.LazyFrame) -> dict[str, dict[str, str]]:
    """An example of each reason: unit, id, detail and place of the first entry with the most
    frequent detail, by preference of what has a detail of itself.

    `entries` are rows of a ledger, or of DROPPED; only these say a place.
    """
    place = pl.col("place") if "place" in entries.collect_schema() else pl.lit(None, pl.String)
    is_shown = pl.col("reason").is_not_null() & pl.col("unit").is_in([ANSWER, REPEAT]).not_()
    rows = entries.filter(is_shown).select(
        "reason", "unit", "id", pl.col("detail").fill_null(""), place=place.fill_null("")
    )
    is_itself = IS_ITSELF & (pl.col("detail") != "")
    details = rows.group_by("reason", "detail").len().with_columns(is_other=is_itself.not_())
    details = details.sort("reason", "is_other", -pl.col("len").cast(pl.Int64), "detail")
    frequent = details.unique("reason", keep="first", maintain_order=True)
    alike = rows.join(frequent.collect().lazy(), on=["reason", "detail"])
    name = pl.concat_str("unit", "id", separator=" ")
    least = alike.group_by("reason").agg(name=name.min()).collect().lazy()
    named = alike.with_columns(name=name).join(least, on=["reason", "name"])
    first = named.sort("reason", "place").unique("reason", keep="first", maintain_order=True)
    columns = ("unit", "id", "detail", "place")
    return {
        row["reason"]: {name: row[name] for name in columns} for row in first.collect().to_dicts()
    }
