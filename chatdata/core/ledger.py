"""The ledger: an outcome for everything that was read, and the arithmetic that proves it.

A message is kept when it stands in at least one published row. A message that stands in none has
the reason of the step in which its last conversation was dropped. A `record` is what a file holds
(a line, an element, a row); what could not be read at all is a record with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl

from chatdata.core.errors import BuildError
from chatdata.core.schema import MESSAGE_KEY, empty

UNITS = ("records", "messages", "conversations")

# The unit of what became of an answer of a tree as one to choose from, where a recipe makes pairs.
ANSWER = "answer"

# Reasons that are no filter's name.
REASONS = {
    "bad_json": "a stretch of a file that is not JSON",
    "damaged": "a compressed file that breaks off",
    "bad_value": "a row of a table with a text that is not UTF-8, or a date out of range",
    "unknown_record": "JSON that is no record of this source",
    "preference": "answers to choose from, or an answer that was disliked",
    "bad_message": "something that is not a message stands in a tree",
    "no_id": "a message of a tree without an id",
    "no_turns": "a conversation without any turn",
    "duplicate_id": "the same id again: with the same content, or the same message of a tree",
    "rootless": "a message whose tree has no root in the input",
    "cycle": "a message whose ancestors form a ring",
    "too_many_paths": "a tree of more conversations than max_paths, or that repeats too many turns",
    "not_selected": "a reply that the thread policy did not choose",
    "joined": "a piece of a conversation that was joined to the piece before, or a turn of both",
    "repeated_role": "a turn behind which the same role speaks again",
    "leading_turn": "a turn before the first user turn",
    "trailing_turn": "a turn behind the last assistant turn",
    "prefix_of_another": "a conversation that another one begins with",
    "not_sampled": "more than its source's share, by the recipe's weight or cap",
    "forgotten": "taken out for good, since a file of the recipe's `forget` names it",
    "unrenderable": "the chat template cannot write it, or not exactly",
    "too_long": "more tokens than max_tokens",
    "no_trained_tokens": "nothing in it is trained",
    "unranked": "an answer without a rank, which no pair can have",
    "untrained": "an answer that may not be learnt, which no pair has",
    "no_rival": "an answer without another ranked answer to the same question",
    "too_many_pairs": "an answer to a question that would have more pairs than 10,000",
    "not_paired": "an answer that the policy or the margin of pairs did not choose",
}

# The unit of a conversation that is published again, since its source is taken more than once. Its
# row names the conversation.
REPEAT = "repeat"

# What the recipe's policy leaves out by intent; `max_dropped` does not count it.
CHOSEN = frozenset({"not_selected", "not_sampled", "prefix_of_another", "joined", "forgotten"})

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "unit": pl.String,
    "id": pl.String,
    "conversation": pl.String,
    "outcome": pl.String,
    "reason": pl.String,
    "detail": pl.String,
    "source": pl.String,
}

Counts = dict[str, dict[str, Any]]  # of each unit: read, kept, and dropped by reason

# What is known of something that was dropped, beside its outcome: it never stands in the ledger.
# The words are those that the last step before saw: cleaned and redacted, where a recipe does so.
WORDS: dict[str, pl.DataType | type[pl.DataType]] = {
    "place": pl.String,  # file and line
    "position": pl.Int32,  # of a message in its conversation
    "role": pl.String,
    "content": pl.String,
    "reasoning": pl.String,
    "tool_calls": pl.String,
}

# What became of something: a row of the ledger, whose outcome `entries` adds, and WORDS.
OUTCOMES: dict[str, pl.DataType | type[pl.DataType]] = {
    "unit": pl.String,  # record, message or conversation
    "id": pl.String,
    "conversation": pl.String,  # where a message stood last, if anywhere
    "reason": pl.String,  # null: kept
    "detail": pl.String,
    "source": pl.String,
    "left_by": pl.String,  # cleaners that left a message as it was: `entries` adds them to `detail`
    **WORDS,
}

# What was dropped, with what is known of it: a row of the ledger without its outcome, and WORDS.
DROPPED: dict[str, pl.DataType | type[pl.DataType]] = {
    name: kind for name, kind in {**SCHEMA, **WORDS}.items() if name != "outcome"
}

# The reason of a message that was merged into the message that `detail` names, until `follow`.
MERGED = "merged"

# The reason of a piece that was joined to another, and of a turn that stands in both.
JOINED = "joined"

# The reason of what `forget` of a recipe takes out.
FORGOTTEN = "forgotten"

# Before the id of a message with whose outcome this outcome came.
BECAUSE, GOES_WITH, BELOW = "because of ", "goes with ", "below "
# Ends the detail of a message that cleaners left as it was; their names follow.
_LEFT = "left as it is by "
_LEFT_END = rf"(?:^|; ){_LEFT}([\w, ]+)$"
_IS_ITSELF = pl.all_horizontal(
    pl.col("detail").str.starts_with(words).not_() for words in (BECAUSE, GOES_WITH, BELOW)
)


def entries(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Rows of `SCHEMA` from rows of `OUTCOMES`, in a stable order."""
    outcome = pl.when(pl.col("reason").is_null()).then(pl.lit("kept")).otherwise(pl.lit("dropped"))
    rows = outcomes.with_columns(outcome=outcome, detail=with_left("detail", pl.col("left_by")))
    return rows.select(SCHEMA.keys()).sort("unit", "id", "detail")


def with_left(detail: str, left_by: pl.Expr) -> pl.Expr:
    """The details in a column, which end with the cleaners that left a message as it was."""
    left = pl.concat_str(detail, pl.lit(_LEFT) + left_by, separator="; ", ignore_nulls=True)
    return pl.when(left_by.is_not_null()).then(left).otherwise(detail)


def without_left() -> pl.Expr:
    """The detail of the ledger without these cleaners."""
    return pl.col("detail").str.replace(_LEFT_END, "")


def left_by() -> pl.Expr:
    """The cleaners that a detail of the ledger names as those that left a message as it was."""
    return pl.col("detail").str.extract(_LEFT_END, 1)


def as_repeats(outcomes: pl.DataFrame, repeats: pl.DataFrame) -> pl.DataFrame:
    """Outcomes in which those of repeats, given as (conversation, of), have the unit of repeats and
    name the conversation; their messages have no outcomes, since those of the conversation do."""
    if repeats.is_empty():
        return outcomes
    is_repeat = pl.col("of").is_not_null()
    home = pl.when(pl.col("unit") == "message").then("conversation").otherwise("id")
    named = outcomes.with_columns(home=home).join(
        repeats.rename({"conversation": "home"}), on="home", how="left", maintain_order="left"
    )
    named = named.filter(is_repeat.not_() | (pl.col("unit") == "conversation"))
    return named.with_columns(
        unit=pl.when(is_repeat).then(pl.lit(REPEAT)).otherwise("unit"),
        conversation=pl.when(is_repeat).then("of").otherwise("conversation"),
    ).select(OUTCOMES.keys())


def dropped_rows(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Rows of `DROPPED` for the rows of `OUTCOMES` of what was dropped, in a stable order: a
    conversation, then its messages, as far as they went with it."""
    rows = outcomes.filter(pl.col("reason").is_not_null(), pl.col("unit") != REPEAT)
    rows = rows.with_columns(detail=with_left("detail", pl.col("left_by"))).select(DROPPED.keys())
    home = pl.when(pl.col("unit") == "conversation").then("id").otherwise("conversation")
    rows = rows.with_columns(home=home.fill_null(pl.col("id")))
    order = ("home", "unit", "position", "id", "place", "detail", "content")
    return rows.sort(order, nulls_last=True).drop("home")


def follow(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Outcomes in which a merged message has the outcome of the message that it was merged into."""
    is_merged = pl.col("reason").eq_missing(MERGED)
    merged = outcomes.filter(is_merged)
    if merged.is_empty():
        return outcomes
    others = outcomes.filter(is_merged.not_())
    repeats = pl.col("reason").eq_missing("duplicate_id")  # of another record, by the same id
    fates = others.filter((pl.col("unit") == "message") & repeats.not_())
    fates = fates.select("source", "reason", detail="id").unique(["source", "detail"])
    merged = merged.drop("reason").join(fates, on=["source", "detail"], maintain_order="left")
    merged = merged.with_columns(detail="merged into " + pl.col("detail"))
    return pl.concat([others, merged.select(OUTCOMES.keys())])


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
    is_meant = (pl.col("reason") == reason) & (pl.col("detail") != "") & _IS_ITSELF
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
    is_itself = _IS_ITSELF & (pl.col("detail") != "")
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


def problem_outcomes(
    problems: Iterable[tuple[str, str, str, str, str, str | None]], source: str
) -> pl.DataFrame:
    """Rows of `OUTCOMES` for what a source could not read: (unit, id, reason, detail, place, text),
    without the text where that is not known."""
    columns = ("unit", "id", "reason", "detail", "place", "content")
    table = pl.DataFrame(list(problems), dict.fromkeys(columns, pl.String), orient="row")
    missing = {name: pl.lit(None, kind) for name, kind in OUTCOMES.items() if name not in columns}
    return table.with_columns(**{**missing, "source": pl.lit(source)}).select(OUTCOMES.keys())


def outcomes_of(
    unit: str,
    rows: pl.DataFrame,
    id: str,
    reason: pl.Expr,
    detail: pl.Expr | None = None,
) -> pl.DataFrame:
    """Rows of `OUTCOMES` for the rows of a table: their `id` column, and a reason (null: kept).

    Of what was dropped the place is taken along, and of a message its words, as far as the table
    has these columns.
    """
    conversation = pl.col("conversation") if unit == "message" else pl.lit(None, pl.String)
    outcomes = rows.select(
        unit=pl.lit(unit),
        id=pl.col(id),
        conversation=conversation,
        reason=reason,
        detail=pl.lit(None, pl.String) if detail is None else detail,
        source=pl.col("source"),
        left_by=_left_by(unit, rows.columns),
        **_words(unit, rows.columns),
    )
    is_dropped = pl.col("reason").is_not_null()
    return outcomes.with_columns(pl.when(is_dropped).then(pl.col(name)) for name in WORDS)


def _left_by(unit: str, columns: Collection[str]) -> pl.Expr:
    """The cleaners that left each message of a table with these columns as it was."""
    is_known = unit == "message" and "left_by" in columns
    return pl.col("left_by") if is_known else pl.lit(None, pl.String)


def _words(unit: str, columns: Collection[str]) -> dict[str, pl.Expr]:
    """The values of WORDS that a table with these columns has of its rows."""
    known = WORDS if unit == "message" else ("place",)
    names = {word: "where" if word == "place" else word for word in known}
    return {
        word: pl.col(names[word]).cast(kind) if names.get(word) in columns else pl.lit(None, kind)
        for word, kind in WORDS.items()
    }


def drop(
    messages: pl.DataFrame,
    conversations: pl.DataFrame,
    reason: str | pl.Expr,
    detail: pl.Expr | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The messages of the conversations that stay, and rows of `OUTCOMES` for those that go.

    `conversations` has one row or more for each conversation that goes, with its id in
    `conversation` and the columns that `reason` and `detail` read; the first row of a conversation
    counts. `reason` is a reason or an expression of reasons.
    """
    if conversations.is_empty():
        return messages, empty(OUTCOMES)
    dropped = conversations.unique("conversation", keep="first", maintain_order=True)
    if "source" not in dropped.columns:
        origins = messages.select("conversation", "source", "where")
        origins = origins.unique("conversation", keep="first")
        dropped = dropped.join(origins, on="conversation", maintain_order="left")
    reason = pl.lit(reason) if isinstance(reason, str) else reason
    kept = messages.join(dropped, on="conversation", how="anti", maintain_order="left")
    return kept, outcomes_of("conversation", dropped, "conversation", reason, detail)


def drop_with_messages(
    messages: pl.DataFrame,
    conversations: pl.DataFrame,
    reason: str | pl.Expr,
    detail: pl.Expr | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The messages that `drop` leaves, and rows of `OUTCOMES` for conversations and messages.

    A message that stands in a conversation that stays, too, is not dropped.
    """
    kept, dropped = drop(messages, conversations, reason, detail)
    if dropped.is_empty():
        return kept, dropped
    return kept, pl.concat([dropped, orphaned_messages(messages, kept, dropped, "")])


def orphaned_messages(
    before: pl.DataFrame, after: pl.DataFrame, dropped: pl.DataFrame, otherwise: str
) -> pl.DataFrame:
    """Rows of `OUTCOMES` for messages that stood in a conversation and now stand in none.

    `dropped` are the outcomes of conversations that went. A message that was cut from a
    conversation that stays has the reason `otherwise`. A message of several conversations is named
    once.
    """
    rows = before.filter(pl.col("message").is_not_null())
    rows = rows.join(after, on=MESSAGE_KEY, how="anti", maintain_order="left")
    rows = rows.unique(MESSAGE_KEY, keep="first", maintain_order=True)
    reasons = dropped.select("reason", "detail", conversation="id")
    rows = rows.join(reasons, on="conversation", how="left", maintain_order="left")
    return outcomes_of(
        "message", rows, "message", pl.col("reason").fill_null(otherwise), pl.col("detail")
    )
