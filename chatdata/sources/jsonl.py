"""Lists of role and content (OpenAI's files, chatdata's own), and instructions with an answer.

    {"id": "a-1", "messages": [{"role": "user", "content": "..."}, ...]}
    [{"role": "user", "content": "..."}, ...]
    {"instruction": "...", "context": "...", "response": "..."}      Dolly; Alpaca: input, output
    {"prompt": "...", "completion": "..."}                           texts, or lists of messages

Of a row that chatdata has published, `group` and `lang` are kept. `source` is not kept: the rows
get the name that the recipe gives to this source, and each id gets the beginning of its ids.

A context stands below its instruction, an empty line between; messages of a prompt are context.
Content in parts (`[{"type": "text", "text": "..."}]`) is joined where all parts are text. A
`system` beside the messages becomes their first.

Reasoning (`reasoning_content`, `reasoning`, `thinking`, `reasoning_details`, `tool_plan`, ...) is
carried in `<think>` tags before the content. Tools, calls of them and their results are carried as
text, in the tags of Hermes and Qwen (see `_tools`); a template with a form of its own writes other
ids for `apply_chat_template(messages, tools=...)`. What cannot be carried as text (`images`,
`documents`, `audio`, `videos`, of a message or a record; reasoning that is encrypted, or written
in two ways) is refused with its reason, never left out.

A message whose flags say that it is not trained (`train: false`, `weight: 0`, `loss_mask: 0`,
`masked: true`, ...) is context; a flag for a part of a message (`train_detail`) is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chatdata.core.schema import MESSAGES
from chatdata.sources import _tools
from chatdata.sources._linear import RecordFormat, Turn, read_conversations, turn, with_record
from chatdata.sources._message import REASONING, join
from chatdata.sources.batches import Batch, File
from chatdata.sources.values import Text, text

SCHEMA = MESSAGES
IDS = "jsonl"

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_PLAIN = {"role", "content"}
_PAIRS = (("prompt", "completion"), ("instruction", "response"), ("instruction", "output"))
_CONTEXTS = ("context", "input")
_RESULTS = ("tool", "function")


def read(files: Sequence[File], name: str, ids: str) -> Iterator[Batch]:
    """Yields the messages of all conversations as rows of MESSAGES."""
    return read_conversations(files, name, ids, RecordFormat(_is_record, _turns, group=str))


def _is_record(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(turn, dict) and "role" in turn for turn in value)
    if not isinstance(value, dict):
        return False
    return isinstance(value.get("messages"), list) or _pair(value) is not None


def _turns(record: Any) -> list[Turn]:
    if isinstance(record, list):
        return [_turn(message) for message in record]
    if isinstance(record.get("messages"), list):
        return with_record([_turn(message) for message in record["messages"]], record)
    return with_record(_exchange(record), record)


def _exchange(record: dict[str, Any]) -> list[Turn]:
    """The turns of an instruction and its answer; reasoning beside them is the answer's."""
    asked, answered = _pair(record) or ("", "")
    question = _side(record[asked], "user", {})
    if context := next((record[key] for key in _CONTEXTS if record.get(key)), None):
        question = [_with_context(turn, context) for turn in question]
    if record.get("history"):
        question = [turn._replace(content=None, note="'history' is not read") for turn in question]
    thoughts = {key: record[key] for key in REASONING if key in record}
    answer = _side(record[answered], "assistant", thoughts)
    return [turn._replace(train=False) for turn in question] + answer


def _pair(record: dict[str, Any]) -> tuple[str, str] | None:
    """The keys of the question and the answer of a record that has no messages."""
    return next((pair for pair in _PAIRS if record.keys() >= set(pair)), None)


def _side(value: object, role: str, beside: Mapping[str, Any]) -> list[Turn]:
    if isinstance(value, list):
        return [_turn(message) for message in value]
    return [turn(role, beside, value, text)]


def _with_context(question: Turn, context: object) -> Turn:
    words, fault = text(context)
    if words is None or question.content is None:
        return question._replace(content=None, note=question.note or f"a context that is {fault}")
    return question._replace(content=f"{question.content}\n\n{words}")


def _turn(message: object) -> Turn:
    if isinstance(message, dict) and message.keys() == _PLAIN:
        return _plain(message)
    return _any_turn(message)


def _plain(message: dict[str, Any]) -> Turn:
    """The turn of what almost every message is: a known role, and text."""
    role, content = message["role"], message["content"]
    is_plain = isinstance(role, str) and role in _ROLES and isinstance(content, str)
    return Turn(_ROLES[role], *text(content)) if is_plain else _any_turn(message)


def _any_turn(message: object) -> Turn:
    if not isinstance(message, dict):
        return Turn(None, None, f"a {type(message).__name__} stands where a message should")
    content = message.get("content")
    if message.get("role") in _RESULTS:
        return turn("user", message, content, _result)
    role = _ROLES.get(str(message.get("role")))
    read_turn = turn(role, message, content)
    return read_turn if role else read_turn._replace(note=f"role {message.get('role')!r}")


def _result(content: object) -> Text:
    """The content of a tool's message as text, in the tags of a result."""
    words = join(content)
    return words if words.text is None else _tools.response(words.text)
