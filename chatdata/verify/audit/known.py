"""What the checks have to know: a tokenizer's control tokens and ends, and evaluation sets."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import tokenizers

from chatdata.render import tokenizer as reading
from chatdata.render.control_tokens import CONTENT_TAGS, control_pattern, text_only
from chatdata.render.encoding import admission
from chatdata.render.encoding.encoder import EncoderDiffers, FastEncoder
from chatdata.render.encoding.libraries import Encoder, ReferenceEncoder
from chatdata.sources import File
from chatdata.steps import contamination, evaluation_sets
from chatdata.steps.contamination import Index, Rule
from chatdata.verify.audit import around

# Control tokens as chat templates write them, for texts that come without a tokenizer.
FORMS = re.compile(
    r"<\|[a-z][a-z0-9_]{1,40}\|>"  # <|im_start|>, <|end|>, <|eot_id|>, <|endoftext|>
    r"|<｜[^<>｜\n]{1,40}｜>"  # DeepSeek
    r"|<(?:start|end)_of_turn>|<\|?turn\|?>|<(?:bos|eos)>"  # Gemma
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]|<</?SYS>>"
    r"|</s>\s*(?:<s>|\Z)"
)
# Tokens that end a turn in one template or another.
_ENDS = (
    *("<|im_end|>", "<|end|>", "<|eot_id|>", "<|eom_id|>", "<|return|>", "<|call|>"),
    *("<end_of_turn>", "<turn|>", "<|end_of_turn|>", "<|eot|>", "<|END_OF_TURN_TOKEN|>"),
    *(
        "<|end_of_role|>",
        "<|user_end|>",
        "<｜end▁of▁sentence｜>",
        "<|endofturn|>",
        "<end_of_utterance>",
        "</s>",
    ),
)
_MANY_CHARACTERS = 2_000_000  # for which a faster library is worth its examination
_BLANK = "ĠĊĉč▁ \n\r\t"
_BLANK_BYTES = ("<0x09>", "<0x0A>", "<0x0D>", "<0x20>")
RULE = Rule(ngram=13, min_words=8, common=3)

# What is said where a need of a check is not met.
UNMET = {
    "tokenizer": "give --tokenizer",
    "begin": "the tokenizer names no begin token, or ends and pads with the same",
    "ends": "the tokenizer has no end token that is known",
    "header": "the tokenizer's chat template opens an answer with no control token",
    "evaluation": "name test sets with --eval FILE",
}


@dataclass(frozen=True, eq=False)
class Known:
    """What is known; an attribute is None (or empty) where nothing is known of it."""

    tokenizer: tokenizers.Tokenizer | None = None
    begin: int | None = None
    pad: int | None = None
    ends: frozenset[int] = frozenset()
    header: tuple[int, ...] = ()  # of an answer: what the generation prompt writes
    evaluation: Index | None = None
    size: int | None = None  # ids of the tokenizer are smaller
    blanks: frozenset[int] = frozenset()  # white space

    @functools.cached_property
    def control(self) -> re.Pattern[str]:
        """A pattern of control tokens: the tokenizer's, or the well-known forms without one."""
        return FORMS if self.tokenizer is None else control_pattern(self.control_hints)

    @functools.cached_property
    def control_hints(self) -> list[str]:
        """Strings of which a text has to hold one, to hold a control token."""
        if self.tokenizer is None:
            return ["<", "["]
        added = self.tokenizer.get_added_tokens_decoder().values()
        return sorted({token.content for token in added if token.special} - CONTENT_TAGS)

    def sizes(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """How many tokens texts are, control tokens in them as text.

        A faster library counts many texts, if one is installed and passes its examination.
        """
        assert self.tokenizer is not None
        is_worth_it = sum(map(len, texts)) > _MANY_CHARACTERS
        encoder = self._fast_encoder if is_worth_it else self._reference
        try:
            encoded = encoder.encode(texts)
        except EncoderDiffers:
            encoded = self._reference.encode(texts)
        return np.diff(encoded.offsets)

    @functools.cached_property
    def _reference(self) -> Encoder:
        assert self.tokenizer is not None
        return ReferenceEncoder(text_only(self.tokenizer, ()))

    @functools.cached_property
    def _fast_encoder(self) -> Encoder:
        assert self.tokenizer is not None
        admitted = admission.admit(text_only(self.tokenizer, ()))
        return admitted.session() if isinstance(admitted, FastEncoder) else self._reference

    def unmet(self, needs: Sequence[str]) -> str:
        """Why a check with these needs cannot look; empty where it can."""
        missing = [name for name in needs if getattr(self, name) in (None, (), frozenset())]
        if self.tokenizer is None and any(name != "evaluation" for name in missing):
            return UNMET["tokenizer"]
        return UNMET[missing[0]] if missing else ""

    def words(self, ids: Sequence[int]) -> str:
        """The text of some ids; the ids themselves without a tokenizer."""
        if self.tokenizer is None:
            return " ".join(map(str, ids))
        known_ids = [id for id in ids if 0 <= id < (self.size or 0)]
        return str(self.tokenizer.decode(known_ids, skip_special_tokens=False))


def without_tokenizer(evaluation: Sequence[Path] = ()) -> Known:
    """What is known of evaluation sets alone. Raises SourceError for one that cannot be read."""
    return Known(evaluation=_index(evaluation))


def of_folder(tokenizer: Path | None, evaluation: Sequence[Path] = ()) -> Known:
    """What is known of the tokenizer of a built folder, or of nothing but evaluation sets where the
    folder has none. Raises as `of_tokenizer`."""
    if tokenizer is None:
        return without_tokenizer(evaluation)
    return of_tokenizer(tokenizer, tokenizer.parent.name, evaluation)


def of_tokenizer(folder: Path | None, name: str, evaluation: Sequence[Path] = ()) -> Known:
    """What is known of the tokenizer in a folder, and of evaluation sets.

    None stands for the built-in tokenizer of bytes. Raises RenderError for a tokenizer and
    SourceError for a set that cannot be read.
    """
    source = reading.read(folder, name)
    tokenizer = reading.parse(source.text, name)
    named = {key: _content(source.config.get(f"{key}_token")) for key in ("bos", "eos", "pad")}
    template = _template(folder) if folder else None
    written = around.of_template(template, named) if template else around.Around()
    end = around.end(written, tokenizer)
    names = {named["eos"], end, *set(_ENDS).intersection(_added(tokenizer))}
    ends = frozenset(id for name in names if (id := _id(tokenizer, name)) is not None)
    ids = {key: _id(tokenizer, token) for key, token in named.items()}
    vocabulary = tokenizer.get_vocab()
    return Known(
        tokenizer,
        begin=None if ids["bos"] in (ids["eos"], ids["pad"]) else ids["bos"],
        pad=ids["pad"],
        ends=ends,
        header=around.header(written, tokenizer, ends),
        evaluation=_index(evaluation),
        size=1 + max(vocabulary.values(), default=-1),
        blanks=frozenset(id for token, id in vocabulary.items() if _is_blank(token)),
    )


def _index(paths: Sequence[Path]) -> Index | None:
    if not paths:
        return None
    texts = [evaluation_sets.texts(File(path, path.name), ()) for path in paths]
    return contamination.index(pl.concat(texts), RULE)


def _is_blank(token: str) -> bool:
    """Whether a token of a vocabulary, in which bytes have pictures, is white space."""
    return not token.strip(_BLANK) or token in _BLANK_BYTES


def _content(token: object) -> str | None:
    """The text of a special token in a tokenizer's configuration."""
    value = token.get("content") if isinstance(token, Mapping) else token
    return value if isinstance(value, str) else None


def _id(tokenizer: tokenizers.Tokenizer, token: str | None) -> int | None:
    return None if token is None else tokenizer.token_to_id(token)


def _added(tokenizer: tokenizers.Tokenizer) -> list[str]:
    return [token.content for token in tokenizer.get_added_tokens_decoder().values()]


def _template(folder: Path) -> str | None:
    """The chat template that lies beside a tokenizer; None without a template."""
    folder = folder.parent if folder.is_file() else folder
    beside = folder / "chat_template.jinja"
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template}
        template = named.get("default")
    return template if isinstance(template, str) else None
