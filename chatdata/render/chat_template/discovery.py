"""What a chat template writes around turns, found out by rendering marked contents."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from chatdata.core.errors import RenderError
from chatdata.render.chat_template.probes import make_conversation
from chatdata.render.chat_template.template import JinjaTemplate
from chatdata.render.conversation import UnrenderableError


def infer_structure(template: JinjaTemplate, control: re.Pattern[str]) -> dict[str, Any]:
    """`stop`, `lead` and `generation_prompt`, from a conversation of two questions."""
    messages = make_conversation("uaua")
    try:
        text = template.text(messages)
        single = template.text(messages[:2])
        prompt = template.text(messages[:1], add_generation_prompt=True)
    except UnrenderableError as error:
        raise RenderError(
            f"{error}; give it what it needs, for example --set 'render.variables={{tools: []}}', "
            "or choose another template."
        ) from None
    user, first, question, second = (own["content"] for own in messages)
    opener = _opener(text, template.variables.get("bos_token"), control)
    stop = _stop(between(text, first, question), text.partition(second)[2], opener, control)
    before, supplied = between(single, user, first), prompt.partition(user)[2]
    if not before.startswith(supplied):
        raise RenderError(
            "the chat template cannot be rendered exactly: its generation prompt writes "
            f"{_shortened(supplied)} behind a question, and a conversation holds "
            f"{_shortened(before)} there."
        )
    return {"stop": stop, "lead": before[len(supplied) :], "generation_prompt": supplied}


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:40]}…{text[-40:]}")


def _opener(text: str, bos: str | None, control: re.Pattern[str]) -> str | None:
    """The special token that opens the first turn."""
    tokens = (match[0] for match in control.finditer(text))
    return next((token for token in tokens if token != bos), None)


def between(text: str, one: str, other: str) -> str:
    """What stands between two contents. Raises RenderError where one of them is not there."""
    start = text.find(one)
    end = text.find(other, start)
    if min(start, end) < 0:
        raise RenderError(
            "the chat template leaves out turns or changes their content, so no row could hold "
            "them exactly."
        )
    return text[start + len(one) : end]


def _stop(behind: str, at_end: str, opener: str | None, control: re.Pattern[str]) -> str:
    """What ends an answer: the special tokens that follow it, wherever it stands."""
    first = control.search(behind)
    if first is None:
        raise RenderError(
            f"the chat template ends an answer with {behind[:30]!r}, in which there is no special "
            "token of this tokenizer, so a model could never learn to stop."
        )
    end = first.end()
    while (further := control.match(behind, end)) is not None and further[0] != opener:
        end = further.end()
    if not at_end.startswith(behind[:end]):
        raise RenderError(
            f"the chat template ends an answer with {behind[:end]!r} inside a conversation and "
            f"with {at_end[:30]!r} at its end."
        )
    return behind[:end]


def explain_mismatch(template: JinjaTemplate, talks: Sequence[list[dict[str, str]]]) -> str | None:
    """Why this method does not do for these conversations; None where it does."""
    for talk in talks:
        answers = [i for i, turn in enumerate(talk) if turn["role"] == "assistant"]
        try:
            text, found = template.write(talk, answers if template.keeps_history else answers[-1:])
            for answer in found:
                prompt = template.text(talk[: answer.message], add_generation_prompt=True)
                if text[: answer.start] != prompt:
                    return f"an answer is tagged behind {text[: answer.start][-30:]!r}"
        except UnrenderableError as error:
            return str(error)
    return None
