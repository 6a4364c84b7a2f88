"""A chat template as a `TemplateSpec`, where the spec is proved to write the same."""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

from chatdata.core.errors import RenderError
from chatdata.render.chat_template.discovery import between
from chatdata.render.chat_template.probes import (
    contents_of,
    make_conversation,
    probes,
    quoted_strings,
)
from chatdata.render.chat_template.template import JinjaTemplate
from chatdata.render.conversation import Messages, UnrenderableError
from chatdata.render.template_spec import TemplateSpec, Turn


def compile_spec(template: JinjaTemplate, control: re.Pattern[str]) -> TemplateSpec | None:
    """The template as a spec, where special tokens open and close every turn; else None.

    A spec has no place for control tokens before an answer, nor for a thought without words that
    is not learnt.
    """
    if template.structure.leads_with_thought or control.search(template.structure.lead):
        return None
    try:
        spec = _infer(template, control)
    except (UnrenderableError, RenderError, ValueError):
        return None
    all_closed = all(is_closed(turn, control) for turn in spec.all_turns())
    return spec if all_closed and _writes_the_same(spec, template) else None


def is_closed(turn: Turn, control: re.Pattern[str]) -> bool:
    """Whether special tokens stand at both ends of what surrounds the content, and nowhere else."""
    opening = [*control.finditer(turn.open)]
    is_opened = opening and opening[0].start() == 0 and opening[-1].end() == len(turn.open)
    is_text = control.search(turn.header + turn.lead) is None
    return bool(is_opened and is_text and control.match(turn.close))


# ----------------------------------------------------------------------------------- a guess


class _Affixes(NamedTuple):
    """What a template writes before the first turn, and before and after contents."""

    start: str
    before_user: str
    after_user: str
    before_answer: str
    after_answer: str


class _System(NamedTuple):
    """What a template writes before and after the content of a system turn."""

    before: str
    after: str


def _infer(template: JinjaTemplate, control: re.Pattern[str]) -> TemplateSpec:
    """The spec that follows from a few renderings; it may be wrong for others."""
    affixes = _affixes(template)
    header = template.generation_prompt.removeprefix(affixes.after_user)
    if affixes.before_answer != header + template.structure.lead:
        raise ValueError("the generation prompt is not what stands before an answer")
    trims = " a " not in template.text(make_conversation("u", [" a "]))
    first = _first_system(template, affixes)
    later = _later_system(template, affixes) or first
    turns = {
        "user": _turn(affixes.before_user, "", affixes.after_user, trims, control),
        "assistant": _turn(header, template.structure.lead, affixes.after_answer, trims, control),
    }
    if first is None or later is None:
        return TemplateSpec(template.name, "", turns, (), affixes.start, None)
    turns["system"] = _turn(later.before, "", later.after, trims, control)
    at_head = _turn(first.before, "", first.after, trims, control)
    return TemplateSpec(template.name, "", turns, (), affixes.start, at_head)


def _affixes(template: JinjaTemplate) -> _Affixes:
    messages = make_conversation("uaua")
    user, answer, question, last = contents_of(messages)
    text = template.text(messages)
    after_user = template.text(messages[:1]).partition(user)[2]
    after_answer = text.partition(last)[2]
    before_user = between(text, answer, question).removeprefix(after_answer)
    return _Affixes(
        start=text.partition(user)[0].removesuffix(before_user),
        before_user=before_user,
        after_user=after_user,
        before_answer=between(text, user, answer).removeprefix(after_user),
        after_answer=after_answer,
    )


def _first_system(template: JinjaTemplate, affixes: _Affixes) -> _System | None:
    """What surrounds a system turn at the head; None where the template refuses such a turn."""
    messages = make_conversation("sua")
    try:
        text = template.text(messages)
    except UnrenderableError:
        return None
    system, user, _ = contents_of(messages)
    after = between(text, system, user).removesuffix(affixes.before_user)
    return _System(text.partition(system)[0], after)


def _later_system(template: JinjaTemplate, affixes: _Affixes) -> _System | None:
    """What surrounds a system turn after an answer; None where the template writes no such turn."""
    messages = make_conversation("uasua")
    _, answer, system, user, _ = contents_of(messages)
    try:
        text = template.text(messages)
        before = between(text, answer, system).removeprefix(affixes.after_answer)
        after = between(text, system, user).removesuffix(affixes.before_user)
    except (UnrenderableError, RenderError):
        return None
    return _System(before, after)


def _turn(before: str, lead: str, after: str, trims: bool, control: re.Pattern[str]) -> Turn:
    """A turn, cut after the last special token before the content and the last after it."""
    opened = end_of_last_token(before, control)
    closed = end_of_last_token(after, control)
    return Turn(before[:opened], before[opened:], lead, after[:closed], after[closed:], trims)


def end_of_last_token(text: str, control: re.Pattern[str]) -> int:
    """The place after the last control token of a text; 0 where it has none."""
    return max((match.end() for match in control.finditer(text)), default=0)


# ----------------------------------------------------------------------------------- the proof


def _writes_the_same(spec: TemplateSpec, template: JinjaTemplate) -> bool:
    """Whether the spec writes all probes as the template does, and refuses the same."""
    conversations = itertools.chain(probes(), quoted_strings(template.source))
    return all(
        text_by_spec(spec, messages) == text_by_template(template, messages)
        for messages in conversations
    )


def text_by_template(template: JinjaTemplate, messages: Messages) -> str | None:
    """A conversation as the template writes it; None where the template refuses it."""
    try:
        return template.text(messages)
    except UnrenderableError:
        return None


def text_by_spec(spec: TemplateSpec, messages: Messages) -> str | None:
    """A conversation as the spec writes it; None where the spec has no turn for a role."""
    try:
        return spec.text(messages)
    except KeyError:
        return None
