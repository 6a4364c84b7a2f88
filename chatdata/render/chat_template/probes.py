"""Conversations that show what a chat template does: of every shape, and of hard contents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chatdata.render.chat_template.jinja import strings
from chatdata.render.chat_template.template import JinjaTemplate, is_taken

# Conversations and contents that show whether a template does more than write turns.
_ROLES = ("ua", "uaua", "suaua", "su", "u", "uau", "uasua", "aua", "uuaa", "suuaaua", "ssua")
_CONTENTS = (
    "a",
    "",
    " ",
    "\n",
    "  a",
    "a  ",
    "\n\na\n\n",
    "<think>\na\n</think>\n\nb",
    "</think>",
    "<tool_response>a</tool_response>",
    "<tool_call>a</tool_call>",
    "é\u3000",
    "\x1fa\u200b",
    "[INST]a[/INST]",
    "{{ a }}{% raw %}",
)


def make_conversation(roles: str, contents: Sequence[str] | None = None) -> list[dict[str, str]]:
    """A conversation: `suaua` is system, user, assistant, user, assistant."""
    names = {"s": "system", "u": "user", "a": "assistant"}
    said = contents or [f"{role}{i}\U0010fffe" for i, role in enumerate(roles)]
    return [{"role": names[r], "content": own} for r, own in zip(roles, said, strict=True)]


def basic_conversations(template: JinjaTemplate) -> list[list[list[dict[str, str]]]]:
    """Plain conversations with a system turn among them, and without.

    Some templates write a system turn only behind a question that nobody has answered: no row can
    hold one, and conversations without one can be written all the same.
    """
    talks = [make_conversation("ua"), make_conversation("uaua"), make_conversation("uauaua")]
    talks += [make_conversation("ua", ["q", own]) for own in ("a", "two\n\nlines")]
    talks += [make_conversation("uaua", ["q", "<think>\na\n</think>\n\nb", "r", "c"])]
    led = [
        talk
        for talk in (make_conversation("sua"), make_conversation("suaua"))
        if is_taken(template, talk)
    ]
    return [talks + led, talks]


def probes() -> Iterator[list[dict[str, str]]]:
    """Yields conversations of every shape and of contents that a template may treat apart."""
    for roles in _ROLES:
        for shift in range(len(_CONTENTS)):
            contents = [_CONTENTS[(shift + 3 * i) % len(_CONTENTS)] for i in range(len(roles))]
            yield make_conversation(roles, contents)


def quoted_strings(source: str) -> Iterator[list[dict[str, str]]]:
    """Yields conversations that hold the strings of a template, for which it may be looking."""
    for words in strings(source):
        for own in (words, f"a {words} b", f"{words}a", f"a{words}"):
            yield make_conversation("suaua", [own] * 5)
            yield make_conversation("uaua", [own] * 4)
