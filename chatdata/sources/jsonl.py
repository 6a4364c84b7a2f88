"""Lists of role and content (OpenAI's files, chatdata's own), and instructions with an answer.

    {"id": "a-1", "messages": [{"role": "user", "content": "..."}, ...]}
    [{"role": "user", "content": "..."}, ...]
    {"instruction": "...", "context": "...", "response": "..."}      Dolly; Alpaca: input, output
    {"prompt": "...", "completion": "..."}                           texts, or lists of messages

A row that chatdata has published is read as it was written: `id`, `group`, `source`, `lang`, what
is learnt from, and all columns of its messages.

A context (`context`, `input`, `content`) stands below its instruction, an empty line between;
messages of a prompt are context, and so is a `history`: pairs of texts, or messages.
Content in parts (`[{"type": "text", "text": "..."}]`) is joined where all parts are text.
A `system` or `system_prompt` beside the messages becomes their first; `history`, `context` and
`input` are carried where their meaning is plain, see `_beside`. Preferences are refused, see
`_preference`.

Messages stay structured. Reasoning (`reasoning_content`, `reasoning`, `thinking`,
`reasoning_details`, `tool_plan`, ...) and calls (`tool_calls`, `function_call`) of an answer stand
beside its words, results keep the role `tool`, `tool_call_id` and `name`, and `tools` of a record
or a system message are those of the conversation; see `tool_json` for the form. Anthropic's blocks
and Harmony's channels are read as the same; see `_blocks`. Tags in content (`<think>`,
`<tool_call>`) are words: the cleaners `lift_reasoning` and `lift_tools` read them. What cannot be
carried (`images`, `documents`, `audio`, `videos`, of a message or a record; reasoning that is
encrypted, or written in two ways; a call without a name) is refused with its reason, never left
out.

Variables for a chat template (`chat_template_kwargs: {"enable_thinking": false}`, as TRL reads it,
an object or its JSON) are those of the conversation; a recipe may name further keys for some.

A message whose flags say that it is not trained (`train: false`, `weight: 0`, `loss_mask: 0`,
`masked: true`, ...) is context; a flag for a part of a message (`train_detail`) is refused. Any
other `weight`, `loss_weight` or `loss` above 0 is what the loss of an answer is multiplied by.
`train_parts` of an answer (`["reasoning", "answer", "tool_calls", "end"]`, or fewer) names the only
parts of it that are learnt.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from chatdata.core.schema import MESSAGES
from chatdata.sources import _beside, _preference, cutting
from chatdata.sources._blocks import as_messages, more_keys, openai_form
from chatdata.sources._linear import (
    RECORD_KEYS,
    Reading,
    RecordFormat,
    Turn,
    read_conversations,
    read_more,
    turn,
)
from chatdata.sources._message import REASONING, join, result
from chatdata.sources._variables import NO_VARIABLES, Variables
from chatdata.sources.batches import Batch, File
from chatdata.sources.cutting import Split
from chatdata.sources.naming import Names
from chatdata.sources.values import shown, text

SCHEMA = MESSAGES
IDS = "jsonl"

_RESULTS = ("tool", "function")
_ROLES = {
    **{role: role for role in ("system", "developer", "user", "assistant")},
    **dict.fromkeys(_RESULTS, "tool"),
}
_PLAIN = {"role", "content"}
_NULL = {"reasoning_content", "tool_calls", "tool_call_id", "name"}  # of a published plain message
_PUBLISHED = _PLAIN | _NULL | {"train"}
_PAIRS = (("prompt", "completion"), ("instruction", "response"), ("instruction", "output"))
CONTEXTS = (*_beside.CONTEXTS, "content")
_KEYS = RECORD_KEYS | _beside.KEYS
_LIST_KEYS = _KEYS.union(["messages"], _beside.CONTEXTS)


def read(
    files: Sequence[File], name: str, ids: str, variables: Mapping[str, str] = NO_VARIABLES
) -> Iterator[Batch]:
    """Yields the messages of all conversations as rows of MESSAGES.

    `variables` names the key of a record from which a variable of its template comes.
    """
    return read_conversations(files, name, ids, _format(variables))


def splits(
    files: Sequence[File], folder: Path, variables: Mapping[str, str] = NO_VARIABLES
) -> Iterator[Split]:
    """Yields what the files are read in, as `cutting.splits`."""
    return cutting.splits(files, folder, is_record)


def read_split(
    split: Split, name: str, names: Names, variables: Mapping[str, str] = NO_VARIABLES
) -> Iterator[Batch]:
    """Yields the messages of a split as rows of MESSAGES."""
    return read_more([split.file], name, names, _format(variables))


def _format(variables: Mapping[str, str]) -> RecordFormat:
    return RecordFormat(is_record, read_record, str, Variables(variables), more_keys=more_keys)


def is_record(value: object) -> bool:
    """Whether a value is, or has, a list of messages, or has an instruction and an answer."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(turn, dict) and "role" in turn for turn in value)
    if not isinstance(value, dict):
        return False
    return is_list_record(value) or _pair(value) is not None


def is_list_record(value: object) -> bool:
    """Whether a value is a record with a list of messages."""
    return isinstance(value, dict) and _list(value) is not None


def read_record(record: Any) -> Reading:
    """What is read of a value that `is_record`."""
    if isinstance(record, list):
        return Reading(_read_plain(record) or read_messages(record), messages=record)
    if (messages := _list(record)) is None:
        return exchange(record, _pair(record) or _PAIRS[0])
    return _beside.conversation(record, messages, _LIST_KEYS, _read_plain, read_messages)


def _list(record: Mapping[str, Any]) -> list[Any] | None:
    """The list of messages in a record; None where the record has no such list."""
    return as_messages(record.get("messages"))


def _read_plain(messages: list[Any]) -> list[Turn] | None:
    """The turns of messages that are plain, as nearly always; None where any is not."""
    turns = [_plain(message) for message in messages]
    return None if None in turns else turns  # type: ignore[return-value]


def read_messages(messages: list[Any]) -> list[Turn]:
    """The turns of messages, which need not be plain."""
    return [_plain(message) or _any_turn(message) for message in openai_form(messages)]


@functools.cache
def _keys_of(pair: tuple[str, str]) -> frozenset[str]:
    """The keys that are looked at beside an instruction and its answer."""
    return _KEYS.union(pair, REASONING)


def exchange(
    record: Mapping[str, Any], pair: tuple[str, str], contexts: Collection[str] = CONTEXTS
) -> Reading:
    """What is read of an instruction and its answer, under the keys of `pair`; reasoning beside
    them is the answer's, and the first of `contexts` stands below the instruction."""
    asked, answered = (record[key] for key in pair)
    question, keys = _side(asked, "user", {}), _keys_of(pair)
    if context := next((key for key in contexts if record.get(key)), None):
        question = [with_context(turn, record[context]) for turn in question]
        keys |= {context}
    thoughts = {key: record[key] for key in REASONING if key in record}
    answer = _side(answered, "assistant", thoughts)
    turns = [turn._replace(train=False) for turn in question] + answer
    beside = _beside.with_record(turns, record, read_messages)
    refusal = _preference.refusal(record, turns[-1].content if turns else None)
    messages = [message for side in (asked, answered) if isinstance(side, list) for message in side]
    read = Reading(beside.turns, keys - beside.left, [*messages, *beside.messages], refusal)
    return _refused(read) if _beside.HISTORY in beside.left else read


def _refused(reading: Reading) -> Reading:
    """A question that nobody can understand, since what was said before cannot be read."""
    note = f"'{_beside.HISTORY}' is neither pairs of texts nor messages"
    turns = [turn._replace(content=None, note=turn.note or note) for turn in reading.turns]
    return reading._replace(turns=turns, keys=reading.keys | {_beside.HISTORY})


def _pair(record: dict[str, Any]) -> tuple[str, str] | None:
    """The keys of the question and the answer of a record that has no messages."""
    return next((pair for pair in _PAIRS if record.keys() >= set(pair)), None)


def _side(value: object, role: str, beside: Mapping[str, Any]) -> list[Turn]:
    if isinstance(value, list):
        return read_messages(value)
    return [turn(role, beside, value, text)]


def with_context(question: Turn, context: object) -> Turn:
    """A question with a context below it."""
    words, fault = text(context)
    if words is None or question.content is None:
        return question._replace(content=None, note=question.note or f"a context that is {fault}")
    return question._replace(content=f"{question.content}\n\n{words}")


def _plain(message: Any) -> Turn | None:
    """The turn of what almost every message is: a known role, and text. Else None."""
    if not isinstance(message, dict) or not _has_plain_keys(message):
        return None
    role, content = message["role"], message["content"]
    is_plain = isinstance(role, str) and role in _ROLES and isinstance(content, str)
    trains = message.get("train") is not False
    return Turn(_ROLES[role], *text(content), trains) if is_plain else None


def _has_plain_keys(message: Mapping[str, Any]) -> bool:
    """Whether a message has a role and words, or what chatdata publishes of such a message."""
    if message.keys() == _PLAIN:
        return True
    if not message.keys() <= _PUBLISHED or not message.keys() >= _PLAIN:
        return False
    is_empty = all(message.get(key) is None for key in _NULL)
    trains = message.get("train")
    return is_empty and (trains is None or isinstance(trains, bool))


def _any_turn(message: object) -> Turn:
    if not isinstance(message, dict):
        return Turn(None, None, f"a {type(message).__name__} stands where a message should")
    role = _ROLES.get(str(message.get("role")))
    read_turn = turn(role, message, message.get("content"), result if role == "tool" else join)
    return read_turn if role else read_turn._replace(note=f"role {shown(message.get('role'))}")
