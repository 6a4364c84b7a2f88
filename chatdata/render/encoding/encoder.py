"""Fast encoding that is exact, or is not used.

`tokenizers` is the reference. A faster library takes the place of `tokenizers` behind four
guards: the library is given a tokenizer only if the shape of its file is known (`admission`); the
library must agree on thousands of hard strings before any text of a build; texts that the library
is known to get wrong go to `tokenizers`; and what is new in the stream of texts is encoded by
both and compared, unless its ids were found right before.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from chatdata.core.errors import ChatdataError
from chatdata.render.encoding import coverage
from chatdata.render.encoding.audit import SAMPLE, Audit
from chatdata.render.encoding.coverage import CoverageSampler, Excerpt
from chatdata.render.encoding.encoded import Encoded, batches, differences, join
from chatdata.render.encoding.libraries import Encode, ReferenceEncoder, call_rust

_CALL_CHARACTERS = 4_000_000
_BLOCK_CHARACTERS = 100_000  # arrays of this size stay in the cache of a core
_DIGESTED = 64  # characters
_SHOWN = 80  # characters of a value in an error


class EncoderDiffers(ChatdataError):
    """A fast library encoded a text in another way than `tokenizers`."""

    def __init__(self, library: str, text: str, expected: list[int], actual: list[int]) -> None:
        super().__init__(library, text, expected, actual)  # all of them, so that pickle works
        self.library, self.text, self.expected, self.actual = library, text, expected, actual

    def __str__(self) -> str:  # the manifest holds these words
        return (
            f"{self.library} makes {shorten(self.actual)} of {shorten(self.text)} where tokenizers "
            f"makes {shorten(self.expected)}; build with `tokenizers` alone."
        )


def shorten(value: object) -> str:
    """The representation of a value, cut after 80 characters."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


class Classified(NamedTuple):
    """What a look at the characters of some texts tells."""

    needs_fallback: list[int]  # the texts that are not for the library
    new: list[Excerpt]  # what is new in the remaining texts


@dataclass(frozen=True, slots=True)
class FastEncoder:
    """A tokenizer in the hands of a fast library, and the characters that are not for the library.

    `admission.admit` makes it. A FastEncoder never changes, and works on both sides of a fork.
    `encode` compares nothing; a build encodes through a `session`.
    """

    name: str
    raw_encode: Encode  # the library, without any guard
    table: coverage.Classes  # the class of each code point, flagged where not for the library
    reference: ReferenceEncoder

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The ids of texts. Raises what the library raises."""
        return join([self._encode(batch) for batch in batches(texts, _CALL_CHARACTERS)])

    def _encode(self, texts: list[str]) -> Encoded:
        return self.encode_with_fallback(texts, self.classify(texts).needs_fallback)

    def classify(self, texts: Sequence[str], sampler: CoverageSampler | None = None) -> Classified:
        """The texts that are not for the library, and what is new to `sampler` in the others."""
        needs_fallback: list[int] = []
        new: list[Excerpt] = []
        first = 0
        for block in batches(texts, _BLOCK_CHARACTERS):
            classified = coverage.classify(block, self.table)
            flagged = classified.flagged()
            needs_fallback += [first + number for number in flagged]
            if sampler is not None:
                excerpts = sampler.excerpts(classified.blank(flagged))
                new += [excerpt._replace(text=first + excerpt.text) for excerpt in excerpts]
            first += len(block)
        return Classified(needs_fallback, new)

    def encode_with_fallback(self, texts: Sequence[str], needs_fallback: Sequence[int]) -> Encoded:
        """The ids of texts, by `tokenizers` for those that need the fallback."""
        blanked = list(texts)
        for number in needs_fallback:
            blanked[number] = ""
        encoded = self.raw_encode(blanked)
        if not needs_fallback:
            return encoded
        fallback = self.reference.encode([texts[number] for number in needs_fallback])
        return encoded.replace(needs_fallback, fallback)

    def session(self, one_in: int = SAMPLE, agreed: Set[bytes] = frozenset()) -> AuditedEncoder:
        """An encoder that remembers what it has seen: make one for each part of a build.

        One text in `one_in` is compared, whatever the text holds. `agreed` are the marks that an
        earlier session of the same library and `tokenizers` left.
        """
        return AuditedEncoder(self, one_in, agreed)


class AuditedEncoder:
    """A fast encoder whose ids are compared with those of `tokenizers` as the encoder works.

    `marks` are hashes of each text that was compared and of its ids. What has a mark in `agreed`
    has the ids that `tokenizers` made of it before: it is counted, and not encoded by both again.
    """

    def __init__(self, fast: FastEncoder, one_in: int, agreed: Set[bytes] = frozenset()) -> None:
        self.fast, self.one_in = fast, one_in
        self.audit = Audit()
        self.agreed, self.marks = agreed, set[bytes]()
        self._sampler = CoverageSampler()

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The ids of texts.

        Raises EncoderDiffers where the library is wrong: all earlier ids are in doubt then.
        """
        return join([self._attempt(batch) for batch in batches(texts, _CALL_CHARACTERS)])

    def _attempt(self, texts: list[str]) -> Encoded:
        """The ids of a batch, by `tokenizers` where the library gives up."""
        self.audit.texts += len(texts)
        state = self._sampler.state()
        try:
            return call_rust(self._encode, texts)
        except EncoderDiffers:
            raise
        except Exception:
            self._sampler.restore(state)
            self.audit.failed += len(texts)
            return self.fast.reference.encode(texts)

    def _encode(self, texts: list[str]) -> Encoded:
        needs_fallback, new = self.fast.classify(texts, self._sampler)
        encoded = self.fast.encode_with_fallback(texts, needs_fallback)
        entirely_new = {e.text for e in new if e.end - e.start == len(texts[e.text])}
        whole = (entirely_new | self._drawn(texts)) - set(needs_fallback)
        self._compare(texts, encoded, sorted(whole), [e for e in new if e.text not in whole])
        self.audit.routed += len(needs_fallback)
        return encoded

    def _drawn(self, texts: list[str]) -> set[int]:
        """The texts that are compared whatever they hold: a sample, and the first of each length
        (by powers of two)."""
        sample = {n for n, text in enumerate(texts) if _digest(text) % self.one_in == 0}
        return sample | self._sampler.first_of_their_length(texts)

    def _compare(
        self, texts: list[str], encoded: Encoded, whole: list[int], excerpts: list[Excerpt]
    ) -> None:
        """Raises EncoderDiffers where whole texts, or excerpts as texts by themselves, differ."""
        parts = [texts[excerpt.text][excerpt.start : excerpt.end] for excerpt in excerpts]
        compared = [texts[number] for number in whole] + parts
        actual = join([encoded.select(whole), self.fast.raw_encode(parts)])
        marks = [_mark(text, actual.of(number)) for number, text in enumerate(compared)]
        new = [number for number, mark in enumerate(marks) if mark not in self.agreed]
        expected = self.fast.reference.encode([compared[number] for number in new])
        self.audit.whole += len(whole)
        self.audit.excerpts += len(parts)
        self.audit.characters += sum(map(len, compared))
        for number in differences(expected, actual.select(new)):
            self.audit.differences += 1
            ids = expected.of(number).tolist(), actual.of(new[number]).tolist()
            raise EncoderDiffers(self.fast.name, compared[new[number]], *ids)
        self.marks.update(marks)


def _mark(text: str, ids: npt.NDArray[np.int32]) -> bytes:
    """A hash of a text and its ids."""
    words = f"{len(text)} {text}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(words + ids.tobytes(), digest_size=16).digest()


def _digest(text: str) -> int:
    """A number that does not depend on what a text is about: the CRC of its length and start."""
    return zlib.crc32(f"{len(text)} {text[:_DIGESTED]}".encode())
