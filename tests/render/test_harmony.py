"""A second witness for gpt-oss: openai-harmony's own encoder.

It downloads a vocabulary; `CHATDATA_HARMONY` names a folder with that file, o200k_base.tiktoken.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import families
from tests.support.carrying import carry, load

harmony = pytest.importorskip("openai_harmony")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("CHATDATA_HARMONY" not in os.environ, reason="CHATDATA_HARMONY is not set"),
    pytest.mark.skipif("gptoss" not in families.shipped(), reason="TRL ships no such template"),
]
WITHOUT_TOOLS = [kind for kind, talk in families.KINDS.items() if not talk.tools]
CALLED = {"channel": "commentary", "recipient": "functions.get_weather"}


@pytest.fixture(scope="module")
def encoding() -> Any:
    patch = pytest.MonkeyPatch()
    patch.setenv("TIKTOKEN_ENCODINGS_BASE", os.environ["CHATDATA_HARMONY"])
    yield harmony.load_harmony_encoding(harmony.HarmonyEncodingName.HARMONY_GPT_OSS)
    patch.undo()


def written(encoding: Any, messages: Sequence[Any]) -> str:
    """What harmony writes of messages behind its system message, with all thoughts."""
    about = harmony.SystemContent.new().with_conversation_start_date(families.DATE.isoformat())
    system = harmony.Message.from_role_and_content(harmony.Role.SYSTEM, about)
    conversation = harmony.Conversation.from_messages([system, *messages])
    whole = harmony.RenderConversationConfig(auto_drop_analysis=False)
    ids = encoding.render_conversation_for_training(conversation, whole)
    return str(encoding.decode_utf8(ids))


def of_harmony(turns: Sequence[families.Message], tools: Any = None) -> Iterator[Any]:
    """Turns as harmony has them. A thought before words goes where a later turn has words."""
    last = max(n for n, turn in enumerate(turns) if turn["role"] == "assistant")
    instructions = turns[0]["content"] if turns[0]["role"] == "system" else None
    if instructions or tools:
        yield _developer(instructions, tools)
    for number, turn in enumerate(turns):
        if turn["role"] == "user":
            yield _message(harmony.Role.USER, turn["content"])
        elif turn["role"] == "tool":
            author = harmony.Author.new(harmony.Role.TOOL, CALLED["recipient"])
            result = harmony.Message.from_author_and_content(author, json.dumps(turn["content"]))
            yield result.with_channel("commentary").with_recipient("assistant")
        elif turn["role"] == "assistant":
            is_last = number == last or not turn["content"]
            yield from _answer(turn, turn.get("reasoning_content") if is_last else None)


def _developer(instructions: str | None, tools: Any) -> Any:
    content = harmony.DeveloperContent.new()
    if instructions:
        # Where no tools follow, the template ends the instructions with a blank line.
        content = content.with_instructions(instructions if tools else f"{instructions}\n\n")
    if tools:
        functions = [tool["function"] for tool in tools]
        described = [
            harmony.ToolDescription.new(f["name"], f["description"], parameters=f["parameters"])
            for f in functions
        ]
        content = content.with_function_tools(described)
    return _message(harmony.Role.DEVELOPER, content)


def _answer(turn: families.Message, thought: str | None) -> Iterator[Any]:
    assistant = harmony.Role.ASSISTANT
    if thought:
        yield _message(assistant, thought).with_channel("analysis")
    for call in turn.get("tool_calls", ()):
        arguments = json.dumps(call["function"]["arguments"])
        message = _message(assistant, arguments).with_channel("commentary")
        yield message.with_recipient(CALLED["recipient"]).with_content_type("json")
    if turn["content"]:
        yield _message(assistant, turn["content"]).with_channel("final")


def _message(role: Any, content: Any) -> Any:
    return harmony.Message.from_role_and_content(role, content)


def rows(talk: families.Talk, folder: Path) -> Iterator[tuple[str, int]]:
    """The text of each row of a conversation by gpt-oss's template, and how many turns it holds."""
    carried = carry(None, families.shipped()["gptoss"], folder / "t", more=True)
    tokenizer = load(carried, folder / "w", date=families.DATE)
    for row in families.rows_of(talk, tokenizer):
        last = row.span[1] if row.span else len(talk.messages) - 1
        yield tokenizer.decode(row.ids), last + 1


@pytest.mark.parametrize("kind", WITHOUT_TOOLS)
def test_rows_are_what_harmony_writes(kind: str, encoding: Any, tmp_path: Path) -> None:
    talk = families.KINDS[kind]
    compared = 0
    for text, turns in rows(talk, tmp_path):
        assert text == written(encoding, list(of_harmony(talk.messages[:turns])))
        compared += 1
    assert compared


@pytest.mark.parametrize("kind", ["tools"])
def test_rows_with_tools_are_what_harmony_writes(kind: str, encoding: Any, tmp_path: Path) -> None:
    """The template writes a result as a JSON string, so harmony is given such a string."""
    talk = families.KINDS[kind]
    compared = 0
    for text, turns in rows(talk, tmp_path):
        assert text == written(encoding, list(of_harmony(talk.messages[:turns], talk.tools)))
        compared += 1
    assert compared
