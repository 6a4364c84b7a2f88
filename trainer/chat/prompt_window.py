"""The prompt of a conversation: the token ids of as many turns as the context holds.

Control tokens are those of `chatdata.render.control_tokens`, as in the rows of a dataset: where
content quotes one, the text between the template's control tokens is tokenised apart, as text.
"""

from __future__ import annotations

import bisect
import datetime
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from transformers import PreTrainedTokenizerBase

from chatdata.core.errors import ChatdataError, RenderError
from chatdata.render import chat_template
from chatdata.render.carried_template import marking_tokens
from chatdata.render.control_tokens import PlainTokenizer
from chatdata.render.conversation import UnrenderableError, in_parts

Message = dict[str, str]  # role, content


class Writer(Protocol):
    """Writes conversations as prompts, and reads the answer in the text that a model generates."""

    stop_strings: Sequence[str]  # each ends an answer, as the end tokens do
    stop_tokens: Sequence[str]  # special tokens that end an answer
    examples: int  # how many parts of a prompt can be left out

    def ids(self, messages: Sequence[Message], without: int) -> list[int]:
        """The prompt for the next answer, without its first `without` examples."""
        ...

    def read(self, pieces: Iterable[str]) -> Iterator[str]:
        """The pieces of the answer in the pieces of text that a model generates."""
        ...

    def tuned_tokens(self, messages: Sequence[Message]) -> int | None:
        """How many tokens a tuned model needs for the same conversation; None for a writer that
        writes for tuned models."""
        ...


class PromptWindow(NamedTuple):
    """The part of a conversation that fits the context of the model."""

    ids: list[int]
    messages_out: int  # how many of the oldest messages are left out
    examples_out: int


def fit(writer: Writer, messages: Sequence[Message], room: int | None) -> PromptWindow:
    """The longest prompt of at most `room` tokens (any number, for None).

    The oldest exchanges are left out first, each as a whole, then the examples of the prompt. A
    system turn and the last question stay. Raises ChatdataError where these alone are too long.
    """
    head = 1 if messages[0]["role"] == "system" else 0
    starts = [i for i, message in enumerate(messages) if message["role"] == "user"]
    cuts = [(start, 0) for start in [head, *starts[1:]]]
    cuts += [(cuts[-1][0], number) for number in range(1, writer.examples + 1)]

    def prompt(cut: tuple[int, int]) -> list[int]:
        return writer.ids([*messages[:head], *messages[cut[0] :]], cut[1])

    first = 0
    if room is not None:
        first = bisect.bisect_left(cuts, True, key=lambda cut: len(prompt(cut)) <= room)
    if first == len(cuts):
        raise ChatdataError(
            f"the question and its system text have {len(prompt(cuts[-1]))} tokens, and {room} are "
            "left for them; shorten them, or lower max_new_tokens."
        )
    start, without = cuts[first]
    return PromptWindow(prompt(cuts[first]), start - head, without)


# ------------------------------------------------------------------------------------ templates


_WORDS = "words"  # of a question with which a template is tried


class TemplateWriter:
    """Writes conversations with the tokenizer's chat template."""

    stop_strings: Sequence[str] = ()
    examples = 0

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not tokenizer.chat_template:
            raise RenderError(
                f"'{tokenizer.name_or_path}' has no chat template, so it is a base model: make it "
                "an assistant with --prompt recipes/prompts/assistant.yaml, or fine-tune it."
            )
        self.tokenizer = tokenizer
        self.source = _source(tokenizer)
        self.plain = plain_tokenizer(tokenizer, _markers(tokenizer))
        self._takes_parts = False
        if not self._writes_words():
            self._takes_parts = True
            self._takes_parts = self._writes_words()
        self.stop_tokens: Sequence[str] = self._closing()

    def ids(self, messages: Sequence[Message], without: int = 0) -> list[int]:
        """The ids of `apply_chat_template`, with control tokens in content as text.

        Raises RenderError for a conversation that the template refuses, or for which it does more
        than `chatdata.render.chat_template` lets it.
        """
        control = self.plain.control
        text = self._text(messages)
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        is_quoted = any(control.quoted_in(message["content"]) for message in messages)
        control_ids = set(control.ids.values())
        made = sum(id in control_ids for id in ids)
        if is_quoted or made != len(control.pattern.findall(text)):
            return self._ids_apart(messages)
        return ids

    def read(self, pieces: Iterable[str]) -> Iterator[str]:
        """The pieces as they are: special tokens are not in them."""
        yield from pieces

    def tuned_tokens(self, messages: Sequence[Message]) -> None:
        """None: this writer writes for tuned models."""

    def _writes_words(self) -> bool:
        """Whether the template writes the words of a question."""
        try:
            return _WORDS in self._text([{"role": "user", "content": _WORDS}])
        except RenderError:
            return False

    def _text(self, messages: Sequence[Message], prompt: bool = True) -> str:
        given: list[Any] = [in_parts(m) if self._takes_parts else m for m in messages]
        now = datetime.datetime.now()
        variables = {"strftime_now": now.strftime, **self.tokenizer.special_tokens_map}
        try:
            return chat_template.render(self.source, variables, None, given, prompt)
        except UnrenderableError as error:
            raise RenderError(f"the conversation cannot be written: {error}.") from None

    def _ids_apart(self, messages: Sequence[Message]) -> list[int]:
        hide = self.plain.control.hide
        try:
            hidden = [{**message, "content": hide(message["content"])} for message in messages]
        except UnrenderableError as error:
            raise RenderError(f"a message cannot be written: {error}.") from None
        return self.plain.template_ids(self._text(hidden))

    def _closing(self) -> list[str]:
        """The control token that the template writes after an answer, if any."""
        messages = [{"role": role, "content": role} for role in ("user", "assistant")]
        try:
            after = self._text(messages, prompt=False).rpartition("assistant")[2]
        except RenderError:
            return []
        return self.plain.control.pattern.findall(after)[:1]


def plain_tokenizer(
    tokenizer: PreTrainedTokenizerBase, markers: Sequence[str] = ()
) -> PlainTokenizer:
    """The tokenizer for which control tokens are text: special tokens, and these markers.

    Raises RenderError for a tokenizer without tokenizer.json.
    """
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise RenderError(
            f"'{tokenizer.name_or_path}' has no fast tokenizer (tokenizer.json), which is needed "
            "to tell a control token from its text; save one with transformers' AutoTokenizer."
        )
    return PlainTokenizer(tokenizer.backend_tokenizer, markers)


def _source(tokenizer: PreTrainedTokenizerBase) -> str:
    """The chat template for conversations without tools."""
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as error:
        reason = str(error).strip().splitlines()[0]
        raise RenderError(
            f"'{tokenizer.name_or_path}' has several chat templates and none is the default "
            f"({reason}); save its tokenizer with one."
        ) from None


def _markers(tokenizer: Any) -> Sequence[str]:
    """The tokens by which the chat template marks turns, beside the special tokens."""
    values = {k: v for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}
    today = datetime.date.today()
    try:
        source = tokenizer.get_chat_template()
        return marking_tokens(tokenizer.backend_tokenizer, source, values, today)
    except Exception:  # a template can raise anything; special tokens are known without it
        return ()
