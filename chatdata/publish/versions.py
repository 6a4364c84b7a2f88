"""Versions of a dataset, and how far one must move: the rule by which users can trust a number.

rows removed or changed, or a schema changed     major    1.4.2 -> 2.0.0
rows added                                       minor    1.4.2 -> 1.5.0
anything else: the card, the recipe's words      patch    1.4.2 -> 1.4.3
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from chatdata.core.errors import ConfigError, HubError

Step = Literal["major", "minor", "patch"]

_NUMBER = "(0|[1-9][0-9]{0,8})"
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}")


@dataclass(frozen=True, order=True)
class Version:
    """A version of three numbers."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def tag(self) -> str:
        """Its tag in a repository."""
        return f"v{self}"

    def after(self, step: Step) -> Version:
        """The next version, a step further."""
        if step == "major":
            return Version(self.major + 1, 0, 0)
        if step == "minor":
            return Version(self.major, self.minor + 1, 0)
        return Version(self.major, self.minor, self.patch + 1)


def parse(text: str) -> Version:
    """The version that a text is. Raises ConfigError where it is none."""
    found = _VERSION.fullmatch(text)
    if found is None:
        raise ConfigError(f"version '{text}' is not three numbers; write 1.0.0, for example.")
    return Version(*(int(part) for part in found.groups()))


def of_tags(tags: Iterable[str]) -> list[Version]:
    """The versions among the tags of a repository, the latest first. Other tags are not ours."""
    texts = [tag[1:] for tag in tags if tag.startswith("v")]
    return sorted((parse(text) for text in texts if _VERSION.fullmatch(text)), reverse=True)


@dataclass(frozen=True)
class Change:
    """What differs between a version and what is to follow it."""

    added: int = 0  # rows
    removed: int = 0  # rows
    changed: bool = False  # rows of both, in their content, their split or their tokens
    schema: tuple[str, ...] = ()  # configs with other columns, or none any more

    @property
    def step(self) -> Step:
        """How far the version must move at least."""
        if self.removed or self.changed or self.schema:
            return "major"
        return "minor" if self.added else "patch"

    @property
    def reason(self) -> str:
        """Why, in words: the weightiest first."""
        if self.schema:
            return f"the columns of {' and '.join(self.schema)} are others"
        if self.removed:
            return f"{self.removed} rows are gone"
        if self.changed:
            return "rows have other content"
        return f"{self.added} rows are new" if self.added else "no row is another"


def check(published: Version, new: Version, change: Change) -> None:
    """Raises HubError where a version does not follow, or not far enough, on the last."""
    way_out = "or pass --allow-version"
    if new <= published:
        raise HubError(
            f"version {new} does not come after {published}, the last one published; "
            f"publish as {published.after(change.step)}, {way_out}."
        )
    least = published.after(change.step)
    if new < least:
        raise HubError(
            f"{change.reason} since {published}, which makes a {change.step} version; "
            f"publish as {least}, {way_out}."
        )
