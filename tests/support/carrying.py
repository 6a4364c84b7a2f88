"""Tokenizers that carry a chat template: a base, a template's text, its control tokens added."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from chatdata.render import tokenizer as own

# What looks like a control token in the text of a template.
_CONTROL = re.compile(
    r"<[|｜][^<>|｜\s]+[|｜]>|<(?:start|end)_of_turn>|\[/?(?:INST|AVAILABLE_TOOLS|TOOL_RESULTS)\]"
    r"|\[TOOL_CALLS\]"
)
BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"


def carry(base: Path | None, template: str, to: Path, **config: Any) -> Path:
    """Writes a tokenizer folder that AutoTokenizer loads, and returns it."""
    if base is None:
        source, _ = own._builtin()
    else:
        source = (base / "tokenizer.json").read_text(encoding="utf-8")
    tokenizer = tokenizers.Tokenizer.from_str(source)
    strip, ordinary = config.pop("strip", False), config.pop("ordinary", ())
    control = [*dict.fromkeys([BOS, EOS, *_CONTROL.findall(template)])]
    tokenizer.add_tokens(
        [
            AddedToken(own, special=own not in ordinary, normalized=False, rstrip=strip)
            for own in control
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


def load(folder: Path, work: Path, **variables: Any) -> own.Tokenizer:
    """The tokenizer with its own template, as a build loads it."""
    date = variables.pop("date", None)
    own.resolve(folder, folder.name, variables, work)
    return own.load_own(work, folder.name, variables, date)
