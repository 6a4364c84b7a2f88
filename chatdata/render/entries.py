"""What a manifest says of how its rows of tokens were rendered: frozen models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from chatdata.core.document import Flag, Number, Part, Sha256, Verbatim


class TemplateEntry(Verbatim):
    """A template in full, as its `facts` are; a built-in one has no method."""

    name: str
    stop: str
    method: str | None = None
    keeps_history: bool = True
    generation_prompt: str = ""
    jinja: str = ""


class TokenizerEntry(Part):
    """The tokenizer, and the ids that the template uses."""

    name: str
    sha256: Sha256
    control_ids: dict[str, int] = Field(default={})
    stop_ids: tuple[int, ...] = ()


class UnknownEntry(Part):
    """The unknown token in rows: for what the tokenizer has no token."""

    token: str
    tokens: Number
    rows: Number


class ParityEntry(Part):
    """How many rows and answers were compared with the template, and what was found in them.

    The counts are those of `parity.ParityCounts`; earlier versions of chatdata counted fewer.
    """

    __pydantic_extra__: dict[str, Number]

    rows: Number = 0
    compared: Number
    differences: Number
    quoting: Number
    forged: Number
    answers: Number
    stops_trained: Number
    headers_trained: Number
    texts_returned: Number = 0
    texts_altered: Number = 0
    prompts: Number
    thoughts: Number = 0
    straddling: Number = 0
    unasked: Number = 0
    in_quoting: Number = 0
    in_parts: Number = 0
    ends_left_out: Number = 0
    passed_over: Number = 0

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

    name: Any = None
    remark: str | None = None
    audit: Any = None  # counts by name, where a fast library was compared


class CertificateEntry(Part):
    """The proof that the rows are what the template writes."""

    passed: Flag
    probes: ParityEntry
    sample: ParityEntry
    engine: EncoderEntry  # the key says engine, which means workers everywhere else
    template_sha256: str | None = None
    tokenizer_sha256: str | None = None

    @property
    def total(self) -> ParityEntry:
        """The counts of probes and sample together."""
        return self.probes + self.sample


class RenderEntry(Part):
    """How the rows of tokens were made, and how many there are."""

    template: TemplateEntry
    tokenizer: TokenizerEntry
    train_on: str | dict[str, bool]
    max_tokens: Number | None
    overflow: str
    token_rows: Number
    tokens: Number
    trained_tokens: Number
    unknown: UnknownEntry | None = None  # where there are such tokens

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

    certificate: CertificateEntry
