"""What a chat template writes around turns, inferred from renderings of marked contents."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from chatdata.core.errors import RenderError
from chatdata.render.chat_template.probes import Conversation, contents_of, make_conversation
from chatdata.render.chat_template.template import JinjaTemplate
from chatdata.render.conversation import UnrenderableError


class Structure(NamedTuple):
    """What stands around an answer; the fields are those of a JinjaTemplate."""

    stop: str
    lead: str
    generation_prompt: str


def infer_structure(template: JinjaTemplate, control: re.Pattern[str]) -> Structure:
    """What a template writes around an answer, from a conversation of two questions.

    Raises RenderError where the generation prompt is not what stands before an answer, or where
    no special token ends an answer.
    """
    messages = make_conversation("uaua")
    user, answer, question, last = contents_of(messages)
    try:
        text = template.text(messages)
        exchange = template.text(messages[:2])
        prompt = template.text(messages[:1], add_generation_prompt=True)
    except UnrenderableError as error:
        raise RenderError(
            f"{error}; give it what it needs, for example --set 'render.variables={{tools: []}}', "
            "or choose another template."
        ) from None
    opener = _opener(text, template.variables.get("bos_token"), control)
    stop = _stop(between(text, answer, question), text.partition(last)[2], opener, control)
    before, supplied = between(exchange, user, answer), prompt.partition(user)[2]
    if not before.startswith(supplied):
        raise RenderError(
            "the chat template cannot be rendered exactly: its generation prompt writes "
            f"{_shorten(supplied)} after a question, and a conversation has "
            f"{_shorten(before)} in the same place."
        )
    return Structure(stop, before[len(supplied) :], supplied)


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:40]}…{text[-40:]}")


def _opener(text: str, bos: str | None, control: re.Pattern[str]) -> str | None:
    """The special token that opens the first turn."""
    tokens = (match[0] for match in control.finditer(text))
    return next((token for token in tokens if token != bos), None)


def between(text: str, before: str, after: str) -> str:
    """What stands between two contents. Raises RenderError where the text lacks a content."""
    start = text.find(before)
    end = text.find(after, start)
    if min(start, end) < 0:
        raise RenderError(
            "the chat template leaves out turns or changes their content, so no row could hold "
            "them exactly."
        )
    return text[start + len(before) : end]


def _stop(after: str, at_end: str, opener: str | None, control: re.Pattern[str]) -> str:
    """The special tokens that end an answer, inside a conversation and at its end."""
    first = control.search(after)
    if first is None:
        raise RenderError(
            f"the chat template ends an answer with {after[:30]!r}, in which there is no special "
            "token of this tokenizer, so a model could never learn to stop."
        )
    end = first.end()
    while (token := control.match(after, end)) is not None and token[0] != opener:
        end = token.end()
    stop = after[:end]
    if not at_end.startswith(stop):
        raise RenderError(
            f"the chat template ends an answer with {stop!r} inside a conversation and "
            f"with {at_end[:30]!r} at its end."
        )
    return stop


def explain_mismatch(template: JinjaTemplate, conversations: Sequence[Conversation]) -> str | None:
    """Why the method of a template fails for these conversations; None where it works."""
    reasons = (_mismatch(template, messages) for messages in conversations)
    return next((reason for reason in reasons if reason is not None), None)


def _mismatch(template: JinjaTemplate, messages: Conversation) -> str | None:
    numbers = [i for i, turn in enumerate(messages) if turn["role"] == "assistant"]
    wanted = numbers if template.keeps_history else numbers[-1:]
    try:
        text, answers = template.write(messages, wanted)
        for answer in answers:
            before = text[: answer.start]
            if before != template.text(messages[: answer.message], add_generation_prompt=True):
                return f"the tag of an answer stands after {before[-30:]!r}"
    except UnrenderableError as error:
        return str(error)
    return None
