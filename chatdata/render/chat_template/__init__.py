"""Chat templates in Jinja: rendered as transformers renders them, and read for what they say.

A template that a tokenizer carries can do anything. `read` finds out, by rendering conversations
of marked contents, what it does with turns: what it writes before and after them, where an
answer begins for a model that was given the generation prompt, and which tokens end the answer.
Nothing is taken for granted afterwards: every row is rendered by the template itself and checked,
or by a `TemplateSpec` that was proved to write the same.
"""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chatdata.core.errors import RenderError
from chatdata.render.chat_template.added_end import with_added_end
from chatdata.render.chat_template.compile import compile_spec
from chatdata.render.chat_template.compile_answers import compile_answers
from chatdata.render.chat_template.discovery import explain_mismatch, infer_structure
from chatdata.render.chat_template.jinja import has_generation, render
from chatdata.render.chat_template.probes import (
    TOOLS,
    basic_conversations,
    is_taken,
    make_conversation,
    probes,
)
from chatdata.render.chat_template.structure import Structure
from chatdata.render.chat_template.template import (
    CompiledAnswers,
    CompiledTemplate,
    JinjaTemplate,
    Method,
)

__all__ = [
    "TOOLS",
    "CompiledTemplate",
    "JinjaTemplate",
    "Structure",
    "plain_texts",
    "probes",
    "read",
    "render",
    "with_added_end",
]


def read(bare: JinjaTemplate, compiles: bool) -> JinjaTemplate:
    """A chat template with what it does, and with the first method of `Method` that works.

    `bare` is the template of which nothing is known; `compiles` says whether segments between
    control tokens can be told apart (no special token swallows white space). Raises RenderError
    with the reason where a conversation cannot be rendered exactly.
    """
    source, control = bare.source, bare.control
    template = replace(bare, structure=infer_structure(bare))
    spec = compile_spec(template, control) if compiles else None
    if spec is not None:
        return CompiledTemplate.of(template, spec)
    methods: list[Method] = ["prefix"]
    if has_generation(source) and not template.structure.needs_reasoning:
        methods.insert(0, "generation")
    reasons = []
    for conversations, method, keeps_history in itertools.product(
        basic_conversations(template), methods, (True, False)
    ):
        candidate = replace(template, method=method, keeps_history=keeps_history)
        if (reason := explain_mismatch(candidate, conversations)) is None:
            return _with_spec(candidate, control) if compiles else candidate
        reasons.append(reason)
    raise RenderError(f"the chat template cannot be rendered exactly: {reasons[-1]}.")


def _with_spec(template: JinjaTemplate, control: re.Pattern[str]) -> JinjaTemplate:
    """The template with a spec for its plain rows, where each answer is a row and a spec writes
    the same."""
    if template.keeps_history or template.structure.needs_reasoning:
        return template
    compiled = compile_answers(template, control)
    return template if compiled is None else CompiledAnswers.of_answers(template, *compiled)


def plain_texts(source: str, variables: Mapping[str, Any], date: datetime.date | None) -> list[str]:
    """Conversations of plain turns as a chat template writes them, without those it refuses."""
    bare = JinjaTemplate(source, dict(variables), date, re.compile(r"(?!)"))
    conversations = (make_conversation(roles) for roles in ("u", "uaua", "suaua"))
    return [
        bare.text(messages, add_generation_prompt=messages[-1]["role"] == "user")
        for messages in conversations
        if is_taken(bare, messages)
    ]
