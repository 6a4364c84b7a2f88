"""Templates as values: frozen, complete descriptions of how a conversation is written.

A turn is its control token, a header, the content, the token that ends it, and a text after that:

    <|user|> "\\n" CONTENT <|end|> "\\n"

The Jinja template that goes to the tokenizer is made from the same value, so that the two cannot
drift apart. `starchat` is the format of StarChat alpha (Tunstall et al., 2023), `chatml` OpenAI's,
`dialogue` the plain text of few-shot prompts, closed by the tokenizer's own end of text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from chatdata.render import spec_jinja
from chatdata.render.conversation import Messages

EOS = "{eos}"  # stands for the tokenizer's end-of-text token until `for_tokenizer`


@dataclass(frozen=True, slots=True)
class Turn:
    """How the turn of a role is written. Control tokens may be empty."""

    open: str  # what opens it, up to and with the last control token before the content
    header: str  # text that the generation prompt supplies
    lead: str  # text before the content that the model has to write
    close: str  # the control tokens that end it
    after: str  # text after these
    trims: bool = False  # white space around the content is not written

    def before(self) -> str:
        """What stands before the content."""
        return self.open + self.header + self.lead

    def write(self, content: str) -> str:
        """The turn as text."""
        words = content.strip() if self.trims else content
        return self.before() + words + self.close + self.after


@dataclass(frozen=True, slots=True)
class TemplateSpec:
    """How a conversation is written: turns, tokens to add, what stands at the head."""

    name: str
    about: str
    turns: Mapping[str, Turn]
    special_tokens: tuple[str, ...]  # in the order in which they are added to a tokenizer
    start: str = ""  # before a conversation that begins with no system turn
    first: Turn | None = None  # a system turn at the head, where later system turns differ
    last: Turn | None = None  # the answer at the end of a row, where earlier answers differ

    @property
    def stop(self) -> str:
        """The token that ends an assistant's turn."""
        return self.turns["assistant"].close

    @property
    def generation_prompt(self) -> str:
        """The text after a question that makes a model answer."""
        turn = self.turns["assistant"]
        return turn.open + turn.header

    def turn(self, role: str, is_first: bool) -> Turn | None:
        """How a turn of this role is written; None where the template has no place for it."""
        at_head = is_first and role == "system" and self.first is not None
        return self.first if at_head else self.turns.get(role)

    def _turn_at(self, messages: Messages, place: int) -> Turn | None:
        role = messages[place]["role"]
        if self.last is not None and role == "assistant" and place == len(messages) - 1:
            return self.last
        return self.turn(role, place == 0)

    def all_turns(self) -> list[Turn]:
        """Every way in which a turn is written."""
        return [*self.turns.values(), *(turn for turn in (self.first, self.last) if turn)]

    def text(self, messages: Messages) -> str:
        """A conversation as text. Raises KeyError for a role that has no turn."""
        start = "" if messages and messages[0]["role"] == "system" else self.start
        turns = (
            (self._turn_at(messages, i) or self.turns[message["role"]], message["content"])
            for i, message in enumerate(messages)
        )
        return start + "".join(turn.write(content) for turn, content in turns)

    def jinja(self) -> str:
        """The same template for `tokenizer.chat_template`."""
        return spec_jinja.jinja(self)

    def facts(self) -> dict[str, Any]:
        """The template in full, for the manifest."""
        values = asdict(self)
        values.pop("last")  # no built-in template has it
        return {
            **values,
            "stop": self.stop,
            "generation_prompt": self.generation_prompt,
            "jinja": self.jinja(),
        }


_ROLES = ("system", "user", "assistant")

STARCHAT = TemplateSpec(
    "starchat",
    "StarChat: <|system|>, <|user|>, <|assistant|>, each turn ended by <|end|>",
    {role: Turn(f"<|{role}|>", "\n", "", "<|end|>", "\n") for role in _ROLES},
    ("<|system|>", "<|assistant|>", "<|user|>", "<|end|>"),
)

CHATML = TemplateSpec(
    "chatml",
    "ChatML: <|im_start|>role, each turn ended by <|im_end|>",
    {role: Turn("<|im_start|>", f"{role}\n", "", "<|im_end|>", "\n") for role in _ROLES},
    ("<|im_start|>", "<|im_end|>"),
)

DIALOGUE = TemplateSpec(
    "dialogue",
    "plain text: Human: and Assistant:, each answer ended by the end-of-text token",
    {
        "system": Turn("", "", "", "", "\n\n"),
        "user": Turn("", "Human: ", "", "", "\n\n"),
        "assistant": Turn("", "Assistant:", " ", EOS, "\n\n"),
    },
    (EOS,),
)

BUILT_IN = {spec.name: spec for spec in (STARCHAT, CHATML, DIALOGUE)}


def for_tokenizer(template: TemplateSpec, eos: str, system: str | None) -> TemplateSpec:
    """The template with the tokenizer's end-of-text token and a default system text put in."""

    def put(turn: Turn) -> Turn:
        return replace(turn, close=eos) if turn.close == EOS else turn

    return replace(
        template,
        turns={role: put(turn) for role, turn in template.turns.items()},
        special_tokens=tuple(eos if t == EOS else t for t in template.special_tokens),
        start="" if system is None else put(template.turns["system"]).write(system),
    )
