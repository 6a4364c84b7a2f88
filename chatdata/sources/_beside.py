"""What stands beside the turns of a record: system prompt, history, context and tools.

What has a plain meaning is carried. What has none is left, and counted as not read: a second
system prompt, a history that is neither pairs of texts nor messages, a context that is a label or
tells again what the messages say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from chatdata.sources import _preference, tool_json
from chatdata.sources._linear import Reading, Turn, says
from chatdata.sources._message import join
from chatdata.sources.tool_json import is_given
from chatdata.sources.values import Text, is_name, text

_SYSTEM = "system"
_PROMPT = "system_prompt"
HISTORY = "history"
CONTEXTS = ("context", "input")
KEYS = frozenset([_SYSTEM, _PROMPT, HISTORY, *tool_json.LISTS])

ReadAll = Callable[[list[Any]], list[Turn]]  # turns of messages in the form of a source
ReadPlain = Callable[[list[Any]], list[Turn] | None]  # None where a message is not plain


def conversation(
    record: Mapping[str, Any],
    messages: list[Any],
    keys: frozenset[str],
    read_plain: ReadPlain,
    read_all: ReadAll,
) -> Reading:
    """What a source reads of a record with a list of messages, and of what stands beside them.

    `keys` are those that the source looks at. Messages are mostly plain, and read faster then.
    """
    short, left = read_plain(messages), frozenset[str]()
    turns = read_all(messages) if short is None else short
    refusal = _preference.refusal(record, turns[-1].content if turns else None)
    if not record.keys().isdisjoint(CONTEXTS):
        turns, left = with_context(turns, record)
    beside = with_record(turns, record, read_all)
    keys = keys - left - beside.left if left or beside.left else keys
    odd = () if short is not None else messages
    return Reading(beside.turns, keys, (*odd, *beside.messages), refusal)


class Beside(NamedTuple):
    """The turns with what stands beside them, the keys that were left, and the messages of a
    history."""

    turns: list[Turn]
    left: frozenset[str] = frozenset()
    messages: Sequence[object] = ()


def with_record(turns: list[Turn], record: Mapping[str, Any], read_all: ReadAll) -> Beside:
    """The turns with the history, the system's words and the tools that stand beside them."""
    if KEYS.isdisjoint(record):
        return Beside(turns)
    left, history = set(), record.get(HISTORY)
    if is_given(history):
        before = _history(history, read_all)
        turns = _with_history(turns, before or [])
        left = set() if before else {HISTORY}
    turns = _with_system(turns, record.get(_SYSTEM))
    if is_given(prompt := record.get(_PROMPT)):
        turns, is_left = _with_prompt(turns, prompt)
        left |= {_PROMPT} if is_left else set()
    for key in tool_json.LISTS:
        turns = _with_tools(turns, record.get(key))
    return Beside(turns, frozenset(left), history if _are_messages(history) else ())


# ------------------------------------------------------------------------------------------- system


def _with_system(turns: list[Turn], system: object) -> list[Turn]:
    first = turns[0] if turns else None
    is_repeated = first and first.role == "system" and first.content == system
    if is_repeated or not is_given(system):
        return turns
    return [Turn("system", *join(system)), *turns]


def _with_prompt(turns: list[Turn], prompt: object) -> tuple[list[Turn], bool]:
    """The turns, which begin with the prompt where they had no system turn; and whether it was
    left."""
    if not _begins_with_system(turns):
        return _with_system(turns, prompt), False
    return turns, turns[0].content != join(prompt).text


def _begins_with_system(turns: list[Turn]) -> bool:
    return bool(turns) and turns[0].role in ("system", "developer")


# ------------------------------------------------------------------------------------------ history


def _history(value: object, read_all: ReadAll) -> list[Turn] | None:
    """The turns of a history, which are context; None where its form is not plain."""
    if _are_messages(value):
        turns = read_all(value)
    elif isinstance(value, list) and all(_is_pair(pair) for pair in value):
        turns = [Turn(role, *text(words)) for pair in value for role, words in _by_role(pair)]
    else:
        return None
    return [turn._replace(train=False) for turn in turns]


def _are_messages(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and all(isinstance(message, dict) for message in value)


def _is_pair(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    return all(isinstance(words, str) for words in value)


def _by_role(pair: Sequence[str]) -> Iterator[tuple[str, str]]:
    return zip(("user", "assistant"), pair, strict=True)


def _with_history(turns: list[Turn], history: list[Turn]) -> list[Turn]:
    """The turns behind their history, which stands behind a system turn; once where the turns
    begin with it themselves."""
    at = 1 if _begins_with_system(turns) else 0
    begun = turns[at : at + len(history)]
    if list(map(says, begun)) == list(map(says, history)):
        return turns
    return [*turns[:at], *history, *turns[at:]]


# ------------------------------------------------------------------------------------------ context


def with_context(turns: list[Turn], record: Mapping[str, Any]) -> tuple[list[Turn], frozenset[str]]:
    """The turns with a context below their first question, and the keys that were left.

    A context that is in the messages already changes nothing.
    """
    given = [key for key in CONTEXTS if is_given(record.get(key))]
    left = set()
    for key in given:
        joined = _with_context(turns, text(record[key])) if key == given[0] else None
        is_told = _is_told(turns, record[key])
        turns = turns if is_told or joined is None else joined
        left |= set() if is_told or joined else {key}
    return turns, frozenset(left)


def _is_told(turns: list[Turn], context: object) -> bool:
    return isinstance(context, str) and any(context in (turn.content or "") for turn in turns)


def _with_context(turns: list[Turn], context: Text) -> list[Turn] | None:
    """The turns with a context below their first question; None where it does not belong there."""
    words = context.text
    first = next((at for at, turn in enumerate(turns) if turn.role == "user"), None)
    if not words or is_name(words) or first is None:
        return None
    questions = [turn.content for turn in turns if turn.role == "user"]
    if questions[0] is None or any(question and question in words for question in questions):
        return None
    question = turns[first]._replace(content=f"{questions[0]}\n\n{words}")
    return [*turns[:first], question, *turns[first + 1 :]]


# -------------------------------------------------------------------------------------------- tools


def _with_tools(turns: list[Turn], value: object) -> list[Turn]:
    tools = tool_json.listing(value)
    if tools == tool_json.NOTHING or not turns:
        return turns
    if tools.fault:
        return [Turn("system", None, f"tools: {tools.fault}"), *turns]
    first = turns[0]
    listed = [listing for listing in (first.tools, tools.text) if listing]
    return [first._replace(tools=tool_json.joined(listed)), *turns[1:]]
