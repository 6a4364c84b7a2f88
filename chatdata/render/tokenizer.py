"""Tokenizers: one that knows a template's control tokens, and its twin that sees only text."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import tokenizers
from tokenizers import AddedToken

from chatdata.core.errors import RenderError
from chatdata.render.byte_tokenizer import byte_tokenizer
from chatdata.render.control_tokens import ControlTokens, behind_the_start, text_only
from chatdata.render.template import Template

BYTES = "bytes"
_AGAIN = "download it again, or save the tokenizer with transformers' save_pretrained."
_VOCABULARIES = (
    *("tokenizer.json", "tokenizer.*.json", "vocab.json", "merges.txt", "vocab.txt"),
    *("tokenizer.model*", "spiece.model", "sentencepiece.bpe.model", "tiktoken.model"),
    "tekken.json",
)
# What transformers may read to make a tokenizer, as patterns of names in a repository.
FILES = (
    *_VOCABULARIES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "config.json",
    "chat_template.jinja",
    "additional_chat_templates/*.jinja",
)
SHA256_FILE = "source.sha256"  # in a folder that was made of another: the hash of its tokenizer
# Keys of tokenizer_config.json that tell transformers to make another tokenizer of the files.
_FOR_OTHER_FILES = ("auto_map", "fast_tokenizer_files", "fix_mistral_regex")


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer with a template's control tokens added.

    `full` turns the text of a control token into its id, as transformers does; `text` never
    does: for it a message that quotes `<|end|>` is a message about seven characters. `text` is for
    texts behind a control token, `text_at_start` for those that begin a row; where a tokenizer
    writes them alike, both are one.
    """

    name: str
    sha256: str  # of tokenizer.json before tokens were added
    full: tokenizers.Tokenizer
    text: tokenizers.Tokenizer
    text_at_start: tokenizers.Tokenizer
    config: dict[str, Any]  # tokenizer_config.json, as the source has it
    template: Template
    markers: tuple[str, ...] = ()  # what else marks turns: added tokens that are not special

    @functools.cached_property
    def control(self) -> ControlTokens:
        """The control tokens: what a text must never turn into."""
        return ControlTokens(self.full, (*self.template.special_tokens, *self.markers))

    def id(self, token: str) -> int:
        """The id of a control token of the template."""
        id = self.full.token_to_id(token)
        assert id is not None, token
        return id

    def control_ids(self) -> dict[str, int]:
        """The ids of the control tokens that the template writes."""
        tokens = self.template.special_tokens or sorted(self._written())
        return {token: self.id(token) for token in tokens}

    def _written(self) -> set[str]:
        messages = [{"role": role, "content": "x"} for role in ("user", "assistant")] * 2
        return set(self.control.pattern.findall(self.template.text(messages)))

    def stops(self) -> list[int]:
        """The ids that end an answer, in their order."""
        return [self.id(token) for token in self.control.pattern.findall(self.template.stop)]

    def decode(self, ids: list[int]) -> str:
        """The text of some ids, control tokens included."""
        return str(self.full.decode(ids, skip_special_tokens=False))

    def save(self, folder: Path) -> list[Path]:
        """Writes what `AutoTokenizer.from_pretrained(folder)` needs, template included."""
        folder.mkdir()
        config = {k: v for k, v in self.config.items() if k not in _FOR_OTHER_FILES}
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        if self.template.special_tokens:
            config["additional_special_tokens"] = list(self.template.special_tokens)
        contents = {
            "tokenizer.json": self.full.to_str(pretty=True),
            "tokenizer_config.json": json.dumps(config, indent=2, sort_keys=True) + "\n",
            "chat_template.jinja": self.template.jinja(),
        }
        for name, content in contents.items():
            (folder / name).write_text(content, encoding="utf-8")
        return [folder / name for name in contents]


class Source(NamedTuple):
    """A tokenizer as it stands in a folder."""

    text: str  # tokenizer.json
    config: dict[str, Any]  # tokenizer_config.json, without the chat template
    hash: str = ""  # of the tokenizer.json that transformers made this of, if it did

    @property
    def sha256(self) -> str:
        """The SHA-256 of the tokenizer.json of the folder that was named, in hex."""
        return self.hash or hashlib.sha256(self.text.encode()).hexdigest()


def with_template(
    full: tokenizers.Tokenizer,
    template: Template,
    *,
    name: str,
    sha256: str,
    config: dict[str, Any],
    markers: Sequence[str] = (),
) -> Tokenizer:
    """The tokenizer with a template's tokens added; `full` becomes part of it.

    `markers` are added tokens by which the template marks turns, though they are not special.
    """
    added = {token.content for token in full.get_added_tokens_decoder().values()}
    new = [token for token in template.special_tokens if token not in added]
    full.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in new])
    at_start = text_only(full, [*template.special_tokens, *markers])
    text = behind_the_start(at_start)
    return Tokenizer(name, sha256, full, text, at_start, config, template, tuple(markers))


def read(folder: Path | None, name: str) -> Source:
    """The tokenizer in a folder; None stands for the built-in tokenizer of bytes.

    Raises RenderError where the folder holds no tokenizer that can be used.
    """
    if folder is None:
        return Source(*byte_tokenizer())
    folder = folder.parent if folder.is_file() else folder
    if not (folder / "tokenizer.json").is_file():
        raise no_tokenizer(folder)
    text = _text(folder / "tokenizer.json")
    made_of = folder / SHA256_FILE
    return Source(text, read_config(folder), _text(made_of) if made_of.is_file() else "")


def has_vocabulary(folder: Path) -> bool:
    """Whether a folder holds a file of which a tokenizer can be made."""
    return any(next(folder.glob(pattern), None) for pattern in _VOCABULARIES)


def no_tokenizer(folder: Path) -> RenderError:
    """The error that a folder holds no tokenizer, with the way out."""
    return RenderError(
        f"'{folder}' holds no tokenizer.json; save a fast tokenizer there with transformers' "
        "AutoTokenizer.save_pretrained."
    )


def read_config(folder: Path) -> dict[str, Any]:
    """The keys in the configuration of a tokenizer's folder, without the chat template.

    Raises RenderError where a file is no JSON object.
    """
    config = _mapping(folder / "special_tokens_map.json") | _mapping(
        folder / "tokenizer_config.json"
    )
    config.pop("chat_template", None)
    return config


def added_tokens(text: str, name: str) -> list[dict[str, Any]]:
    """The added tokens in a tokenizer.json.

    Raises RenderError where the library cannot read it.
    """
    try:
        return list(orjson.loads(text)["added_tokens"])
    except (ValueError, KeyError, TypeError):
        parse(text, name)
        return []


def parse(text: str, name: str) -> tokenizers.Tokenizer:
    """The tokenizer of a tokenizer.json, which cuts no text and pads none.

    Raises RenderError where the library cannot read it.
    """
    try:
        tokenizer = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception
        raise RenderError(f"tokenizer '{name}' cannot be read: {error}.") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def version() -> str:
    """The version of the `tokenizers` library."""
    return str(tokenizers.__version__)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RenderError(
            f"'{path}' is not a text file (byte {error.start} is not UTF-8); {_AGAIN}"
        ) from None


def _mapping(path: Path) -> dict[str, Any]:
    """The keys in a JSON file; none where there is no such file."""
    if not path.is_file():
        return {}
    try:
        values = json.loads(_text(path) or "{}")
    except ValueError as error:
        raise RenderError(f"'{path}' is not valid JSON ({error}); {_AGAIN}") from None
    if not isinstance(values, dict):
        raise RenderError(f"'{path}' holds no keys (a JSON object is expected); {_AGAIN}")
    return values
