"""A chat template that a tokenizer carries, as a value: how its rows are written."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from chatdata.render.chat_template.jinja import MARK, render
from chatdata.render.conversation import Messages, UnrenderableError
from chatdata.render.segments.from_spec import WritesTurns
from chatdata.render.segments.from_text import Answer, WritesText
from chatdata.render.template_spec import TemplateSpec

Method = Literal["segments", "generation", "prefix"]


@dataclass(frozen=True)
class JinjaTemplate(WritesText):
    """A chat template that a tokenizer carries, and what was found out about it.

    `method` says how rows are written: by a value that was proved to write the same (`segments`,
    see `CompiledTemplate`), or rendered by the template itself, with answers found by its
    `{% generation %}` tags or by prefixes. Where it is not `keeps_history`, what it writes of a
    turn depends on later turns, and each answer needs a row to itself.
    """

    source: str
    variables: Mapping[str, Any]  # special tokens by name, and the recipe's own
    date: datetime.date | None
    method: Method
    keeps_history: bool
    stop: str  # what ends an answer; the model has to write it
    lead: str  # what the template writes before an answer and the prompt does not supply
    generation_prompt: str  # behind a user's turn

    name = "tokenizer"
    special_tokens = ()  # none are added to the tokenizer

    def text(self, messages: Messages, add_generation_prompt: bool = False) -> str:
        """A conversation as text. Raises UnrenderableError where the template refuses it."""
        return render(self.source, self.variables, self.date, messages, add_generation_prompt)

    def write(self, messages: Messages, wanted: Sequence[int]) -> tuple[str, list[Answer]]:
        """The text of a conversation and where its answers stand, of those that are `wanted`.

        Raises UnrenderableError where an answer does not stand behind the generation prompt as
        it was given, closed by the stop tokens.
        """
        if self.method == "generation":
            text, starts = self._generated(messages, wanted)
        else:
            text = self.text(messages)
            starts = [self._behind_prompt(messages, text, number) for number in wanted]
        ends = [
            start + self._length(text, start, messages[number]["content"], number)
            for number, start in zip(wanted, starts, strict=True)
        ]
        return text, [Answer(*own) for own in zip(wanted, starts, ends, strict=True)]

    def _behind_prompt(self, messages: Messages, text: str, number: int) -> int:
        prompt = self.text(messages[:number], add_generation_prompt=True)
        if not text.startswith(prompt):
            raise UnrenderableError(
                f"turn {number} does not stand behind its generation prompt, which ends in "
                f"{prompt[-30:]!r}"
            )
        return len(prompt)

    def _generated(self, messages: Messages, wanted: Sequence[int]) -> tuple[str, list[int]]:
        if any(MARK.search(own["content"]) for own in messages):
            raise UnrenderableError("its content holds characters for private use (U+10FFFC ff.)")
        marked = render(self.source, self.variables, self.date, messages, marks=True)
        places = [match.start() for match in MARK.finditer(marked)]
        starts = [place - 2 * i for i, place in enumerate(places[::2])]
        answers = [i for i, own in enumerate(messages) if own["role"] == "assistant"]
        if len(starts) != len(answers):
            raise UnrenderableError(
                f"the chat template tags {len(starts)} of {len(answers)} answers as generated"
            )
        by_answer = dict(zip(answers, starts, strict=True))
        return MARK.sub("", marked), [by_answer[number] for number in wanted]

    def _length(self, text: str, start: int, content: str, number: int) -> int:
        for body in self.answer_forms(content):
            if text.startswith(body + self.stop, start):
                return len(body + self.stop)
        raise UnrenderableError(f"the chat template changes the content of turn {number}")

    def answer_forms(self, content: str) -> list[str]:
        """What an answer may be written as: as it is or trimmed, behind the lead or not."""
        forms = [lead + own for lead in (self.lead, "") for own in (content, content.strip())]
        return list(dict.fromkeys(forms))

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
    """A chat template with a value that was proved to write the same: rows come from the value."""

    spec: TemplateSpec

    @classmethod
    def of(cls, template: JinjaTemplate, spec: TemplateSpec) -> CompiledTemplate:
        """The template with its value."""
        values = {field.name: getattr(template, field.name) for field in fields(template)}
        values |= {"method": "segments", "generation_prompt": spec.generation_prompt}
        return cls(**values, spec=spec)


def is_taken(template: JinjaTemplate, messages: Messages) -> bool:
    """Whether a template writes this conversation at all."""
    try:
        template.text(messages)
    except UnrenderableError:
        return False
    return True
