"""Filters: Boolean Polars expressions, named for what they remove. True means remove.

A function's name is its name in a recipe and the reason in the ledger, the card and the report;
its keyword arguments are its options. There are three kinds, each with its module, and a recipe
lists them in this order, because that is the order in which they can run:

    message       looks at a message; runs on trees, before they are made conversations
    conversation  looks at the turns of a conversation
    corpus        needs all conversations; its expression is the text of a conversation that is
                  compared (`duplicates`, `likeness`)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chatdata.core import ledger
from chatdata.core.extensions import Registry
from chatdata.steps import functions
from chatdata.steps.conversation_filters import CONVERSATION
from chatdata.steps.corpus_filters import CORPUS
from chatdata.steps.filtering import Drop, Filter
from chatdata.steps.message_filters import MESSAGE


def _adopt(name: str, thing: Any, package: str) -> Filter:
    """The filter that a package adds, as a `Filter` or as a function."""
    if isinstance(thing, Filter):
        return replace(thing, name=name, packages=(*thing.packages, package))
    return functions.as_filter(name, thing, f"package {package}", package)


FILTERS: Registry[Filter] = Registry(
    {**MESSAGE, **CONVERSATION, **CORPUS}, "filter", "chatdata.filters", _adopt
)


def always() -> list[Drop]:
    """What every build removes first, since no template can write it."""
    return [Drop(FILTERS[name], {}, "cut") for name in ("bad_content", "unknown_role")]


def about(reason: str) -> str:
    """A reason of the ledger in words: what the filter of that name removes, or what went wrong."""
    if reason in ledger.REASONS:
        return ledger.REASONS[reason]
    return FILTERS[reason].about if reason in FILTERS else reason
