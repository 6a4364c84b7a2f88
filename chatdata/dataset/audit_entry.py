"""What an audit says of a built folder, as the manifest keeps it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chatdata.core.document import Number, Part
from chatdata.dataset.entries import Digest


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
