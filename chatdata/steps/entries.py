"""What a manifest says of the figures of steps: frozen models.

They stand apart from the steps, so that a command that reads a manifest does not import the steps.
"""

from __future__ import annotations

from pydantic import Field

from chatdata.core.document import Number, Part, Real, Sha256

_SHOWN = 5  # ids that name nothing


class CleanedEntry(Part):
    """What the manifest holds of a cleaner: messages changed, and characters fewer."""

    messages: Number = Field(description="Messages that were changed.")
    characters: int = Field(description="Characters that they have fewer.")
    left: Number | None = Field(
        default=None, description="Messages that could not be read, and stay as they were."
    )


class PiecesEntry(Part):
    """What the manifest holds: pieces that were joined, by the proof, and those that begin in the
    middle all the same, since the piece before is missing or differs."""

    by_text: Number = Field(description="Pieces joined by what both say.")
    by_number: Number = Field(description="Pieces joined by their number.")
    missing: Number = Field(description="Pieces whose beginning is missing.")
    differs: Number = Field(description="Pieces whose beginning differs.")

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

    message: str = Field(description="The id of the message.")


class DisagreementEntry(Part):
    """What the manifest holds of a pair of languages: declared by a source, and detected."""

    declared: str = Field(description="The language that the source declares.")
    detected: str = Field(description="The language that was detected.")
    messages: Number = Field(description="Messages of which that is so.")
    examples: tuple[Example, ...] = Field(description="Some of these messages.")


class SecretEntry(Part):
    """What the manifest holds of a kind: messages that hold some, and how many found, masked."""

    messages: Number = Field(description="Messages that hold some.")
    found: Number = Field(description="How many were found.")
    masked: Number = Field(description="How many were replaced.")


class ClustersEntry(Part):
    """What a near-duplicate filter found, for the manifest."""

    threshold: Real = Field(description="The threshold of the filter.")
    permutations: Number = Field(description="Hashes of a text.")
    clusters: Number = Field(description="Clusters of conversations that are alike.")
    largest: Number = Field(description="Conversations in the largest cluster.")
    dropped: Number = Field(description="Conversations that went.")


class LabelEntry(Part):
    """What a manifest says of a label: how many messages have it, its mean, and how many messages
    have at least so much of it."""

    messages: Number = Field(description="Messages with the label.")
    mean: Real = Field(description="Its mean.")
    at_least: dict[str, Number] = Field(description="Messages with at least so much of it.")


class OverlapEntry(Part):
    """What the manifest holds of an evaluation set, and of what conversations share with it."""

    set: str = Field(description="The file of the evaluation set.")
    sha256: str = Field(description="The SHA-256 of the file.")
    items: Number = Field(description="Texts of the set.")
    too_short: Number = Field(default=0, description="Texts that are too short to compare.")
    items_found: Number = Field(description="Texts that were found.")
    conversations: Number = Field(description="Conversations that share words with a text.")


class ForgetFile(Part):
    """A file of ids."""

    path: str = Field(description="The file of ids.")
    sha256: Sha256 = Field(description="The SHA-256 of the file.")


class ForgottenEntry(Part):
    """What the manifest holds: the files of ids, how many ids they have, and how many of these name
    nothing that was read. `unknown_ids` stands in no file."""

    files: tuple[ForgetFile, ...] = Field(description="The files of ids.")
    ids: Number = Field(description="Ids in them.")
    unknown: Number = Field(description="Ids that name nothing that was read.")
    unknown_ids: tuple[str, ...] = Field(
        default=(), exclude=True, description="Those ids; they stand in no file."
    )

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
