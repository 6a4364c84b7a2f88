"""The chat templates that TRL ships, each tried with conversations of every kind.

The judge is transformers: what a row must hold, and whether a refusal is true, are asked of
`apply_chat_template` with the messages as they are published, and of nothing in `chatdata.render`.
"""

from __future__ import annotations

import copy
import datetime
import functools
import importlib.util
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import polars as pl

from chatdata.core import row_id
from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import RenderError
from chatdata.render import certificate
from chatdata.render.fit import fit
from chatdata.render.options import Render
from chatdata.render.rows import Rendered, render
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.tokenizer import Tokenizer
from tests.support.carrying import carry, load
from tests.support.structured import structured

Message = dict[str, Any]
DATE = datetime.date.today()  # transformers has no other clock


class Talk(NamedTuple):
    """A conversation as it is published: its messages, the tools that it offers, and the variables
    that it gives its template."""

    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    variables: Mapping[str, Any] = {}


_PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "Where"},
        "days": {"type": "integer", "description": "How many days ahead"},
    },
    "required": ["city"],
}
_ABOUT = "The weather of a city"
_FUNCTION = {"name": "get_weather", "description": _ABOUT, "parameters": _PARAMETERS}
TOOLS = [{"type": "function", "function": _FUNCTION}]


def _user(content: str) -> Message:
    return {"role": "user", "content": content}


def _answer(content: str | None, reasoning: str | None = None, *calls: Message) -> Message:
    message: Message = {"role": "assistant", "content": content}
    if reasoning is not None:
        message["reasoning_content"] = reasoning
    return {**message, "tool_calls": list(calls)} if calls else message


def _call(number: int, **arguments: Any) -> Message:
    function = {"name": "get_weather", "arguments": arguments}
    return {"id": f"call{number:05}", "type": "function", "function": function}


def _result(number: int, content: str) -> Message:
    name = {"tool_call_id": f"call{number:05}", "name": "get_weather"}
    return {"role": "tool", "content": content, **name}


_SUM, _SECOND_SUM = _user("What is two and two?"), _user("And three and three?")
_WEATHER = _user("How is the weather?")
_LISBON, _FARO = _call(1, city="Lisbon", days=2), _call(2, city="Faro")
_GREETING = [_user("Hello there"), _answer("Hi, friend.")]

KINDS = {
    "plain": Talk(_GREETING),
    "system": Talk([{"role": "system", "content": "Be brief."}, *_GREETING]),
    "several turns": Talk([*_GREETING, _user("More, please"), _answer("Here it is.")]),
    "reasoning": Talk([_SUM, _answer("4", "An easy sum.")]),
    "reasoning twice": Talk(
        [_SUM, _answer("4", "An easy sum."), _SECOND_SUM, _answer("6", "Also easy.")]
    ),
    "reasoning at times": Talk([_SUM, _answer("4"), _SECOND_SUM, _answer("6", "Also easy.")]),
    "tools": Talk(
        [_WEATHER, _answer(None, None, _LISBON), _result(1, "19 degrees"), _answer("It is 19.")],
        TOOLS,
    ),
    "two calls": Talk(
        [
            _WEATHER,
            _answer("Let me look.", None, _LISBON, _FARO),
            _result(1, "19 degrees"),
            _result(2, "22 degrees"),
            _answer("It is 19 and 22."),
        ],
        TOOLS,
    ),
    "reasoning and tools": Talk(
        [
            _WEATHER,
            _answer(None, "The tool knows.", _LISBON),
            _result(1, "19 degrees"),
            _answer("It is 19.", "That is clear."),
        ],
        TOOLS,
    ),
    "white space": Talk([_user("  so \n"), _answer("\n\n a  b\n")]),
    "unicode": Talk([_user("né 日本"), _answer("👩‍👩‍👧 é ٣")]),
}


def shipped() -> dict[str, str]:
    """The chat templates of the installed TRL by their names; none where TRL is missing."""
    spec = importlib.util.find_spec("trl")
    if spec is None or spec.origin is None:
        return {}
    files = sorted((Path(spec.origin).parent / "chat_templates").glob("*.jinja"))
    return {file.stem: file.read_text(encoding="utf-8") for file in files}


# ------------------------------------------------------------------------------------- verdicts


class Outcome(NamedTuple):
    """What became of a conversation, and why: refused in the renderer's words."""

    state: Literal["exact", "refused", "wrong"]
    detail: str = ""


class Verdict(NamedTuple):
    """How a template did: refused whole in these words, or the outcome of each kind."""

    refused: str
    outcomes: dict[str, Outcome]


@functools.cache
def verdict(name: str) -> Verdict:
    """How a template of TRL does on a tokenizer of bytes with all its control tokens."""
    with tempfile.TemporaryDirectory() as folder:
        return try_template(shipped()[name], Path(folder))


@functools.cache
def verdict_with_end(name: str) -> Verdict:
    """How a template of TRL does that is made to end the last answer (`render.add_end`)."""
    with tempfile.TemporaryDirectory() as folder:
        return try_template(shipped()[name], Path(folder), add_end=True)


def try_template(source: str, folder: Path, **options: Any) -> Verdict:
    """How a template does on a tokenizer of bytes with all its control tokens."""
    carried = carry(None, source, folder / "t", more=True)
    try:
        tokenizer = load(carried, folder / "w", date=DATE, **options)
        certificate.certify(tokenizer, _options())
    except RenderError as error:
        return Verdict(str(error), {})
    (carried / "chat_template.jinja").write_text(tokenizer.template.jinja(), encoding="utf-8")
    key = tokenizer.template.facts()["reasoning_key"]
    reference = Reference(carried, key or "reasoning_content")
    outcomes = {kind: outcome(talk, tokenizer, reference) for kind, talk in KINDS.items()}
    return Verdict("", outcomes)


def _options() -> Render:
    return Render(tokenizer="t", template="tokenizer", date=DATE)


def outcome(talk: Talk, tokenizer: Tokenizer, reference: Reference) -> Outcome:
    """What becomes of a conversation, its rows judged by transformers."""
    pool = TextPool(tokenizer)
    fitted = fit(_frame(talk), pool, _options())
    if fitted.messages.is_empty():
        refused = fitted.outcomes.filter(pl.col("unit") == "conversation")["detail"][0]
        if not is_true(refused, talk, reference):
            return Outcome("wrong", f"refused for no reason: {refused}")
        return Outcome("refused", refused)
    rows = list(_rows(render(fitted.messages, fitted.windows, pool, _options())))
    fault = next((fault for row in rows for fault in faults(row, talk, reference)), None)
    taught = sorted(place for row in rows for place in _answers_of(row, talk))
    if fault is None and taught != _answers(talk.messages):
        fault = f"the answers {taught} are taught"
    return Outcome("exact") if fault is None else Outcome("wrong", fault)


def _frame(talk: Talk) -> pl.DataFrame:
    tools = json.dumps(talk.tools) if talk.tools else None
    turns = []
    for message in talk.messages:
        calls = message.get("tool_calls")
        structure = {
            "reasoning": message.get("reasoning_content"),
            "tool_calls": json.dumps(calls) if calls else None,
            "tools": tools,
            "variables": json.dumps(talk.variables) if talk.variables else None,
        }
        turns.append({**message, **structure})
    return structured({"talk": turns})


def _answers(messages: Sequence[Message]) -> list[int]:
    return [place for place, turn in enumerate(messages) if turn["role"] == "assistant"]


# ----------------------------------------------------------------------------------------- rows


class Row(NamedTuple):
    """A row of tokens, and the places of the first and the last message that it teaches."""

    ids: list[int]
    labels: list[int]
    span: row_id.Span | None


def rows_of(talk: Talk, tokenizer: Tokenizer) -> Iterator[Row]:
    """The rows of a conversation."""
    pool = TextPool(tokenizer)
    fitted = fit(_frame(talk), pool, _options())
    return _rows(render(fitted.messages, fitted.windows, pool, _options()))


def _rows(rendered: Rendered) -> Iterator[Row]:
    for number, id in enumerate(rendered.ids):
        start, end = rendered.offsets[number : number + 2]
        ids, labels = rendered.input_ids[start:end], rendered.labels[start:end]
        yield Row(ids.tolist(), labels.tolist(), row_id.parse(id, "talk"))


def _answers_of(row: Row, talk: Talk) -> list[int]:
    """The places of the answers that a row teaches."""
    first, last = row.span or (0, len(talk.messages) - 1)
    return [place for place in _answers(talk.messages) if first <= place <= last]


class Reference:
    """What transformers makes of messages, with the tokenizer of a folder."""

    def __init__(self, folder: Path, reasoning_key: str) -> None:
        import transformers

        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.key = reasoning_key
        self.no_words: str | None
        self.takes_parts, self.no_words = False, None
        self.takes_parts = not self._writes(_GREETING) and self._writes_parts()
        self.no_words = None if self._writes_none() else ""

    def _writes_none(self) -> bool:
        """Whether the template writes a call without words whose content is None."""
        try:
            return "None" not in self.text(Talk([_WEATHER, _answer(None, None, _LISBON)]), 2)
        except Exception:  # what a template raises is up to the template
            return False

    def _writes(self, messages: list[Message]) -> bool:
        """Whether the template writes all words of these messages."""
        try:
            text = self.text(Talk(messages), len(messages))
        except Exception:  # what a template raises is up to the template
            return False
        return all(message["content"] in text for message in messages)

    def _writes_parts(self) -> bool:
        """Whether the template writes words that are lists of parts, as processors hand them."""
        of_parts = copy.copy(self)
        of_parts.takes_parts = True
        return of_parts._writes(_GREETING)

    def ids(self, talk: Talk, turns: int, prompt: bool = False) -> list[int]:
        """The ids of the first turns of a conversation."""
        return list(self._apply(talk, turns, prompt, tokenize=True, return_dict=False))

    def text(self, talk: Talk, turns: int, prompt: bool = False) -> str:
        """The text of the first turns of a conversation."""
        return str(self._apply(talk, turns, prompt, tokenize=False))

    def _apply(self, talk: Talk, turns: int, prompt: bool, **options: Any) -> Any:
        given = [self._with_key(message) for message in talk.messages[:turns]]
        return self.tokenizer.apply_chat_template(
            given, tools=talk.tools, add_generation_prompt=prompt, **options, **talk.variables
        )

    def _with_key(self, message: Message) -> Message:
        names = {"reasoning_content": self.key}
        given = {names.get(key, key): value for key, value in message.items()}
        given["content"] = self.no_words if given["content"] is None else given["content"]
        if self.takes_parts and given["content"] is not None:
            given["content"] = [{"type": "text", "text": given["content"]}]
        return given

    def with_key(self, reasoning_key: str) -> Reference:
        """The reference that writes reasoning under another name."""
        keyed = copy.copy(self)
        keyed.key = reasoning_key
        return keyed

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, control tokens and all."""
        return str(self.tokenizer.decode(ids))


def faults(row: Row, talk: Talk, reference: Reference) -> Iterator[str]:
    """Yields what is wrong with a row."""
    answers = _answers_of(row, talk)
    end = row.span.last + 1 if row.span else len(talk.messages)
    if row.ids != reference.ids(talk, end):
        yield "the ids are not those of apply_chat_template"
    if any(label not in (id, IGNORE_INDEX) for id, label in zip(row.ids, row.labels, strict=True)):
        yield "a label is not the id of its token"
    spans = list(_spans(row.labels))
    if len(spans) != len(answers):
        yield f"{len(answers)} answers and {len(spans)} spans of labels"
    for (start, stop), place in zip(spans, answers, strict=False):
        yield from _faults_before(row.ids[:start], place, talk, reference)
        text = reference.decode(row.ids[start:stop])
        yield from (f"lacks {part!r}" for part in _parts(talk.messages[place]) if part not in text)
        if row.ids[stop - 1] not in reference.tokenizer.added_tokens_decoder:
            yield f"ends with {text[-20:]!r}"


def _spans(labels: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yields where trained labels begin and end."""
    trained = [place for place, label in enumerate(labels) if label != IGNORE_INDEX]
    starts = [place for place in trained if place - 1 not in set(trained)]
    ends = [place + 1 for place in trained if place + 1 not in set(trained)]
    yield from zip(starts, ends, strict=True)


_TAGS = re.compile(r"<[^<>]*>|\[/?THINK\]|thought")


def _faults_before(
    before: list[int], place: int, talk: Talk, reference: Reference
) -> Iterator[str]:
    """Yields what is wrong before an answer: a generation prompt, and at most an empty thought."""
    prompt = reference.ids(talk, place, prompt=True)
    if before[: len(prompt)] != prompt:
        yield f"turn {place} does not stand behind its generation prompt"
    lead = reference.decode(before[len(prompt) :])
    if lead and (_TAGS.sub("", lead).strip() or "reasoning_content" in talk.messages[place]):
        yield f"{lead!r} stands behind the generation prompt and is not learnt"


def _parts(message: Message) -> Iterator[str]:
    """Yields the texts that an answer consists of."""
    yield (message["content"] or "").strip()
    yield message.get("reasoning_content", "")
    for call in message.get("tool_calls", ()):
        yield call["function"]["name"]
        yield from (str(value) for value in call["function"]["arguments"].values())


# ------------------------------------------------------------------------------------- refusals

_KEYS = ("reasoning_content", "reasoning", "thinking", "thought")


def is_true(refused: str, talk: Talk, reference: Reference) -> bool:
    """Whether transformers shows what a refusal says, or refuses the conversation too."""
    try:
        reference.text(talk, len(talk.messages))
    except Exception as error:  # what a template raises is up to the template
        words = str(error).strip().splitlines()[0]
        return "the chat template says" not in refused or words[:40] in refused
    return any(shows(talk, reference) for words, shows in _SHOWS.items() if words in refused)


def _no_reasoning(talk: Talk, reference: Reference) -> bool:
    """Whether no name of reasoning makes the template write all of it."""
    thoughts = [turn.get("reasoning_content", "") for turn in talk.messages]
    texts = [reference.with_key(key).text(talk, len(talk.messages)) for key in _KEYS]
    return not any(all(thought in text for thought in thoughts) for text in texts)


def _no_tool(talk: Talk, reference: Reference) -> bool:
    return _ABOUT not in reference.text(talk, len(talk.messages))


def _no_call(talk: Talk, reference: Reference) -> bool:
    calls = [call for turn in talk.messages for call in turn.get("tool_calls", ())]
    text = reference.text(talk, len(talk.messages))
    return any(call["function"]["arguments"]["city"] not in text for call in calls)


def _no_content(talk: Talk, reference: Reference) -> bool:
    ends = [(place, turn["content"]) for place, turn in enumerate(talk.messages)]
    texts = [(reference.text(talk, place + 1), words) for place, words in ends]
    return any((words or "").strip() not in text for text, words in texts)


def _no_prompt(talk: Talk, reference: Reference) -> bool:
    """Whether an answer does not stand behind its generation prompt."""
    return any(
        not reference.text(talk, place + 1).startswith(reference.text(talk, place, prompt=True))
        for place in _answers(talk.messages)
    )


_SHOWS: Mapping[str, Callable[[Talk, Reference], bool]] = {
    "leaves out the reasoning": _no_reasoning,
    "leaves out the tool '": _no_tool,
    "leaves out the call": _no_call,
    "changes the content": _no_content,
    "does not stand behind its generation prompt": _no_prompt,
}
