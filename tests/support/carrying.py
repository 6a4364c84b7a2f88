"""Tokenizers that carry a chat template: a base, a template's text, its control tokens added."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from chatdata.render.byte_tokenizer import byte_tokenizer
from chatdata.render.options import Render
from chatdata.render.templates import TEMPLATES
from chatdata.render.tokenizer import Tokenizer

# What looks like a control token in the text of a template.
_CONTROL = re.compile(
    r"<[|｜][^<>|｜\s]+[|｜]>|<(?:start|end)_of_turn>|\[/?(?:INST|AVAILABLE_TOOLS|TOOL_RESULTS)\]"
    r"|\[TOOL_CALLS\]"
)
_MORE = re.compile(
    r"<[|｜]?[A-Za-z_/][\w▁:-]*[|｜]>|<[|｜][\w▁:-]+[|｜]?>|<(?:/s|s|eos|bos|sep|end_of_utterance)>"
)
BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"


def carry(base: Path | None, template: str, to: Path, **config: Any) -> Path:
    """Writes a tokenizer folder that AutoTokenizer loads, and returns it."""
    if base is None:
        source, _ = byte_tokenizer()
    else:
        source = (base / "tokenizer.json").read_text(encoding="utf-8")
    tokenizer = tokenizers.Tokenizer.from_str(source)
    strip, ordinary = config.pop("strip", False), config.pop("ordinary", ())
    more = _MORE.findall(template) if config.pop("more", False) else []
    control = [*dict.fromkeys([BOS, EOS, *_CONTROL.findall(template), *more])]
    tokenizer.add_tokens(
        [
            AddedToken(token, special=token not in ordinary, normalized=False, rstrip=strip)
            for token in control
        ]
    )
    to.mkdir(parents=True)
    (to / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    values = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        **config,
    }
    (to / "tokenizer_config.json").write_text(json.dumps(values), encoding="utf-8")
    (to / "chat_template.jinja").write_text(template, encoding="utf-8")
    return to


def load(folder: Path, work: Path, **variables: Any) -> Tokenizer:
    """The tokenizer with the template that it carries, as a build loads it."""
    date = variables.pop("date", None)
    add_end = variables.pop("add_end", False)
    options = Render(
        tokenizer="t", template="tokenizer", variables=variables, date=date, add_end=add_end
    )
    template = TEMPLATES[options.template]
    return template.load(template.prepare(folder, folder.name, options, work), folder.name, options)
