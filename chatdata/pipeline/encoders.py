"""The tokenizer of a build and what makes ids of texts: chosen once, loaded once a process.

A fast encoder that passed its test in an earlier build of the same versions is not tested again.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from chatdata.pipeline.cache import Kept
from chatdata.pipeline.context import BuildContext, EncoderChoice, TokenizerSource
from chatdata.pipeline.engines import Result, Task
from chatdata.pipeline.stage import Reads, Stage, key_of, run
from chatdata.render import tokenizer as tokenizers
from chatdata.render.encoding import admission, libraries
from chatdata.render.encoding.encoder import AuditedEncoder, EncoderDiffers, FastEncoder
from chatdata.render.encoding.libraries import Encoder, ReferenceEncoder
from chatdata.render.templates import TEMPLATES
from chatdata.render.tokenizer import Tokenizer

_AUDIT = "audit"  # the entries of what was compared, in the cache


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
    library = libraries.fastokens()
    try:
        name = proved(EXAMINATION, context, library.name if library else "")
    except _RefusedError as refused:
        return EncoderChoice(_reference(), remark=str(refused))
    return EncoderChoice(name, is_fast=True, one_in=one_in)


class _RefusedError(Exception):
    """A tokenizer is left to `tokenizers`. Nothing is kept of that."""


def _examined(context: BuildContext, library: str) -> str:
    """The name of the fast encoder, which has passed its test. Raises _RefusedError."""
    assert context.tokenizer is not None
    admitted = _CACHE.admit(context.tokenizer)
    if isinstance(admitted, admission.Refusal):
        raise _RefusedError(admitted.reason)
    return admitted.name


# ------------------------------------------------------------------------------ what is proved


def tokenizer_files(context: BuildContext) -> Iterator[Path]:
    """Yields what a tokenizer is loaded from."""
    folder = context.tokenizer.folder if context.tokenizer else None
    if folder is None:
        return
    folder = folder.parent if folder.is_file() else folder
    patterns = (*tokenizers.FILES, tokenizers.SHA256_FILE)
    yield from sorted({path for pattern in patterns for path in folder.glob(pattern)})
    if context.files.tokenizer.exists():
        yield context.files.tokenizer


def of_tokenizer(context: BuildContext, task: Any) -> Reads:
    """What a stage reads that depends on the tokenizer and on its task alone."""
    return Reads(tuple(tokenizer_files(context)))


@contextmanager
def encoder(context: BuildContext, texts: str) -> Iterator[Encoder]:
    """The encoder for some texts of a part, which have a name of their own. What it compares is in
    the cache afterwards, and is not compared again."""
    assert context.tokenizer is not None
    store = context.store if context.encoder.is_fast else None
    if store is None:
        yield make_encoder(context.tokenizer, context.encoder)
        return
    task = (context.encoder.name, texts)
    narrow = _without_sources(EXAMINATION.narrowed(context))
    key = key_of(_AUDIT, narrow, store.versions, task, of_tokenizer(context, task))
    kept = store.cache.load(_AUDIT, key)
    agreed = kept.result if kept else frozenset[bytes]()
    made = make_encoder(context.tokenizer, context.encoder, agreed)
    yield made
    if isinstance(made, AuditedEncoder) and made.marks != agreed:
        store.cache.save(_AUDIT, key, Kept(frozenset(made.marks), {}))


def proved(stage: Stage[Task, Result], context: BuildContext, task: Task) -> Result:
    """What such a stage makes of a task, in a context whose sources do not matter. A stage that
    raises what is wrong has the right results alone in the cache."""
    return run(stage, _without_sources(stage.narrowed(context)), context.store, task).result


def _without_sources(context: BuildContext) -> BuildContext:
    return replace(context, recipe=context.recipe.model_copy(update={"source": {}}))


EXAMINATION: Stage[str, str] = Stage(
    "examination", _examined, frozenset(), of_tokenizer, parts_of_context=frozenset(["tokenizer"])
)


def without_fast(context: BuildContext, difference: EncoderDiffers) -> BuildContext:
    """The context with `tokenizers` in place of a fast encoder that was found to be wrong."""
    return replace(context, encoder=EncoderChoice(_reference(), remark=str(difference)))


def make_encoder(
    source: TokenizerSource, choice: EncoderChoice, agreed: Set[bytes] = frozenset()
) -> Encoder:
    """The encoder for the texts of one part; `agreed` as in `FastEncoder.session`."""
    fast = _CACHE.fast(source) if choice.is_fast else None
    if isinstance(fast, FastEncoder):
        return fast.session(choice.one_in, agreed)
    return ReferenceEncoder(load_tokenizer(source).text)


def _reference() -> str:
    return f"tokenizers {tokenizers.version()}"


def _load(source: TokenizerSource) -> Tokenizer:
    return TEMPLATES[source.options.template].load(source.folder, source.name, source.options)
