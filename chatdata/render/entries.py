"""What a manifest says of how its rows of tokens were rendered: frozen models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from chatdata.core.document import Flag, Number, Part, Sha256, Verbatim


class TemplateEntry(Verbatim):
    """A template in full, as its `facts` are; a built-in one has no method."""

    name: str = Field(description="The name of the template, or of its tokenizer.")
    stop: str = Field(description="The token that ends an answer.")
    method: str | None = Field(
        default=None,
        description="How answers are found in the text of a template that a tokenizer carries.",
    )
    keeps_history: bool = Field(
        default=True,
        description="Whether earlier turns stay as they were once another question follows.",
    )
    generation_prompt: str = Field(default="", description="What stands before an answer.")
    jinja: str = Field(default="", description="The chat template.")


class TokenizerEntry(Part):
    """The tokenizer, and the ids that the template uses."""

    name: str = Field(description="The tokenizer as the recipe names it.")
    sha256: Sha256 = Field(description="The SHA-256 of its files.")
    control_ids: dict[str, int] = Field(
        default={}, description="The ids of the template's control tokens."
    )
    stop_ids: tuple[int, ...] = Field(default=(), description="The ids at which an answer ends.")


class UnknownEntry(Part):
    """The unknown token in rows: for what the tokenizer has no token."""

    token: str = Field(description="The unknown token.")
    tokens: Number = Field(description="How often it stands in rows.")
    rows: Number = Field(description="Rows that have it.")


class ParityEntry(Part):
    """How many rows and answers were compared with the template, and what was found in them.

    The counts are those of `parity.ParityCounts`; earlier versions of chatdata counted fewer.
    """

    __pydantic_extra__: dict[str, Number]

    rows: Number = Field(default=0, description="Rows that were looked at.")
    compared: Number = Field(description="Rows whose ids were compared with the template's.")
    differences: Number = Field(description="Rows with other ids; 0, or the build fails.")
    quoting: Number = Field(description="Rows that quote control tokens as text.")
    forged: Number = Field(
        description="Rows in which text makes a control token; 0, or the build fails."
    )
    answers: Number = Field(description="Answers that were looked at.")
    stops_trained: Number = Field(description="Answers whose end token is trained.")
    headers_trained: Number = Field(
        description=(
            "Answers of which something before the words is trained; 0, or the build fails."
        )
    )
    texts_returned: Number = Field(
        default=0, description="Answers whose trained tokens decode to their words."
    )
    texts_altered: Number = Field(
        default=0, description="Answers whose words the template changes."
    )
    prompts: Number = Field(description="Answers that stand right behind their generation prompt.")
    thoughts: Number = Field(
        default=0, description="Answers before which the template writes an empty thought."
    )
    straddling: Number = Field(
        default=0, description="Answers whose first token holds letters of what stands before."
    )
    unasked: Number = Field(default=0, description="Answers to which no generation prompt leads.")
    in_quoting: Number = Field(default=0, description="Answers in rows that quote control tokens.")
    in_parts: Number = Field(default=0, description="Answers of which only some parts are learnt.")
    ends_left_out: Number = Field(
        default=0, description="Answers whose end is not learnt, as the recipe says."
    )
    passed_over: Number = Field(default=0, description="Rows that could not be compared.")

    def items(self) -> Iterator[tuple[str, int]]:
        """Yields the name and the number of each count that was made."""
        yield from self.as_json().items()

    def __add__(self, more: ParityEntry) -> ParityEntry:
        first, second = dict(self.items()), dict(more.items())
        sums = {name: first.get(name, 0) + second.get(name, 0) for name in first | second}
        return ParityEntry.model_validate(sums)

    @property
    def faults(self) -> int:
        """How many rows or answers are wrong; 0 in every build that passed."""
        return self.differences + self.forged + self.headers_trained


class EncoderEntry(Part):
    """The library that made the ids, and the texts that were compared with `tokenizers`."""

    name: Any = Field(default=None, description="The library that made the ids.")
    remark: str | None = Field(default=None, description="Why a faster library was not used.")
    audit: Any = Field(
        default=None, description="Texts that two libraries encoded, and how many differ."
    )


class CertificateEntry(Part):
    """The proof that the rows are what the template writes."""

    passed: Flag = Field(description="Whether no fault was found.")
    probes: ParityEntry = Field(description="What was found in hard probes.")
    sample: ParityEntry = Field(description="What was found in a sample of the rows.")
    engine: EncoderEntry = Field(description="The library that made the ids.")
    template_sha256: str | None = Field(
        default=None, description="The SHA-256 of the template that was compared."
    )
    tokenizer_sha256: str | None = Field(
        default=None, description="The SHA-256 of the tokenizer that was compared."
    )

    @property
    def total(self) -> ParityEntry:
        """The counts of probes and sample together."""
        return self.probes + self.sample


class RenderEntry(Part):
    """How the rows of tokens were made, and how many there are."""

    template: TemplateEntry = Field(description="The template in full.")
    tokenizer: TokenizerEntry = Field(description="The tokenizer.")
    train_on: str | dict[str, bool] = Field(
        description="What is trained: a name, or the parts of answers."
    )
    max_tokens: Number | None = Field(description="The most tokens of a row.")
    overflow: str = Field(description="What became of longer rows.")
    token_rows: Number = Field(description="Rows of tokens.")
    tokens: Number = Field(description="Tokens.")
    trained_tokens: Number = Field(description="Tokens with a label.")
    unknown: UnknownEntry | None = Field(
        default=None, description="Unknown tokens, where there are some."
    )

    @property
    def learnt(self) -> str:
        """What is trained, in words."""
        if isinstance(self.train_on, str):
            return self.train_on
        return ", ".join(part for part, is_learnt in self.train_on.items() if is_learnt)

    @property
    def learns_ends(self) -> bool:
        """Whether the ends of answers are trained."""
        return isinstance(self.train_on, str) or self.train_on["end"]

    certificate: CertificateEntry = Field(
        description="The proof that the rows are what the template writes."
    )
