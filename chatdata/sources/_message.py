"""A message as text: its words, its reasoning, calls of tools, and whether it is learnt from.

What stands beside the words is carried or refused with a reason, never left out. Keys that hold
no words of a conversation (ids, scores, times, names) are not looked at.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from chatdata.sources import _tools, text
from chatdata.sources._tools import Text, is_there

# Where others keep reasoning: vLLM and DeepSeek `reasoning_content`, OpenRouter `reasoning` and
# `reasoning_details`, gpt-oss `thinking`, LiteLLM `thinking_blocks`, Cohere `tool_plan`.
REASONING = (
    *("reasoning_content", "reasoning", "thinking", "thought", "tool_plan"),
    *("reasoning_details", "thinking_blocks"),
)
_SETTINGS = frozenset(["on", "off", "none", "low", "medium", "high"])
_NOT_TEXT = (
    *("images", "image", "videos", "video", "audios", "audio"),
    *("documents", "attachments"),
)
_BESIDE = frozenset([*REASONING, *_NOT_TEXT, "refusal", *_tools.LISTS, *_tools.CALLS])
# Types of parts that are words, and the key of the words.
_WORDS = {"text": ("text", "value")}
_THOUGHTS = {
    "text": ("text", "value"),
    "thinking": ("thinking",),
    "reasoning.text": ("text",),
    "reasoning.summary": ("summary",),
}


def join(content: object) -> Text:
    """Content as (text, note): a string, or typed parts, joined where all of them are text."""
    return _joined(content, _WORDS)


def _joined(content: object, words: Mapping[str, tuple[str, ...]]) -> Text:
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return text(content)
    parts = [_part(part, words) for part in content]
    faults = [note for _, note in parts if note]
    return (None, faults[0]) if faults else ("".join(own or "" for own, _ in parts), None)


def _part(part: Mapping[str, Any], words: Mapping[str, tuple[str, ...]]) -> Text:
    type = part.get("type")
    if isinstance(type, str) and type in words:
        return text(next((part[key] for key in words[type] if key in part), None))
    return None, f"a part of type {type!r} cannot be carried as text"


def not_text(own: Mapping[str, Any], *more: str) -> str | None:
    """What a message or a record holds that cannot be carried (images, documents), as a reason."""
    found = next((key for key in (*_NOT_TEXT, *more) if _holds(own.get(key))), None)
    return f"'{found}' cannot be carried as text" if found else None


def _holds(value: object) -> bool:
    """Whether there is something that may have words: a number or a yes has none."""
    return is_there(value) and not isinstance(value, bool | int | float)


def spoken(
    message: Mapping[str, Any],
    said: object,
    read: Callable[[object], Text] = join,
    role: str | None = None,
) -> Text:
    """What a message says: its reasoning, its words, lists of tools, its calls of tools.

    `said` is what stands where its words do, `read` makes text of it.
    """
    if _BESIDE.isdisjoint(message):
        return read(said)
    called, miscalled = _tools.calls(message)
    listed, unlisted = _listed(message, role)
    reasoning, unreasoned = _reasoning(message)
    words, unsaid = ("", None) if said is None and (called or listed) else read(said)
    refused = not_text(message, "refusal")
    if fault := refused or miscalled or unlisted or unreasoned or unsaid:
        return None, fault
    own = "\n".join(part for part in (_above(words, listed), called) if part)
    return (_think(reasoning) + own.lstrip("\n") if reasoning else own), None


def _above(words: str | None, listed: str | None) -> str:
    return "\n\n".join(part for part in (words, listed) if part)


def _listed(message: Mapping[str, Any], role: str | None) -> Text:
    """The tools that a system message lists in keys of its own."""
    lists = [_tools.listing(message.get(key)) for key in _tools.LISTS]
    if fault := next((note for _, note in lists if note), None):
        return None, f"tools: {fault}"
    listed = "\n\n".join(own for own, _ in lists if own)
    if listed and role != "system":
        return None, "tools are listed in a message that is not the system's"
    return listed, None


def _reasoning(message: Mapping[str, Any]) -> Text:
    """The reasoning of a message, empty where it has none; under two names it has to be one."""
    keys = [key for key in REASONING if _is_said(message.get(key))]
    thoughts = []
    for key in keys:
        own, odd = _joined(message[key], _THOUGHTS)
        if own is None:
            return None, f"reasoning: {odd}"
        thoughts.append(own)
    if len({"".join(own.split()) for own in thoughts}) > 1:
        return None, f"{' and '.join(map(repr, keys))} say different things"
    return (thoughts[0] if thoughts else ""), None


def _is_said(value: object) -> bool:
    """Whether reasoning is there; how much of it was asked for (`high`) is none."""
    is_setting = isinstance(value, str) and value.strip().lower() in _SETTINGS
    return _holds(value) and not is_setting


def _think(reasoning: str) -> str:
    """Reasoning as it stands before an answer: in `<think>` tags, the form in which the chat
    templates of Qwen3 and DeepSeek R1 read it from content."""
    own = reasoning.strip("\n")
    return f"<think>\n{own}\n</think>\n\n"


# Under which names others say whether a message is learnt from, and what means that it is not:
# axolotl `train` and `training`, tinker `trainable`, torchtune `masked`, ms-swift `loss`,
# LLaMA-Factory `loss_weight`, OpenAI `weight`, slime `step_loss_mask`.
_FLAGS = {
    **dict.fromkeys(["train", "training", "trainable", "is_trainable", "trained", "learn"], 0),
    **dict.fromkeys(["loss", "loss_weight", "weight", "loss_mask", "step_loss_mask"], 0),
    "masked": 1,
}
_SPANS = "says which letters are learnt from, and a message is learnt from as a whole or not"
# Names that say more than yes or no (axolotl's spans), or not which of them is meant.
_UNCLEAR = {
    "train_detail": _SPANS,
    "training_detail": _SPANS,
    "mask": "does not say whether 1 is learnt from; 'masked' and 'loss_mask' do",
}
_SAYING = frozenset([*_FLAGS, *_UNCLEAR])


def flag(message: Mapping[str, Any]) -> tuple[bool, str | None]:
    """Whether a message may be learnt from, by the flags that it carries, and what is odd in them.

    A weight between 0 and 1 cannot be kept in labels; it is explained, not rounded.
    """
    if _SAYING.isdisjoint(message):
        return True, None
    for name, why in _UNCLEAR.items():
        if message.get(name) not in (None, []):
            return False, f"{name} {why}"
    said = {name: message[name] for name in _FLAGS if message.get(name) is not None}
    for name, value in said.items():
        if not isinstance(value, bool | int | float) or value not in (0, 1):
            shown = reprlib.repr(value)
            return False, f"{name} is {shown}, and a message is learnt from or not (0 or 1)"
    return all(value != _FLAGS[name] for name, value in said.items()), None
