"""What the exports share: ids of parents, turns of words, turns that are refused."""

from __future__ import annotations

import re
from typing import Any

from chatdata.sources._linear import Turn
from chatdata.sources.values import Text, identifier

_NO_PARENT = re.compile(r"0{8}-0{4}-[04]0{3}-[08]0{3}-0{12}|client-created-root")


def parent_of(value: object) -> str | None:
    """The id of a parent; None for what stands for no parent."""
    id = identifier(value)
    return None if id is None or _NO_PARENT.fullmatch(id) else id


def turn_of(role: str, words: Text, **beside: Any) -> Turn:
    """A turn of words, or of what is wrong with them."""
    return Turn(role, words.text, words.fault, **beside)


def refused(role: str | None, why: str) -> Turn:
    """A turn that cannot be carried, and why."""
    return Turn(role, None, why)
