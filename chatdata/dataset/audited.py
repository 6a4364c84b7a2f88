"""What an audit says of a built folder, as the manifest keeps it and the card tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from chatdata.core.document import Number, Part
from chatdata.core.hashing import sha256_json
from chatdata.dataset.entries import Digest

if TYPE_CHECKING:
    from chatdata.dataset.manifest import Manifest


_LOOKED_AT = ("messages/", "tokens/")  # of the tables of a folder


class AuditResult(Part):
    """What a check of an audit found."""

    rows: Literal["messages", "records", "tokens"] = Field(description="What was looked at.")
    check: str = Field(description="The name of the check.")
    outcome: Literal["ok", "fault", "remark", "skipped"] = Field(
        description="Whether it found a fault, has a remark, found nothing, or had nothing to do."
    )
    cases: Number = Field(description="How many cases it found.")
    of: Number = Field(description="Of how many.")
    says: str = Field(description="What it found, in a line.")
    means: str = Field(default="", description="What a case means for a training.")


class AuditEntry(Part):
    """What an audit found in the rows of a folder, at its end or later."""

    chatdata: str = Field(description="The version of chatdata that audited.")
    files: Digest = Field(description="The digest of the paths and hashes of what was audited.")
    read: dict[str, Number] = Field(description="Conversations, messages, rows and tokens read.")
    results: tuple[AuditResult, ...] = Field(description="What each check found.")

    def having(self, *outcomes: str) -> list[AuditResult]:
        """The results with these outcomes, in the order of the outcomes."""
        return [result for name in outcomes for result in self.results if result.outcome == name]


def digest(manifest: Manifest) -> str:
    """The digest of what an audit of a folder looks at: its shards of messages and of tokens."""
    shards = [[shard.path, shard.sha256] for shard in manifest.files]
    return sha256_json([shard for shard in shards if shard[0].startswith(_LOOKED_AT)])


def current(manifest: Manifest) -> AuditEntry | None:
    """What an audit says of these rows; None where there was none, or of other rows."""
    entry = manifest.audit
    return entry if entry and entry.files == digest(manifest) else None
