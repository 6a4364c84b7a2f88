"""The prompts in a reply of a model that was asked for lines of `{"prompt": ...}`.

The grammar, over the reply without thoughts (`<think>...</think>`, or up to a `</think>` alone):

    reply  = anything, in which all VALUES count; or else ITEMS; or else LABELLED
    VALUES = objects, and lists that begin with an object or a text, by `lenient_json`; with prose
             and fences between them
    ITEMS  = paragraphs that begin with "1." "1)" "-" "*" or "+" at the start of a line
    LABELLED = paragraphs that begin with "Prompt" number? ":"

A prompt of a VALUE is the text under the key `prompt` (also `question`, `instruction`, `task`, of
any case) of an object, at any depth; an object or a list under that key is looked into, a list of
lines is joined. A text in a list counts where the list is the whole value, or stands under a key
such as `prompts`. Code under a key of its own (`code`, `snippet`) is put behind its prompt, in a
fence. A text that is such an object once more is read once more. Where a text has no line break,
and three `\\n` or one behind the language of a fence, these are its line breaks.

What has the beginning of a prompt and cannot be read, such as the half line at the end of a reply
that was cut off, is `unread`; a reply of which nothing can be read is so as a whole, unless it is
empty or a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from trainer.evaluation import lenient_json, replies

KEYS = ("prompt", "question", "instruction", "task")
_LISTED = re.compile(rf"(?:{'|'.join(KEYS)})s?[ _-]?\d*")
_CODE = ("code", "snippet", "buggy_code", "code_snippet")
_INNER = (*KEYS, "text", "content")

_THOUGHT = re.compile(r"\A.*</think>|<think>.*\Z", re.DOTALL)
_BEGINS = re.compile(rf"\{{\s*[\"'\u201c]?(?:{'|'.join(KEYS)})\b[\"'\u201d]?\s*:", re.IGNORECASE)
_VALUE = re.compile(r"\{|\[(?=\s*[\"'{\u201c])")
_ITEMS = (
    re.compile(r"^[#*]{0,4} {0,2}\d{1,3}[.)]\s+", re.MULTILINE),
    re.compile(
        r"^[#* ]{0,6}(?:prompt|question|task) ?#?\d{0,3}\**:\**\s+", re.IGNORECASE | re.MULTILINE
    ),
    re.compile(r"^ ?[-*+]\s+", re.MULTILINE),
)
_FENCE_MARK = re.compile(r"^\s*```", re.MULTILINE)
_WRITTEN_BREAKS = re.compile(r"```\w*\\n")
_MOST_TRIES = 2_000  # values that a reply is searched for
_FEWEST_WORDS = 4  # of an item of a list that is a prompt

Fault = Literal["empty", "refused", "unread"]


class Reading(NamedTuple):
    """The prompts in a reply, what of it looks like a prompt and cannot be read, and why there is
    no prompt, where there is none."""

    prompts: list[str]
    unread: list[str]
    fault: Fault | None = None


def read(reply: str) -> Reading:
    """The prompts in a reply, by the grammar above."""
    text = _THOUGHT.sub("", reply).strip()
    if not text:
        return Reading([], [], "empty")
    prompts, unread = _values(text)
    if not prompts and not unread:
        kinds = (list(_items(text, begins)) for begins in _ITEMS)
        prompts = next(filter(None, kinds), [])
    prompts = [prompt for prompt in map(_plain, prompts) if prompt]
    if prompts or unread:
        return Reading(prompts, unread)
    return Reading([], [], "refused" if replies.is_refusal(text) else "unread")


# ------------------------------------------------------------------------------------------ values


def _values(text: str) -> tuple[list[str], list[str]]:
    """The prompts in all values of a text, and what begins as a prompt and is no value."""
    prompts, unread = list[str](), list[str]()
    place = 0
    for _ in range(_MOST_TRIES):
        if (begins := _VALUE.search(text, place)) is None:
            break
        start = begins.start()
        try:
            value, place = lenient_json.read(text, start)
        except lenient_json.Unreadable:
            place = start + 1
            if _BEGINS.match(text, start):
                unread.append(text[start:].partition("\n")[0])
            continue
        prompts += _prompts(value, is_listed=isinstance(value, list))
    return prompts, unread


def _prompts(value: Any, *, is_listed: bool) -> Iterator[str]:
    """Yields the prompts in a value; `is_listed`: a text is a prompt."""
    if isinstance(value, str) and is_listed:
        yield from _once_more(value)
    elif isinstance(value, list):
        for each in value:
            yield from _prompts(each, is_listed=is_listed and not isinstance(each, list))
    elif isinstance(value, dict):
        yield from _of_object({key.strip().lower(): inner for key, inner in value.items()})


def _of_object(values: dict[str, Any]) -> Iterator[str]:
    key = next((key for key in KEYS if values.get(key)), None)
    if key is not None:
        if text := _text(values[key]):
            yield from _once_more(_with_code(text, values))
        else:
            yield from _prompts(values[key], is_listed=True)
        return
    for key, inner in values.items():
        yield from _prompts(inner, is_listed=_LISTED.fullmatch(key) is not None)


def _text(value: Any) -> str | None:
    """The text that stands under the key of a prompt; None where it holds several, or none."""
    if isinstance(value, dict):
        lower = {key.lower(): inner for key, inner in value.items()}
        value = next((lower[key] for key in _INNER if isinstance(lower.get(key), str)), None)
    if isinstance(value, list) and len(value) > 1 and all(isinstance(each, str) for each in value):
        value = "\n".join(value)
    return value if isinstance(value, str) else None


def _with_code(text: str, values: dict[str, Any]) -> str:
    code = next((values[key] for key in _CODE if isinstance(values.get(key), str)), None)
    if not code or code.strip() in text:
        return text
    fenced = code if "```" in code else f"```\n{code.strip()}\n```"
    return f"{text.rstrip()}\n\n{fenced}"


def _once_more(text: str) -> Iterator[str]:
    """Yields the prompts of a text that is an object, or else the text."""
    if _BEGINS.match(text.strip()):
        inner, _ = _values(text)
        yield from inner or [text]
    else:
        yield text


def _plain(text: str) -> str:
    """A prompt without white space around it, and with line breaks for those that are written."""
    text = text.strip()
    if "\n" not in text and (text.count("\\n") >= 3 or _WRITTEN_BREAKS.search(text)):
        text = text.replace("\\n", "\n").replace("\\t", "\t")
    return text


# ------------------------------------------------------------------------------------------- items


def _items(text: str, begins: re.Pattern[str]) -> Iterator[str]:
    """Yields what stands behind each beginning."""
    marks = [mark for mark in begins.finditer(text) if not _is_fenced(text[: mark.start()])]
    ends = [mark.start() for mark in marks[1:]]
    if marks:
        ends.append(marks[-1].end() + len(_up_to_gap(text[marks[-1].end() :])))
    for mark, end in zip(marks, ends, strict=True):
        item = _bare(text[mark.end() : end])
        if len(item.split()) >= _FEWEST_WORDS:
            yield item


def _bare(item: str) -> str:
    """An item without quotes or asterisks around it."""
    item = item.strip()
    for left, right in (("**", "**"), ('"', '"'), ("\u201c", "\u201d")):
        if item.startswith(left) and item.endswith(right):
            item = item.removeprefix(left).removesuffix(right).strip()
    return item


def _is_fenced(before: str) -> bool:
    return len(_FENCE_MARK.findall(before)) % 2 == 1


def _up_to_gap(body: str) -> str:
    """What stands before the first empty line that no fence holds, and that none follows."""
    for gap in re.finditer(r"\n\s*\n", body):
        if not _is_fenced(body[: gap.start()]) and not body.startswith("```", gap.end()):
            return body[: gap.start()]
    return body
