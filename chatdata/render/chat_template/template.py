"""A chat template that a tokenizer carries, as a value: how its rows are written."""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

import polars as pl

from chatdata.core import template_variables
from chatdata.core.errors import RenderError
from chatdata.render.chat_template import lost
from chatdata.render.chat_template.discovery import infer_structure
from chatdata.render.chat_template.jinja import reads, render, render_generation
from chatdata.render.chat_template.structure import Structure
from chatdata.render.conversation import (
    Message,
    Messages,
    Tools,
    UnrenderableError,
    Variables,
    in_parts,
    is_structured,
)
from chatdata.render.parts import Bounds, bounds
from chatdata.render.segments.by_row import WritesTurnsOrText
from chatdata.render.segments.from_text import Answer, WritesText
from chatdata.render.segments.unencoded import Bools, TrainOn, UnencodedSegments, learnt_parts
from chatdata.render.template import Pool
from chatdata.render.template_spec import TemplateSpec

Method = Literal["segments", "generation", "prefix"]
_NO_STRUCTURE = Structure()
_MOST_VARIABLES = 256  # sets of them whose templates are kept


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
    control: re.Pattern[str]  # matches the control tokens of the tokenizer
    method: Method = "prefix"
    keeps_history: bool = True
    structure: Structure = _NO_STRUCTURE
    added_end: str = ""  # which `source` writes behind the last answer, and did not at first

    name = "tokenizer"
    special_tokens = ()  # none are added to the tokenizer

    @property
    def stop(self) -> str:
        """What ends an answer; the model has to write it."""
        return self.structure.stop

    @property
    def generation_prompt(self) -> str:
        """The text after a question that makes a model answer."""
        return self.structure.generation_prompt

    @property
    def empty_thought(self) -> str:  # type: ignore[override]
        """A thought without words before an answer without reasoning; no label covers it."""
        return self.structure.lead if self.structure.leads_with_thought else ""

    def text(
        self, messages: Messages, add_generation_prompt: bool = False, tools: Tools | None = None
    ) -> str:
        """A conversation as text. Raises UnrenderableError where the template refuses it."""
        given = [self._as_read(message) for message in messages]
        return render(self.source, self.variables, self.date, given, add_generation_prompt, tools)

    def given(self, variables: Variables) -> JinjaTemplate:
        """The template with further variables, which writes rows by its Jinja.

        Raises UnrenderableError where the template does not read one of them, or does with them
        what no row can hold exactly.
        """
        if not variables:
            return self
        return self._given(json.dumps(variables))

    @functools.cached_property
    def _given(self) -> Callable[[str], JinjaTemplate]:
        return functools.lru_cache(_MOST_VARIABLES)(self._with_variables)

    def _with_variables(self, text: str) -> JinjaTemplate:
        """The template with variables, given as JSON, read anew for what it does with them."""
        variables = json.loads(text)
        if fault := self._fault_of(variables):
            raise UnrenderableError(fault)
        # As the manifest says them, whatever the variables are.
        stated = {name: getattr(self.structure, name) for name in ("reasoning_key", "takes_parts")}
        bare = JinjaTemplate(
            self.source,
            {**self.variables, **variables},
            self.date,
            self.control,
            keeps_history=self.keeps_history,
            structure=Structure(takes_parts=self.structure.takes_parts),
            added_end=self.added_end,
        )
        shown = f"the variables {', '.join(variables)}"  # a reason is published: no values
        try:
            structure = infer_structure(bare)
        except RenderError as error:
            raise UnrenderableError(f"with {shown}: {error}") from None
        if structure.stop != self.stop:
            raise UnrenderableError(
                f"with {shown} the chat template ends an answer with {structure.stop!r}, and with "
                f"{self.stop!r} without"
            )
        return replace(bare, structure=replace(structure, **stated))

    def _fault_of(self, variables: Variables) -> str | None:
        """Why a template cannot be given variables; None where it can."""
        if name := template_variables.reserved(variables):
            return f"the variable '{name}' has a meaning of its own"
        unread = next((name for name in variables if not reads(self.source, name)), None)
        if unread is None:
            return None
        return (
            f"the chat template reads no variable '{unread}'; the cleaner drop_variables removes it"
        )

    def _as_read(self, message: Message) -> Message:
        """The message with the keys and the empty content that the template reads."""
        key = self.structure.reasoning_key
        if key not in (None, "reasoning_content") and "reasoning_content" in message:
            message = {key if k == "reasoning_content" else k: v for k, v in message.items()}
        if message["content"] is None and self.structure.null_content is not None:
            message = {**message, "content": self.structure.null_content}
        return in_parts(message) if self.structure.takes_parts else message

    def write(
        self, messages: Messages, wanted: Sequence[int], tools: Tools | None = None
    ) -> tuple[str, list[Answer]]:
        """The text of a conversation, and where the answers stand whose numbers are `wanted`.

        Raises UnrenderableError where an answer is changed, or does not stand between its
        generation prompt and the stop tokens.
        """
        if self.method == "generation" and tools is None and all(map(_is_plain, messages)):
            text, starts = self._generated(messages, wanted)
        else:
            text = self.text(messages, tools=tools)
            starts = [self._end_of_prompt(messages, text, number, tools) for number in wanted]
        if fault := lost.from_context(text, messages, tools):
            raise UnrenderableError(fault)
        places = zip(wanted, starts, strict=True)
        return text, [self._answer(messages, text, start, n, tools) for n, start in places]

    def _end_of_prompt(
        self, messages: Messages, text: str, number: int, tools: Tools | None
    ) -> int:
        prompt = self.text(messages[:number], add_generation_prompt=True, tools=tools)
        if not text.startswith(prompt):
            asked = self.text(messages[:number], tools=tools)
            supplied = prompt.removeprefix(asked) if prompt.startswith(asked) else ""
            raise UnrenderableError(
                f"turn {number} does not stand behind its generation prompt"
                f"{f', which writes {supplied!r}' if supplied else ''}{self.structure.hint}"
            )
        return len(prompt)

    def _generated(self, messages: Messages, wanted: Sequence[int]) -> tuple[str, list[int]]:
        given = [self._as_read(message) for message in messages]
        text, starts = render_generation(self.source, self.variables, self.date, given)
        answers = [i for i, turn in enumerate(messages) if turn["role"] == "assistant"]
        if len(starts) != len(answers):
            raise UnrenderableError(
                f"the chat template tags {len(starts)} of {len(answers)} answers as generated"
            )
        by_answer = dict(zip(answers, starts, strict=True))
        return text, [by_answer[number] for number in wanted]

    def _answer(
        self, messages: Messages, text: str, start: int, number: int, tools: Tools | None
    ) -> Answer:
        """Where an answer stands that begins at `start`, after its generation prompt."""
        message = messages[number]
        end = self._end_of_words(text, start, message) if _is_plain(message) else None
        if end is None:
            end = start + len(self._body(messages, text, start, number, tools))
        return Answer(number, start, end, self._bounds(text[start:end], message))

    def _bounds(self, body: str, message: Message) -> Bounds:
        """Where the parts of an answer stand in all that the model has to write for it."""
        stop = self.stop
        if not body.endswith(stop):
            stop = [match[0] for match in self.control.finditer(body)][-1]
        lead = self._empty_thought_len(body, message)
        return bounds(body, message, lead, len(stop), self.structure.thought_end)

    def _end_of_words(self, text: str, start: int, message: Message) -> int | None:
        """Where an answer of words alone ends; None where the words stand there in no known way."""
        bodies = (message["content"], message["content"].strip())
        for lead in (self.structure.lead, ""):
            for body in bodies:
                if text.startswith(lead + body + self.stop, start):
                    return start + len(lead + body + self.stop)
        return None

    def _body(
        self, messages: Messages, text: str, start: int, number: int, tools: Tools | None
    ) -> str:
        """All that the model has to write for an answer, with its last control token.

        Raises UnrenderableError where a part of the answer is left out, where no control token
        ends the answer, or where later turns change the answer.
        """
        alone = text
        if number + 1 < len(messages):
            alone = self.text(messages[: number + 1], tools=tools)
        if not alone.startswith(text[:start]):
            raise UnrenderableError(f"the chat template changes turn {number} once turns follow")
        tail = alone[start:]
        body = tail.removesuffix(self.structure.trailer)
        ends = [match.end() for match in self.control.finditer(body)]
        if not ends:
            raise UnrenderableError(
                f"the chat template ends turn {number} without a special token of this tokenizer, "
                "so a model could never learn to stop"
            )
        body = self._ended(body[: ends[-1]], text, start)
        if not text.startswith(body, start):
            raise UnrenderableError(f"the chat template changes turn {number} once turns follow")
        if fault := lost.from_answer(body, messages[number]):
            raise UnrenderableError(f"the chat template {fault} of turn {number}")
        return body

    def _ended(self, body: str, text: str, start: int) -> str:
        """All of an answer, whose end is the opener of the next turn where the end was added."""
        words = body.removesuffix(self.added_end)
        if not self.added_end or not text.startswith(words, start):
            return body
        end = self.control.match(text, start + len(words))
        return words + end[0] if end else body

    def _empty_thought_len(self, body: str, message: Message) -> int:
        """The length of a thought without words that the template writes before an answer."""
        if (message.get("reasoning_content") or "").strip():
            return 0
        return len(self.empty_thought) if body.startswith(self.empty_thought) else 0

    def jinja(self) -> str:
        """The template for `tokenizer.chat_template`."""
        return self.source

    def of_format_1(self) -> Self:
        """The template as it wrote folders of format 1, where a thought without words is learnt."""
        return replace(self, structure=replace(self.structure, leads_with_thought=False))

    def facts(self) -> dict[str, Any]:
        """The template in full, for the manifest."""
        variables = {k: v for k, v in self.variables.items() if not k.endswith("_token")}
        parts: dict[str, Any] = {"takes_parts": True} if self.structure.takes_parts else {}
        added = {"added_end": self.added_end} if self.added_end else {}
        return {
            "name": self.name,
            "method": self.method,
            "keeps_history": self.keeps_history,
            "stop": self.stop,
            "lead": self.structure.lead,
            "lead_is_empty_thought": self.structure.leads_with_thought,
            "reasoning_key": self.structure.reasoning_key,
            **parts,
            **added,
            "generation_prompt": self.generation_prompt,
            "variables": variables,
            "date": self.date.isoformat() if self.date else None,
            "special_tokens": [],
            "jinja": self.source,
        }


def _is_plain(message: Message) -> bool:
    return isinstance(message["content"], str) and message.keys() <= {"role", "content"}


_NO_SPEC = TemplateSpec("", "", {}, ())  # a field behind fields with defaults needs a default


@dataclass(frozen=True)
class CompiledTemplate(WritesTurnsOrText, JinjaTemplate):
    """A chat template with a spec that was proved to write the same: plain rows come from the
    spec, rows with reasoning or tools from the template itself."""

    spec: TemplateSpec = _NO_SPEC

    @classmethod
    def of(cls, template: JinjaTemplate, spec: TemplateSpec) -> CompiledTemplate:
        """The template with its spec."""
        values = {field.name: getattr(template, field.name) for field in fields(template)}
        return cls(**{**values, "method": "segments"}, spec=spec)

    @property
    def generation_prompt(self) -> str:
        """The text after a question that makes a model answer."""
        return self.spec.generation_prompt


@dataclass(frozen=True)
class CompiledAnswers(CompiledTemplate):
    """A chat template that writes the last answer of a row in another way, with a spec for it.

    The spec was proved for rows of questions and answers in turn, perhaps behind a system turn,
    whose contents are trimmed and hold none of `markers`, the strings that the template looks for;
    with `begins_with_answer` also for rows whose first turn is an answer. Other rows come from the
    template itself.
    """

    markers: tuple[str, ...] = ()
    begins_with_answer: bool = False
    is_explicit = False

    @classmethod
    def of_answers(
        cls,
        template: JinjaTemplate,
        spec: TemplateSpec,
        markers: tuple[str, ...],
        begins_with_answer: bool,
    ) -> CompiledAnswers:
        """The template with its spec."""
        values = {field.name: getattr(template, field.name) for field in fields(template)}
        return cls(**values, spec=spec, markers=markers, begins_with_answer=begins_with_answer)

    def encode(self, messages: pl.DataFrame, pool: Pool, train_on: TrainOn) -> UnencodedSegments:
        """The segments of rows. For the spec an empty thought is context, so where it is learnt all
        rows come from the template."""
        if learnt_parts(train_on).empty_thought:
            return WritesText.encode(self, messages, pool, train_on)
        return super().encode(messages, pool, train_on)

    def in_text_rows(self, messages: pl.DataFrame) -> Bools:
        """Which messages stand in a row that is written as text."""
        content = pl.col("content")
        is_simple = (content != "") & (content == content.str.strip_chars())
        if self.markers:
            is_simple &= content.str.contains_any(list(self.markers)).not_()
        role, number = pl.col("role").cast(pl.String), self._numbers()
        expected = pl.when(number % 2 == 0).then(pl.lit("user")).otherwise(pl.lit("assistant"))
        in_turn = (role == expected) | ((number < 0) & (role == "system"))
        is_right = is_simple.fill_null(False) & in_turn & is_structured().not_()
        is_answered = ((role.last() == "assistant") & (role == "user").any()).over("row")
        rows = messages.with_columns(row=pl.col("conversation").rle_id())
        as_spec = rows.select(as_spec=is_right.all().over("row") & is_answered)["as_spec"]
        return ~as_spec.to_numpy()

    def _numbers(self) -> pl.Expr:
        """The number of each turn of a row where questions are even, -1 for a system turn first."""
        role = pl.col("role").cast(pl.String)
        has_system = (role.first() == "system").over("row") & ("system" in self.spec.turns)
        number = pl.int_range(pl.len()).over("row") - has_system.cast(pl.Int64)
        if not self.begins_with_answer:
            return number
        second = role.shift(-1).first().over("row")
        begins = pl.when(has_system).then(second).otherwise(role.first().over("row"))
        is_moved = (begins == "assistant").fill_null(False) & (number >= 0)
        return number + is_moved.cast(pl.Int64)
