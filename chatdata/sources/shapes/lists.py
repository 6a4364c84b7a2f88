"""Records with a list of messages: of roles and words, of pairs, or of texts that take turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from chatdata.sources import _beside, _preference, jsonl, sharegpt
from chatdata.sources._blocks import as_messages, more_keys
from chatdata.sources._linear import RECORD_KEYS, Reading, Turn
from chatdata.sources.naming import is_published
from chatdata.sources.shapes._base import Conversations, Record, are_objects, are_texts, given
from chatdata.sources.values import text

LISTS = (
    *("messages", "conversations", "conversation", "items"),
    *("chat", "dialog", "dialogue", "turns"),
)

# The speakers of the field beside those that `jsonl` and `sharegpt` know, in lower case.
_SPEAKERS = {
    **dict.fromkeys(["user", "human", "me", "customer", "client", "input"], "user"),
    **dict.fromkeys(
        ["assistant", "gpt", "chatgpt", "gpt4", "gpt-4", "gpt3", "gpt-3.5"], "assistant"
    ),
    **dict.fromkeys(["chatbot", "bot", "agent", "model", "ai", "output"], "assistant"),
    "system": "system",
    "developer": "developer",
    "tool": "tool",
    "function": "tool",
}


def turns_of(record: object, key: str) -> list[Any] | None:
    """The list of turns under a key, where all of them are objects; else None."""
    if not isinstance(record, dict) or key not in record:
        return None
    listed = as_messages(record[key])
    return listed if are_objects(listed) else None


def has_list(record: Record) -> bool:
    """Whether a record has messages under any of the names of a list."""
    return any(isinstance(as_messages(record.get(key)), list) for key in LISTS if key in record)


# ------------------------------------------------------------------------- speakers and their words


def _has(key: str, speaker: str, words: str) -> Callable[[object], bool]:
    """The test of records that have a list under `key`, of turns with this speaker and words."""

    def fits(record: object) -> bool:
        turns = turns_of(record, key)
        if turns is None or not isinstance(record, dict):
            return False
        if _preference.choice(record) or _preference.beside_messages(record):
            return False
        is_so = all(isinstance(turn.get(speaker), str) for turn in turns)
        return is_so and any(given(turn, words) for turn in turns)

    return fits


def _published(record: object) -> bool:
    return isinstance(record, dict) and is_published(record) and _has_messages(record)


def _openai(record: object) -> bool:
    return _has_messages(record) and not _published(record) and not _is_odd(record)


def _is_odd(record: Any) -> bool:
    """Whether the messages are those of Bedrock or of an export, which other shapes read."""
    first = turns_of(record, "messages") or [{}]
    parts = first[0].get("content")
    is_converse = are_objects(parts) and not any("type" in part for part in parts)
    return is_converse or "messageId" in first[0]


_has_messages = _has("messages", "role", "content")


def _bare(record: object) -> bool:
    return are_objects(record) and all(isinstance(turn.get("role"), str) for turn in record)


def _with_speakers(read: Callable[[Any], Reading], key: str | None) -> Callable[[Any], Reading]:
    """A reader that knows the speakers of the field too; the list of turns stands under `key`."""

    def read_(record: Any) -> Reading:
        reading = read(record)
        if all(turn.role for turn in reading.turns):
            return reading
        turns = record if key is None else as_messages(record.get(key))
        if turns is None:  # they stand under another key
            return reading
        renamed = [_renamed(turn) for turn in turns]
        return read(renamed if key is None else {**record, key: renamed})

    return read_


def _renamed(turn: Any) -> Any:
    """A turn with the name that its speaker has in OpenAI's files."""
    if not isinstance(turn, dict):
        return turn
    key = "role" if isinstance(turn.get("role"), str) else "from"
    speaker = turn.get(key)
    if not isinstance(speaker, str) or speaker.strip().lower() not in _SPEAKERS:
        return turn
    return {**turn, key: _SPEAKERS[speaker.strip().lower()]}


def _under(key: str) -> Callable[[Any], Reading]:
    """What reads messages under another name than `messages`."""

    def read(record: Any) -> Reading:
        reading = jsonl.read_record({**record, "messages": record[key]})
        return reading._replace(keys=reading.keys | {key})

    return read


def _openai_kin(name: str, key: str) -> Conversations:
    fits = _has(key, "role", "content")
    return Conversations(
        name=name,
        keys=(key,),
        fits=fits,
        read=_with_speakers(_under(key), key),
        reads=lambda record: (
            isinstance(record, dict) and isinstance(as_messages(record.get(key)), list)
        ),
        more_keys=more_keys,
    )


def _sharegpt_kin(name: str, key: str, speaker: str, words: str) -> Conversations:
    return Conversations(
        name=name,
        keys=(key,),
        fits=_has(key, speaker, words),
        read=_with_speakers(_with_tool_turns(key), key),
        reads=sharegpt.is_record,
        group=sharegpt.group,
        message_keys=sharegpt.TURN_KEYS,
        more_keys=sharegpt.more_turn_keys,
    )


# ------------------------------------------------- ChatGLM3: a call and its result in one turn


def _with_tool_turns(key: str) -> Callable[[Any], Reading]:
    """A reader of records in which a turn of ChatGLM3 may hold a call and its result."""

    def read(record: Any) -> Reading:
        turns = as_messages(record.get(key))
        if turns is None or not any(_is_call_and_result(turn) for turn in turns):
            return sharegpt.read_record(record)
        apart = [part for turn in turns for part in _apart(turn)]
        return sharegpt.read_record({**record, key: apart})

    return read


_CALL_AND_RESULT = ("role", "name", "parameters", "observation")


def _is_call_and_result(turn: object) -> bool:
    return isinstance(turn, dict) and turn.get("role") == "tool" and given(turn, "observation")


def _apart(turn: Any) -> Iterator[Any]:
    if not _is_call_and_result(turn):
        yield turn
        return
    call = {"name": turn.get("name"), "arguments": turn.get("parameters")}
    beside = {key: value for key, value in turn.items() if key not in _CALL_AND_RESULT}
    yield {"role": "assistant", "content": None, "tool_calls": [call]}
    yield {**beside, "role": "tool", "name": turn.get("name"), "content": turn["observation"]}


# --------------------------------------------------------------------------- pairs and texts


_PAIRS = "conversation"  # the key of a list of pairs


def _are_pairs(record: object) -> bool:
    turns = turns_of(record, _PAIRS)
    return turns is not None and all(
        isinstance(turn.get("input"), str) and isinstance(turn.get("output"), str) for turn in turns
    )


_PAIR_KEYS = frozenset(["system", "input", "output"])


def _read_pairs(record: Any) -> Reading:
    pairs = as_messages(record[_PAIRS]) or []
    turns = [turn for pair in pairs for turn in _of_pair(pair)]
    return beside(turns, record, {_PAIRS}, pairs)


def _of_pair(pair: Record) -> Iterator[Turn]:
    if isinstance(pair.get("system"), str) and pair["system"]:
        yield Turn("system", *text(pair["system"]))
    yield Turn("user", *text(pair.get("input")))
    yield Turn("assistant", *text(pair.get("output")))


def taking_turns(texts: Sequence[object]) -> list[Turn]:
    """The turns of texts of which the user says the first."""
    return [
        Turn("assistant" if number % 2 else "user", *text(words))
        for number, words in enumerate(texts)
    ]


def beside(
    turns: list[Turn], record: Record, keys: set[str], messages: Sequence[object] = ()
) -> Reading:
    """What is read of a record with `turns` under `keys`, with its system prompt and tools."""
    added = _beside.with_record(turns, record, jsonl.read_messages)
    known = RECORD_KEYS.union(_beside.KEYS, keys) - added.left
    refusal = _preference.refusal(record, turns[-1].content if turns else None)
    return Reading(added.turns, known, (*messages, *added.messages), refusal)


def _are_text_pairs(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(are_texts(pair) and len(pair) == 2 for pair in value)
    )


def _texts(name: str, key: str) -> Conversations:
    """Texts under a key, of which the user says the first, and both take turns."""
    return Conversations(
        name=name,
        keys=(key,),
        fits=lambda record: isinstance(record, dict) and are_texts(record.get(key)),
        read=lambda record: beside(taking_turns(record[key]), record, {key}),
    )


def _text_pairs(name: str, key: str) -> Conversations:
    """Pairs of texts under a key."""
    return Conversations(
        name=name,
        keys=(key,),
        fits=lambda record: isinstance(record, dict) and _are_text_pairs(record.get(key)),
        read=lambda record: beside(taking_turns(_joined(record[key])), record, {key}),
    )


def _joined(pairs: Sequence[Sequence[object]]) -> list[object]:
    return [words for pair in pairs for words in pair]


def _are_human_and_assistant(record: object) -> bool:
    turns = turns_of(record, _PAIRS)
    return turns is not None and all(
        given(turn, "human") and given(turn, "assistant") and "role" not in turn for turn in turns
    )


SHAPES = (
    Conversations(
        name="rows of chatdata",
        keys=("id", "group", "source", "messages"),
        fits=_published,
        read=jsonl.read_record,
        reads=jsonl.is_record,
        more_keys=more_keys,
    ),
    Conversations(
        name="OpenAI messages",
        keys=("messages",),
        fits=_openai,
        read=_with_speakers(jsonl.read_record, "messages"),
        reads=jsonl.is_list_record,
        more_keys=more_keys,
    ),
    Conversations(
        name="bare list of messages",
        keys=(),
        fits=_bare,
        read=_with_speakers(jsonl.read_record, None),
        more_keys=more_keys,
    ),
    _openai_kin("chat of role and content", "chat"),
    _openai_kin("dialog of role and content", "dialog"),
    _openai_kin("dialogue of role and content", "dialogue"),
    _openai_kin("turns of role and content", "turns"),
    _sharegpt_kin("ShareGPT", "conversations", "from", "value"),
    _sharegpt_kin("ShareGPT items", "items", "from", "value"),
    _sharegpt_kin("conversation of from and value", "conversation", "from", "value"),
    _sharegpt_kin("messages of from and value", "messages", "from", "value"),
    _sharegpt_kin("messages of from and content", "messages", "from", "content"),
    _sharegpt_kin("conversations of role and content", "conversations", "role", "content"),
    _sharegpt_kin("conversation of role and content", "conversation", "role", "content"),
    Conversations(
        name="Firefly",
        keys=(_PAIRS,),
        fits=_are_human_and_assistant,
        read=sharegpt.read_record,
        message_keys=sharegpt.TURN_KEYS,
        more_keys=sharegpt.more_turn_keys,
    ),
    Conversations(
        name="conversation of input and output",
        keys=(_PAIRS,),
        fits=_are_pairs,
        read=_read_pairs,
        message_keys=_PAIR_KEYS,
    ),
    _texts("LIMA", "conversations"),
    _texts("UltraChat", "data"),
    _text_pairs("conversation of pairs of texts", "conversation"),
    _text_pairs("conversations of pairs of texts", "conversations"),
    Conversations(
        name="bare list of pairs of texts",
        keys=(),
        fits=_are_text_pairs,
        read=lambda record: Reading(taking_turns(_joined(record))),
    ),
)
