"""Texts that a chat template has written, taken apart exactly or refused.

A text is read from its beginning to its end: each turn has to stand where the template puts it,
and no mark of the template may stand inside of what a turn says. White space at the edges of a
turn is the template's. A text before the first turn is the system's, as it stands.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chatdata.sources import _preference
from chatdata.sources._linear import RECORD_KEYS, Reading, Turn
from chatdata.sources.shapes._base import Conversations, Record
from chatdata.sources.values import text

KEY = "text"
_REFUSED = "unknown_record"
_USER, _ASSISTANT, _SYSTEM = "user", "assistant", "system"


@dataclass(frozen=True, slots=True)
class Template:
    """How a template writes turns.

    `opens` matches what stands before the words of a turn and names its role; `closes` what stands
    behind them, which may be the next turn's beginning. `marks` are strings that no turn may say.
    """

    name: str
    first: str  # pattern of the mark by which a text is recognised
    opens: re.Pattern[str]
    closes: re.Pattern[str]
    roles: Mapping[str, str]
    marks: tuple[str, ...]
    has_preamble: bool = False


def _template(
    name: str,
    first: str,
    opens: str,
    closes: str,
    roles: Mapping[str, str],
    marks: tuple[str, ...],
    has_preamble: bool = False,
) -> Template:
    return Template(
        name,
        first,
        re.compile(opens),
        re.compile(closes),
        roles,
        marks,
        has_preamble,
    )


_PLAIN = {role: role for role in ("system", "user", "assistant", "tool")}
_HUMAN = {"Human": _USER, "Assistant": _ASSISTANT, "System": _SYSTEM}

TEMPLATES = (
    _template(
        "guanaco text",
        "### Human:",
        r"\s*### (?P<role>Human|Assistant|System):",
        r"(?=### (?:Human|Assistant|System):)|\Z",
        _HUMAN,
        ("### Instruction:", "### Response:"),
        has_preamble=True,
    ),
    _template(
        "Alpaca text",
        "### Instruction:",
        r"\s*### (?P<role>Instruction|Input|Response):",
        r"(?=### (?:Instruction|Input|Response):)|\Z",
        {"Instruction": _USER, "Input": "input", "Response": _ASSISTANT},
        ("### Human:", "### Assistant:"),
        has_preamble=True,
    ),
    _template(
        "ChatML text",
        r"<\|im_start\|>",
        r"\s*<\|im_start\|>(?P<role>\w+)\n",
        r"<\|im_end\|>\s*",
        _PLAIN,
        ("<|im_start|>", "<|im_end|>"),
    ),
    _template(
        "Llama 3 text",
        r"(?:<\|begin_of_text\|>)?<\|start_header_id\|>",
        r"\s*(?:<\|begin_of_text\|>)?<\|start_header_id\|>(?P<role>\w+)<\|end_header_id\|>\n\n",
        r"(?:<\|eot_id\|>|<\|end_of_text\|>)\s*",
        {**_PLAIN, "ipython": "tool"},
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|begin_of_text|>"),
    ),
    _template(
        "Gemma text",
        "(?:<bos>)?<start_of_turn>",
        r"\s*(?:<bos>)?<start_of_turn>(?P<role>\w+)\n",
        r"<end_of_turn>\s*(?:<eos>\s*)?",
        {"user": _USER, "model": _ASSISTANT},
        ("<start_of_turn>", "<end_of_turn>"),
    ),
    _template(
        "Zephyr text",
        r"<\|(?:system|user|assistant)\|>\n",
        r"\s*<\|(?P<role>system|user|assistant)\|>\n",
        r"(?:</s>|<\|end\|>|<\|endoftext\|>)\s*",
        _PLAIN,
        ("<|system|>", "<|user|>", "<|assistant|>", "</s>", "<|end|>", "<|endoftext|>"),
    ),
    _template(
        "OpenAssistant text",
        r"<\|prompter\|>",
        r"\s*<\|(?P<role>system|prompter|assistant)\|>",
        r"(?:<\|endoftext\|>|</s>)\s*|(?=<\|(?:prompter|assistant)\|>)|\Z",
        {"prompter": _USER, "assistant": _ASSISTANT, "system": _SYSTEM},
        ("<|prompter|>", "<|assistant|>", "<|endoftext|>"),
    ),
    _template(
        "Vicuna text",
        "USER: ",
        r"\s*(?P<role>USER|ASSISTANT): ",
        r"(?<=\s)(?=ASSISTANT: )|</s>\s*",
        {"USER": _USER, "ASSISTANT": _ASSISTANT},
        ("USER: ", "ASSISTANT: ", "</s>"),
        has_preamble=True,
    ),
    _template(
        "Human and Assistant text",
        r"(?:\A\s*|\n\n)Human: ",
        r"(?:\A\s*|\s*\n\n)(?P<role>Human|Assistant):",
        r"(?=\n\n(?:Human|Assistant):)|\Z",
        _HUMAN,
        (),
        has_preamble=True,
    ),
)
_LLAMA2 = "Llama 2 text"
_FIRST = {template.name: template.first for template in TEMPLATES} | {_LLAMA2: r"\[INST\]"}
_ANY = re.compile("|".join(f"(?P<t{n}>{first})" for n, first in enumerate(_FIRST.values())))
_NAMES = tuple(_FIRST)
_WITH_PREAMBLE = frozenset(template.name for template in TEMPLATES if template.has_preamble)


class NotExact(ValueError):
    """A text that its template does not write so; the message says where."""


@functools.lru_cache(maxsize=4)  # each template asks of the same text
def template_of(value: object) -> str | None:
    """The template whose mark is the first in a text; None where there is none, or where the text
    begins with something else than the template writes."""
    match = _ANY.search(value) if isinstance(value, str) else None
    if match is None or not isinstance(value, str):
        return None
    name = next(_NAMES[int(k[1:])] for k, v in match.groupdict().items() if v is not None)
    before = value[: match.start()].strip()
    begins = name in _WITH_PREAMBLE or before == "" or (name == _LLAMA2 and before == "<s>")
    return name if begins else None


def turns(template: Template, value: str) -> list[Turn]:
    """The turns of a text. Raises NotExact where the template does not write it."""
    start = re.compile(template.first).search(value)
    at = start.start() if start else 0
    preamble = value[:at].strip()
    parts = [(_SYSTEM, preamble)] if preamble else []
    while at < len(value):
        role, words, at = _turn(template, value, at)
        parts.append((role, words))
    return _checked(_joined(parts))


def _turn(template: Template, value: str, at: int) -> tuple[str, str, int]:
    opens = template.opens.match(value, at)
    if opens is None:
        raise NotExact(f"no turn of a {template.name} begins at character {at}")
    role = template.roles.get(opens["role"])
    if role is None:
        raise NotExact(f"a {template.name} has no such role, at character {at}")
    closes = template.closes.search(value, opens.end())
    if closes is None:
        raise NotExact(f"the turn at character {at} is not closed as a {template.name} closes it")
    words = value[opens.end() : closes.start()]
    if mark := next((mark for mark in template.marks if mark in words), None):
        raise NotExact(f"the turn at character {at} has {mark!r} inside of its words")
    return role, words.strip(), closes.end()


def _joined(parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The parts, an input below its instruction."""
    joined: list[tuple[str, str]] = []
    for role, words in parts:
        if role != "input":
            joined.append((role, words))
        elif joined and joined[-1][0] == _USER:
            joined[-1] = (_USER, f"{joined[-1][1]}\n\n{words}" if words else joined[-1][1])
        else:
            raise NotExact("an input stands behind no instruction")
    return joined


def _checked(parts: list[tuple[str, str]]) -> list[Turn]:
    """The turns. Raises NotExact where a role speaks twice: a mark stood in its words then."""
    spoken = [role for role, _ in parts if role in (_USER, _ASSISTANT)]
    for first, second in itertools.pairwise(spoken):
        if first == second and "tool" not in dict(parts):
            raise NotExact(f"two turns of the {first} follow each other")
    return [Turn(role, *text(words)) for role, words in parts]


# ------------------------------------------------------------------------------------------ Llama 2

_EXCHANGE = re.compile(
    r"(?:<s>\s*)?\[INST\](?P<asked>.*?)\[/INST\](?P<answer>.*?)(?=\[INST\]|<s>|\Z)", re.S
)
_SYS = re.compile(r"\s*<<SYS>>(?P<system>.*?)<</SYS>>(?P<asked>.*)\Z", re.S)
_NOT_SPACE = re.compile(r"\S")
_LLAMA2_MARKS = ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<s>", "</s>")


def llama2_turns(value: str) -> list[Turn]:
    """The turns of a text of Llama 2 or Mistral. Raises NotExact where no template writes it."""
    parts: list[tuple[str, str]] = []
    at = 0
    while more := _NOT_SPACE.search(value, at):
        exchange = _EXCHANGE.match(value, more.start())
        if exchange is None:
            raise NotExact(f"no exchange of a {_LLAMA2} begins at character {more.start()}")
        parts += _exchange(exchange, is_first=not parts)
        at = exchange.end()
    for _, words in parts:
        if mark := next((mark for mark in _LLAMA2_MARKS if mark in words), None):
            raise NotExact(f"a turn has {mark!r} inside of its words")
    return _checked(parts)


def _exchange(exchange: re.Match[str], *, is_first: bool) -> list[tuple[str, str]]:
    asked, answer = exchange["asked"], exchange["answer"].strip().removesuffix("</s>").strip()
    system = _SYS.match(asked) if is_first else None
    before = [(_SYSTEM, system["system"].strip())] if system and system["system"].strip() else []
    question = (_USER, (system["asked"] if system else asked).strip())
    return [*before, question, *([(_ASSISTANT, answer)] if answer else [])]


# ------------------------------------------------------------------------------------------- shapes

# Beside these a text tells again what they say.
_TELLS_AGAIN = frozenset(
    ["messages", "conversations", "conversation", "instruction", "output", "response", "message_id"]
)


def _fits(name: str) -> Callable[[object], bool]:
    def fits(record: object) -> bool:
        if not isinstance(record, dict) or not isinstance(record.get(KEY), str):
            return False
        is_alone = all(record.get(key) is None for key in _TELLS_AGAIN)
        return is_alone and template_of(record[KEY]) == name

    return fits


def reading(take_apart: Callable[[str], list[Turn]], record: Record, key: str) -> Reading:
    """What is read of a record with a text under `key`, or why it is refused."""
    keys = RECORD_KEYS | {key}
    try:
        taken = take_apart(record[key])
        answer = taken[-1].content if taken else None
        return Reading(taken, keys, refusal=_preference.refusal(record, answer))
    except NotExact as error:
        return Reading([], keys, refusal=f"'{key}': {error}", reason=_REFUSED)


def _by(template: Template) -> Callable[[Any], Reading]:
    return lambda record: reading(lambda value: turns(template, value), record, KEY)


# -------------------------------------------------------------------------------------------- Baize

_BAIZE = _template(
    "Baize",
    r"\[\|Human\|\]",
    r"\s*\[\|(?P<role>Human|AI)\|\]",
    r"(?=\[\|(?:Human|AI)\|\])|\Z",
    {"Human": _USER, "AI": _ASSISTANT},
    (),
    has_preamble=True,
)


def _is_baize(record: object) -> bool:
    value = record.get("input") if isinstance(record, dict) else None
    return isinstance(value, str) and "[|Human|]" in value and "[|AI|]" in value


def _read_baize(record: Any) -> Reading:
    """The turns without the preamble, which is the file's and no system prompt, and without the
    empty mark of the user at the end."""
    read = reading(lambda value: turns(_BAIZE, value), record, "input")
    spoken = read.turns
    if spoken and spoken[0].role == _SYSTEM:
        spoken = spoken[1:]
    if spoken and spoken[-1].role == _USER and not spoken[-1].content:
        spoken = spoken[:-1]
    return read._replace(turns=spoken)


# -------------------------------------------------------------------------------------------- Belle

_BELLE = _template(
    "Belle",
    "Human:",
    r"\s*(?P<role>Human|Assistant):",
    r"(?=\n(?:Human|Assistant):)|\Z",
    {"Human": _USER, "Assistant": _ASSISTANT},
    (),
)


def is_belle(record: object, question: str) -> bool:
    """Whether a question is a dialogue of Belle, which ends where the assistant answers."""
    value = record.get(question) if isinstance(record, dict) else None
    return (
        isinstance(value, str)
        and value.lstrip().startswith("Human:")
        and value.rstrip().endswith("Assistant:")
    )


def _belle_fits(record: object) -> bool:
    return (
        isinstance(record, dict)
        and is_belle(record, "instruction")
        and isinstance(record.get("output"), str)
    )


def _read_belle(record: Any) -> Reading:
    read = reading(lambda value: turns(_BELLE, value), record, "instruction")
    keys = read.keys | {"output"} | ({"input"} if not record.get("input") else set())
    answered = [*read.turns[:-1], Turn(_ASSISTANT, *text(record["output"]))]
    return read._replace(turns=answered if read.turns else [], keys=keys)


SHAPES = (
    *(Conversations(name=t.name, keys=(KEY,), fits=_fits(t.name), read=_by(t)) for t in TEMPLATES),
    Conversations(
        name=_LLAMA2,
        keys=(KEY,),
        fits=_fits(_LLAMA2),
        read=lambda record: reading(llama2_turns, record, KEY),
    ),
    Conversations(name="Baize", keys=("input",), fits=_is_baize, read=_read_baize),
    Conversations(
        name="Belle dialogues", keys=("instruction", "output"), fits=_belle_fits, read=_read_belle
    ),
)
