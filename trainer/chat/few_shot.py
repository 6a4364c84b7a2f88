"""Few-shot prompts that make a base model an assistant: a system paragraph, examples, the question.

    SYSTEM

    -----

    Human: ...

    Assistant: ...

    -----

    Human: QUESTION

    Assistant:

No space follows the last colon: the model writes the space with its first word, as a single token,
which is how the examples are tokenised. No text that a user types becomes a control token.
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
# The beginning of a line that reads as the head of a turn, or as the end of a dialogue.
_FORGED = re.compile(rf"^(?={HUMAN}|{ASSISTANT}|{SEPARATOR})", re.MULTILINE)


class Exchange(Strict):
    """A question and its answer."""

    human: str = Field(min_length=1)
    assistant: str = Field(min_length=1)

    @field_validator("human", "assistant")
    @classmethod
    def _is_one_turn(cls, value: str) -> str:
        if _FORGED.search(value):
            raise ValueError(f"no line may begin with {HUMAN} {ASSISTANT} or {SEPARATOR}")
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
    """The prompt in a YAML file. Raises ConfigError for an unknown key or a wrong value."""
    return config.parse(Prompt, config.load_yaml(path), f"prompt '{path.stem}'")


class FewShot:
    """Writes a conversation as the last of a few dialogues, in plain text."""

    stop_strings: Sequence[str] = (f"\n{HUMAN}", f"\n\n{SEPARATOR}")
    stop_tokens: Sequence[str] = ()

    def __init__(self, prompt: Prompt, tokenizer: PreTrainedTokenizerBase) -> None:
        self.prompt = prompt
        self.examples = len(prompt.dialogues)
        self.plain = plain_tokenizer(tokenizer)
        self._start = _start_ids(tokenizer)
        self._template = TemplateWriter(tokenizer) if tokenizer.chat_template else None

    def text(self, messages: Sequence[Message], without: int = 0) -> str:
        """The prompt as text, without its first `without` examples.

        A system turn of the conversation replaces the system paragraph of the prompt.
        """
        has_system = messages[0]["role"] == "system"
        system = messages[0]["content"] if has_system else self.prompt.system
        examples = [_dialogue(dialogue) for dialogue in self.prompt.dialogues[without:]]
        conversation = _turns(messages[1:] if has_system else messages)
        blocks = [system, *examples, conversation]
        return f"\n\n{SEPARATOR}\n\n".join(blocks) + f"\n\n{ASSISTANT}"

    def ids(self, messages: Sequence[Message], without: int = 0) -> list[int]:
        """The ids of the prompt as text, after the ids with which the tokenizer begins a text."""
        return [*self._start, *self.plain.ids(self.text(messages, without))]

    def read(self, pieces: Iterable[str]) -> Iterator[str]:
        """The pieces up to the next turn, without white space around the answer."""
        return stripped(until(pieces, self.stop_strings))

    def tuned_tokens(self, messages: Sequence[Message]) -> int:
        """How many tokens a tuned model needs for the same conversation: with the template of the
        tokenizer, or with StarChat's for a tokenizer without a template."""
        if self._template is not None:
            return len(self._template.ids(messages))
        return starchat_tokens(self.plain, messages)


def starchat_tokens(plain: PlainTokenizer, messages: Sequence[Message]) -> int:
    """How many tokens a conversation and the generation prompt have in StarChat's template.

    A turn is its control token, a new line and the content, `<|end|>` and a new line.
    """
    newline = len(plain.ids("\n"))
    turns = sum(2 + newline + len(plain.ids("\n" + message["content"])) for message in messages)
    return turns + 1 + newline


def _dialogue(dialogue: Sequence[Exchange]) -> str:
    messages = [
        {"role": role, "content": content}
        for exchange in dialogue
        for role, content in (("user", exchange.human), ("assistant", exchange.assistant))
    ]
    return _turns(messages)


def _turns(messages: Sequence[Message]) -> str:
    """The turns as text; a line of content that reads as the head of a turn is indented."""
    return "\n\n".join(
        f"{_HEADS[message['role']]} {_FORGED.sub(' ', message['content'].strip())}"
        for message in messages
    )


def _start_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that the tokenizer puts before a text, for example a begin token."""
    encode: Any = tokenizer.encode
    whole, text = encode("a"), encode("a", add_special_tokens=False)
    start = len(whole) - len(text)
    return list(whole[:start]) if whole[start:] == text else []


# --------------------------------------------------------------------------- reading an answer


def until(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """Yields a text, given in pieces, up to the first stop string, and no part of that string."""
    held = ""
    for piece in pieces:
        held += piece
        places = [place for stop in stops if (place := held.find(stop)) >= 0]
        if places:
            yield held[: min(places)]
            return
        size = len(held) - max((_overlap(held, stop) for stop in stops), default=0)
        yield held[:size]
        held = held[size:]
    yield held


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of a text may be the start of a stop string."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((size for size in sizes if stop.startswith(text[-size:])), 0)


def stripped(pieces: Iterable[str]) -> Iterator[str]:
    """Yields a text, given in pieces, without the white space at its ends."""
    space, has_begun = "", False
    for piece in pieces:
        text = space + piece
        words = text.rstrip()
        space = text[len(words) :]
        words = words if has_begun else words.lstrip()
        has_begun = has_begun or bool(words)
        yield words
