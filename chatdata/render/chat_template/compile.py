"""A chat template as a `TemplateSpec`, where it is proved to write the same."""

from __future__ import annotations

import itertools
import re

from chatdata.core.errors import RenderError
from chatdata.render.chat_template.discovery import between
from chatdata.render.chat_template.probes import make_conversation, probes, quoted_strings
from chatdata.render.chat_template.template import JinjaTemplate
from chatdata.render.conversation import Messages, UnrenderableError
from chatdata.render.template_spec import TemplateSpec, Turn


def compile_spec(template: JinjaTemplate, control: re.Pattern[str]) -> TemplateSpec | None:
    """The template as a value, where special tokens open and close every turn; None where not."""
    try:
        value = _guess(template, control)
    except (UnrenderableError, RenderError, ValueError):
        return None
    closed = all(_is_closed(turn, control) for turn in value.all_turns())
    return value if closed and _writes_the_same(value, template) else None


def _is_closed(turn: Turn, control: re.Pattern[str]) -> bool:
    """Whether special tokens stand at both ends of what surrounds the content."""
    own = [*control.finditer(turn.open)]
    closing = control.match(turn.close)
    return bool(own) and own[0].start() == 0 and own[-1].end() == len(turn.open) and bool(closing)


def _guess(template: JinjaTemplate, control: re.Pattern[str]) -> TemplateSpec:
    messages = make_conversation("uaua")
    user, answer, question, last = (own["content"] for own in messages)
    text = template.text(messages)
    behind_user = template.text(messages[:1]).partition(user)[2]
    behind_answer = text.partition(last)[2]
    before_question = between(text, answer, question).removeprefix(behind_answer)
    before_answer = between(text, user, answer).removeprefix(behind_user)
    supplied = template.generation_prompt.removeprefix(behind_user)
    trims = template.text(make_conversation("u", [" a "])).count(" a ") == 0
    turns = {
        "user": _turn(before_question, "", behind_user, trims, control),
        "assistant": _turn(supplied, template.lead, behind_answer, trims, control),
    }
    if before_answer != supplied + template.lead:
        raise ValueError("the prompt is not what stands before an answer")
    start = text.partition(user)[0].removesuffix(before_question)
    first = _system_turn(template, before_question, trims, control)
    later = _later_system(template, behind_answer, before_question, trims, control)
    if first is not None:
        turns["system"] = later or first
    return TemplateSpec(template.name, "", turns, (), start, first)


def _turn(before: str, lead: str, behind: str, trims: bool, control: re.Pattern[str]) -> Turn:
    opened = max((match.end() for match in control.finditer(before)), default=0)
    closed = max((match.end() for match in control.finditer(behind)), default=0)
    return Turn(before[:opened], before[opened:], lead, behind[:closed], behind[closed:], trims)


def _system_turn(
    template: JinjaTemplate, before_user: str, trims: bool, control: re.Pattern[str]
) -> Turn | None:
    messages = make_conversation("sua")
    try:
        text = template.text(messages)
    except UnrenderableError:
        return None
    system, user = messages[0]["content"], messages[1]["content"]
    behind = between(text, system, user).removesuffix(before_user)
    return _turn(text.partition(system)[0], "", behind, trims, control)


def _later_system(
    template: JinjaTemplate,
    behind_answer: str,
    before_user: str,
    trims: bool,
    control: re.Pattern[str],
) -> Turn | None:
    messages = make_conversation("uasua")
    try:
        text = template.text(messages)
        answer, system, user = (own["content"] for own in messages[1:4])
        before = between(text, answer, system).removeprefix(behind_answer)
        behind = between(text, system, user).removesuffix(before_user)
    except (UnrenderableError, RenderError):
        return None
    return _turn(before, "", behind, trims, control)


def _writes_the_same(value: TemplateSpec, template: JinjaTemplate) -> bool:
    """Whether the value writes all probes as the template does, and refuses the same."""
    for talk in itertools.chain(probes(), quoted_strings(template.source)):
        try:
            expected = template.text(talk)
        except UnrenderableError:
            expected = None
        if _text(value, talk) != expected:
            return False
    return True


def _text(value: TemplateSpec, talk: Messages) -> str | None:
    try:
        return value.text(talk)
    except KeyError:
        return None
