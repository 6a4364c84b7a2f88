"""What a message says: its words, its reasoning, calls of tools, and whether it is trained.

What stands beside the words is carried or refused with a reason, never left out. Keys that hold
no words of a conversation (ids, scores, times, names) are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from chatdata.core import train_parts
from chatdata.sources import tool_json
from chatdata.sources.tool_json import is_given
from chatdata.sources.values import Text, first_fault, identifier, shown, text, word

Read = Callable[[object], Text]  # makes text of what stands where the words of a message do

# Where others keep reasoning: vLLM and DeepSeek `reasoning_content`, OpenRouter `reasoning` and
# `reasoning_details`, gpt-oss `thinking`, LiteLLM `thinking_blocks`, Cohere `tool_plan`.
REASONING = (
    *("reasoning_content", "reasoning", "thinking", "thought", "tool_plan"),
    *("reasoning_details", "thinking_blocks"),
)
_SETTINGS = frozenset(["on", "off", "none", "low", "medium", "high"])
NOT_TEXT = (
    *("images", "image", "videos", "video", "audios", "audio"),
    *("documents", "attachments"),
)
_BESIDE = frozenset(
    [*REASONING, *NOT_TEXT, "refusal", *tool_json.LISTS, *tool_json.CALLS, "tool_call_id", "name"]
)
# Types of parts that are words, and the keys under which the words may stand; the last two are of
# OpenAI's Responses.
_WORDS = {"text": ("text", "value"), "input_text": ("text",), "output_text": ("text",)}
_THOUGHTS = {
    "text": ("text", "value"),
    "thinking": ("thinking",),
    "reasoning": ("text", "reasoning", "value"),
    "reasoning.text": ("text",),
    "reasoning.summary": ("summary",),
}


def join(content: object) -> Text:
    """Content as text: a string, or typed parts, joined where all of them are text."""
    return _joined(content, _WORDS)


def result(content: object) -> Text:
    """The words of a tool's result; a result that is an object or a list of objects as JSON."""
    is_parts = isinstance(content, list) and all(
        isinstance(part, dict) and "type" in part for part in content
    )
    is_value = isinstance(content, dict) or (isinstance(content, list) and not is_parts)
    return tool_json.as_json(content) if is_value else join(content)


def _joined(content: object, keys: Mapping[str, tuple[str, ...]]) -> Text:
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return text(content)
    parts = [_part(part, keys) for part in content]
    fault = first_fault(*parts)
    return Text(None, fault) if fault else Text("".join(part.text or "" for part in parts))


def _part(part: Mapping[str, Any], keys: Mapping[str, tuple[str, ...]]) -> Text:
    type = part.get("type")
    if isinstance(type, str) and type in keys:
        words = next((part[key] for key in keys[type] if key in part), None)
        return _joined(words, keys) if isinstance(words, list) else text(words)
    return Text(None, f"a part of type {shown(type)} cannot be carried as text")


def not_text(values: Mapping[str, Any], *more: str) -> str | None:
    """What a message or a record holds that cannot be carried (images, documents), as a fault."""
    key = next((key for key in (*NOT_TEXT, *more) if _may_have_words(values.get(key))), None)
    return f"'{key}' cannot be carried as text" if key else None


def _may_have_words(value: object) -> bool:
    """Whether something is given that may have words: a number or a yes has none."""
    return is_given(value) and not isinstance(value, bool | int | float)


class Spoken(NamedTuple):
    """What a message says: its words, reasoning, calls and tools, or the fault of one of them."""

    content: str | None = None
    fault: str | None = None
    reasoning: str | None = None
    tool_calls: str | None = None  # JSON
    tool_call_id: str | None = None
    name: str | None = None
    tools: str | None = None  # JSON


def spoken(
    message: Mapping[str, Any], content: object, read: Read = join, role: str | None = None
) -> Spoken:
    """What a message of this role says, each kind by itself.

    `content` is what stands where the words of the message do, `read` makes text of it.
    """
    if _BESIDE.isdisjoint(message):
        return Spoken(*read(content))
    calls, tools, reasoning = tool_json.calls(message), _listed_tools(message), _reasoning(message)
    is_silent = content is None and (calls.text or tools.text or reasoning.text)
    words = _silence(tools) if is_silent else read(content)
    fault = not_text(message, "refusal") or first_fault(calls, tools, reasoning, words)
    fault = fault or _misplaced(role, calls, tools, reasoning)
    if fault:
        return Spoken(None, fault)
    id = identifier(message.get("tool_call_id")) if role == "tool" else None
    name = word(message.get("name")) or None
    return Spoken(words.text, None, reasoning.text, calls.text, id, name, tools.text)


def _silence(tools: Text) -> Text:
    """The words of a message without any: a system message that lists tools alone says nothing."""
    return Text("" if tools.text else None)


def _misplaced(role: str | None, calls: Text, tools: Text, reasoning: Text) -> str | None:
    """The fault of a message that has what a message of its role does not say."""
    if tools.text and role not in ("system", "developer"):
        return "tools are listed in a message that is not the system's"
    if (calls.text or reasoning.text) and role != "assistant":
        what = "calls of tools" if calls.text else "reasoning"
        return f"{what} in a message that is not the assistant's"
    return None


def _listed_tools(message: Mapping[str, Any]) -> Text:
    """The tools that a system message lists beside its words."""
    lists = [tool_json.listing(message.get(key)) for key in tool_json.LISTS]
    if fault := first_fault(*lists):
        return Text(None, f"tools: {fault}")
    return Text(tool_json.joined(tools.text for tools in lists if tools.text))


def _reasoning(message: Mapping[str, Any]) -> Text:
    """The reasoning of a message, to the letter; no text where it has none.

    Reasoning under two names has to be the same, white space aside.
    """
    keys = [key for key in REASONING if _is_reasoning(message.get(key))]
    thoughts = [_joined(message[key], _THOUGHTS) for key in keys]
    if fault := first_fault(*thoughts):
        return Text(None, f"reasoning: {fault}")
    if len({"".join((thought.text or "").split()) for thought in thoughts}) > 1:
        return Text(None, f"{' and '.join(map(repr, keys))} say different things")
    return Text(next((thought.text for thought in thoughts if (thought.text or "").strip()), None))


def _is_reasoning(value: object) -> bool:
    """Whether a value holds reasoning; how much reasoning was asked for (`high`) is none."""
    is_setting = isinstance(value, str) and value.strip().lower() in _SETTINGS
    return _may_have_words(value) and not is_setting


# The names under which others say whether a message is trained, and the value for "no": axolotl
# `train` and `training`, tinker `trainable`, torchtune `masked`, ms-swift `loss`, LLaMA-Factory
# `loss_weight`, OpenAI `weight`, slime `step_loss_mask`.
_FLAGS = {
    **dict.fromkeys(["train", "training", "trainable", "is_trainable", "trained", "learn"], 0),
    **dict.fromkeys(["loss", "loss_weight", "weight", "loss_mask", "step_loss_mask"], 0),
    "masked": 1,
}
_SPANS = "says which letters are learnt from, and a message is learnt from as a whole or not"
# Names that say more than yes or no (axolotl's spans), or whose yes and no are not clear.
_UNCLEAR = {
    "train_detail": _SPANS,
    "training_detail": _SPANS,
    "mask": "does not say whether 1 is learnt from; 'masked' and 'loss_mask' do",
}
# Why an answer ends, by the server that made it; it was cut off, and an end would be learnt there.
_ENDS = ("finish_reason", "stop_reason")
_CUT_OFF = ("length", "max_tokens", "content_filter")
# What says that a message is only how an answer shall begin: Mistral and DeepSeek, Moonshot.
PREFILLS = ("prefix", "partial")
_ALL_FLAGS = frozenset([*_FLAGS, *_UNCLEAR, *_ENDS, *PREFILLS, train_parts.KEY])
# The keys of a message in OpenAI's form, or Harmony's, that are looked at.
MESSAGE_KEYS = frozenset(["role", "content", "channel", *_BESIDE, *_ALL_FLAGS]) - {*PREFILLS}
# Those that may be a weight of the loss, and the weights that a float of 32 bits holds well.
_WEIGHTS = ("weight", "loss_weight", "loss")
_LEAST, _MOST = 1e-30, 1e30


class Trained(NamedTuple):
    """Whether a message may be trained, with the weight of its loss where that is not 1 and its
    only parts that may be where not all may; or the fault of its flags."""

    train: bool
    fault: str | None = None
    weight: float | None = None
    parts: str | None = None  # as in MESSAGES


def trained(message: Mapping[str, Any]) -> Trained:
    """Whether a message may be trained, with which weight and in which parts, by the flags that it
    carries."""
    if _ALL_FLAGS.isdisjoint(message):
        return Trained(True)
    parts = message.get(train_parts.KEY)
    if parts is not None and (fault := _fault_of_parts(parts)):
        return Trained(False, f"{train_parts.KEY}: {fault}")
    flags = _by_flags(message)
    if parts is None or not flags.train:
        return flags
    return flags._replace(parts=train_parts.joined(parts))


def _by_flags(message: Mapping[str, Any]) -> Trained:
    for name, why in _UNCLEAR.items():
        if message.get(name) not in (None, []):
            return Trained(False, f"{name} {why}")
    flags = {name: message[name] for name in _FLAGS if message.get(name) is not None}
    for name, value in flags.items():
        if fault := _fault_of_flag(name, value):
            return Trained(False, f"{name} is {shown(value)}, and {fault}")
    is_left_out = any(value == _FLAGS[name] for name, value in flags.items())
    if is_left_out or (not flags and was_cut_off(message)):
        return Trained(False)
    weights = {name: float(flags[name]) for name in _WEIGHTS if _is_number(flags.get(name))}
    if len(set(weights.values())) > 1:
        return Trained(False, f"{' and '.join(map(repr, weights))} say different things")
    weight = next(iter(weights.values()), 1.0)
    return Trained(True, weight=None if weight == 1 else weight)


def was_cut_off(message: Mapping[str, Any]) -> bool:
    """Whether a message says that it ends where its server stopped, or where another shall go on,
    and not where it is whole."""
    return is_prefill(message) or any(message.get(key) in _CUT_OFF for key in _ENDS)


def is_prefill(message: Mapping[str, Any]) -> bool:
    """Whether a message says that it is only the beginning of an answer."""
    return any(message.get(key) is True for key in PREFILLS)


def _fault_of_flag(name: str, value: object) -> str | None:
    """Why a flag cannot have a value; None where it can."""
    if isinstance(value, bool) or (_is_number(value) and value in (0, 1)):
        return None
    if name not in _WEIGHTS:
        return "a message is learnt from or not (0 or 1)"
    is_weight = isinstance(value, int | float) and _LEAST <= value <= _MOST
    return None if is_weight else f"a weight is 0, or from {_LEAST} to {_MOST}"


def _fault_of_parts(value: object) -> str | None:
    """Why a value does not name parts of an answer; None where it does."""
    known = ", ".join(train_parts.NAMES)
    if not isinstance(value, list):
        return f"{shown(value)} is not a list of some of {known}"
    if not value:
        return "the list is empty; write train: false for an answer that is not learnt"
    if wrong := [name for name in value if name not in train_parts.NAMES]:
        return f"{shown(wrong[0])} is no part of an answer, which are {known}"
    if len(set(value)) < len(value):
        return f"{next(name for name in value if value.count(name) > 1)} stands there twice"
    return train_parts.fault(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
