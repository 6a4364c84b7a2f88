"""What a model is shown of a conversation: its token ids, as many turns as the context holds.

A control token is written by the template alone. Where content quotes one, the text between the
template's control tokens is tokenised apart, as text, as in the rows of a dataset that chatdata
built: `<|end|>` that a user types is a word of seven characters and ends nothing.
"""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import tokenizers
from transformers import PreTrainedTokenizerBase

from chatdata.core.errors import ChatdataError, RenderError

Message = dict[str, str]  # role, content

# Stands for a control token that content quotes while a template is rendered: the number of the
# token, in a plane for private use.
_QUOTED = 0xF0000
_HIDDEN = re.compile("[\U000f0000-\U000ffffd]")
# What a token with `rstrip` swallows: Unicode's white space, not U+001C to U+001F as for Python.
_SWALLOWED = re.compile(r"[^\S\x1c-\x1f]*")


class Writer(Protocol):
    """A way to write conversations, and to read an answer out of what a model writes."""

    stop_strings: Sequence[str]  # each ends an answer, beside the end tokens
    stop_tokens: Sequence[str]  # special tokens that end an answer
    examples: int  # how many parts of a prompt can be left out

    def ids(self, messages: Sequence[Message], without: int) -> list[int]:
        """The prompt for the next answer, without its first `without` examples."""
        ...

    def read(self, pieces: Iterable[str]) -> Iterator[str]:
        """The pieces of the answer in the pieces of text that a model generates."""
        ...

    def tuned_tokens(self, messages: Sequence[Message]) -> int | None:
        """How many tokens a tuned model is given instead; None where this is for one."""
        ...


class Seen(NamedTuple):
    """The part of a conversation that a model is shown."""

    ids: list[int]
    messages_out: int  # how many of the oldest messages are left out
    examples_out: int


def fit(writer: Writer, messages: Sequence[Message], room: int | None) -> Seen:
    """The longest prompt of at most `room` tokens (any number, for None).

    The oldest exchanges go first, whole, then the examples of the prompt. A system turn at the
    head and the last question stay. Raises ChatdataError where these alone are too long.
    """
    head = 1 if messages[0]["role"] == "system" else 0
    starts = [i for i, own in enumerate(messages) if own["role"] == "user"]
    cuts = [(start, 0) for start in [head, *starts[1:]]]
    cuts += [(cuts[-1][0], number) for number in range(1, writer.examples + 1)]

    def prompt(cut: tuple[int, int]) -> list[int]:
        return writer.ids([*messages[:head], *messages[cut[0] :]], cut[1])

    first = 0
    if room is not None:
        first = bisect.bisect_left(cuts, True, key=lambda cut: len(prompt(cut)) <= room)
    if first == len(cuts):
        raise ChatdataError(
            f"the question and what must stand before it have {len(prompt(cuts[-1]))} tokens, and "
            f"{room} are left for them; shorten them, or ask for a shorter answer (max_new_tokens)."
        )
    start, without = cuts[first]
    return Seen(prompt(cuts[first]), start - head, without)


# ------------------------------------------------------------------------------------ templates


class ChatTemplate:
    """Conversations as the tokenizer's own chat template writes them."""

    stop_strings: Sequence[str] = ()
    examples = 0

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not tokenizer.chat_template:
            raise RenderError(
                f"'{tokenizer.name_or_path}' has no chat template, so it is a base model: make it "
                "an assistant with --prompt recipes/prompts/assistant.yaml, or tune it."
            )
        self.tokenizer = tokenizer
        self.plain = Plain(tokenizer, _written_tokens(tokenizer))
        self.stop_tokens: Sequence[str] = self._closing()

    def ids(self, messages: Sequence[Message], without: int = 0) -> list[int]:
        """The ids of `apply_chat_template`, control tokens in content being text.

        Raises RenderError for a conversation that the template refuses.
        """
        text = self._text(messages)
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        quoted = any(self.plain.control.search(own["content"]) for own in messages)
        written = sum(id in self.plain.control_ids for id in ids)
        if quoted or written != len(self.plain.control.findall(text)):
            return self._apart(messages)
        return ids

    def read(self, pieces: Iterable[str]) -> Iterator[str]:
        """The pieces as they are: special tokens are not in them."""
        yield from pieces

    def tuned_tokens(self, messages: Sequence[Message]) -> None:
        """None: this is how a tuned model is spoken to."""

    def _text(self, messages: Sequence[Message], prompt: bool = True) -> str:
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    list(messages), tokenize=False, add_generation_prompt=prompt
                )
            )
        except Exception as error:  # a template can raise anything
            raise RenderError(f"the chat template says: {error}") from None

    def _apart(self, messages: Sequence[Message]) -> list[int]:
        hidden = [{**own, "content": self.plain.hide(own["content"])} for own in messages]
        ids: list[int] = []
        swallow = False
        for number, part in enumerate(self.plain.split(self._text(hidden))):
            if number % 2:
                ids.append(self.plain.tokens[part].id)
                swallow = self.plain.tokens[part].rstrip
            else:
                words = self.plain.show(part)
                ids += self.plain.ids(_SWALLOWED.sub("", words, count=1) if swallow else words)
        return ids

    def _closing(self) -> list[str]:
        """The control token that the template writes behind an answer, if any."""
        talk = [{"role": role, "content": role} for role in ("user", "assistant")]
        try:
            behind = self._text(talk, prompt=False).rpartition("assistant")[2]
        except RenderError:
            return []
        return self.plain.control.findall(behind)[:1]


def _written_tokens(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """The added tokens in what the template writes around a question, special or not."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values()]
    try:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": ""}], tokenize=False, add_generation_prompt=True
        )
    except Exception:  # a template can raise anything; special tokens are known without it
        return set()
    return {token for token in added if token in str(text) and not token.isspace()}


# ----------------------------------------------------------------------------------- plain text


@dataclass(frozen=True, slots=True)
class _Token:
    id: int
    rstrip: bool  # swallows the white space behind it


class Plain:
    """A tokenizer for which control tokens are text, and what tells where they are quoted."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, written: Iterable[str] = ()) -> None:
        if not hasattr(tokenizer, "backend_tokenizer"):
            raise RenderError(
                f"'{tokenizer.name_or_path}' has no fast tokenizer (tokenizer.json), and no other "
                "can tell a control token from its text."
            )
        self.tokens = {
            token.content: _Token(id, token.rstrip)
            for id, token in tokenizer.added_tokens_decoder.items()
            if token.special or token.content in set(written)
        }
        self.control_ids = {token.id for token in self.tokens.values()}
        longest_first = sorted(self.tokens, key=lambda token: (-len(token), token))
        self.control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._order = list(self.tokens)
        self._tokenizer = _text_only(tokenizer, self.tokens)

    def ids(self, text: str) -> list[int]:
        """The ids of a text. Raises RenderError where one is a control token's all the same."""
        ids = list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        if not self.control_ids.isdisjoint(ids):
            raise RenderError("the tokenizer makes control tokens out of plain text.")
        return ids

    def split(self, text: str) -> list[str]:
        """The parts of a text: between control tokens at even places, control tokens at odd."""
        return re.split(f"({self.control.pattern})", text)

    def hide(self, content: str) -> str:
        """The content, a private character for each control token that it quotes."""
        if _HIDDEN.search(content):
            raise RenderError("a message holds characters for private use (U+F0000 and above).")
        return self.control.sub(lambda own: chr(_QUOTED + self._order.index(own[0])), content)

    def show(self, text: str) -> str:
        """The text with what was hidden."""
        return _HIDDEN.sub(lambda own: self._order[ord(own[0]) - _QUOTED], text)


def _text_only(tokenizer: PreTrainedTokenizerBase, control: Iterable[str]) -> tokenizers.Tokenizer:
    own: Any = tokenizer
    source = json.loads(own.backend_tokenizer.to_str())
    for token in source["added_tokens"]:
        token["special"] = token["special"] or token["content"] in control
    source["truncation"] = source["padding"] = source["post_processor"] = None
    text = tokenizers.Tokenizer.from_str(json.dumps(source))
    text.encode_special_tokens = True
    return text
