"""What a chat template writes around turns, inferred from renderings of marked contents."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chatdata.core.errors import RenderError
from chatdata.render.chat_template.jinja import read_variables
from chatdata.render.chat_template.probes import (
    THOUGHT,
    TOOLS,
    Conversation,
    call_without_words,
    contents_of,
    make_conversation,
    with_reasoning,
)
from chatdata.render.chat_template.structure import Structure
from chatdata.render.conversation import UnrenderableError

if TYPE_CHECKING:
    from chatdata.render.chat_template.template import JinjaTemplate

# The keys under which templates look for reasoning: of most; of OpenRouter and vLLM; of gpt-oss.
_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking", "thought")
_SWITCHES = (False, True)
_RENDERS = "it can be with"  # begins a hint that lets a template render


def infer_structure(template: JinjaTemplate) -> Structure:
    """What a template writes around an answer, from conversations of one and two questions.

    A template whose generation prompt begins a thought is tried with answers that have one, and a
    template that takes no texts as words with lists of parts. Raises RenderError where the
    generation prompt is not what stands before any answer, or where no special token ends an
    answer.
    """
    try:
        structure = _infer(template, make_conversation("uaua"))
    except RenderError as error:
        only_thoughts = _of_thoughts(template)
        if only_thoughts is None and not template.structure.takes_parts and _takes_parts(template):
            return infer_structure(_of_parts(template))
        if only_thoughts is None:
            raise RenderError(f"{error}{_way_out(template)}") from None
        hint = _hint(template)
        hint = f"; {hint}" if hint else ""
        return replace(only_thoughts, hint=hint, null_content=_null_content(template))
    structure = _with_reasoning(template, structure)
    return replace(structure, null_content=_null_content(template))


def _null_content(template: JinjaTemplate) -> str | None:
    """What to give a template as the words of a call: None, or "" where it cannot write None."""
    for content in (None, ""):
        try:
            text = template.text(call_without_words(content), tools=TOOLS)
        except UnrenderableError:
            continue
        if "None" not in text:
            return content
    return None


def _takes_parts(template: JinjaTemplate) -> bool:
    """Whether a template writes words that are handed to it as lists of parts, and no others."""
    messages = make_conversation("ua")
    texts = []
    for candidate in (template, _of_parts(template)):
        try:
            texts.append(candidate.text(messages))
        except UnrenderableError:
            texts.append("")
    has_all = [all(words in text for words in contents_of(messages)) for text in texts]
    return has_all == [False, True]


def _of_parts(template: JinjaTemplate) -> JinjaTemplate:
    return replace(template, structure=Structure(takes_parts=True))


def _infer(template: JinjaTemplate, messages: Conversation) -> Structure:
    user, answer, question, _ = contents_of(messages)
    try:
        text = template.text(messages)
        exchange = template.text(messages[:2])
        prompt = template.text(messages[:1], add_generation_prompt=True)
    except UnrenderableError as error:
        raise RenderError(f"{error}") from None
    begins = messages[1].get(template.structure.reasoning_key or "", answer)
    before, middle = between(exchange, user, begins), between(text, answer, question)
    after, supplied = exchange.partition(answer)[2], prompt.partition(user)[2]
    if answer in after or user in before:
        raise RenderError(_CHANGED)
    stop = _stop(middle, after, template.control)
    if not before.startswith(supplied):
        raise RenderError(
            "the chat template cannot be rendered exactly: its generation prompt writes "
            f"{_shorten(supplied)} after a question, and a conversation has "
            f"{_shorten(before)} in the same place"
        )
    lead = before[len(supplied) :]
    return replace(
        template.structure,
        stop=stop,
        trailer=after.removeprefix(stop),
        lead=lead,
        generation_prompt=supplied,
    )


def _of_thoughts(template: JinjaTemplate) -> Structure | None:
    """The structure of a template that only writes answers with reasoning; None for another."""
    for key in _REASONING_KEYS:
        messages = with_reasoning(make_conversation("uaua"), key)
        keyed = replace(template, structure=replace(template.structure, reasoning_key=key))
        try:
            structure = _infer(keyed, messages)
        except RenderError:
            continue
        thought = _thought(template, key)
        return replace(
            structure,
            lead="",
            reasoning_key=key,
            needs_reasoning=True,
            thought_end=thought[1].strip() if thought else "",
        )
    return None


def _with_reasoning(template: JinjaTemplate, structure: Structure) -> Structure:
    """The structure with what the template does with reasoning."""
    for key in _REASONING_KEYS:
        thought = _thought(template, key)
        if thought is None:
            continue
        begin, end = thought
        empty = [_squeezed(begin + end), _squeezed(end), _squeezed(begin.lstrip() + end)]
        begin = begin.removeprefix(structure.generation_prompt)
        empty.append(_squeezed(begin + end))
        is_empty = bool(_squeezed(structure.lead)) and _squeezed(structure.lead) in empty
        return replace(
            structure, reasoning_key=key, leads_with_thought=is_empty, thought_end=end.strip()
        )
    return structure


def _thought(template: JinjaTemplate, key: str) -> tuple[str, str] | None:
    """What stands before and after the reasoning of an answer; None where it is not written."""
    question, answer = make_conversation("ua")
    try:
        text = template.text([question, {**answer, key: THOUGHT}])
        prompt = template.text([question], add_generation_prompt=True)
    except UnrenderableError:
        return None
    begin, has_thought, rest = text.partition(THOUGHT)
    end, has_answer, _ = rest.partition(answer["content"])
    if not has_thought or not has_answer:
        return None
    return begin.removeprefix(_common_start(begin, prompt)), end


def _common_start(first: str, second: str) -> str:
    """The text with which both begin."""
    pairs = enumerate(zip(first, second, strict=False))
    end = next((i for i, (a, b) in pairs if a != b), min(len(first), len(second)))
    return first[:end]


def _squeezed(text: str) -> str:
    return "".join(text.split())


def missing_end(template: JinjaTemplate) -> str | None:
    """What ends an earlier answer, up to a control token, and not the last; None without it."""
    messages = make_conversation("uaua")
    _, answer, question, _ = contents_of(messages)
    try:
        middle = between(template.text(messages), answer, question)
        after = template.text(messages[:2]).partition(answer)[2]
    except (RenderError, UnrenderableError):
        return None
    first = template.control.search(middle)
    if first is None or template.control.search(after) or middle[: first.start()].strip():
        return None
    return middle[: first.end()].removeprefix(after)


def _way_out(template: JinjaTemplate) -> str:
    """The end of a sentence about a template that cannot be used, with the way out."""
    hint = _hint(template)
    if not hint.startswith(_RENDERS) and (end := missing_end(template)):
        hint = f"earlier answers end with {end!r}, and --set render.add_end=true ends the last so"
    return f"; {hint or 'choose another template'}."


def _hint(template: JinjaTemplate) -> str:
    """Which variables of a template let it write plain turns, in words; none where none do."""
    names = read_variables(template.source)
    for values in _settings(names):
        candidate = replace(template, variables={**template.variables, **values})
        try:
            _infer(candidate, make_conversation("uaua"))
        except RenderError:
            continue
        shown = ", ".join(f"{name}: {str(value).lower()}" for name, value in values.items())
        return f"{_RENDERS} --set 'render.variables={{{shown}}}'"
    return (
        f"the template reads the variables {', '.join(names)} (render.variables)" if names else ""
    )


def _settings(names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields values to try for variables: each switch alone, then two together, then `[]`."""
    single = [{name: value} for name in names for value in _SWITCHES]
    yield from single
    for first, second in itertools.combinations(single, 2):
        if first.keys() != second.keys():
            yield {**first, **second}
    yield from ({name: []} for name in (*names, "tools", "documents"))


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:40]}…{text[-40:]}")


_CHANGED = (
    "the chat template leaves out turns or changes their content, so no row could hold them exactly"
)


def between(text: str, before: str, after: str) -> str:
    """What stands between two contents. Raises RenderError where the text lacks a content."""
    start = text.find(before)
    end = text.find(after, start)
    if min(start, end) < 0:
        raise RenderError(_CHANGED)
    return text[start + len(before) : end]


def _stop(middle: str, at_end: str, control: re.Pattern[str]) -> str:
    """What ends an answer, up to and with a control token.

    Of what stands after an answer, the end is what a conversation has both in its `middle` and
    `at_end`. Where these have no control token in common, the end of a conversation counts.
    """
    common = _common_start(middle, at_end)
    ends = [match.end() for match in control.finditer(common)]
    if ends:
        return common[: ends[-1]]
    if (first := control.search(at_end)) is None:
        raise RenderError(
            f"the chat template ends an answer with {at_end[:30]!r}, in which there is no special "
            "token of this tokenizer, so a model could never learn to stop"
        )
    return at_end[: first.end()]


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
            prompt = template.text(messages[: answer.message], add_generation_prompt=True)
            if before not in (prompt, prompt + template.structure.lead):
                return f"the tag of an answer stands after {before[-30:]!r}"
    except UnrenderableError as error:
        return str(error)
    return None
