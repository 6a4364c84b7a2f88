"""A chat template that writes the last answer of a row in its own way, as a `TemplateSpec`.

Qwen3 and its kin write an empty thought before the last answer, and none before the earlier ones.
Such a template looks into contents too (for `</think>`), so that no spec can write all rows. The
spec of this module is proved for contents that hold none of the strings that the template looks
for, and these strings are found by trying every string of the template.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from chatdata.core.errors import RenderError
from chatdata.render.chat_template.compile import (
    end_of_last_token,
    is_closed,
    text_by_spec,
    text_by_template,
)
from chatdata.render.chat_template.discovery import between
from chatdata.render.chat_template.jinja import strings
from chatdata.render.chat_template.probes import Conversation, contents_of, make_conversation
from chatdata.render.chat_template.template import JinjaTemplate
from chatdata.render.conversation import UnrenderableError
from chatdata.render.template_spec import TemplateSpec, Turn

_ROLES = ("ua", "uaua", "uauaua", "sua", "suaua", "suauaua")
_BEGUN = ("aua", "auaua", "auauaua", "saua", "sauaua")  # rows that begin with an answer
_CONTENTS = (
    "a",
    "Two\n\nparagraphs, and  spaces",
    "def f(a):\n\n\n    return a[0]",
    "é\u3000日本語 ٣ e\u0301 👩\u200d👩\u200d👧",
    "<b>x</b> [1] {2} <|not a token|> {{ a }}{% raw %}",
    "x" * 3000,
    "1",
    "None",
    "[]",
    '{"name": "f", "arguments": {}}',
    "\x00\x1f\u200b",
)


class AnswerSpec(NamedTuple):
    """A spec, and the strings that contents must not hold for the spec to write them.

    `begins_with_answer` says whether the spec writes rows that begin with an answer too.
    """

    spec: TemplateSpec
    markers: tuple[str, ...]
    begins_with_answer: bool


def compile_answers(template: JinjaTemplate, control: re.Pattern[str]) -> AnswerSpec | None:
    """The template as a spec for plain rows that end with an answer; None where none was found."""
    try:
        spec = _infer(template, control)
    except (UnrenderableError, RenderError, ValueError):
        return None
    if not all(is_closed(turn, control) for turn in spec.all_turns()):
        return None
    if not _writes_the_same(spec, template, _probes(spec, _ROLES)):
        return None
    begins = _writes_the_same(spec, template, _probes(spec, _BEGUN))
    shapes = _SHAPES + _BEGUN_SHAPES if begins else _SHAPES
    markers = _markers(spec, template, shapes)
    # A string of a character, or of white space, stands in too many contents to be kept out.
    is_rare = all(len(marker) >= 2 for marker in markers)
    return AnswerSpec(spec, markers, begins) if is_rare else None


def _infer(template: JinjaTemplate, control: re.Pattern[str]) -> TemplateSpec:
    """The spec that follows from a few renderings; it may be wrong for others."""
    talk = make_conversation("uaua")
    user, answer, question, last = contents_of(talk)
    text, asked = template.text(talk), template.text(talk[:1])
    prompt = template.text(talk[:1], add_generation_prompt=True)
    if not prompt.startswith(asked):
        raise ValueError("the generation prompt is not behind the question")
    head, after_user = text.partition(user)[0], asked.partition(user)[2]
    after_answer, before_user = _apart(head, between(text, answer, question), control)
    before_earlier = between(text, user, answer).removeprefix(after_user)
    before_last = between(text, question, last).removeprefix(after_user)
    supplied, lead = _supplied(before_last, prompt.removeprefix(asked), template.empty_thought)
    turns = {
        "user": _turn(before_user, "", after_user, control),
        "assistant": _turn(before_earlier, "", after_answer, control),
    }
    system = _system(template, before_user, control)
    turns |= {"system": system} if system is not None else {}
    final = _turn(supplied, lead, text.partition(last)[2], control)
    start = head.removesuffix(before_user)
    return TemplateSpec(template.name, "", turns, (), start, system, final)


def _supplied(before: str, header: str, thought: str) -> tuple[str, str]:
    """What stands before the last answer: what a model is given, and what it writes. An empty
    `thought` alone behind the header is given."""
    if not before.startswith(header):
        raise ValueError("an answer does not stand behind its generation prompt")
    lead = before.removeprefix(header)
    is_given = bool(thought) and lead == thought
    return (before, "") if is_given else (header, lead)


def _apart(head: str, middle: str, control: re.Pattern[str]) -> tuple[str, str]:
    """What stands after an answer and before the next question, whose start `head` ends with."""
    size = next(
        (i for i in range(min(len(head), len(middle)), 0, -1) if head.endswith(middle[-i:])), 0
    )
    common = middle[len(middle) - size :]
    first = control.search(common)
    if first is None:
        raise ValueError("no control token opens a question")
    before = common[first.start() :]
    return middle.removesuffix(before), before


def _system(template: JinjaTemplate, before_user: str, control: re.Pattern[str]) -> Turn | None:
    """How a system turn at the head is written; None where the template refuses one."""
    talk = make_conversation("sua")
    system, user, _ = contents_of(talk)
    try:
        text = template.text(talk)
    except UnrenderableError:
        return None
    after = between(text, system, user)
    if not after.endswith(before_user):
        raise ValueError("a system turn changes the question behind it")
    return _turn(text.partition(system)[0], "", after.removesuffix(before_user), control)


def _turn(before: str, lead: str, after: str, control: re.Pattern[str]) -> Turn:
    opened, closed = end_of_last_token(before, control), end_of_last_token(after, control)
    return Turn(before[:opened], before[opened:], lead, after[:closed], after[closed:])


# ----------------------------------------------------------------------------------- the proof


# Rows in which a content is tried; `x` stands for the content.
_Shape = tuple[str, tuple[str, ...]]
_SHAPES: tuple[_Shape, ...] = (
    ("uaua", ("x", "x", "x", "x")),
    ("uaua", ("a", "b", "x", "c")),
    ("suaua", ("x", "x", "x", "x", "x")),
)
_BEGUN_SHAPES: tuple[_Shape, ...] = (
    ("auaua", ("x", "x", "x", "x", "x")),
    ("aua", ("x", "b", "c")),
    ("aua", ("a", "x", "c")),
)


def _markers(
    spec: TemplateSpec, template: JinjaTemplate, shapes: Sequence[_Shape]
) -> tuple[str, ...]:
    """The strings of a template that change how it writes a content that holds them.

    A template may look for two strings at once, as for a pair of tags.
    """
    words = strings(template.source)
    is_harmless = functools.partial(_is_harmless, spec, template, shapes)
    markers = [word for word in words if not is_harmless(_holding(word))]
    tags = [word for word in words if _TAG.search(word) and word not in markers]
    for first, second in itertools.permutations(tags, 2):
        if not is_harmless([f"{first}a{second}"]):
            markers += [first, second]
    return tuple(dict.fromkeys(marker.strip() for marker in markers))


_TAG = re.compile(r"^\s*[<\[|]\S+[>\]|]\s*$")


def _holding(word: str) -> list[str]:
    """Contents that hold a string."""
    return [word.strip(), f"a {word} b", f"{word}a", f"a{word}"]


def _probes(spec: TemplateSpec, shapes: Iterable[str]) -> Iterator[Conversation]:
    """Yields rows of every shape, each content at every place."""
    for roles in shapes:
        if roles.startswith("s") and spec.first is None:
            continue
        for shift in range(len(_CONTENTS)):
            chosen = [_CONTENTS[(shift + 3 * i) % len(_CONTENTS)] for i in range(len(roles))]
            yield make_conversation(roles, chosen)


def _is_harmless(
    spec: TemplateSpec, template: JinjaTemplate, shapes: Iterable[_Shape], contents: Iterable[str]
) -> bool:
    """Whether the spec writes these contents as the template does, at every place."""
    talks = [
        make_conversation(roles, [content if word == "x" else word for word in words])
        for content in contents
        for roles, words in shapes
        if content and content == content.strip() and (spec.first or "s" not in roles)
    ]
    return _writes_the_same(spec, template, talks)


def _writes_the_same(
    spec: TemplateSpec, template: JinjaTemplate, conversations: Iterable[Conversation]
) -> bool:
    return all(
        text_by_spec(spec, messages) == text_by_template(template, messages)
        for messages in conversations
    )
