"""Templates: frozen values that say how a conversation is written down.

A turn is its control token, a header, the content, the token that ends it, and a text behind it:

    <|user|> "\\n" CONTENT <|end|> "\\n"

The Jinja template that goes to the tokenizer is made from the same value, so that the two cannot
drift apart. `starchat` is the format of StarChat alpha (Tunstall et al., 2023), `chatml` OpenAI's,
`dialogue` the plain text of few-shot prompts, closed by the tokenizer's own end of text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

EOS = "{eos}"  # stands for the tokenizer's own end-of-text token until `for_tokenizer`


@dataclass(frozen=True, slots=True)
class Turn:
    """How one role's turn is written. Control tokens may be empty."""

    open: str  # the control token that opens it
    header: str  # text that the generation prompt supplies
    lead: str  # text before the content that the model has to write
    close: str  # the control token that ends it
    after: str  # text behind it


@dataclass(frozen=True, slots=True)
class Template:
    """How a conversation is written: turns, tokens to add, a system text where none is said."""

    name: str
    about: str
    turns: Mapping[str, Turn]
    special_tokens: tuple[str, ...]  # in the order in which they are added to a tokenizer
    system: str | None = None

    @property
    def stop(self) -> str:
        """The token that ends an assistant's turn."""
        return self.turns["assistant"].close

    @property
    def generation_prompt(self) -> str:
        """What a model is given to make it speak."""
        turn = self.turns["assistant"]
        return turn.open + turn.header

    def jinja(self) -> str:
        """The same template for `tokenizer.chat_template`."""
        return _jinja(self)

    def facts(self) -> dict[str, Any]:
        """The template in full, for the manifest."""
        return {
            **asdict(self),
            "stop": self.stop,
            "generation_prompt": self.generation_prompt,
            "jinja": self.jinja(),
        }


_ROLES = ("system", "user", "assistant")

STARCHAT = Template(
    "starchat",
    "StarChat: <|system|>, <|user|>, <|assistant|>, each turn ended by <|end|>",
    {role: Turn(f"<|{role}|>", "\n", "", "<|end|>", "\n") for role in _ROLES},
    ("<|system|>", "<|assistant|>", "<|user|>", "<|end|>"),
)

CHATML = Template(
    "chatml",
    "ChatML: <|im_start|>role, each turn ended by <|im_end|>",
    {role: Turn("<|im_start|>", f"{role}\n", "", "<|im_end|>", "\n") for role in _ROLES},
    ("<|im_start|>", "<|im_end|>"),
)

DIALOGUE = Template(
    "dialogue",
    "plain text: Human: and Assistant:, each answer ended by the end-of-text token",
    {
        "system": Turn("", "", "", "", "\n\n"),
        "user": Turn("", "Human: ", "", "", "\n\n"),
        "assistant": Turn("", "Assistant:", " ", EOS, "\n\n"),
    },
    (EOS,),
)

TEMPLATES = {template.name: template for template in (STARCHAT, CHATML, DIALOGUE)}


def for_tokenizer(template: Template, eos: str, system: str | None) -> Template:
    """The template with the tokenizer's end-of-text token and a default system text put in."""

    def put(turn: Turn) -> Turn:
        return replace(turn, close=eos) if turn.close == EOS else turn

    return replace(
        template,
        turns={role: put(turn) for role, turn in template.turns.items()},
        special_tokens=tuple(eos if t == EOS else t for t in template.special_tokens),
        system=system,
    )


def _jinja(template: Template) -> str:
    branches = "".join(
        f"{{% {'el' if i else ''}if message['role'] == {_quote(role)} %}}"
        f"{{{{ {_quote(turn.open + turn.header + turn.lead)} + message['content']"
        f" + {_quote(turn.close + turn.after)} }}}}"
        for i, (role, turn) in enumerate(template.turns.items())
    )
    unknown = "{% else %}{{ raise_exception('unknown role: ' + message['role']) }}{% endif %}"
    words = _quote(template.generation_prompt)
    prompt = f"{{% if add_generation_prompt %}}{{{{ {words} }}}}{{% endif %}}"
    return (
        f"{_default_system(template)}{{% for message in messages %}}{branches}{unknown}"
        f"{{% endfor %}}{prompt}"
    )


def _default_system(template: Template) -> str:
    if template.system is None:
        return ""
    turn = template.turns["system"]
    words = turn.open + turn.header + turn.lead + template.system + turn.close + turn.after
    return (
        "{% if not messages or messages[0]['role'] != 'system' %}"
        f"{{{{ {_quote(words)} }}}}{{% endif %}}"
    )


def _quote(text: str) -> str:
    """A Jinja string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"
