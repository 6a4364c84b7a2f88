"""Tokenizers: one that knows a template's control tokens, and its twin that sees only text."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from chatdata.errors import RenderError
from chatdata.templates import EOS, Template, for_tokenizer

BYTES = "bytes"
FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A tokenizer with a template's control tokens added.

    `full` turns the text of a control token into its id, as transformers does; `text` never
    does: for it a message that quotes `<|end|>` is a message about six characters.
    """

    name: str
    sha256: str  # of tokenizer.json before tokens were added
    full: tokenizers.Tokenizer
    text: tokenizers.Tokenizer
    config: dict[str, Any]  # tokenizer_config.json, as the source has it
    template: Template

    def id(self, token: str) -> int:
        """The id of a control token of the template."""
        id = self.full.token_to_id(token)
        assert id is not None, token
        return id

    def control_ids(self) -> dict[str, int]:
        """The ids of the template's control tokens."""
        return {token: self.id(token) for token in self.template.special_tokens}

    def decode(self, ids: list[int]) -> str:
        """The text of some ids, control tokens included."""
        return str(self.full.decode(ids, skip_special_tokens=False))

    def save(self, folder: Path) -> list[Path]:
        """Writes what `AutoTokenizer.from_pretrained(folder)` needs, template included."""
        folder.mkdir()
        config = {
            **self.config,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "additional_special_tokens": list(self.template.special_tokens),
        }
        contents = {
            "tokenizer.json": self.full.to_str(pretty=True),
            "tokenizer_config.json": json.dumps(config, indent=2, sort_keys=True) + "\n",
            "chat_template.jinja": self.template.jinja(),
        }
        for name, content in contents.items():
            (folder / name).write_text(content, encoding="utf-8")
        return [folder / name for name in contents]


def load(folder: Path | None, name: str, template: Template, system: str | None) -> Tokenizer:
    """The tokenizer in a folder (or the built-in byte tokenizer, for None), with the template's
    tokens added. Raises RenderError where the folder holds no tokenizer that can be used."""
    source, config = _builtin() if folder is None else _read(folder)
    fitted = _fit(template, config, system, name)
    full = _parse(source, name)
    full.no_truncation()
    full.no_padding()
    new = [token for token in fitted.special_tokens if not _is_added(full, token)]
    full.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in new])
    digest = hashlib.sha256(source.encode()).hexdigest()
    return Tokenizer(name, digest, full, _text_only(full, fitted), config, fitted)


def _read(folder: Path) -> tuple[str, dict[str, Any]]:
    folder = folder.parent if folder.is_file() else folder
    texts = {}
    for name in FILES:
        path = folder / name
        texts[name] = path.read_text(encoding="utf-8") if path.is_file() else None
    source = texts["tokenizer.json"]
    if source is None:
        raise RenderError(
            f"'{folder}' holds no tokenizer.json; save a fast tokenizer there with transformers' "
            "AutoTokenizer.save_pretrained."
        )
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        config |= json.loads(texts[name] or "{}")
    config.pop("chat_template", None)
    return source, config


def _parse(source: str, name: str) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(source)
    except Exception as error:  # the library raises bare Exception
        raise RenderError(f"tokenizer '{name}' cannot be read: {error}.") from None


def _fit(template: Template, config: dict[str, Any], system: str | None, name: str) -> Template:
    eos = config.get("eos_token")
    eos = eos.get("content") if isinstance(eos, dict) else eos
    if EOS in template.special_tokens and not eos:
        raise RenderError(
            f"template '{template.name}' ends answers with the tokenizer's end-of-text token, and "
            f"tokenizer '{name}' names none; set eos_token in its tokenizer_config.json."
        )
    return for_tokenizer(template, str(eos), system)


def _is_added(tokenizer: tokenizers.Tokenizer, token: str) -> bool:
    return any(added.content == token for added in tokenizer.get_added_tokens_decoder().values())


def _text_only(full: tokenizers.Tokenizer, template: Template) -> tokenizers.Tokenizer:
    """The same tokenizer for which control tokens are ordinary text, and that adds none.

    Tokens stay in the file, since the ids of the others would move if they were taken out.
    Without a post-processor offsets cover white space too.
    """
    source = json.loads(full.to_str())
    for token in source["added_tokens"]:
        token["special"] = token["special"] or token["content"] in template.special_tokens
    source["post_processor"] = None
    text = tokenizers.Tokenizer.from_str(json.dumps(source))
    text.encode_special_tokens = True
    return text


def _builtin() -> tuple[str, dict[str, Any]]:
    """A tokenizer of 256 bytes, whose ids are the bytes, and an end-of-text token."""
    end = "<|endoftext|>"
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=_byte_vocabulary(), merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(end, special=True, normalized=False)])
    return tokenizer.to_str(), {"eos_token": end}


def _byte_vocabulary() -> dict[str, int]:
    """Byte-level BPE's printable stand-in for each byte (the mapping of GPT-2's encoder)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable}
    letters |= {byte: chr(256 + i) for i, byte in enumerate(others)}
    return {letters[byte]: byte for byte in range(256)}
