"""A chat template as Ollama's Modelfile has it, in the language of Go's `text/template`.

What stands around the words of each role is read off the tokenizer's own chat template, and is
looked at on conversations of many shapes: a template that writes turns by anything but their role
cannot be told by this, and is refused. White space around a message, tools and thoughts are not
looked at.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from chatdata.core.errors import ConfigError

_WORDS = "W0RDS"  # stands for a message's words
_ROLES = {"s": "system", "u": "user", "a": "assistant"}
# Conversations, by the roles of their turns, on which the pieces must write what the template does.
_SHAPES = ("u", "su", "ua", "sua", "uau", "suau", "uaua", "suaua", "uauauau")
Messages = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Pieces:
    """What stands around the words of each role, what opens an answer, and what stands before a
    conversation that begins without a system message."""

    around: dict[str, tuple[str, str]]
    opens: str
    start: str

    def text(self, messages: Messages, opens: bool) -> str:
        """A conversation as text; `opens` adds what opens an answer."""
        start = "" if messages[0]["role"] == "system" else self.start
        turns = (message["content"].join(self.around[message["role"]]) for message in messages)
        return start + "".join(turns) + (self.opens if opens else "")


def pieces(tokenizer: Any) -> Pieces:
    """The pieces of a tokenizer's chat template. Raises ConfigError for a template that writes
    turns by anything but their role."""

    def render(shape: str, opens: bool = False) -> str:
        return str(
            tokenizer.apply_chat_template(
                _conversation(shape), tokenize=False, add_generation_prompt=opens
            )
        )

    try:
        read = _read(render)
        is_told = all(
            read.text(_conversation(shape), opens) == render(shape, opens)
            for shape in _SHAPES
            for opens in (False, True)
            if not (opens and shape.endswith("a"))
        )
    except Exception:  # a template refuses what it cannot write in words of its own
        is_told = False
    if not is_told:
        raise ConfigError(
            "the chat template writes turns by more than their role, of which no TEMPLATE of "
            "Ollama can be made; serve the model by vLLM, or by llama.cpp with `--jinja`."
        )
    return _without_bos(read, tokenizer)


def _conversation(shape: str) -> Messages:
    """A conversation of turns of these roles, each with words of its own."""
    return [
        {"role": _ROLES[letter], "content": f"{_WORDS} {place}"}
        for place, letter in enumerate(shape, 1)
    ]


def _read(render: Any) -> Pieces:
    def added(before: str, whole: str) -> str:
        """What the last turn of a conversation adds to it."""
        return str(render(whole)).removeprefix(render(before))

    user = added("ua", "uau")
    alone = user.replace(f"{_WORDS} 3", f"{_WORDS} 1")
    second = user.replace(f"{_WORDS} 3", f"{_WORDS} 2")
    turns = {
        "system": render("su").removesuffix(second),
        "user": user,
        "assistant": added("u", "ua"),
    }
    numbers = {"system": 1, "user": 3, "assistant": 2}
    around = {role: _split(turn, f"{_WORDS} {numbers[role]}") for role, turn in turns.items()}
    opens = str(render("u", True)).removeprefix(render("u"))
    return Pieces(around, opens, render("u").removesuffix(alone))


def _split(turn: str, words: str) -> tuple[str, str]:
    before, _, after = turn.partition(words)
    return before, after


def _without_bos(read: Pieces, tokenizer: Any) -> Pieces:
    """The pieces without the token that begins a text, where the tokenizer adds this itself, as the
    programs that read a TEMPLATE do."""
    bos = tokenizer.bos_token
    if not bos or tokenizer("a").input_ids[:1] != [tokenizer.bos_token_id]:
        return read
    before, after = read.around["system"]
    around = {**read.around, "system": (before.removeprefix(bos), after)}
    return replace(read, around=around, start=read.start.removeprefix(bos))


# -------------------------------------------------------------------------------- in Go's language


def template(read: Pieces) -> str:
    """The TEMPLATE of pieces: all messages, and what opens an answer where the last one is not an
    answer that goes on."""
    lines = []
    if read.start:
        lines.append(
            '{{- with index .Messages 0 }}{{ if ne .Role "system" }}'
            f"{_literal(read.start)}{{{{ end }}}}{{{{ end }}}}"
        )
    lines.append("{{- range $i, $_ := .Messages }}")
    lines.append("{{- $last := eq (len (slice $.Messages $i)) 1 }}")
    for role, (before, after) in read.around.items():
        ends = _literal(after)
        if role == "assistant" and after:
            ends = f"{{{{ if not $last }}}}{ends}{{{{ end }}}}"
        words = f"{_literal(before)}{{{{ .Content }}}}{ends}"
        lines.append(f'{{{{- if eq .Role "{role}" }}}}{words}{{{{ end }}}}')
    lines.append(
        f'{{{{- if and $last (ne .Role "assistant") }}}}{_literal(read.opens)}{{{{ end }}}}'
    )
    lines.append("{{- end }}")
    return "\n".join(lines)


def _literal(text: str) -> str:
    """A text as an action, so that no white space is lost; nothing for no text."""
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if text else ""


def modelfile(source: str, read: Pieces, stops: list[str]) -> str:
    """A Modelfile for a model in a file or a folder, whose answers end with one of `stops`."""
    parameters = "".join(
        f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}\n" for stop in stops
    )
    return f'FROM {source}\nTEMPLATE """{template(read)}"""\n{parameters}'
