"""The tokenizer of a build and what makes ids of texts: chosen once, loaded once a process."""

from __future__ import annotations

from dataclasses import replace

from chatdata.pipeline.context import BuildContext, EncoderChoice, TokenizerSource
from chatdata.render import tokenizer as tokenizers
from chatdata.render.encoding import admission
from chatdata.render.encoding.encoder import EncoderDiffers, FastEncoder
from chatdata.render.encoding.libraries import Encoder, ReferenceEncoder
from chatdata.render.templates import TEMPLATES
from chatdata.render.tokenizer import Tokenizer


class _ProcessCache:
    """The tokenizer that this process loaded last, and the fast encoder that was made of it."""

    def __init__(self) -> None:
        self._source: TokenizerSource | None = None
        self._tokenizer: Tokenizer | None = None
        self._fast: FastEncoder | admission.Refusal | None = None

    def tokenizer(self, source: TokenizerSource) -> Tokenizer:
        """The tokenizer of a source, loaded where the last one was of another source."""
        if self._tokenizer is None or source != self._source:
            self._source, self._tokenizer, self._fast = source, _load(source), None
        return self._tokenizer

    def admit(self, source: TokenizerSource) -> FastEncoder | admission.Refusal:
        """A fast encoder that has passed its test just now, or why there is none."""
        self._fast = admission.admit(self.tokenizer(source).text)
        return self._fast

    def fast(self, source: TokenizerSource) -> FastEncoder | admission.Refusal:
        """The fast encoder of a build that has admitted it, maybe in another process."""
        tokenizer = self.tokenizer(source)
        if self._fast is None:
            self._fast = admission.prepare(tokenizer.text)
        return self._fast


_CACHE = _ProcessCache()


def load_tokenizer(source: TokenizerSource) -> Tokenizer:
    """The tokenizer of a build; each process loads it once."""
    return _CACHE.tokenizer(source)


def choose_encoder(context: BuildContext, one_in: int | None) -> EncoderChoice:
    """The choice of what makes ids: a fast encoder that passes its test, or `tokenizers`.

    `tokenizers` encodes at least one text in `one_in` too; None: no fast encoder is used.
    """
    if context.tokenizer is None:
        return EncoderChoice()
    if one_in is None:
        return EncoderChoice(_reference())
    admitted = _CACHE.admit(context.tokenizer)
    if isinstance(admitted, admission.Refusal):
        return EncoderChoice(_reference(), remark=admitted.reason)
    return EncoderChoice(admitted.name, is_fast=True, one_in=one_in)


def without_fast(context: BuildContext, difference: EncoderDiffers) -> BuildContext:
    """The context with `tokenizers` in place of a fast encoder that was found to be wrong."""
    return replace(context, encoder=EncoderChoice(_reference(), remark=str(difference)))


def make_encoder(source: TokenizerSource, choice: EncoderChoice) -> Encoder:
    """The encoder for the texts of one part."""
    fast = _CACHE.fast(source) if choice.is_fast else None
    if isinstance(fast, FastEncoder):
        return fast.session(choice.one_in)
    return ReferenceEncoder(load_tokenizer(source).text)


def _reference() -> str:
    return f"tokenizers {tokenizers.version()}"


def _load(source: TokenizerSource) -> Tokenizer:
    return TEMPLATES[source.options.template].load(source.folder, source.name, source.options)
