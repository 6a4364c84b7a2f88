"""Filters of conversations: they look at the turns of a conversation."""

from __future__ import annotations

import polars as pl

from chatdata.core.schema import ROLES
from chatdata.steps import filter_options, quality_filters
from chatdata.steps.filtering import Filters

CONVERSATION = Filters("conversation")
_IS_SPOKEN = pl.col("role").is_in(["system", "developer"]).not_()
_HAS_CALLS = pl.col("tool_calls").is_not_null()

# The roles that may follow each role; None: the beginning of a conversation.
_MAY_FOLLOW = {
    None: ("system", "developer", "user"),
    "system": ("developer", "user"),
    "developer": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("tool", "assistant"),
}


def _pair(before: str | None, role: str) -> int:
    """The number of two roles that follow each other; that of the beginning is -1."""
    return (ROLES.index(before) if before else -1) * len(ROLES) + ROLES.index(role)


_PAIRS = [_pair(before, role) for before, roles in _MAY_FOLLOW.items() for role in roles]


@CONVERSATION.removes()
def not_alternating() -> pl.Expr:
    """Conversations that are not user, assistant, user, ... after an optional system message.

    Between a call of the assistant and the answer stand the results of tools, in any number.
    """
    number = pl.col("role").to_physical().cast(pl.Int16)
    pair = number.shift(1).fill_null(-1) * len(ROLES) + number  # of the turns of a conversation
    is_pair = pair.is_in(_PAIRS).fill_null(False)
    is_uncalled = (pair == _pair("assistant", "tool")) & _HAS_CALLS.shift(1).not_()
    return (is_pair.not_() | is_uncalled).any().over("conversation")


@CONVERSATION.removes()
def no_assistant() -> pl.Expr:
    """Conversations in which no assistant speaks."""
    return (pl.col("role") == "assistant").any().over("conversation").not_()


@CONVERSATION.removes()
def too_few_turns(below: filter_options.FewestTurns = 2) -> pl.Expr:
    """Conversations of fewer turns than `below`, system messages not counted."""
    return _IS_SPOKEN.sum().over("conversation") < below


for _function in quality_filters.CONVERSATION:
    CONVERSATION.removes()(_function)
