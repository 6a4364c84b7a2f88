"""The tokenizer of a build and what makes ids of texts: chosen once, loaded once a process.

A fast encoder that passed its test in an earlier build of the same versions is not tested again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from chatdata.pipeline.cache import Kept, Store
from chatdata.pipeline.context import BuildContext, EncoderChoice, TokenizerSource
from chatdata.pipeline.engines import Result, Task
from chatdata.pipeline.stage import Reads, Stage, run
from chatdata.render import tokenizer as tokenizers
from chatdata.render.encoding import admission, libraries
from chatdata.render.encoding.encoder import AuditedEncoder, EncoderDiffers, FastEncoder
from chatdata.render.encoding.libraries import Encoder, ReferenceEncoder
from chatdata.render.templates import TEMPLATES
from chatdata.render.tokenizer import Tokenizer

_EXAMINATION, _AUDIT = "examination", "audit"  # entries in the cache


class _ProcessCache:
    """The tokenizer that this process loaded last, and the fast encoder that was made of it."""

    def __init__(self) -> None:
        self._source: TokenizerSource | None = None
        self._tokenizer: Tokenizer | None = None
        self._fast: FastEncoder | admission.Refusal | None = None
        self._digest = ""

    def tokenizer(self, source: TokenizerSource) -> Tokenizer:
        """The tokenizer of a source, loaded where the last one was of another source."""
        if self._tokenizer is None or source != self._source:
            self._source, self._tokenizer = source, _load(source)
            self._fast, self._digest = None, ""
        return self._tokenizer

    def digest(self, source: TokenizerSource) -> str:
        """A hash of the tokenizer as it is loaded."""
        tokenizer = self.tokenizer(source)
        if not self._digest:
            content = tokenizer.text.to_str().encode()
            self._digest = hashlib.blake2b(content, digest_size=32).hexdigest()
        return self._digest

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
    refusal = _examined(context.tokenizer, context.store)
    if refusal is not None:
        return EncoderChoice(_reference(), remark=refusal.reason)
    return EncoderChoice(_library(), is_fast=True, one_in=one_in)


def _examined(source: TokenizerSource, store: Store | None) -> admission.Refusal | None:
    """Why a tokenizer is left to `tokenizers`; None where the fast library passed its test, now or
    before. Nothing is kept of a refusal."""
    key = _key(store, source, _EXAMINATION, _library()) if store else ""
    if store and store.cache.load(_EXAMINATION, key):
        return None
    admitted = _CACHE.admit(source)
    if isinstance(admitted, admission.Refusal):
        return admitted
    if store:
        store.cache.save(_EXAMINATION, key, Kept(admitted.name, {}))
    return None


def _library() -> str:
    """The name of the fast library, with its version; nothing where there is none."""
    library = libraries.fastokens()
    return library.name if library else ""


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
    places = f"{texts} of {context.files.parts}"
    key = _key(store, context.tokenizer, _AUDIT, context.encoder.name, places)
    kept = store.cache.load(_AUDIT, key)
    agreed = kept.result if kept else frozenset[bytes]()
    made = make_encoder(context.tokenizer, context.encoder, agreed)
    yield made
    if isinstance(made, AuditedEncoder) and made.marks != agreed:
        store.cache.save(_AUDIT, key, Kept(frozenset(made.marks), {}))


def _key(store: Store, source: TokenizerSource, *words: str) -> str:
    """A hash of words, of the versions that matter, and of the tokenizer as it is loaded, whatever
    else a template says."""
    facts = "\0".join([store.versions, _CACHE.digest(source), *words])
    return hashlib.blake2b(facts.encode(), digest_size=32).hexdigest()


def proved(stage: Stage[Task, Result], context: BuildContext, task: Task) -> Result:
    """What such a stage makes of a task, in a context whose sources do not matter. A stage that
    raises what is wrong has the right results alone in the cache."""
    return run(stage, _without_sources(stage.narrowed(context)), context.store, task).result


def _without_sources(context: BuildContext) -> BuildContext:
    return replace(context, recipe=context.recipe.model_copy(update={"source": {}}))


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
