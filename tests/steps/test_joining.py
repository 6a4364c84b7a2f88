"""Pieces that a dump has cut a conversation into: joined where it is proved, and nowhere else."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdata.core.ledger import JOINED
from chatdata.steps import joining, threads
from chatdata.steps.filtering import mark
from chatdata.steps.joining import Pieces
from chatdata.steps.threads import Threaded, Threads
from tests.support.conversations import marked, table

JOIN = Threads(join="pieces", end="any")
Turn = tuple[str, str]
Talk = Sequence[Turn]


def in_turn(words: str, first: int = 0) -> list[Turn]:
    """Turns of a letter each, of which a user speaks every second; `first` is the first place."""
    roles = ("user", "assistant")
    return [(roles[(first + place) % 2], word) for place, word in enumerate(words)]


def rows(cut: Mapping[str, Talk]) -> pl.DataFrame:
    """Messages of pieces by id, of which those of a name share a group."""
    stem = pl.col("conversation").str.replace(r"_\d+$", "")
    return mark(table(cut).with_columns(group=stem), [])


def words_of(threaded: Threaded) -> dict[str, str]:
    return {
        str(name): "".join(turns["content"])
        for (name,), turns in threaded.messages.group_by("conversation", maintain_order=True)
    }


def outcomes(threaded: Threaded, unit: str) -> dict[str, str]:
    rows = threaded.outcomes.filter(unit=unit).select("id", "reason", "detail").rows()
    return {id: f"{reason} {detail}" for id, reason, detail in rows}


def figures(threaded: Threaded) -> Pieces:
    of_pieces = threaded.figures.by_key[joining.KEY]
    assert isinstance(of_pieces, Pieces)
    return of_pieces


# ------------------------------------------------------------------------------ one to read


def test_three_pieces_are_a_conversation_again() -> None:
    """`x_3` begins with the answer that ended `x_0`, and `x_6` follows on by its number."""
    cut = {"x_0": in_turn("abcd"), "x_3": in_turn("def", 3), "x_6": in_turn("gh")}
    threaded = threads.linearize_turns(rows(cut), JOIN)
    assert threaded.messages.select(
        "conversation", "group", "position", "message", "content"
    ).rows() == [
        ("x_0", "x", 0, "x_0#0", "a"),
        ("x_0", "x", 1, "x_0#1", "b"),
        ("x_0", "x", 2, "x_0#2", "c"),
        ("x_0", "x", 3, "x_0#3", "d"),
        ("x_0", "x", 4, "x_3#1", "e"),
        ("x_0", "x", 5, "x_3#2", "f"),
        ("x_0", "x", 6, "x_6#0", "g"),
        ("x_0", "x", 7, "x_6#1", "h"),
    ]
    assert outcomes(threaded, "message") == {"x_3#0": "joined the same as x_0#3"}
    assert outcomes(threaded, "conversation") == {
        "x_3": "joined to x_0, by what both say",
        "x_6": "joined to x_0, by its number",
    }
    assert figures(threaded) == Pieces(by_text=1, by_number=1)
    assert threads.names(rows(cut), JOIN)["conversation"].unique().to_list() == ["x_0"]


# ------------------------------------------------------------------------------ any conversation


class Piece(NamedTuple):
    """The turns of a conversation from a place to another."""

    start: int
    end: int


@st.composite
def talks(draw: st.DrawFn) -> list[Turn]:
    """Conversations of few words, so that many turns say the same; some questions come again."""
    turns: list[Turn] = []
    for _ in range(draw(st.integers(1, 7))):
        turns += [("user", draw(st.sampled_from("ab")))] * draw(st.integers(1, 2))
        turns.append(("assistant", draw(st.sampled_from("ab"))))
    return turns


@st.composite
def cuts(draw: st.DrawFn) -> tuple[list[Turn], list[Piece]]:
    """A conversation, and its pieces by the rule of the dump: a piece begins with the answer that
    ended the piece before, or behind it."""
    talk = draw(talks())
    places = draw(st.sets(st.integers(1, len(talk) - 1), max_size=5)) if len(talk) > 1 else set()
    ends = [*sorted(places), len(talk)]
    pieces, start = [], 0
    for end in ends:
        pieces.append(Piece(start, end))
        is_answer = talk[end - 1][0] == "assistant"
        start = end - 1 if is_answer and draw(st.booleans()) else end
    return talk, pieces


def named(talk: Talk, cut: Sequence[Piece]) -> dict[str, Talk]:
    return {f"x_{piece.start}": talk[piece.start : piece.end] for piece in cut}


def runs(cut: Sequence[Piece]) -> list[Piece]:
    """What pieces of a conversation are when those are joined that leave no gap between them."""
    joined: list[Piece] = []
    for piece in cut:
        if joined and piece.start <= joined[-1].end:
            joined[-1] = Piece(joined[-1].start, max(piece.end, joined[-1].end))
        else:
            joined.append(piece)
    return joined


def check(talk: Talk, cut: Sequence[Piece], seed: int) -> None:
    messages = rows(named(talk, cut))
    order = random.Random(seed).sample(range(messages.height), messages.height)
    threaded = threads.linearize_turns(messages[order], JOIN)
    whole = {f"x_{run.start}": talk[run.start : run.end] for run in runs(cut)}
    assert words_of(threaded) == {
        id: "".join(word for _, word in turns) for id, turns in whole.items()
    }
    # Every message has a single fate, and what two pieces have in common is counted as joined.
    lost = threaded.outcomes.filter(unit="message")
    assert sorted([*threaded.messages["message"], *lost["id"]]) == sorted(messages["message"])
    assert set(lost["reason"]) <= {JOINED}
    twice = sum(piece.end - piece.start for piece in cut) - sum(map(len, whole.values()))
    assert lost.height == twice
    fates = {id: whole.get(id, []) for id in named(talk, cut)}
    assert outcomes(threaded, "conversation").keys() == {
        id for id, left in fates.items() if not left
    }
    counted = figures(threaded)
    assert counted.by_text + counted.by_number == len(cut) - len(whole)


@pytest.mark.slow
@given(cuts(), st.integers(0, 9))
@settings(max_examples=50)
def test_what_was_cut_is_whole_again(cut: tuple[list[Turn], list[Piece]], seed: int) -> None:
    talk, places = cut
    distinct = list({piece.start: piece for piece in places}.values())
    check(talk, distinct, seed)
    if distinct == places:
        assert len(runs(places)) == 1


@pytest.mark.slow
@given(cuts(), st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=50)
def test_nothing_is_joined_across_a_gap(
    cut: tuple[list[Turn], list[Piece]], without: int, seed: int
) -> None:
    talk, places = cut
    distinct = list({piece.start: piece for piece in places}.values())
    left = [piece for number, piece in enumerate(distinct) if number != without % len(distinct)]
    if left:
        check(talk, left, seed)


# ------------------------------------------------------------------------------ what is not proved


@pytest.mark.parametrize(
    ("cut", "left"),
    [
        # The piece before is missing; its number says so although the text fits.
        ({"x_0": in_turn("ab"), "x_5": in_turn("bc", 1)}, {"x_0": "ab", "x_5": "bc"}),
        # Another answer stands at the place.
        ({"x_0": in_turn("ab"), "x_1": in_turn("zc", 1)}, {"x_0": "ab", "x_1": "zc"}),
        # ... and what follows on that piece is joined to that piece.
        (
            {"x_0": in_turn("ab"), "x_1": in_turn("zcd", 1), "x_4": in_turn("ef")},
            {"x_0": "ab", "x_1": "zcdef"},
        ),
        # An answer behind an answer: nobody says that they belong together.
        ({"x_0": in_turn("ab"), "x_2": in_turn("cd", 1)}, {"x_0": "ab", "x_2": "cd"}),
        # Numbers that count conversations: 1 is a question here and an answer there.
        (
            {"x_0": in_turn("ab"), "x_1": in_turn("cd"), "x_3": in_turn("ef")},
            {"x_0": "ab", "x_1": "cd", "x_3": "ef"},
        ),
        # No number, another name, a number that is none.
        ({"x": in_turn("ab"), "x_2": in_turn("cd")}, {"x": "ab", "x_2": "cd"}),
        ({"x_0": in_turn("ab"), "y_2": in_turn("cd")}, {"x_0": "ab", "y_2": "cd"}),
        ({"x_0": in_turn("ab"), "x_2a": in_turn("cd")}, {"x_0": "ab", "x_2a": "cd"}),
        # A system turn begins something.
        (
            {"x_0": in_turn("ab"), "x_2": [("system", "s"), *in_turn("cd")]},
            {"x_0": "ab", "x_2": "scd"},
        ),
        # A piece within another adds nothing, and one that differs stands in nobody's way.
        (
            {"x_0": in_turn("abcdef"), "x_2": in_turn("cd"), "x_5": in_turn("fg", 1)},
            {"x_0": "abcdefg"},
        ),
        (
            {"x_0": in_turn("abcdef"), "x_2": in_turn("zd"), "x_5": in_turn("fg", 1)},
            {"x_0": "abcdefg", "x_2": "zd"},
        ),
    ],
)
def test_what_is_joined(cut: dict[str, Talk], left: dict[str, str]) -> None:
    threaded = threads.linearize_turns(rows(cut), JOIN)
    assert words_of(threaded) == left
    assert words_of(threads.linearize_turns(rows(cut)[::-1], JOIN)) == left
    apart = threads.linearize_turns(rows(cut), Threads(end="any"))
    assert set(words_of(apart)) == set(cut)


def test_why_a_piece_still_begins_in_the_middle() -> None:
    cut = {"x_0": in_turn("ab"), "x_1": in_turn("zc", 1), "x_9": in_turn("d"), "y_2": in_turn("e")}
    assert figures(threads.linearize_turns(rows(cut), JOIN)) == Pieces(missing=2, differs=1)


def test_pieces_with_other_tools_or_of_another_group_stay_apart() -> None:
    cut = rows({"x_0": in_turn("ab"), "x_2": in_turn("cd")})
    is_later = pl.col("conversation") == "x_2"
    for column in ("tools", "variables", "group", "source"):
        changed = pl.when(is_later).then(pl.lit("[]")).otherwise(column).alias(column)
        threaded = threads.linearize_turns(cut.with_columns(changed), JOIN)
        assert words_of(threaded) == {"x_0": "ab", "x_2": "cd"}


def test_turns_that_nobody_could_read_prove_nothing() -> None:
    picture = ("assistant", None)
    unread = mark(table({"x_0": [("user", "a"), picture], "x_1": [picture]}), [])
    unread = unread.with_columns(group=pl.lit("x"), note=pl.lit("an image"))
    threaded = threads.linearize_turns(unread, JOIN)
    assert threaded.messages["conversation"].to_list() == ["x_0", "x_0", "x_1"]


# ------------------------------------------------------------------------- with what else happens


def test_a_piece_that_comes_twice_is_joined_once() -> None:
    cut = rows({"x_0": in_turn("ab"), "x_2": in_turn("cd")})
    again = cut.filter(conversation="x_2").with_columns(where=pl.lit("elsewhere"))
    threaded = threads.linearize_turns(pl.concat([cut, again]), JOIN)
    assert words_of(threaded) == {"x_0": "abcd"}
    reasons = threaded.outcomes.filter(unit="conversation").select("id", "reason").rows()
    assert sorted(reasons) == [("x_2", "duplicate_id"), ("x_2", "joined")]


def test_two_pieces_of_one_id_prove_nothing() -> None:
    cut = rows({"x_0": in_turn("ab"), "x_2": in_turn("cd")})
    different = pl.when(pl.col("content") == "d").then(pl.lit("z")).otherwise("content")
    again = cut.filter(conversation="x_2").with_columns(where=pl.lit("q"), content=different)
    threaded = threads.linearize_turns(pl.concat([cut, again]), JOIN)
    assert sorted(words_of(threaded).values()) == ["ab", "cd", "cz"]


def test_what_is_removed_in_a_piece_takes_what_follows_in_the_next_along() -> None:
    cut = {"x_0": in_turn("abcd"), "x_3": in_turn("def", 3), "x_6": in_turn("gh")}
    stem = pl.lit("x")
    removed = marked(table(cut).with_columns(group=stem), x_3_1="cut")
    removed = removed.with_columns(
        removed_by=pl.when(pl.col("message") == "x_3#1").then(pl.lit("faulty")),
        on_removed=pl.when(pl.col("message") == "x_3#1").then(pl.lit("cut")),
    )
    threaded = threads.linearize_turns(removed, JOIN)
    assert words_of(threaded) == {"x_0": "abcd"}
    assert outcomes(threaded, "message") == {
        "x_3#0": "joined the same as x_0#3",
        "x_3#1": "faulty None",
        "x_3#2": "faulty goes with x_3#1",
        "x_6#0": "faulty goes with x_3#1",
        "x_6#1": "faulty goes with x_3#1",
    }


def test_questions_of_two_pieces_are_merged_like_those_of_one() -> None:
    cut = {"x_0": in_turn("abc"), "x_3": [("user", "d"), ("assistant", "e")]}
    options = Threads(join="pieces", repeated_role="merge")
    threaded = threads.linearize_turns(rows(cut), options)
    assert threaded.messages["content"].to_list() == ["a", "b", "c\n\nd", "e"]
