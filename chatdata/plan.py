"""What publishing a version will do, before it does it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["planned", "published", "nothing"]


@dataclass(frozen=True)
class Plan:
    """What is published where, and how it follows on what is there."""

    repo: str
    version: str
    content_hash: str
    state: State = "planned"
    creates: bool = False  # the repository
    private: bool = True  # where it is created
    previous: str | None = None  # the last version
    step: str | None = None  # from the last version, at least
    reason: str | None = None  # for the step
    upload: tuple[tuple[str, int], ...] = ()  # path, bytes
    unchanged: int = 0  # files
    delete: tuple[str, ...] = ()
    commit: str | None = None

    @property
    def tag(self) -> str:
        """The tag of the version."""
        return f"v{self.version}"

    def facts(self) -> dict[str, Any]:
        """It, for machines."""
        return {
            "repo": self.repo,
            "version": self.version,
            "tag": self.tag,
            "state": self.state,
            "commit": self.commit,
            "content_hash": self.content_hash,
            "creates_repository": self.creates,
            "private": self.private if self.creates else None,
            "previous": self.previous,
            "step": self.step,
            "reason": self.reason,
            "upload": [{"path": path, "bytes": size} for path, size in self.upload],
            "unchanged": self.unchanged,
            "delete": list(self.delete),
        }

    def lines(self) -> Iterator[str]:
        """It, for people."""
        where = f"{self.repo} {self.tag}"
        if self.state == "nothing":
            yield f"nothing to publish: {self.repo} {self.previous} has this very content"
            if self.previous != self.tag:
                yield f"  --allow-version publishes it as {self.tag} too"
            return
        if self.state == "published":
            yield f"published {where}, commit {self.commit}"
        else:
            yield f"would publish {where}" + (f" after {self.previous}" if self.previous else "")
        yield from self._details()

    def _details(self) -> Iterator[str]:
        if self.creates:
            yield f"  a new {'private' if self.private else 'public'} repository"
        if self.step and self.previous:
            yield f"  {self.reason} since {self.previous}: a {self.step} version at least"
        size = sum(size for _, size in self.upload)
        yield f"  {len(self.upload)} files, {_bytes(size)}; {self.unchanged} are there already"
        for path in self.delete:
            yield f"  without {path}, which is of an earlier version"
        yield f"  {self.content_hash}"


def _bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}" if unit != "bytes" else f"{size:.0f} bytes"
        size /= 1000
    return f"{size:.3g} TB"
