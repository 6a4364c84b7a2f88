"""The libraries that encode: `tokenizers`, which is the reference, and faster libraries."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import tokenizers

from chatdata.core.errors import RenderError
from chatdata.render.encoding.audit import Audit
from chatdata.render.encoding.encoded import Encoded, batches, join

FAST = "fastokens"

_REFERENCE_CHARACTERS = 1_000_000  # in one call of `tokenizers`, which holds 100 bytes a token

Encode = Callable[[list[str]], Encoded]
Argument = TypeVar("Argument")
Result = TypeVar("Result")


class Encoder(Protocol):
    """What turns texts into ids."""

    audit: Audit

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The ids of texts; the arrays may be read-only."""


class ReferenceEncoder:
    """`tokenizers` itself, whose audit counts nothing."""

    def __init__(self, text: tokenizers.Tokenizer) -> None:
        self._text = text
        self.audit = Audit()

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The ids of texts, without special tokens around them.

        Raises RenderError for a text that the tokenizer cannot write.
        """
        return join([self._encode(batch) for batch in batches(texts, _REFERENCE_CHARACTERS)])

    def _encode(self, texts: list[str]) -> Encoded:
        try:
            encodings = self._text.encode_batch_fast(texts, add_special_tokens=False)
        except Exception as error:  # the library raises bare Exception
            raise RenderError(
                f"the tokenizer cannot write {self._unwritable(texts)!r}: {error}; choose a "
                "tokenizer with an unknown token, or with a token for each byte."
            ) from None
        offsets = np.cumsum([0, *map(len, encodings)], dtype=np.int64)
        ids = chain.from_iterable(encoding.ids for encoding in encodings)
        return Encoded(np.fromiter(ids, np.int32, int(offsets[-1])), offsets)

    def _unwritable(self, texts: list[str]) -> str:
        """The first of the characters that the tokenizer has no token for, else nothing."""
        for character in dict.fromkeys("".join(texts)):
            try:
                self._text.encode(character, add_special_tokens=False)
            except Exception:
                return character
        return ""


class Library(NamedTuple):
    """A library that reads a tokenizer.json and encodes texts, and may be wrong."""

    name: str  # with the version of the library
    load: Callable[[str], Encode]


class PanicError(Exception):
    """A library written in Rust panicked."""


def fastokens() -> Library | None:
    """The faster library that is used where it is installed; None where it is not."""
    try:
        import fastokens as library
    except ImportError:
        return None

    def load(source: str) -> Encode:
        encode = library.Tokenizer.from_json_str(source).encode_batch_flat

        def encode_flat(texts: list[str]) -> Encoded:
            ids, offsets = encode(texts)
            return Encoded(np.frombuffer(ids, np.int32), np.frombuffer(offsets, np.int64))

        return encode_flat

    return Library(f"{FAST} {importlib.metadata.version(FAST)}", load)


def call_rust(function: Callable[[Argument], Result], argument: Argument) -> Result:
    """The result of a function that calls a library written in Rust. Raises an Exception.

    A panic in Rust arrives as a BaseException, which would end the build.
    """
    try:
        return function(argument)
    except (Exception, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as panic:
        raise PanicError(str(panic)) from panic
