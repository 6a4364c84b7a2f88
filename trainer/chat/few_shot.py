"""A base model made an assistant by a prompt: a system paragraph, example dialogues, the question.

    SYSTEM

    -----

    Human: ...

    Assistant: ...

    -----

    Human: QUESTION

    Assistant:

No space follows the last colon: the model writes it with its first word, as one token, which is
how the examples are tokenised. Nothing here is a control token, whatever a user types.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator
from transformers import PreTrainedTokenizerBase

from chatdata.core import config
from chatdata.core.config import Strict
from chatdata.render.control_tokens import PlainTokenizer
from trainer.chat.prompt_window import Message, TemplateWriter, plain_tokenizer

HUMAN, ASSISTANT, SEPARATOR = "Human:", "Assistant:", "-----"
_HEADS = {"user": HUMAN, "assistant": ASSISTANT}
# A line that would be read as the head of a turn, or as the end of a dialogue.
_FORGED = re.compile(rf"^(?={HUMAN}|{ASSISTANT}|{SEPARATOR})", re.MULTILINE)


class Exchange(Strict):
    """A question and its answer."""

    human: str = Field(min_length=1)
    assistant: str = Field(min_length=1)

    @field_validator("human", "assistant")
    @classmethod
    def _is_one_turn(cls, value: str) -> str:
        if _FORGED.search(value):
            raise ValueError(f"a line may not begin with {HUMAN} {ASSISTANT} or {SEPARATOR}")
        return value.strip()


class Prompt(Strict):
    """A few-shot prompt, checked."""

    about: str = ""
    system: str = Field(min_length=1)
    dialogues: list[list[Exchange]] = Field(min_length=1)

    @field_validator("system")
    @classmethod
    def _stripped(cls, value: str) -> str:
        return value.strip()


def load(path: Path) -> Prompt:
    """The prompt in a YAML file. Raises ConfigError for a key or a value that is not known."""
    return config.parse(Prompt, config.load_yaml(path), f"prompt '{path.stem}'")


class FewShot:
    """Conversations as the last of a few dialogues, in plain text."""

    stop_strings: Sequence[str] = (f"\n{HUMAN}", f"\n\n{SEPARATOR}")
    stop_tokens: Sequence[str] = ()

    def __init__(self, prompt: Prompt, tokenizer: PreTrainedTokenizerBase) -> None:
        self.prompt = prompt
        self.examples = len(prompt.dialogues)
        self.plain = plain_tokenizer(tokenizer)
        self._start = _start_ids(tokenizer)
        self._template = TemplateWriter(tokenizer) if tokenizer.chat_template else None

    def text(self, messages: Sequence[Message], without: int = 0) -> str:
        """The prompt as text. A system turn at the head stands in place of the prompt's own."""
        has_system = messages[0]["role"] == "system"
        system = messages[0]["content"] if has_system else self.prompt.system
        own = [_dialogue(dialogue) for dialogue in self.prompt.dialogues[without:]]
        asked = _turns(messages[1:] if has_system else messages)
        blocks = [system, *own, asked]
        return f"\n\n{SEPARATOR}\n\n".join(blocks) + f"\n\n{ASSISTANT}"

    def ids(self, messages: Sequence[Message], without: int = 0) -> list[int]:
        """The ids of the prompt, all of it text, behind what the tokenizer begins a text with."""
        return [*self._start, *self.plain.ids(self.text(messages, without))]

    def read(self, pieces: Iterable[str]) -> Iterator[str]:
        """The pieces up to the next turn, without the white space around the answer."""
        return stripped(until(pieces, self.stop_strings))

    def tuned_tokens(self, messages: Sequence[Message]) -> int:
        """How many tokens a tuned model is given for the same conversation: those of the
        tokenizer's own template, or of StarChat's where it has none."""
        if self._template is not None:
            return len(self._template.ids(messages))
        return starchat_tokens(self.plain, messages)


def starchat_tokens(plain: PlainTokenizer, messages: Sequence[Message]) -> int:
    """How many tokens a conversation and the generation prompt have in StarChat's template.

    A turn is its control token, a new line and the content, `<|end|>` and a new line.
    """
    newline = len(plain.ids("\n"))
    turns = sum(2 + newline + len(plain.ids("\n" + own["content"])) for own in messages)
    return turns + 1 + newline


def _dialogue(dialogue: Sequence[Exchange]) -> str:
    talk = [
        {"role": role, "content": content}
        for own in dialogue
        for role, content in (("user", own.human), ("assistant", own.assistant))
    ]
    return _turns(talk)


def _turns(messages: Sequence[Message]) -> str:
    """Turns as text; a line of content that reads as the head of a turn is indented."""
    return "\n\n".join(
        f"{_HEADS[own['role']]} {_FORGED.sub(' ', own['content'].strip())}" for own in messages
    )


def _start_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What the tokenizer puts before a text (a begin token, for some), and never behind it."""
    encode: Any = tokenizer.encode
    whole, text = encode("a"), encode("a", add_special_tokens=False)
    place = len(whole) - len(text)
    return list(whole[:place]) if whole[place:] == text else []


# --------------------------------------------------------------------------- reading an answer


def until(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """Yields a text, given in pieces, up to the first of the stop strings, and no part of it."""
    held = ""
    for piece in pieces:
        held += piece
        places = [place for stop in stops if (place := held.find(stop)) >= 0]
        if places:
            yield held[: min(places)]
            return
        size = len(held) - max((_begun(held, stop) for stop in stops), default=0)
        yield held[:size]
        held = held[size:]
    yield held


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of a text may be the start of a stop string."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((size for size in sizes if stop.startswith(text[-size:])), 0)


def stripped(pieces: Iterable[str]) -> Iterator[str]:
    """Yields a text, given in pieces, without the white space at its ends."""
    space = begun = ""
    for piece in pieces:
        text = space + piece
        words = text.rstrip()
        space = text[len(words) :]
        words = words if begun else words.lstrip()
        begun = begun or words
        yield words
