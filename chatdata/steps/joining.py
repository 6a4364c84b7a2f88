"""The pieces that a dump has cut a conversation into, joined again.

The id of a piece ends in a number, the place of its first turn: `X_0` of 10 turns, `X_9` of 8 and
`X_17` are pieces of one conversation. Each piece but the first of ShareGPT V3 begins with the very
answer that ended the piece before (`X_9`), or with the turn behind that answer (`X_17`).

A piece is joined where that is proved: the turns that it shares with what stands before it are
equal, or its number is that of the next turn and its role may follow. Nothing is joined across a
gap, nor by numbers that are no places: where two pieces have different roles at the same place,
all pieces of that name stay apart. The joined conversation has the id of its first piece, and its
messages keep theirs. Nothing depends on the order of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from chatdata.core.ledger import JOINED, OUTCOMES, outcomes_of
from chatdata.core.schema import SPOKEN, empty
from chatdata.steps.entries import PiecesEntry

KEY = "pieces"  # of the manifest

# What pieces of one conversation have in common: a row of these names a dialogue.
_DIALOGUE = ["source", "group", "stem", "tools", "variables"]
_PLACE = [*_DIALOGUE, "place"]
_NAME = r"^(?P<stem>.+)_(?P<number>\d{1,9})$"
_BY_NUMBER = ", by its number"  # ends the detail of a piece that shares no turn


@dataclass(frozen=True, slots=True)
class Pieces:
    """How many pieces begin in the middle of their conversation, by what became of them."""

    by_text: int = 0
    by_number: int = 0
    missing: int = 0
    differs: int = 0

    def __add__(self, more: Pieces) -> Pieces:
        """The figures of both."""
        return Pieces(
            self.by_text + more.by_text,
            self.by_number + more.by_number,
            self.missing + more.missing,
            self.differs + more.differs,
        )

    def entry(self) -> PiecesEntry:
        """The numbers, for the manifest."""
        return PiecesEntry(
            by_text=self.by_text,
            by_number=self.by_number,
            missing=self.missing,
            differs=self.differs,
        )


@dataclass(frozen=True, slots=True)
class Joined:
    """Turns in the conversations that they are joined to, rows of OUTCOMES for pieces that are no
    conversation any more and for turns that stand in two pieces, and figures."""

    turns: pl.DataFrame
    outcomes: pl.DataFrame
    figures: Pieces


def count_joined(outcomes: pl.DataFrame) -> dict[str, int]:
    """How many pieces rows of a ledger call joined, by the proof."""
    joined = outcomes.filter(pl.col("reason") == JOINED, pl.col("unit") == "conversation")
    by_number = joined.filter(pl.col("detail").str.ends_with(_BY_NUMBER)).height
    return {"by_text": joined.height - by_number, "by_number": by_number}


def homes(turns: pl.DataFrame) -> pl.Series:
    """The id of the conversation that each turn stands in when pieces are joined."""
    home = pl.col("home").fill_null(pl.col("conversation"))
    placed = turns.join(_pieces(turns), on="conversation", how="left", maintain_order="left")
    return placed.select(conversation=home).to_series()


def join(turns: pl.DataFrame) -> Joined:
    """Joins the pieces of conversations. The order of the turns does not matter."""
    pieces = _pieces(turns)
    joined = pieces.filter(pl.col("home") != pl.col("conversation"))
    if joined.is_empty():
        return Joined(turns, empty(OUTCOMES), _figures(pieces))
    ids = pl.concat([joined["home"], joined["conversation"]]).unique().implode()
    is_in_run = pl.col("conversation").is_in(ids)
    runs = _in_place(turns.filter(is_in_run), pieces)
    is_first = pl.struct("home", "place").is_first_distinct()
    repeated = runs.filter(is_first.not_())
    start = pl.col("place").min().over("home")
    position = (pl.col("place") - start).cast(pl.Int32)
    left = runs.filter(is_first).with_columns(conversation="home", position=position)
    whole = pl.concat([turns.filter(is_in_run.not_()), left.select(turns.columns)])
    return Joined(whole, _outcomes(repeated, joined), _figures(pieces))


def _in_place(turns: pl.DataFrame, pieces: pl.DataFrame) -> pl.DataFrame:
    """The turns of pieces with their `home`, in the order of their `place` there, and `first`, the
    first message of each place. A turn of two pieces is learnt from where both are."""
    homes = pieces.select("conversation", "home", "number")
    runs = turns.join(homes, on="conversation", maintain_order="left")
    runs = runs.with_columns(place=pl.col("number") + pl.col("position"))
    runs = runs.sort("home", "place", "number", "conversation")
    same = ["home", "place"]
    return runs.with_columns(
        first=pl.col("message").first().over(same), train=pl.col("train").all().over(same)
    )


def _outcomes(repeated: pl.DataFrame, joined: pl.DataFrame) -> pl.DataFrame:
    """Rows of OUTCOMES for turns that another piece has, and for pieces that were joined."""
    proof = pl.when("by_text").then(pl.lit(", by what both say")).otherwise(pl.lit(_BY_NUMBER))
    to_home = pl.concat_str(pl.lit("to "), "home", proof)
    same = "the same as " + pl.col("first")
    return pl.concat(
        [
            outcomes_of("message", repeated, "message", pl.lit(JOINED), same),
            outcomes_of("conversation", joined, "conversation", pl.lit(JOINED), to_home),
        ]
    )


def _figures(pieces: pl.DataFrame) -> Pieces:
    later = pieces.filter(pl.col("number") > 0)
    is_joined = pl.col("home") != pl.col("conversation")
    numbers = later.select(
        by_text=(is_joined & pl.col("by_text")).sum(),
        by_number=(is_joined & pl.col("by_text").not_()).sum(),
        missing=(is_joined.not_() & pl.col("is_behind")).sum(),
        differs=(is_joined.not_() & pl.col("is_behind").not_()).sum(),
    )
    return Pieces(**numbers.row(0, named=True))


# ---------------------------------------------------------------------------------- what is proved


def _pieces(turns: pl.DataFrame) -> pl.DataFrame:
    """A row for each piece, in order: its `number`, the `home` that it is joined to, or its id;
    whether it shares turns with what stands before (`by_text`), or begins behind all of that
    (`is_behind`)."""
    named = turns.group_by("conversation", maintain_order=True).agg(
        pl.col("source", "group", "tools", "variables", "where").first(),
        length=pl.col("position").max().cast(pl.Int64) + 1,
        first_role=pl.col("role").sort_by("position").first(),
        last_role=pl.col("role").sort_by("position").last(),
    )
    name = pl.col("conversation").str.extract_groups(_NAME).struct
    number = name.field("number").cast(pl.Int64)
    pieces = named.with_columns(stem=name.field("stem"), number=number).drop_nulls("number")
    pieces = pieces.sort(*_DIALOGUE, "number", "conversation")
    end = pl.col("number") + pl.col("length")
    reach = end.cum_max().shift(1).over(_DIALOGUE)
    pieces = pieces.with_columns(reach=reach, is_within=(end <= reach).fill_null(False))
    disputed = _disputed(turns, pieces).implode()
    return _with_homes(pieces.with_columns(is_disputed=pl.col("conversation").is_in(disputed)))


def _with_homes(pieces: pl.DataFrame) -> pl.DataFrame:
    """Adds `home`, `by_text` and `is_behind` to pieces in order.

    A piece that ends within what stands before it is joined or stays apart, and is nothing that
    another piece could be joined to.
    """
    reaching = pl.when(pl.col("is_within").not_()).then("last_role")
    before = reaching.forward_fill().shift(1).over(_DIALOGUE)
    by_text = (pl.col("number") < pl.col("reach")).fill_null(False)
    by_number = (pl.col("number") == pl.col("reach")).fill_null(False) & _may_follow(before)
    fits = (by_text | by_number) & pl.col("is_disputed").not_()
    is_behind = (pl.col("number") > pl.col("reach")).fill_null(True)
    pieces = pieces.with_columns(fits=fits, by_text=by_text, is_behind=is_behind)
    starts = pl.col("fits").not_() & pl.col("is_within").not_()
    run = pl.when(starts).then("conversation").forward_fill().over(_DIALOGUE)
    is_alone = pl.col("is_within") & pl.col("fits").not_()
    return pieces.with_columns(home=pl.when(is_alone).then("conversation").otherwise(run))


def _may_follow(before: pl.Expr) -> pl.Expr:
    """Whether the first role of a piece may follow the last role of what stands before it."""
    role = pl.col("first_role")
    is_turn = role.is_in(["user", "assistant", "tool"])
    return (is_turn & ((role != "assistant") | (before != "assistant"))).fill_null(False)


def _disputed(turns: pl.DataFrame, pieces: pl.DataFrame) -> pl.Series:
    """The pieces that say anything else than another piece at a place where both have a turn, and
    that stand behind it.

    Where two pieces have different roles at a place, all pieces of the dialogue.
    """
    several = pieces.filter(pl.len().over(_DIALOGUE) > 1)
    numbered = several.select("conversation", "stem", "number", "reach")
    placed = turns.join(numbered, on="conversation", maintain_order="left")
    placed = placed.with_columns(place=pl.col("number") + pl.col("position"))
    shared = placed.filter(pl.len().over(_PLACE) > 1)
    words = pl.struct("role", *SPOKEN, "tool_call_id", "name")
    says_nothing = pl.all_horizontal(pl.col(name).is_null() for name in SPOKEN)
    shared = shared.with_columns(
        has_two_roles=pl.col("role").n_unique().over(_PLACE) > 1,
        differs=(words.n_unique().over(_PLACE) > 1) | says_nothing,
    )
    no_places = shared.filter("has_two_roles").select(_DIALOGUE).unique()
    everywhere = several.join(no_places, on=_DIALOGUE, how="semi", nulls_equal=True)
    disputed = shared.filter(pl.col("differs"), pl.col("place") < pl.col("reach"))
    return pl.concat([everywhere["conversation"], disputed["conversation"]]).unique()
