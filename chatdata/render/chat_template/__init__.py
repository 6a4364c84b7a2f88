"""Chat templates in Jinja: rendered as transformers renders them, and read for what they say.

A template that a tokenizer carries can do anything. `read` finds out, by rendering conversations
of marked contents, what it does with turns: what it writes before and behind them, where an
answer begins for a model that was given the generation prompt, and which tokens end it. Nothing
is taken for granted afterwards: every row is rendered by the template itself and checked, or by
a `Template` value that was proved to write the same.
"""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from chatdata.core.errors import RenderError
from chatdata.render.chat_template.compile import compiled
from chatdata.render.chat_template.discovery import fault, outline
from chatdata.render.chat_template.jinja import UnrenderableError, has_generation, render
from chatdata.render.chat_template.probes import plain, probes, talk_of
from chatdata.render.chat_template.template import ChatTemplate, Method, is_taken

__all__ = [
    "CONTENT_TAGS",
    "ChatTemplate",
    "UnrenderableError",
    "markers",
    "probes",
    "read",
    "render",
]


def read(
    source: str,
    variables: Mapping[str, Any],
    date: datetime.date | None,
    control: re.Pattern[str],
    compiles: bool,
) -> ChatTemplate:
    """What a chat template does, with the first method that works, tried in the order of `Method`.

    `control` matches the tokenizer's special tokens; `compiles` says whether segments between
    them can be told apart (no special token swallows white space). Raises RenderError with the
    reason where a conversation cannot be rendered exactly.
    """
    bare = _bare(source, variables, date)
    own = replace(bare, **outline(bare, control))
    value = compiled(own, control) if compiles else None
    if value is not None:
        prompt = value.generation_prompt
        return replace(own, compiled=value, method="segments", generation_prompt=prompt)
    methods: list[Method] = ["prefix"]
    if has_generation(source):
        methods.insert(0, "generation")
    reasons = []
    for talks, method, keeps_history in itertools.product(plain(own), methods, (True, False)):
        candidate = replace(own, method=method, keeps_history=keeps_history)
        if (reason := fault(candidate, talks)) is None:
            return candidate
        reasons.append(reason)
    raise RenderError(f"the chat template cannot be rendered exactly: {reasons[-1]}.")


# Tags that content itself may hold: reasoning, tools and calls of them, as sources write them.
CONTENT_TAGS = frozenset(
    f"<{slash}{name}>"
    for name in ("think", "tools", "tool_call", "tool_response")
    for slash in ("", "/")
)
_MARKER = re.compile(r"[<\[]\S*[>\]]")


def markers(
    source: str, variables: Mapping[str, Any], date: datetime.date | None, tokens: Iterable[str]
) -> list[str]:
    """The tokens, of these, by which a template marks turns: in brackets, written around plain
    turns, and no tags of content. They cut turns whether or not a tokenizer calls them special."""
    bare = _bare(source, variables, date)
    written = [
        bare.text(talk, add_generation_prompt=talk[-1]["role"] == "user")
        for talk in map(talk_of, ("u", "uaua", "suaua"))
        if is_taken(bare, talk)
    ]
    return [
        token
        for token in tokens
        if _MARKER.fullmatch(token)
        and token not in CONTENT_TAGS
        and any(token in text for text in written)
    ]


def _bare(source: str, variables: Mapping[str, Any], date: datetime.date | None) -> ChatTemplate:
    """A template of which nothing has been found out."""
    return ChatTemplate(source, dict(variables), date, "prefix", True, "", "", "")
