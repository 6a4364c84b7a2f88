"""The ids and groups of conversations, and what of them a piece of a source cannot know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from chatdata.core.hashing import hash64
from chatdata.sources._variables import Variables
from chatdata.sources.values import identifier, word


class Names:
    """The ids and groups of conversations, `ids` before each id. Equal records share a group.

    What is named for its content is numbered among its equals, and what names no group has that of
    an equal before it. Neither is known where a piece of a source is read: `is_whole` is false
    then, numbers are left out, and the rest says what must be compared with the pieces before.
    """

    def __init__(self, ids: str, *, is_whole: bool = True) -> None:
        self.is_whole = is_whole
        self.variables: set[str] = set()  # of the recipe, that a record had
        self.has_groups = False  # does any record name its group?
        self.trees: Counter[str] = Counter()  # named for their content
        self.has_treeless = False  # is there a message whose tree others must tell?
        self.ids = ids
        self._groups: dict[str, str] = {}
        self._seen: set[int] = set()  # hashes: an id each would be twice the memory
        self._occurrences: Counter[str] = Counter()  # of ids that come again

    def without_occurrence(self, keys: Mapping[str, Any], id: str) -> str:
        """The id of a record that names this id, or whose words have this hash.

        The id of a row that chatdata has published stays as it is.
        """
        stays = id.startswith(f"{self.ids}/") or is_published(keys)
        return id if stays else f"{self.ids}/{id}"

    def with_occurrence(self, id: str) -> str:
        """The id of a record that is named for its content: `x`, and `x-2` for the second `x`."""
        if not self.is_whole:
            return id
        key = hash64(id, "occurrence")
        if key not in self._seen:
            self._seen.add(key)
            return id
        self._occurrences[id] += 1
        return f"{id}-{self._occurrences[id] + 1}"

    def group(self, id: str, keys: Mapping[str, Any], group_of: Callable[[str], str]) -> str:
        """The group that a record names, or the group of its id; an id keeps the first that was
        named."""
        stated = identifier(keys.get("group"))
        if not self.is_whole:
            self.has_groups = self.has_groups or stated is not None
            return stated or group_of(id)
        if stated or id in self._groups:
            return self._groups.setdefault(id, stated or "")
        return group_of(id)


def named(keys: Mapping[str, Any]) -> str | None:
    """The id that a record names."""
    return identifier(keys.get("id")) or identifier(keys.get("conversation_id"))


def is_published(keys: Mapping[str, Any]) -> bool:
    """Whether a record is a row that chatdata has published: id, group and source are named, and
    the id begins with that of a source."""
    if "group" not in keys or "source" not in keys:
        return False
    is_named = all(word(keys[key]) for key in ("group", "source")) and word(keys.get("id"))
    return bool(is_named and keys["id"].find("/") > 0)


def check_variables(keys: Mapping[str, str], seen: set[str], source: str) -> None:
    """Raises SourceError where no record of a source had the key of a variable, or a value."""
    Variables(keys, seen).check_seen(source)
