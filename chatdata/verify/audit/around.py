"""What a chat template writes around an answer: its header, and its end token.

The template is rendered, and not understood: a template that does anything unusual has no header
here, and the checks that need a header are skipped.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tokenizers

from chatdata.core.errors import RenderError
from chatdata.render import chat_template
from chatdata.render.control_tokens import control_pattern
from chatdata.render.conversation import UnrenderableError

_SOME_DAY = datetime.date(2026, 1, 31)
_USER, _ANSWER = "Qzuser", "Qzanswer"
# Where a thought or an answer proper opens: what stands before belongs to every answer.
_OPENER = re.compile(r"<think|\[THINK\]|<\|START_(?:THINKING|RESPONSE)\|>")


class Around(NamedTuple):
    """What a template writes around an answer: texts, empty where it is not known."""

    plain: str = ""  # after a question, no answer following
    prompt: str = ""  # after a question, with the generation prompt
    opened: str = ""  # between a question and its answer
    after: str = ""  # after an answer, another question following


def of_template(template: str, tokens: Mapping[str, str | None]) -> Around:
    """What a chat template writes around an answer; `tokens` are `bos`, `eos` and `pad`."""
    variables = {f"{key}_token": token for key, token in tokens.items() if token}
    for more, write in _attempts():
        try:
            return _rendered(template, {**variables, **more}, write)
        except (RenderError, UnrenderableError):
            continue
    return Around()


def _attempts() -> Iterator[tuple[dict[str, Any], Any]]:
    """Yields variables and forms of content that templates ask for."""
    more: dict[str, Any]
    for more in ({}, {"tools": []}):
        yield more, str
        yield more, lambda text: [{"type": "text", "text": text}]


def _rendered(template: str, variables: Mapping[str, Any], write: Any) -> Around:
    question = {"role": "user", "content": write(_USER)}
    answer = {"role": "assistant", "content": write(_ANSWER)}
    render = functools.partial(chat_template.render, template, variables, _SOME_DAY)
    plain, prompt = (render([question], add_generation_prompt=add) for add in (False, True))
    before, _, after = render([question, answer, question]).partition(_ANSWER)
    if not all(_USER in text for text in (plain, prompt, before)):
        return Around()
    plain, prompt, opened = (text.partition(_USER)[2] for text in (plain, prompt, before))
    return Around(plain, prompt, opened, after)


def header(
    around: Around, tokenizer: tokenizers.Tokenizer, ends: Collection[int]
) -> tuple[int, ...]:
    """The ids of an answer's header: what the generation prompt and a written answer share.

    `ends` end turns, and so the question's. White space at the end of a header is left out, since
    it may be taken together with the answer's. Nothing where the header does not begin with a
    control token.
    """
    shared = _shared(around, tokenizer)
    last_end = max((at for at, id in enumerate(shared) if id in ends), default=-1)
    shared = shared[last_end + 1 :]
    is_opener = bool(shared) and shared[0] in tokenizer.get_added_tokens_decoder()
    return tuple(shared) if is_opener else ()


def _shared(around: Around, tokenizer: tokenizers.Tokenizer) -> list[int]:
    """What the generation prompt and a written answer share, behind the end of the question.

    Where there is no generation prompt, the end of the question is a header, as for Mistral.
    """
    prompt, opened = (_ids(text, tokenizer) for text in (around.prompt, around.opened))
    if around.plain == around.prompt:
        return prompt if prompt == opened else []
    plain = list(tokenizer.encode(around.plain, add_special_tokens=False).ids)
    first = len(_common(plain, prompt))
    return _common(prompt[first:], opened[first:]) if prompt[:first] == opened[:first] else []


def end(around: Around, tokenizer: tokenizers.Tokenizer) -> str | None:
    """The first added token that a template writes after an answer."""
    added = tokenizer.get_added_tokens_decoder().values()
    written = control_pattern(token.content for token in added).search(around.after)
    return written[0] if written else None


def _ids(text: str, tokenizer: tokenizers.Tokenizer) -> list[int]:
    """The ids of what opens an answer, without the opener of a thought, or white space."""
    words = _OPENER.split(text)[0].rstrip()
    return list(tokenizer.encode(words, add_special_tokens=False).ids)


def _common(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """What both begin with."""
    pairs = enumerate(zip(first, second, strict=False))
    length = next((at for at, (a, b) in pairs if a != b), min(len(first), len(second)))
    return list(first[:length])
