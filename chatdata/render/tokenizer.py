"""Tokenizers: one that knows a template's control tokens, and its twin that sees only text."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from chatdata.core.errors import RenderError
from chatdata.render import chat_template
from chatdata.render.chat_template import ChatTemplate
from chatdata.render.templates import EOS, Template, for_tokenizer

BYTES = "bytes"
_RESOLVED = "resolved.json"
_AGAIN = "download it again, or save the tokenizer with transformers' save_pretrained."
_SOME_TIME = datetime.time(11, 22, 33, 44)
FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)


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
    template: Template | ChatTemplate
    markers: tuple[str, ...] = ()  # what else marks turns: added tokens that are no special ones

    def id(self, token: str) -> int:
        """The id of a control token of the template."""
        id = self.full.token_to_id(token)
        assert id is not None, token
        return id

    def special_ids(self) -> dict[str, int]:
        """All control tokens and their ids: what a text must never turn into."""
        added = self.full.get_added_tokens_decoder()
        own = {token.content: id for id, token in added.items() if token.special}
        more = (*self.template.special_tokens, *self.markers)
        return own | {token: self.id(token) for token in more}

    def control_ids(self) -> dict[str, int]:
        """The ids of the control tokens that the template writes."""
        written = self.template.special_tokens or sorted(self._written())
        return {token: self.id(token) for token in written}

    def _written(self) -> set[str]:
        assert isinstance(self.template, ChatTemplate)
        talk = [{"role": role, "content": "x"} for role in ("user", "assistant")] * 2
        return set(self.pattern().findall(self.template.text(talk)))

    def stops(self) -> list[int]:
        """The ids that end an answer, in their order."""
        return [self.id(token) for token in self.pattern().findall(self.template.stop)]

    def swallowing(self) -> frozenset[str]:
        """The control tokens that swallow the white space behind them (`rstrip`)."""
        added, control = self.full.get_added_tokens_decoder().values(), self.special_ids()
        return frozenset(t.content for t in added if t.content in control and t.rstrip)

    def pattern(self) -> re.Pattern[str]:
        """Matches a special token in a text; the longest of those that begin at a place."""
        return control_pattern(self.special_ids())

    def decode(self, ids: list[int]) -> str:
        """The text of some ids, control tokens included."""
        return str(self.full.decode(ids, skip_special_tokens=False))

    def save(self, folder: Path) -> list[Path]:
        """Writes what `AutoTokenizer.from_pretrained(folder)` needs, template included."""
        folder.mkdir()
        config = {
            **self.config,
            "tokenizer_class": "PreTrainedTokenizerFast",
        }
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
    return Tokenizer(name, digest, full, _text_only(full, fitted.special_tokens), config, fitted)


def load_own(folder: Path, name: str, variables: dict[str, Any], date: date | None) -> Tokenizer:
    """The tokenizer with its own chat template, from a folder that `resolve` wrote.

    `variables` are given to the template, and `date` is its clock. Raises RenderError where the
    template cannot be rendered exactly.
    """
    source = (folder / "tokenizer.json").read_text(encoding="utf-8")
    facts = json.loads((folder / _RESOLVED).read_text(encoding="utf-8"))
    full = _parse(source, name)
    full.no_truncation()
    full.no_padding()
    added = {token.content: token for token in full.get_added_tokens_decoder().values()}
    source, values = facts["template"], {**facts["tokens"], **variables}
    ordinary = [content for content, token in added.items() if not token.special]
    markers = tuple(chat_template.markers(source, values, date, ordinary))
    control = {own: added[own] for own in added if added[own].special or own in markers}
    swallow = any(t.lstrip or t.rstrip or t.single_word for t in control.values())
    pattern = control_pattern(control)
    template = chat_template.read(source, values, date, pattern, compiles=not swallow)
    text = _text_only(full, markers)
    return Tokenizer(name, facts["sha256"], full, text, facts["config"], template, markers)


def resolve(folder: Path | None, name: str, variables: dict[str, Any], to: Path) -> None:
    """Writes what transformers makes of a tokenizer that carries a chat template.

    Raises RenderError where there is none, or where transformers writes it in another way than
    `chat_template` does.
    """
    if folder is None:
        raise RenderError(
            f"tokenizer '{name}' carries no chat template; choose the template starchat, chatml "
            "or dialogue, or a model's tokenizer."
        )
    source, config = _read(folder)
    own, written = _with_transformers(folder, name)
    tokens = {k: v for k, v in own.special_tokens_map.items() if isinstance(v, str)}
    _compare(own, written, {**tokens, **variables}, variables, name)
    facts = {
        "sha256": hashlib.sha256(source.encode()).hexdigest(),
        "config": {**config, **tokens},
        "tokens": tokens,
        "template": written,
    }
    to.mkdir()
    (to / "tokenizer.json").write_text(own.backend_tokenizer.to_str(), encoding="utf-8")
    (to / _RESOLVED).write_text(json.dumps(facts), encoding="utf-8")


def _with_transformers(folder: Path, name: str) -> tuple[Any, str]:
    """The tokenizer as transformers loads it, and its chat template."""
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise RenderError(
            "a tokenizer's own chat template is read by transformers, which is not installed; "
            "pip install 'chatdata[train]'."
        ) from None
    try:
        own = AutoTokenizer.from_pretrained(folder)
        return own, own.get_chat_template()
    except Exception as error:  # whatever it raises, the folder cannot be used
        reason = str(error).strip().splitlines()[0]
        raise RenderError(
            f"tokenizer '{name}' cannot be used with a chat template of its own: {reason} Choose "
            "the template starchat, chatml or dialogue, or put a chat_template.jinja beside it."
        ) from None


def _compare(
    own: Any, written: str, values: dict[str, Any], variables: dict[str, Any], name: str
) -> None:
    """Compares with transformers, today's date given to both.

    A template that writes more of the clock than the date differs from second to second.
    """
    today = datetime.date.today()
    later = datetime.datetime.combine(today, _SOME_TIME)
    for talk in chat_template.probes():
        with contextlib.suppress(chat_template.UnrenderableError):
            text = chat_template.render(written, values, today, talk)
            if text != chat_template.render(written, values, later, talk):
                raise RenderError(
                    f"the chat template of tokenizer '{name}' writes the time of day, which no "
                    "render.date can stop; take it out of the template, or choose the template "
                    "starchat, chatml or dialogue."
                )
            other = own.apply_chat_template(talk, tokenize=False, **variables)
            if text != other and today == datetime.date.today():
                raise RenderError(
                    f"the chat template of tokenizer '{name}' means something else to "
                    "transformers than to chatdata; please report it with the template."
                )


def version() -> str:
    """The version of the `tokenizers` library."""
    return str(tokenizers.__version__)


def control_pattern(tokens: Iterable[str]) -> re.Pattern[str]:
    """Matches any of these tokens, a longer one before one that it begins with."""
    longest_first = sorted(tokens, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _read(folder: Path) -> tuple[str, dict[str, Any]]:
    folder = folder.parent if folder.is_file() else folder
    if not (folder / "tokenizer.json").is_file():
        raise RenderError(
            f"'{folder}' holds no tokenizer.json; save a fast tokenizer there with transformers' "
            "AutoTokenizer.save_pretrained."
        )
    source = _text(folder / "tokenizer.json")
    config = _mapping(folder / "special_tokens_map.json") | _mapping(
        folder / "tokenizer_config.json"
    )
    config.pop("chat_template", None)
    return source, config


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RenderError(
            f"'{path}' is not a text file (byte {error.start} is not UTF-8); {_AGAIN}"
        ) from None


def _mapping(path: Path) -> dict[str, Any]:
    """The keys in a JSON file; none where it is not there."""
    if not path.is_file():
        return {}
    try:
        values = json.loads(_text(path) or "{}")
    except ValueError as error:
        raise RenderError(f"'{path}' is not valid JSON ({error}); {_AGAIN}") from None
    if not isinstance(values, dict):
        raise RenderError(f"'{path}' holds no keys (a JSON object is expected); {_AGAIN}")
    return values


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


def _text_only(full: tokenizers.Tokenizer, control: Sequence[str]) -> tokenizers.Tokenizer:
    """The same tokenizer for which control tokens are ordinary text, and that adds none.

    Tokens stay in it, since the ids of the others would move if they were taken out. Without a
    post-processor offsets cover white space too. Both tokenizers have one model, which is by far
    the most of them.
    """
    text = tokenizers.Tokenizer(full.model)
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        if (own := getattr(full, part)) is not None:
            setattr(text, part, own)
    for _, token in sorted(full.get_added_tokens_decoder().items()):
        token.special = token.special or token.content in control
        text.add_tokens([token])
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
