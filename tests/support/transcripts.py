"""A renderer in Python: a template of a third kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatdata.render.conversation import Messages, Tools, UnrenderableError
from chatdata.render.segments.from_text import Answer, WritesText
from chatdata.render.template import TemplateOptions
from chatdata.render.tokenizer import Tokenizer, parse, read, with_template

STOP = "<|over|>"


@dataclass(frozen=True)
class Transcript(WritesText):
    """A renderer in Python: `q> ...` and `a> ...` lines, each turn closed by a control token."""

    name: str
    keeps_history: bool
    special_tokens = (STOP,)
    stop = STOP
    generation_prompt = "a> "

    def write(
        self, messages: Messages, wanted: Sequence[int], tools: Tools | None = None
    ) -> tuple[str, list[Answer]]:
        """The text, and its answers."""
        if tools or any(message.keys() > {"role", "content"} for message in messages):
            raise UnrenderableError("a transcript has no place for reasoning or tools")
        text, answers = "", []
        for place, message in enumerate(messages):
            text += self._head(message["role"])
            start = len(text)
            text += message["content"] + STOP
            answers += [Answer(place, start, len(text))] if place in wanted else []
            text += "\n"
        return text, answers

    def _head(self, role: str) -> str:
        if role not in ("user", "assistant"):
            raise UnrenderableError(f"a transcript has no turn for '{role}'")
        return "a> " if role == "assistant" else "q> "

    def text(
        self, messages: Messages, add_generation_prompt: bool = False, tools: Tools | None = None
    ) -> str:
        """The text, and what makes a model answer."""
        return self.write(messages, [], tools)[0] + "a> " * add_generation_prompt

    def jinja(self) -> str:
        """The same for transformers."""
        return (
            "{% for m in messages %}{{ ('a> ' if m['role'] == 'assistant' else 'q> ')"
            f" + m['content'] + '{STOP}\\n' }}}}{{% endfor %}}"
            "{% if add_generation_prompt %}{{ 'a> ' }}{% endif %}"
        )

    def facts(self) -> dict[str, Any]:
        """The template in full."""
        return {
            "name": self.name,
            "special_tokens": list(self.special_tokens),
            "stop": self.stop,
            "generation_prompt": self.generation_prompt,
            "jinja": self.jinja(),
        }


@dataclass(frozen=True)
class TranscriptSource:
    """The entry of the list."""

    template: Transcript
    about = "a transcript of questions and answers"

    def unused(self, options: TemplateOptions) -> str | None:
        """All options but none are for other templates."""
        return "a transcript takes no system text" if options.system else None

    def prepare(
        self, folder: Path | None, name: str, options: TemplateOptions, work: Path
    ) -> Path | None:
        """The tokenizer's folder."""
        return folder

    def load(self, folder: Path | None, name: str, options: TemplateOptions) -> Tokenizer:
        """The tokenizer with the template."""
        source = read(folder, name)
        return with_template(
            parse(source.text, name),
            self.template,
            name=name,
            sha256=source.sha256,
            config=source.config,
        )

    def label(self, tokenizer_name: str) -> str:
        """The name of the template."""
        return self.template.name
