"""The protocol of a template: what makes rows of tokens out of conversations.

A template decides how a conversation becomes a row. There are templates that are values
(`built_in`), Jinja that was proved to write what a value writes, Jinja that writes row by row
(`chat_template`), and whatever else implements `Template`. Nobody else asks which kind a template
is.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, Self

import polars as pl

from chatdata.render.control_tokens import ControlTokens
from chatdata.render.conversation import Messages, Tools, Variables
from chatdata.render.segments.unencoded import Ints, TrainOn, UnencodedSegments


class Pool(Protocol):
    """Texts that are tokenised once, as `TextPool` holds them; a template adds to them."""

    control: ControlTokens
    memo: dict[Any, Any]  # what a template keeps from one call to the next

    def add(self, text: str) -> int:
        """The id of a text, in which nothing is a control token."""
        ...

    def add_all(self, texts: Iterable[str]) -> Ints:
        """The ids of texts, in which nothing is a control token."""
        ...

    def written(self, text: str) -> int:
        """The id of what a template writes by itself, in which control tokens are ids."""
        ...

    def written_tokens(self, text_id: int) -> int:
        """The number of tokens of what `written` was given."""
        ...


class WritesConversation(Protocol):
    """What writes a conversation as text: a template, or a template with further variables."""

    @property
    def empty_thought(self) -> str:
        """A thought without words that is written before an answer without reasoning, after the
        generation prompt, and that no label covers; empty where none is written."""
        ...

    def text(
        self, messages: Messages, add_generation_prompt: bool = False, tools: Tools | None = None
    ) -> str:
        """A conversation as serving code writes it; rows are compared with this text.

        Raises UnrenderableError for a conversation that the template refuses.
        """
        ...


class Template(WritesConversation, Protocol):
    """How conversations are written for a model, on the tokenizer that they are written with.

    Messages are rows of MESSAGES in order, `conversation` being the id of a row.
    """

    @property
    def name(self) -> str:
        """The name by which a recipe chooses the template."""
        ...

    @property
    def special_tokens(self) -> Sequence[str]:
        """The control tokens that the template adds to a tokenizer, in their order."""
        ...

    @property
    def stop(self) -> str:
        """The control tokens that end an answer; the model has to write them."""
        ...

    @property
    def generation_prompt(self) -> str:
        """The text after a question that makes a model answer."""
        ...

    @property
    def keeps_history(self) -> bool:
        """Whether a plain turn is written alike whatever follows; if not, each answer is a row."""
        ...

    @property
    def is_explicit(self) -> bool:
        """Whether headers and trimmed white space are known, and not only found in the text."""
        ...

    def given(self, variables: Variables) -> WritesConversation:
        """What writes a conversation that has variables of its own for the template.

        Raises UnrenderableError where the template has no use for a variable.
        """
        ...

    def jinja(self) -> str:
        """The template for `tokenizer.chat_template`."""
        ...

    def facts(self) -> dict[str, Any]:
        """The template in full, for the manifest: values of JSON."""
        ...

    def of_format_1(self) -> Self:
        """The template as it wrote folders of format 1, where a thought without words is learnt."""
        ...

    def encode(self, messages: pl.DataFrame, pool: Pool, train_on: TrainOn) -> UnencodedSegments:
        """The segments of rows that `refusals` does not name.

        A message with `train_parts` learns the parts that `train_on` has as well, and no others.
        """
        ...

    def refusals(self, messages: pl.DataFrame, pool: Pool) -> list[tuple[str, str]]:
        """The rows that the template cannot write, or not exactly: (id, reason)."""
        ...

    def start_tokens(self, messages: pl.DataFrame, pool: Pool) -> Ints:
        """The tokens before each message that belong to the row, not to the message: mostly 0."""
        ...


class TemplateOptions(Protocol):
    """The options of a recipe's `render` that are for its template."""

    @property
    def system(self) -> str | None:
        """A system text for conversations that have none."""
        ...

    @property
    def variables(self) -> Mapping[str, Any]:
        """Values that a Jinja template is given."""
        ...

    @property
    def date(self) -> datetime.date | None:
        """What a Jinja template takes for today."""
        ...

    @property
    def add_end(self) -> bool:
        """Whether a Jinja template that leaves out the end of the last answer is given one."""
        ...
