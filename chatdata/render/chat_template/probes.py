"""Conversations that show what a chat template does: of every shape, and of hard contents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from chatdata.render.chat_template.jinja import strings
from chatdata.render.conversation import Messages, UnrenderableError

if TYPE_CHECKING:
    from chatdata.render.chat_template.template import JinjaTemplate

Conversation = list[dict[str, Any]]  # of messages; those of probes have words

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


def make_conversation(roles: str, contents: Sequence[str] | None = None) -> Conversation:
    """A conversation with these contents, or with contents that stand in no template.

    `suaua` is system, user, assistant, user, assistant.
    """
    names = {"s": "system", "u": "user", "a": "assistant"}
    contents = contents or [f"{role}{i}\U0010fffe" for i, role in enumerate(roles)]
    pairs = zip(roles, contents, strict=True)
    return [{"role": names[role], "content": content} for role, content in pairs]


def contents_of(messages: Conversation) -> list[str]:
    """The contents of a conversation."""
    return [message["content"] for message in messages]


THOUGHT = "r0\U0010fffe"  # stands in no template


def with_reasoning(messages: Conversation, key: str = "reasoning_content") -> Conversation:
    """A conversation whose answers have reasoning before them."""
    return [{**m, key: THOUGHT} if m["role"] == "assistant" else m for m in messages]


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look_up",
            "description": "Looks a word up.",
            "parameters": {
                "type": "object",
                "properties": {"word": {"type": "string", "description": "What to look up."}},
                "required": ["word"],
            },
        },
    }
]


def call_without_words(content: str | None) -> Conversation:
    """A question, and an answer that calls a tool of TOOLS with this content."""
    function = {"name": "look_up", "arguments": {"word": "tide"}}
    call = {"id": "call00001", "type": "function", "function": function}
    question = make_conversation("u")
    return [*question, {"role": "assistant", "content": content, "tool_calls": [call]}]


def basic_conversations(template: JinjaTemplate) -> list[list[Conversation]]:
    """Lists of plain conversations: with system turns too, without any, and without tags.

    Some templates write a system turn only after a question that has no answer: no row can hold
    such a turn, and conversations without a system turn can be written all the same. Others forget
    the tags of a thought in a place where their generation prompt keeps it.
    """
    if template.structure.needs_reasoning:
        talks = [with_reasoning(make_conversation(roles)) for roles in ("ua", "uaua", "uauaua")]
        return [talks]
    plain = [make_conversation("ua"), make_conversation("uaua"), make_conversation("uauaua")]
    plain += [make_conversation("ua", ["q", answer]) for answer in ("a", "two\n\nlines")]
    tagged = [make_conversation("uaua", ["q", "<think>\na\n</think>\n\nb", "r", "c"])]
    with_system = [make_conversation("sua"), make_conversation("suaua")]
    with_system = [each for each in with_system if is_taken(template, each)]
    return [plain + tagged + with_system, plain + tagged, plain + with_system]


def probes() -> Iterator[Conversation]:
    """Yields conversations of every shape and of contents that a template may treat apart."""
    for roles in _ROLES:
        for shift in range(len(_CONTENTS)):
            contents = [_CONTENTS[(shift + 3 * i) % len(_CONTENTS)] for i in range(len(roles))]
            yield make_conversation(roles, contents)


def quoted_strings(source: str) -> Iterator[Conversation]:
    """Yields conversations that hold the strings of a template, which it may look for."""
    for words in strings(source):
        for content in (words, f"a {words} b", f"{words}a", f"a{words}"):
            yield make_conversation("suaua", [content] * 5)
            yield make_conversation("uaua", [content] * 4)


def is_taken(template: JinjaTemplate, messages: Messages) -> bool:
    """Whether a template writes this conversation, and does not refuse it."""
    try:
        template.text(messages)
    except UnrenderableError:
        return False
    return True
