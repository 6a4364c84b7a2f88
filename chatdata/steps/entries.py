"""What a manifest says of the figures of steps: frozen models.

They stand apart from the steps, so that a command that reads a manifest does not import the steps.
"""

from __future__ import annotations

from pydantic import Field

from chatdata.core.document import Number, Part, Real, Sha256

_SHOWN = 5  # ids that name nothing


class CleanedEntry(Part):
    """What the manifest holds of a cleaner: messages changed, and characters fewer."""

    messages: Number
    characters: int
    left: Number | None = None  # messages that could not be read, and stay as they were


class PiecesEntry(Part):
    """What the manifest holds: pieces that were joined, by the proof, and those that begin in the
    middle all the same, since the piece before is missing or differs."""

    by_text: Number
    by_number: Number
    missing: Number
    differs: Number

    def in_words(self) -> str:
        """The numbers in a sentence."""
        joined, left = self.by_text + self.by_number, self.missing + self.differs
        words = (
            f"{joined} of {joined + left} pieces that begin in the middle of a conversation are "
            f"joined to the piece before, {self.by_text} by what both say and {self.by_number} by "
            "their number"
        )
        if not left:
            return words
        return (
            f"{words}; {left} still begin in the middle, {self.missing} since what stands before "
            f"is missing and {self.differs} since it differs"
        )


class Example(Part):
    """A message whose label a detector contradicts, by its id.

    Its text is not here: the message may be dropped, and the manifest is published.
    """

    message: str


class DisagreementEntry(Part):
    """What the manifest holds of a pair of languages: declared by a source, and detected."""

    declared: str
    detected: str
    messages: Number
    examples: tuple[Example, ...]


class SecretEntry(Part):
    """What the manifest holds of a kind: messages that hold some, and how many found, masked."""

    messages: Number
    found: Number
    masked: Number


class ClustersEntry(Part):
    """What a near-duplicate filter found, for the manifest."""

    threshold: Real
    permutations: Number
    clusters: Number
    largest: Number  # conversations
    dropped: Number


class LabelEntry(Part):
    """What a manifest says of a label: how many messages have it, its mean, and how many messages
    have at least so much of it."""

    messages: Number
    mean: Real
    at_least: dict[str, Number]


class OverlapEntry(Part):
    """What the manifest holds of an evaluation set, and of what conversations share with it."""

    set: str
    sha256: str
    items: Number
    too_short: Number = 0
    items_found: Number
    conversations: Number  # that share text with an item


class ForgetFile(Part):
    """A file of ids."""

    path: str
    sha256: Sha256


class ForgottenEntry(Part):
    """What the manifest holds: the files of ids, how many ids they have, and how many of these name
    nothing that was read. `unknown_ids` stands in no file."""

    files: tuple[ForgetFile, ...]
    ids: Number
    unknown: Number
    unknown_ids: tuple[str, ...] = Field(default=(), exclude=True)

    def in_words(self) -> str:
        """The numbers in a sentence."""
        listed = f"{self.ids:,} id{'' if self.ids == 1 else 's'} to forget"
        if not self.unknown:
            return listed
        verb = "names" if self.unknown == 1 else "name"
        return f"{listed}, of which {self.unknown:,} {verb} nothing that was read"

    def examples(self) -> str:
        """Some of the ids that name nothing, where they are known."""
        more = ["..."] if len(self.unknown_ids) > _SHOWN else []
        return ", ".join([*self.unknown_ids[:_SHOWN], *more])
