"""The ledger: an outcome for everything that was read. `tallies` has the arithmetic that proves it.

A message is kept when it stands in at least one published row. A message that stands in none has
the reason of the step in which its last conversation was dropped. A `record` is what a file holds
(a line, an element, a row); what could not be read at all is a record with its reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import polars as pl

from chatdata.core.schema import MESSAGE_KEY, empty

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

# The detail of an answer that stands in no conversation, whatever the thread policy.
DISLIKED = "another answer is better, by its source, or it was disliked"

# Before the id of a message with whose outcome this outcome came.
BECAUSE, GOES_WITH, BELOW = "because of ", "goes with ", "below "
# Ends the detail of a message that cleaners left as it was; their names follow.
_LEFT = "left as it is by "
_LEFT_END = rf"(?:^|; ){_LEFT}([\w, ]+)$"
IS_ITSELF = pl.all_horizontal(
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
