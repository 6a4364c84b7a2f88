"""A chat template that a tokenizer carries, as a value: how its rows are written."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from chatdata.render.chat_template.jinja import render, render_generation
from chatdata.render.conversation import Messages, UnrenderableError
from chatdata.render.segments.from_spec import WritesTurns
from chatdata.render.segments.from_text import Answer, WritesText
from chatdata.render.template_spec import TemplateSpec

Method = Literal["segments", "generation", "prefix"]


@dataclass(frozen=True)
class JinjaTemplate(WritesText):
    """A chat template that a tokenizer carries, and what is known about the template.

    `method` says how rows are written: by a spec that was proved to write the same (`segments`,
    see `CompiledTemplate`), or rendered by the template itself, with answers found by its
    `{% generation %}` tags or by prefixes. Without `keeps_history`, what the template writes for
    a turn depends on later turns, and each answer needs a row to itself.
    """

    source: str
    variables: Mapping[str, Any]  # special tokens by name, and those of the recipe
    date: datetime.date | None
    method: Method
    keeps_history: bool
    stop: str  # what ends an answer; the model has to write it
    lead: str  # what the template writes before an answer and the prompt does not supply
    generation_prompt: str  # after a user's turn

    name = "tokenizer"
    special_tokens = ()  # none are added to the tokenizer

    def text(self, messages: Messages, add_generation_prompt: bool = False) -> str:
        """A conversation as text. Raises UnrenderableError where the template refuses it."""
        return render(self.source, self.variables, self.date, messages, add_generation_prompt)

    def write(self, messages: Messages, wanted: Sequence[int]) -> tuple[str, list[Answer]]:
        """The text of a conversation, and where the answers stand whose numbers are `wanted`.

        Raises UnrenderableError where an answer is changed, or does not stand between its
        generation prompt and the stop tokens.
        """
        if self.method == "generation":
            text, starts = self._generated(messages, wanted)
        else:
            text = self.text(messages)
            starts = [self._end_of_prompt(messages, text, number) for number in wanted]
        ends = [
            start + self._length(text, start, messages[number]["content"], number)
            for number, start in zip(wanted, starts, strict=True)
        ]
        return text, [Answer(*place) for place in zip(wanted, starts, ends, strict=True)]

    def _end_of_prompt(self, messages: Messages, text: str, number: int) -> int:
        prompt = self.text(messages[:number], add_generation_prompt=True)
        if not text.startswith(prompt):
            raise UnrenderableError(
                f"turn {number} does not stand behind its generation prompt, which ends in "
                f"{prompt[-30:]!r}"
            )
        return len(prompt)

    def _generated(self, messages: Messages, wanted: Sequence[int]) -> tuple[str, list[int]]:
        text, starts = render_generation(self.source, self.variables, self.date, messages)
        answers = [i for i, turn in enumerate(messages) if turn["role"] == "assistant"]
        if len(starts) != len(answers):
            raise UnrenderableError(
                f"the chat template tags {len(starts)} of {len(answers)} answers as generated"
            )
        by_answer = dict(zip(answers, starts, strict=True))
        return text, [by_answer[number] for number in wanted]

    def _length(self, text: str, start: int, content: str, number: int) -> int:
        for body in self.answer_forms(content):
            if text.startswith(body + self.stop, start):
                return len(body + self.stop)
        raise UnrenderableError(f"the chat template changes the content of turn {number}")

    def answer_forms(self, content: str) -> list[str]:
        """The texts that an answer may be written as: as it is or trimmed, with the lead or not."""
        bodies = (content, content.strip())
        return list(dict.fromkeys(lead + body for lead in (self.lead, "") for body in bodies))

    def jinja(self) -> str:
        """The template for `tokenizer.chat_template`."""
        return self.source

    def facts(self) -> dict[str, Any]:
        """The template in full, for the manifest."""
        variables = {k: v for k, v in self.variables.items() if not k.endswith("_token")}
        return {
            "name": self.name,
            "method": self.method,
            "keeps_history": self.keeps_history,
            "stop": self.stop,
            "lead": self.lead,
            "generation_prompt": self.generation_prompt,
            "variables": variables,
            "date": self.date.isoformat() if self.date else None,
            "special_tokens": [],
            "jinja": self.source,
        }


@dataclass(frozen=True)
class CompiledTemplate(WritesTurns, JinjaTemplate):
    """A chat template with a spec that was proved to write the same: rows come from the spec."""

    spec: TemplateSpec

    @classmethod
    def of(cls, template: JinjaTemplate, spec: TemplateSpec) -> CompiledTemplate:
        """The template with its spec."""
        values = {field.name: getattr(template, field.name) for field in fields(template)}
        values |= {"method": "segments", "generation_prompt": spec.generation_prompt}
        return cls(**values, spec=spec)


def is_taken(template: JinjaTemplate, messages: Messages) -> bool:
    """Whether a template writes this conversation, and does not refuse it."""
    try:
        template.text(messages)
    except UnrenderableError:
        return False
    return True
