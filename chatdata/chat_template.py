"""Chat templates in Jinja: rendered as transformers renders them, and read for what they say.

A template that a tokenizer carries can do anything. `read` finds out, by rendering conversations
of marked contents, what it does with turns: what it writes before and behind them, where an
answer begins for a model that was given the generation prompt, and which tokens end it. Nothing
is taken for granted afterwards: every row is rendered by the template itself and checked, or by
a `Template` value that was proved to write the same.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jinja2
import jinja2.ext
import jinja2.sandbox

from chatdata.errors import RenderError
from chatdata.templates import Template, Turn

Messages = Sequence[Mapping[str, str]]
Method = Literal["segments", "generation", "prefix"]

_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
# Private-use characters around what stands in {% generation %} blocks.
_OPEN, _CLOSE = "\U0010fffc", "\U0010fffd"
_MARK = re.compile(f"[{_OPEN}{_CLOSE}]")


class UnrenderableError(Exception):
    """A conversation that a template cannot write, or not exactly; the message says why."""


class Answer(NamedTuple):
    """An assistant's turn in the text of a conversation, as the model has to write it."""

    message: int
    start: int  # behind the generation prompt
    end: int  # behind the stop tokens


# -------------------------------------------------------------------------------------- jinja


class _Generation(jinja2.ext.Extension):
    """`{% generation %}...{% endgeneration %}`: what the assistant writes."""

    tags = {"generation"}  # noqa: RUF012 (Jinja's own name and type)

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Any) -> str:
        return str(caller())


class _MarkedGeneration(_Generation):
    """The same, with a mark before and behind it."""

    def _mark(self, caller: Any) -> str:
        return f"{_OPEN}{caller()}{_CLOSE}"


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


@functools.lru_cache(maxsize=8)
def compile(source: str, date: datetime.date | None, marks: bool = False) -> jinja2.Template:
    """A chat template in the environment that transformers gives it, its clock stopped at `date`.

    With `marks`, there are private characters around what its generation blocks write.

    Raises RenderError where it is no Jinja.
    """
    generation = _MarkedGeneration if marks else _Generation
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = functools.partial(_strftime, date)
    try:
        return environment.from_string(source)
    except jinja2.TemplateError as error:
        raise RenderError(f"the chat template is no Jinja that can be used: {error}.") from None


def _strftime(date: datetime.date | None, format: str) -> str:
    if date is None:
        raise RenderError(
            "the chat template writes today's date, and a build has no clock; set render.date, "
            "for example --set render.date=2026-01-31."
        )
    return date.strftime(format)


def render(
    source: str,
    variables: Mapping[str, Any],
    date: datetime.date | None,
    messages: Messages,
    add_generation_prompt: bool = False,
    marks: bool = False,
) -> str:
    """What a chat template writes. Raises UnrenderableError where it refuses the conversation."""
    values = {"tools": None, "documents": None, **variables}
    try:
        return compile(source, date, marks).render(
            messages=list(messages), add_generation_prompt=add_generation_prompt, **values
        )
    except RenderError:
        raise
    except Exception as error:  # a template can raise anything
        raise UnrenderableError(f"the chat template says: {error}") from None


# ----------------------------------------------------------------------------------- the value


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A chat template that a tokenizer carries, and what was found out about it.

    `method` says how rows are written: from `compiled` segments, or rendered by the template
    itself, with answers found by its `{% generation %}` tags or by prefixes. Where it is not
    `keeps_history`, what it writes of a turn depends on later turns, and each answer needs a
    row of its own.
    """

    source: str
    variables: Mapping[str, Any]  # special tokens by name, and the recipe's own
    date: datetime.date | None
    method: Method
    keeps_history: bool
    stop: str  # what ends an answer; the model has to write it
    lead: str  # what the template writes before an answer and the prompt does not supply
    generation_prompt: str  # behind a user's turn
    compiled: Template | None = None

    name = "tokenizer"
    special_tokens = ()  # none are added to the tokenizer

    def text(self, messages: Messages, add_generation_prompt: bool = False) -> str:
        """A conversation as text. Raises UnrenderableError where the template refuses it."""
        return render(self.source, self.variables, self.date, messages, add_generation_prompt)

    def write(self, messages: Messages, wanted: Sequence[int]) -> tuple[str, list[Answer]]:
        """The text of a conversation and where its answers stand, of those that are `wanted`.

        Raises UnrenderableError where an answer does not stand behind the generation prompt as
        it was given, closed by the stop tokens.
        """
        if self.method == "generation":
            text, starts = self._generated(messages, wanted)
        else:
            text = self.text(messages)
            starts = [self._behind_prompt(messages, text, number) for number in wanted]
        ends = [
            start + self._length(text, start, messages[number]["content"], number)
            for number, start in zip(wanted, starts, strict=True)
        ]
        return text, [Answer(*own) for own in zip(wanted, starts, ends, strict=True)]

    def _behind_prompt(self, messages: Messages, text: str, number: int) -> int:
        prompt = self.text(messages[:number], add_generation_prompt=True)
        if not text.startswith(prompt):
            raise UnrenderableError(
                f"turn {number} does not stand behind its generation prompt, which ends in "
                f"{prompt[-30:]!r}"
            )
        return len(prompt)

    def _generated(self, messages: Messages, wanted: Sequence[int]) -> tuple[str, list[int]]:
        if any(_MARK.search(own["content"]) for own in messages):
            raise UnrenderableError("its content holds characters for private use (U+10FFFC ff.)")
        marked = render(self.source, self.variables, self.date, messages, marks=True)
        places = [match.start() for match in _MARK.finditer(marked)]
        starts = [place - 2 * i for i, place in enumerate(places[::2])]
        answers = [i for i, own in enumerate(messages) if own["role"] == "assistant"]
        if len(starts) != len(answers):
            raise UnrenderableError(
                f"the chat template tags {len(starts)} of {len(answers)} answers as generated"
            )
        by_answer = dict(zip(answers, starts, strict=True))
        return _MARK.sub("", marked), [by_answer[number] for number in wanted]

    def _length(self, text: str, start: int, content: str, number: int) -> int:
        for body in self.bodies(content):
            if text.startswith(body + self.stop, start):
                return len(body + self.stop)
        raise UnrenderableError(f"the chat template changes the content of turn {number}")

    def bodies(self, content: str) -> list[str]:
        """What an answer may be written as: as it is or trimmed, behind the lead or not."""
        forms = [lead + own for lead in (self.lead, "") for own in (content, content.strip())]
        return list(dict.fromkeys(forms))

    def jinja(self) -> str:
        """The template for `tokenizer.chat_template`."""
        return self.source

    def facts(self) -> dict[str, Any]:
        """The template in full, for the manifest."""
        variables = {k: v for k, v in self.variables.items() if not k.endswith("_token")}
        return {
            "name": self.name,
            "method": self.method,
            "keeps_history": self.keeps_history,
            "stop": self.stop,
            "lead": self.lead,
            "generation_prompt": self.generation_prompt,
            "variables": variables,
            "date": self.date.isoformat() if self.date else None,
            "special_tokens": [],
            "jinja": self.source,
        }


# -------------------------------------------------------------------------------------- reading


def read(
    source: str,
    variables: Mapping[str, Any],
    date: datetime.date | None,
    control: re.Pattern[str],
    compiles: bool,
) -> ChatTemplate:
    """What a chat template does, with the first method that works, tried in the order of `Method`.

    `control` matches the tokenizer's special tokens; `compiles` says whether segments between
    them can be told apart (no special token swallows white space). Raises RenderError with the
    reason where a conversation cannot be rendered exactly.
    """
    bare = ChatTemplate(source, dict(variables), date, "prefix", True, "", "", "")
    own = _replace(bare, **_outline(bare, control))
    compiled = _compile(own, control) if compiles else None
    if compiled is not None:
        prompt = compiled.generation_prompt
        return _replace(own, compiled=compiled, method="segments", generation_prompt=prompt)
    methods: list[Method] = ["prefix"]
    if _GENERATION.search(source):
        methods.insert(0, "generation")
    reasons = []
    for talks, method, keeps_history in itertools.product(_shapes(own), methods, (True, False)):
        candidate = _replace(own, method=method, keeps_history=keeps_history)
        if (reason := _fault(candidate, talks)) is None:
            return candidate
        reasons.append(reason)
    raise RenderError(f"the chat template cannot be rendered exactly: {reasons[-1]}.")


# Tags that content itself may hold: reasoning, tools and calls of them, as sources write them.
CONTENT_TAGS = frozenset(
    f"<{slash}{name}>"
    for name in ("think", "tools", "tool_call", "tool_response")
    for slash in ("", "/")
)
_MARKER = re.compile(r"[<\[]\S*[>\]]")


def markers(
    source: str, variables: Mapping[str, Any], date: datetime.date | None, tokens: Iterable[str]
) -> list[str]:
    """The tokens, of these, by which a template marks turns: in brackets, written around plain
    turns, and no tags of content. They cut turns whether or not a tokenizer calls them special."""
    written = [
        render(source, variables, date, talk, add_generation_prompt=talk[-1]["role"] == "user")
        for talk in map(_talk, ("u", "uaua", "suaua"))
        if _is_taken(ChatTemplate(source, variables, date, "prefix", True, "", "", ""), talk)
    ]
    return [
        token
        for token in tokens
        if _MARKER.fullmatch(token)
        and token not in CONTENT_TAGS
        and any(token in text for text in written)
    ]


def _replace(template: ChatTemplate, **own: Any) -> ChatTemplate:
    values = {name: getattr(template, name) for name in template.__dataclass_fields__}
    return ChatTemplate(**{**values, **own})


def _talk(roles: str, contents: Sequence[str] | None = None) -> list[dict[str, str]]:
    """A conversation: `suaua` is system, user, assistant, user, assistant."""
    names = {"s": "system", "u": "user", "a": "assistant"}
    said = contents or [f"{role}{i}\U0010fffe" for i, role in enumerate(roles)]
    return [{"role": names[r], "content": own} for r, own in zip(roles, said, strict=True)]


def _outline(template: ChatTemplate, control: re.Pattern[str]) -> dict[str, Any]:
    """`stop`, `lead` and `generation_prompt`, from a conversation of two questions."""
    messages = _talk("uaua")
    try:
        text = template.text(messages)
        single = template.text(messages[:2])
        prompt = template.text(messages[:1], add_generation_prompt=True)
    except UnrenderableError as error:
        raise RenderError(
            f"{error}; give it what it needs, for example --set 'render.variables={{tools: []}}', "
            "or choose another template."
        ) from None
    user, first, question, second = (own["content"] for own in messages)
    opener = _opener(text, template.variables.get("bos_token"), control)
    stop = _stop(_between(text, first, question), text.partition(second)[2], opener, control)
    before, supplied = _between(single, user, first), prompt.partition(user)[2]
    if not before.startswith(supplied):
        raise RenderError(
            "the chat template cannot be rendered exactly: its generation prompt writes "
            f"{_shortened(supplied)} behind a question, and a conversation holds "
            f"{_shortened(before)} there."
        )
    return {"stop": stop, "lead": before[len(supplied) :], "generation_prompt": supplied}


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:40]}…{text[-40:]}")


def _opener(text: str, bos: str | None, control: re.Pattern[str]) -> str | None:
    """The special token that opens the first turn."""
    tokens = (match[0] for match in control.finditer(text))
    return next((token for token in tokens if token != bos), None)


def _between(text: str, one: str, other: str) -> str:
    start = text.find(one)
    end = text.find(other, start)
    if min(start, end) < 0:
        raise RenderError(
            "the chat template leaves out turns or changes their content, so no row could hold "
            "them exactly."
        )
    return text[start + len(one) : end]


def _stop(behind: str, at_end: str, opener: str | None, control: re.Pattern[str]) -> str:
    """What ends an answer: the special tokens that follow it, wherever it stands."""
    first = control.search(behind)
    if first is None:
        raise RenderError(
            f"the chat template ends an answer with {behind[:30]!r}, in which there is no special "
            "token of this tokenizer, so a model could never learn to stop."
        )
    end = first.end()
    while (further := control.match(behind, end)) is not None and further[0] != opener:
        end = further.end()
    if not at_end.startswith(behind[:end]):
        raise RenderError(
            f"the chat template ends an answer with {behind[:end]!r} inside a conversation and "
            f"with {at_end[:30]!r} at its end."
        )
    return behind[:end]


# Conversations and contents that show whether a template does more than write turns.
_ROLES = ("ua", "uaua", "suaua", "su", "u", "uau", "uasua", "aua", "uuaa", "suuaaua", "ssua")
_CONTENTS = (
    "a",
    "",
    " ",
    "\n",
    "  a",
    "a  ",
    "\n\na\n\n",
    "<think>\na\n</think>\n\nb",
    "</think>",
    "<tool_response>a</tool_response>",
    "<tool_call>a</tool_call>",
    "é\u3000",
    "\x1fa\u200b",
    "[INST]a[/INST]",
    "{{ a }}{% raw %}",
)


def _shapes(template: ChatTemplate) -> list[list[list[dict[str, str]]]]:
    """Plain conversations with a system turn among them, and without.

    Some templates write a system turn only behind a question that nobody has answered: no row can
    hold one, and conversations without one can be written all the same.
    """
    talks = [_talk("ua"), _talk("uaua"), _talk("uauaua")]
    talks += [_talk("ua", ["q", own]) for own in ("a", "two\n\nlines")]
    talks += [_talk("uaua", ["q", "<think>\na\n</think>\n\nb", "r", "c"])]
    led = [talk for talk in (_talk("sua"), _talk("suaua")) if _is_taken(template, talk)]
    return [talks + led, talks]


def _fault(template: ChatTemplate, talks: Sequence[list[dict[str, str]]]) -> str | None:
    """Why this method does not do for these conversations; None where it does."""
    for talk in talks:
        answers = [i for i, turn in enumerate(talk) if turn["role"] == "assistant"]
        try:
            text, found = template.write(talk, answers if template.keeps_history else answers[-1:])
            for answer in found:
                prompt = template.text(talk[: answer.message], add_generation_prompt=True)
                if text[: answer.start] != prompt:
                    return f"an answer is tagged behind {text[: answer.start][-30:]!r}"
        except UnrenderableError as error:
            return str(error)
    return None


def _is_taken(template: ChatTemplate, talk: Messages) -> bool:
    """Whether a template writes this conversation at all."""
    try:
        template.text(talk)
    except UnrenderableError:
        return False
    return True


# ------------------------------------------------------------------------------------ compiling


def _compile(template: ChatTemplate, control: re.Pattern[str]) -> Template | None:
    """The template as a value, where special tokens open and close every turn; None where not."""
    try:
        value = _guess(template, control)
    except (UnrenderableError, RenderError, ValueError):
        return None
    closed = all(_is_closed(turn, control) for turn in value.all_turns())
    return value if closed and _writes_the_same(value, template) else None


def _is_closed(turn: Turn, control: re.Pattern[str]) -> bool:
    """Whether special tokens stand at both ends of what surrounds the content."""
    own = [*control.finditer(turn.open)]
    closing = control.match(turn.close)
    return bool(own) and own[0].start() == 0 and own[-1].end() == len(turn.open) and bool(closing)


def _guess(template: ChatTemplate, control: re.Pattern[str]) -> Template:
    messages = _talk("uaua")
    user, answer, question, last = (own["content"] for own in messages)
    text = template.text(messages)
    behind_user = template.text(messages[:1]).partition(user)[2]
    behind_answer = text.partition(last)[2]
    before_question = _between(text, answer, question).removeprefix(behind_answer)
    before_answer = _between(text, user, answer).removeprefix(behind_user)
    supplied = template.generation_prompt.removeprefix(behind_user)
    trims = template.text(_talk("u", [" a "])).count(" a ") == 0
    turns = {
        "user": _turn(before_question, "", behind_user, trims, control),
        "assistant": _turn(supplied, template.lead, behind_answer, trims, control),
    }
    if before_answer != supplied + template.lead:
        raise ValueError("the prompt is not what stands before an answer")
    start = text.partition(user)[0].removesuffix(before_question)
    first = _system_turn(template, before_question, trims, control)
    later = _later_system(template, behind_answer, before_question, trims, control)
    if first is not None:
        turns["system"] = later or first
    return Template(template.name, "", turns, (), start, first)


def _turn(before: str, lead: str, behind: str, trims: bool, control: re.Pattern[str]) -> Turn:
    opened = max((match.end() for match in control.finditer(before)), default=0)
    closed = max((match.end() for match in control.finditer(behind)), default=0)
    return Turn(before[:opened], before[opened:], lead, behind[:closed], behind[closed:], trims)


def _system_turn(
    template: ChatTemplate, before_user: str, trims: bool, control: re.Pattern[str]
) -> Turn | None:
    messages = _talk("sua")
    try:
        text = template.text(messages)
    except UnrenderableError:
        return None
    system, user = messages[0]["content"], messages[1]["content"]
    behind = _between(text, system, user).removesuffix(before_user)
    return _turn(text.partition(system)[0], "", behind, trims, control)


def _later_system(
    template: ChatTemplate,
    behind_answer: str,
    before_user: str,
    trims: bool,
    control: re.Pattern[str],
) -> Turn | None:
    messages = _talk("uasua")
    try:
        text = template.text(messages)
        answer, system, user = (own["content"] for own in messages[1:4])
        before = _between(text, answer, system).removeprefix(behind_answer)
        behind = _between(text, system, user).removesuffix(before_user)
    except (UnrenderableError, RenderError):
        return None
    return _turn(before, "", behind, trims, control)


def probes() -> Iterator[list[dict[str, str]]]:
    """Yields conversations of every shape and of contents that a template may treat apart."""
    for roles in _ROLES:
        for shift in range(len(_CONTENTS)):
            contents = [_CONTENTS[(shift + 3 * i) % len(_CONTENTS)] for i in range(len(roles))]
            yield _talk(roles, contents)


def _own_words(source: str) -> Iterator[list[dict[str, str]]]:
    """Yields conversations that hold the strings of a template, for which it may be looking."""
    for words in _strings(source):
        for own in (words, f"a {words} b", f"{words}a", f"a{words}"):
            yield _talk("suaua", [own] * 5)
            yield _talk("uaua", [own] * 4)


def _strings(source: str) -> list[str]:
    """The strings in a template's code, each once, in their order."""
    tree = jinja2.Environment(extensions=[_Generation, jinja2.ext.loopcontrols]).parse(source)
    found = (own.value for own in tree.find_all(jinja2.nodes.Const))
    return list(dict.fromkeys(own for own in found if isinstance(own, str) and own))


def _writes_the_same(value: Template, template: ChatTemplate) -> bool:
    """Whether the value writes all probes as the template does, and refuses the same."""
    for talk in itertools.chain(probes(), _own_words(template.source)):
        try:
            expected = template.text(talk)
        except UnrenderableError:
            expected = None
        if _text(value, talk) != expected:
            return False
    return True


def _text(value: Template, talk: Messages) -> str | None:
    try:
        return value.text(talk)
    except KeyError:
        return None
