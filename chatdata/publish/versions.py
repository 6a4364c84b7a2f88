"""Versions of a dataset, and the least step to the next, so that users can trust a number.

rows removed or changed, or columns changed,       major    1.4.2 -> 2.0.0
or a rendering removed
rows added, or a rendering, or pairs               minor    1.4.2 -> 1.5.0
anything else: the card, a text of the recipe      patch    1.4.2 -> 1.4.3
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

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
        """The tag of the version in a repository."""
        return f"v{self}"

    def after(self, step: Step) -> Version:
        """The next version by a step."""
        if step == "major":
            return Version(self.major + 1, 0, 0)
        if step == "minor":
            return Version(self.major, self.minor + 1, 0)
        return Version(self.major, self.minor, self.patch + 1)


def parse(text: str) -> Version:
    """The version that a text such as `1.4.2` names. Raises ConfigError for any other text."""
    match = _VERSION.fullmatch(text)
    if match is None:
        raise ConfigError(f"version '{text}' is not three numbers; write 1.0.0, for example.")
    return Version(*(int(part) for part in match.groups()))


def of_tags(tags: Iterable[str]) -> list[Version]:
    """The versions among the tags of a repository, the latest first. Other tags are ignored."""
    texts = [tag[1:] for tag in tags if tag.startswith("v")]
    return sorted((parse(text) for text in texts if _VERSION.fullmatch(text)), reverse=True)


_STEPS: tuple[Step, ...] = ("patch", "minor", "major")  # from the smallest on


class Rendered(NamedTuple):
    """How an added rendering of the next version differs: the step for it, and the reason."""

    step: Step
    reason: str


@dataclass(frozen=True)
class Change:
    """How the next version differs from a published version."""

    added: int = 0  # rows
    removed: int = 0  # rows
    changed: bool = False  # a row of both versions has another content, split or tokens
    schema: tuple[str, ...] = ()  # configs whose columns changed, or that are removed
    renderings: tuple[Rendered, ...] = ()  # added, removed or changed renderings

    @property
    def step(self) -> Step:
        """The least step to the next version."""
        steps = (self._step_of_rows, *(rendering.step for rendering in self.renderings))
        return max(steps, key=_STEPS.index)

    @property
    def reason(self) -> str:
        """The weightiest change in words, the reason for `step`."""
        if self.step == self._step_of_rows:
            return self._reason_of_rows
        return next(change.reason for change in self.renderings if change.step == self.step)

    @property
    def _step_of_rows(self) -> Step:
        if self.removed or self.changed or self.schema:
            return "major"
        return "minor" if self.added else "patch"

    @property
    def _reason_of_rows(self) -> str:
        if self.schema:
            return f"the columns of {' and '.join(self.schema)} changed"
        if self.removed:
            return f"{_rows(self.removed)} removed"
        if self.changed:
            return "the content of rows changed"
        return f"{_rows(self.added)} added" if self.added else "no row changed"


def _rows(number: int) -> str:
    return "1 row was" if number == 1 else f"{number} rows were"


def check(published: Version, new: Version, change: Change) -> None:
    """Raises HubError where `new` is not after `published`, or the step is too small."""
    way_out = "or pass --allow-version"
    if new <= published:
        raise HubError(
            f"version {new} does not come after {published}, the last published version; "
            f"publish as {published.after(change.step)}, {way_out}."
        )
    least = published.after(change.step)
    if new < least:
        raise HubError(
            f"{change.reason} since {published}, which needs a new {change.step} version; "
            f"publish as {least}, {way_out}."
        )
