"""Templates that are values, on a tokenizer: chatdata's own, and others of their kind."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatdata.core.errors import RenderError
from chatdata.render import auto_tokenizer
from chatdata.render import tokenizer as tokenizers
from chatdata.render.chat_template import JinjaTemplate, Structure
from chatdata.render.control_tokens import control_pattern
from chatdata.render.conversation import Messages, Tools
from chatdata.render.segments.by_row import WritesTurnsOrText
from chatdata.render.segments.from_text import Answer
from chatdata.render.template_spec import EOS, TemplateSpec, for_tokenizer
from chatdata.render.tokenizer import Tokenizer


@dataclass(frozen=True)
class BuiltInTemplate(WritesTurnsOrText):
    """A value as a template. Every turn is written alike, whatever follows."""

    spec: TemplateSpec
    keeps_history = True

    @property
    def name(self) -> str:
        """The name by which a recipe chooses the template."""
        return self.spec.name

    @property
    def special_tokens(self) -> Sequence[str]:
        """The control tokens that the template adds to a tokenizer, in their order."""
        return self.spec.special_tokens

    @property
    def stop(self) -> str:
        """The control token that ends an answer."""
        return self.spec.stop

    @property
    def generation_prompt(self) -> str:
        """The text after a question that makes a model answer."""
        return self.spec.generation_prompt

    @functools.cached_property
    def _as_jinja(self) -> JinjaTemplate:
        """The Jinja that goes to the tokenizer, which writes rows with reasoning and tools."""
        turn = self.spec.turns["assistant"]
        structure = Structure(
            stop=turn.close,
            trailer=turn.after,
            lead=turn.lead,
            generation_prompt=self.spec.generation_prompt,
            reasoning_key="reasoning_content",
            thought_end="</think>",
        )
        control = control_pattern(self.spec.special_tokens)
        return JinjaTemplate(self.spec.jinja(), {}, None, control, structure=structure)

    def text(
        self, messages: Messages, add_generation_prompt: bool = False, tools: Tools | None = None
    ) -> str:
        """A conversation as the Jinja that goes to the tokenizer writes it."""
        return self._as_jinja.text(messages, add_generation_prompt, tools)

    def write(
        self, messages: Messages, wanted: Sequence[int], tools: Tools | None = None
    ) -> tuple[str, list[Answer]]:
        """The text of a conversation and its answers, of those messages that are `wanted`."""
        return self._as_jinja.write(messages, wanted, tools)

    def jinja(self) -> str:
        """The template for `tokenizer.chat_template`."""
        return self._as_jinja.source

    def facts(self) -> dict[str, Any]:
        """The template in full, for the manifest."""
        return self.spec.facts()


def prepare(folder: Path | None, name: str, work: Path) -> Path | None:
    """The tokenizer's folder, or `work` with what transformers makes of it.

    Raises RenderError where the folder holds no tokenizer that can be used.
    """
    if folder is None:
        return None
    folder = folder.parent if folder.is_file() else folder
    return auto_tokenizer.prepare(folder, name, work)


def load(folder: Path | None, name: str, spec: TemplateSpec, system: str | None) -> Tokenizer:
    """The tokenizer in a folder with the tokens of a template added.

    None stands for the built-in tokenizer of bytes; `system` is a text for conversations without
    a system turn. Raises RenderError where the folder holds no tokenizer that can be used.
    """
    source = tokenizers.read(folder, name)
    fitted = _fit(spec, source.config, system, name)
    full = tokenizers.parse(source.text, name)
    return tokenizers.with_template(
        full, BuiltInTemplate(fitted), name=name, sha256=source.sha256, config=source.config
    )


def _fit(spec: TemplateSpec, config: dict[str, Any], system: str | None, name: str) -> TemplateSpec:
    eos = config.get("eos_token")
    eos = eos.get("content") if isinstance(eos, dict) else eos
    if EOS in spec.special_tokens and not eos:
        raise RenderError(
            f"template '{spec.name}' ends answers with the tokenizer's end-of-text token, and "
            f"tokenizer '{name}' names none; set eos_token in its tokenizer_config.json."
        )
    return for_tokenizer(spec, str(eos), system)
