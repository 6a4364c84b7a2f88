"""The `fields` of a source: where the parts of a conversation stand in records of any shape.

A path is a key, or keys with dots between them; a number is a place in a list.

    {user: question.text, assistant: answers.0.text, system: setting}
    {messages: talk, role: speaker.name, content: body, roles: {guest: user, host: assistant}}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from chatdata.core.config import Strict, Word
from chatdata.core.errors import SourceError
from chatdata.sources import jsonl
from chatdata.sources._blocks import as_messages, more_keys
from chatdata.sources._linear import Reading
from chatdata.sources._message import MESSAGE_KEYS
from chatdata.sources.shapes._base import Conversations, Record, are_objects
from chatdata.sources.values import shown

NAME = "fields of the recipe"

Role = Literal["system", "developer", "user", "assistant", "tool"]
# Of a record, and of a message; `reasoning` is of a message, or of the answer of a pair.
_OF_RECORD = ("id", "group", "lang", "system", "tools")
_OF_MESSAGE = ("role", "content", "reasoning", "tool_calls", "tool_call_id", "name")
_NAMES = {"reasoning": "reasoning_content"}  # of `jsonl`
_KNOWN = {role: role for role in ("system", "developer", "user", "assistant", "tool")}


class Fields(Strict):
    """Paths to the parts of a conversation.

    Either `messages` is the list, with `role` and `content` in each message, or `user` and
    `assistant` are a question and its answer. `roles` says what the names of speakers mean, where
    they are none of the roles; `defaults` what holds where a record has nothing under a path.
    """

    messages: Word | None = Field(
        default=None, description="The path to the list of messages.", examples=["talk"]
    )
    role: Word = Field(
        default="role",
        description="The path to the speaker in a message.",
        examples=["speaker.name"],
    )
    content: Word = Field(
        default="content", description="The path to the words of a message.", examples=["body"]
    )
    roles: dict[str, Role] = Field(
        default={},
        description="What the names of speakers mean, where they are no roles.",
        examples=[{"guest": "user", "host": "assistant"}],
    )
    user: Word | None = Field(
        default=None,
        description="The path to the question, where a record is a question and its answer.",
        examples=["question.text"],
    )
    assistant: Word | None = Field(
        default=None, description="The path to the answer.", examples=["answers.0.text"]
    )
    reasoning: Word | None = Field(
        default=None,
        description="The path to the reasoning of a message, or of the answer.",
        examples=["thinking"],
    )
    tool_calls: Word | None = Field(
        default=None, description="The path to the calls of tools in a message.", examples=["calls"]
    )
    tool_call_id: Word | None = Field(
        default=None,
        description="The path to the id of the call that a message answers.",
        examples=["call_id"],
    )
    name: Word | None = Field(
        default=None,
        description="The path to the name of the tool that answers.",
        examples=["tool"],
    )
    system: Word | None = Field(
        default=None,
        description="The path to the system message of a record.",
        examples=["setting"],
    )
    tools: Word | None = Field(
        default=None,
        description="The path to the tools that a record offers.",
        examples=["functions"],
    )
    id: Word | None = Field(
        default=None, description="The path to the id of a record.", examples=["key"]
    )
    group: Word | None = Field(
        default=None,
        description="The path to what keeps records in one split.",
        examples=["thread"],
    )
    lang: Word | None = Field(
        default=None, description="The path to the language of a record.", examples=["language"]
    )
    defaults: dict[Literal["role", "system", "lang"], str] = Field(
        default={},
        description="What holds where a record has nothing under a path.",
        examples=[{"lang": "en"}],
    )

    @model_validator(mode="after")
    def _is_a_list_or_a_pair(self) -> Fields:
        has_pair = self.user is not None and self.assistant is not None
        if (self.messages is None) != has_pair or (has_pair and self.messages is not None):
            raise ValueError("name either `messages`, or `user` and `assistant`")
        if self.messages and (self.user or self.assistant):
            raise ValueError("name either `messages`, or `user` and `assistant`, not both")
        return self


def shape(fields: Fields) -> Conversations:
    """The shape that the fields of a recipe describe."""
    tops = tuple(dict.fromkeys(path.split(".")[0] for path in _of_record(fields).values()))
    return Conversations(
        name=NAME,
        keys=tops,
        fits=lambda record: _fits(record, fields),
        read=lambda record: _read(record, fields),
        message_keys=MESSAGE_KEYS | _inner_keys(fields),
        more_keys=more_keys,
    )


def check(fields: Fields, values: Sequence[object], file: str) -> None:
    """Raises SourceError where the first records of a file have nothing under a path, or a speaker
    whose role is not stated."""
    records = [value for value in values if isinstance(value, dict)]
    for option, path in _of_record(fields).items():
        if not any(at(record, path) is not None for record in records):
            raise SourceError(_missing(option, path, records, file))
    if fields.messages is None:
        return
    messages = [message for record in records for message in _messages(record, fields)]
    for option, path in _of_message(fields).items():
        if option not in fields.defaults and not any(at(m, path) is not None for m in messages):
            raise SourceError(_missing(option, path, messages, file))
    for message in messages:
        speaker = at(message, fields.role)
        if _role(speaker, fields) is None:
            raise SourceError(
                f"'{file}' has the speaker {shown(speaker)}, whose role `fields` does not state; "
                "add it to `fields.roles`."
            )


def at(value: Any, path: str) -> Any:
    """What stands in a value under a path; None where nothing does."""
    if isinstance(value, Mapping) and path in value:
        return value[path]
    first, _, rest = path.partition(".")
    if isinstance(value, Mapping):
        inner = value.get(first)
    elif isinstance(value, list) and first.isdigit() and int(first) < len(value):
        inner = value[int(first)]
    else:
        return None
    return at(inner, rest) if rest else inner


def _missing(option: str, path: str, values: Sequence[Any], file: str) -> str:
    """The sentences on a path under which nothing stands."""
    above = path
    holders: list[Any] = []
    while above and not holders:
        above = above.rpartition(".")[0]
        inner = [at(value, above) if above else value for value in values]
        holders = [value for value in inner if isinstance(value, Mapping)]
    keys = ", ".join(dict.fromkeys(str(key)[:40] for value in holders for key in value))
    place = f"under '{above}' there are" if above else "there are"
    return (
        f"`fields.{option}` is '{path}', and none of the first records of '{file}' has it; "
        f"{place} the keys {keys or 'of nothing'}."
    )


def _of_record(fields: Fields) -> dict[str, str]:
    """The paths that begin at a record, by their option."""
    names = [*_OF_RECORD, "messages", "user", "assistant"]
    names += [] if fields.messages else ["reasoning"]
    return {name: path for name in names if (path := getattr(fields, name)) is not None}


def _of_message(fields: Fields) -> dict[str, str]:
    return {name: path for name in _OF_MESSAGE if (path := getattr(fields, name)) is not None}


def _inner_keys(fields: Fields) -> frozenset[str]:
    """The keys below others that paths name."""
    paths = [*_of_record(fields).values(), *_of_message(fields).values()]
    return frozenset(key for path in paths for key in (path, *path.split(".")))


def _messages(record: Record, fields: Fields) -> list[dict[str, Any]]:
    listed = as_messages(at(record, fields.messages or ""))
    return listed if are_objects(listed) else []


def _fits(record: object, fields: Fields) -> bool:
    if not isinstance(record, dict):
        return False
    if fields.messages:
        return bool(_messages(record, fields))
    return all(at(record, path) is not None for path in (fields.user or "", fields.assistant or ""))


def _role(speaker: object, fields: Fields) -> str | None:
    if speaker is None:
        return fields.defaults.get("role")
    if not isinstance(speaker, str | int):
        return None
    return fields.roles.get(str(speaker)) or _KNOWN.get(str(speaker).lower())


def _read(record: Any, fields: Fields) -> Reading:
    """What is read of a record, as if it had been written in OpenAI's form."""
    written = {name: at(record, path) for name, path in _of_record(fields).items()}
    of_record: dict[str, Any] = {name: written.get(name) for name in _OF_RECORD}
    for name in ("system", "lang"):
        of_record[name] = of_record[name] or fields.defaults.get(name)
    messages = _messages(record, fields) if fields.messages else []
    listed = [_message(message, fields) for message in messages]
    made = {**of_record, "messages": listed if fields.messages else _pair(written)}
    reading = jsonl.read_record({key: value for key, value in made.items() if value is not None})
    named = {name: made[name] for name in ("id", "group", "lang") if made.get(name) is not None}
    return reading._replace(
        keys=reading.keys | _looked_at(fields),
        messages=[*reading.messages, *_all_holders(record, messages, fields)],
        named={**record, **named},
    )


def _looked_at(fields: Fields) -> set[str]:
    """The keys of a record that paths name, whole and up to the first dot."""
    return {key for path in _of_record(fields).values() for key in (path, path.split(".")[0])}


def _pair(written: Mapping[str, Any]) -> list[dict[str, Any]]:
    answer = {"role": "assistant", "content": written["assistant"]}
    if written.get("reasoning") is not None:
        answer["reasoning_content"] = written["reasoning"]
    return [{"role": "user", "content": written["user"]}, answer]


def _message(message: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """A message in OpenAI's form, with the keys that no path names, such as flags of training."""
    paths = _of_message(fields)
    named = {path.split(".")[0] for path in paths.values()}
    rest = {key: value for key, value in message.items() if key not in named}
    parts = {_NAMES.get(name, name): at(message, path) for name, path in paths.items()}
    role = _role(parts["role"], fields)
    return {**rest, **parts, "role": role if role is not None else parts["role"]}


def _all_holders(
    record: Any, messages: Sequence[Any], fields: Fields
) -> Iterator[Mapping[str, Any]]:
    """Yields what `_holders` does of a record and of its messages."""
    yield from _holders(record, _of_record(fields))
    for message in messages:
        yield from _holders(message, _of_message(fields))


def _holders(value: Any, paths: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """Yields the objects inside of a value on the way to its parts, so that their other keys are
    counted."""
    for way in sorted({path.rpartition(".")[0] for path in paths.values() if "." in path}):
        holder = at(value, way)
        if isinstance(holder, Mapping):
            yield holder
