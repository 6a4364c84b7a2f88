"""Which tokenizers a fast library is trusted with: rules about their tokenizer.json, and a test.

The rules are tables: families of tokenizers whose pre-tokenizer the library is known to get right,
and what the model and the normalizer may hold. A tokenizer outside the tables is left to
`tokenizers`, and a tokenizer inside has to pass the hard strings too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import tokenizers

from chatdata.render.encoding import coverage, hard_strings, libraries
from chatdata.render.encoding.byte_level import byte_letters
from chatdata.render.encoding.encoded import differences
from chatdata.render.encoding.encoder import FastEncoder, shorten
from chatdata.render.encoding.libraries import Library, ReferenceEncoder, call_rust

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a tokenizer is left to `tokenizers`; the manifest holds the reason."""

    reason: str


# ---------------------------------------------------------------------------------- the rules


class Family(NamedTuple):
    """Tokenizers that cut texts alike before the merges."""

    members: str  # some of those that were admitted, and are exact
    stages: tuple[Json, ...]  # of the pre-tokenizer, each with the settings that count


def _split(pattern: str) -> Json:
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }


_WORDS_OF_GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}

GPT2 = Family("GPT-2, GPT-NeoX, SmolLM2", (_WORDS_OF_GPT2,))
STARCODER = Family(
    "StarCoder, StarCoder2",
    ({"type": "Digits", "individual_digits": True}, _WORDS_OF_GPT2),
)
QWEN = Family(
    "Qwen 2 and 3",
    (
        _split(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        _BYTES,
    ),
)
LLAMA3 = Family(
    "Llama 3",
    (
        _split(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        _BYTES,
    ),
)
FAMILIES = (GPT2, STARCODER, QWEN, LLAMA3)

_MODEL = "BPE"
_UNSET = (  # settings of a model that change its ids, and that no admitted model has
    *("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"),
    "byte_fallback",
)
_NORMALIZERS = (None, "NFC")


def _is_plain_bpe(source: Json) -> bool:
    model = source["model"]
    return model["type"] == _MODEL and not any(model.get(key) for key in _UNSET)


def _has_known_normalizer(source: Json) -> bool:
    return (source["normalizer"] or {}).get("type") in _NORMALIZERS


def family_of(source: Json) -> Family | None:
    """The family of a tokenizer.json, by its pre-tokenizer; None where the stages are unknown."""
    stages = _stages(source["pre_tokenizer"])
    return next((family for family in FAMILIES if _matches(stages, family.stages)), None)


# Parts of a tokenizer.json, in the order in which the parts are looked at.
RULES: tuple[tuple[str, Callable[[Json], bool]], ...] = (
    ("model", _is_plain_bpe),
    ("normalizer", _has_known_normalizer),
    ("pre-tokenizer", lambda source: family_of(source) is not None),
)


def _stages(pre_tokenizer: Json | None) -> list[Json]:
    if pre_tokenizer is None:
        return []
    return list(pre_tokenizer.get("pretokenizers", [pre_tokenizer]))


def _matches(stages: Sequence[Json], expected: Sequence[Json]) -> bool:
    return len(stages) == len(expected) and all(
        stage.get(key) == value
        for stage, settings in zip(stages, expected, strict=True)
        for key, value in settings.items()
    )


# ------------------------------------------------------------------------------------ the test


def admit(text: tokenizers.Tokenizer, library: Library | None = None) -> FastEncoder | Refusal:
    """A fast encoder that agrees with `text` on all hard strings, or the reason for a refusal.

    `text` has to encode its special tokens as text. The library is fastokens unless another is
    given. Takes about a second.
    """
    fast = prepare(text, library)
    if isinstance(fast, Refusal):
        return fast
    strings = hard_strings.strings(text)
    try:
        actual = call_rust(fast.encode, strings)
    except Exception as error:
        return Refusal(f"{fast.name} raised {error!r}")
    wrong = list(differences(fast.reference.encode(strings), actual))
    if wrong:
        first = shorten(strings[wrong[0]])
        return Refusal(
            f"{fast.name} differs on {len(wrong)} of {len(strings)} strings, first on {first}"
        )
    return fast


def prepare(text: tokenizers.Tokenizer, library: Library | None = None) -> FastEncoder | Refusal:
    """The encoder that `admit` would test: for a process whose parent has admitted the encoder."""
    library = library or libraries.fastokens()
    if library is None:
        return Refusal("fastokens is not installed")
    source = orjson.loads(text.to_str())
    for part, holds in RULES:
        if not holds(source):
            return Refusal(f"its {part} is not one that {library.name} is known to get right")
    plain, table = _for_library(source)
    try:
        raw_encode = call_rust(library.load, orjson.dumps(plain).decode())
    except Exception as error:
        return Refusal(f"{library.name} cannot read it: {error}")
    return FastEncoder(library.name, raw_encode, table, ReferenceEncoder(text))


# ------------------------------------------------------------------- what the library is given


def _for_library(source: Json) -> tuple[Json, coverage.Classes]:
    """The tokenizer.json as the library reads it, and the classes of all code points, flagged
    where the library would get them wrong."""
    table = coverage.class_table().copy()
    table[_unspellable(source["model"]["vocab"])] |= coverage.NEEDS_FALLBACK
    plain = _without_special_tokens(source)
    if _digits_can_be_tokens(plain):
        plain = _with_digits_as_tokens(plain)
        table[coverage.numeric_or_unassigned()] |= coverage.NEEDS_FALLBACK
    return plain, table


def _without_special_tokens(source: Json) -> Json:
    """A tokenizer.json to which the text of a special token is text; ids do not move."""
    added = [token for token in source["added_tokens"] if not token["special"]]
    return {**source, "added_tokens": added, "post_processor": None}


_DIGITS = "0123456789"


def _digits_can_be_tokens(source: Json) -> bool:
    """Whether the ten digits may become added tokens, in place of the stage that cuts them off.

    Added tokens are cut out of a text before anything else happens to the text. That gives the
    same pieces as the stage does, and a library needs to know no more than the words of GPT-2.
    """
    added, vocabulary = source["added_tokens"], source["model"]["vocab"]
    return (
        family_of(source) is STARCODER
        and source["normalizer"] is None
        and all(digit in vocabulary for digit in _DIGITS)
        and not any(token["single_word"] or set(token["content"]) & set(_DIGITS) for token in added)
    )


def _with_digits_as_tokens(source: Json) -> Json:
    flags = dict.fromkeys(("special", "normalized", "single_word", "lstrip", "rstrip"), False)
    vocabulary = source["model"]["vocab"]
    digits = [{"id": vocabulary[digit], "content": digit, **flags} for digit in _DIGITS]
    return {
        **source,
        "added_tokens": [*source["added_tokens"], *digits],
        "pre_tokenizer": _stages(source["pre_tokenizer"])[-1],
    }


def _unspellable(vocabulary: Mapping[str, int]) -> npt.NDArray[np.bool_]:
    """For every code point, whether the vocabulary lacks a byte of its UTF-8."""
    lacks = np.asarray([letter not in vocabulary for letter in byte_letters()])
    unspellable = np.zeros(coverage.CODE_POINTS, np.bool_)
    scalars = np.delete(np.arange(coverage.CODE_POINTS, dtype="<u4"), slice(0xD800, 0xE000))
    utf8 = np.frombuffer(scalars.tobytes().decode("utf-32-le").encode(), np.uint8)
    first_bytes = np.flatnonzero(utf8 & 0xC0 != 0x80)
    unspellable[scalars] = np.logical_or.reduceat(lacks[utf8], first_bytes)
    return unspellable
