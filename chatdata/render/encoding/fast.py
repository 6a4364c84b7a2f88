"""Fast encoding that is exact, or is not used.

`tokenizers` is the reference. A faster library stands in for it behind four guards: it is given
a tokenizer only if the shape of its file is known; it must agree on thousands of hard strings
before it is used; texts that it is known to get wrong go to `tokenizers`; and while it works,
what is new in the stream is encoded by both and compared.
"""

from __future__ import annotations

import importlib.metadata
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import chain
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import tokenizers

from chatdata.core.errors import ChatdataError
from chatdata.render.encoding import coverage, hard_strings
from chatdata.render.encoding.coverage import Excerpt, Novelty

LIBRARY = "fastokens"
SAMPLE = 1024  # one text in so many is compared whatever it holds
EVERYTHING = 1

_CHARACTERS_A_CALL = 4_000_000
_CHARACTERS_A_REFERENCE_CALL = 1_000_000  # which holds 100 bytes for each token
_DIGESTED = 64  # characters
_CHARACTERS_A_LOOK = 100_000  # arrays of this size stay in a core's cache
_DIGITS = "0123456789"
_SPLITS = frozenset(  # of Qwen 2 and 3, and of Llama 3
    [
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ]
)


class Encoded(NamedTuple):
    """Ids of texts, end to end: those of text `i` are `ids[offsets[i] : offsets[i + 1]]`."""

    ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]  # one more than there are texts

    def of(self, number: int) -> npt.NDArray[np.int32]:
        """The ids of one text."""
        return self.ids[self.offsets[number] : self.offsets[number + 1]]

    def choose(self, numbers: Sequence[int]) -> Encoded:
        """The ids of some texts, in this order."""
        chosen = [self.of(number) for number in numbers]
        offsets = np.cumsum([0, *map(len, chosen)], dtype=np.int64)
        return Encoded(np.concatenate([np.empty(0, np.int32), *chosen]), offsets)


Encode = Callable[[list[str]], Encoded]
Given = TypeVar("Given")
Result = TypeVar("Result")


class Engine(Protocol):
    """What turns texts into ids."""

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The ids of texts; the arrays may be read-only."""


class Library(NamedTuple):
    """A library that reads a tokenizer.json and encodes texts, and may be wrong."""

    name: str  # with its version
    load: Callable[[str], Encode]


class PanicError(Exception):
    """A library written in Rust panicked."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a tokenizer is left to `tokenizers`."""

    reason: str


class EngineDiffers(ChatdataError):
    """A fast library encoded a text in another way than `tokenizers`."""

    def __init__(self, library: str, text: str, expected: list[int], found: list[int]) -> None:
        super().__init__(library, text, expected, found)  # all of it, so that it can be pickled
        self.library, self.text, self.expected, self.found = library, text, expected, found

    def __str__(self) -> str:
        return (
            f"{self.library} makes {_start(self.found)} of {_start(self.text)} where tokenizers "
            f"makes {_start(self.expected)}; build with `tokenizers` alone."
        )


def _start(value: object, limit: int = 80) -> str:
    """The representation of a value, cut."""
    shown = repr(value)
    return shown if len(shown) <= limit else shown[:limit] + "..."


@dataclass(slots=True)
class Audit:
    """What became of the texts of a session."""

    texts: int = 0
    routed: int = 0  # to `tokenizers`, since they hold what the library gets wrong
    failed: int = 0  # to `tokenizers`, since the library raised an exception in their batch
    whole: int = 0  # compared from end to end
    excerpts: int = 0  # compared pieces of other texts
    characters: int = 0  # in what was compared
    differences: int = 0

    def __add__(self, other: Audit) -> Audit:
        names = [own.name for own in fields(self)]
        return Audit(*(getattr(self, name) + getattr(other, name) for name in names))

    def counts(self) -> dict[str, int]:
        """The counts by name, for the manifest."""
        return asdict(self)


class Reference:
    """`tokenizers` itself."""

    def __init__(self, text: tokenizers.Tokenizer) -> None:
        self._text = text

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The ids of texts, without special tokens around them."""
        batches = _batches(texts, _CHARACTERS_A_REFERENCE_CALL)
        return _joined([self._encode(batch) for batch in batches])

    def _encode(self, texts: list[str]) -> Encoded:
        encodings = self._text.encode_batch_fast(texts, add_special_tokens=False)
        offsets = np.cumsum([0, *map(len, encodings)], dtype=np.int64)
        ids = chain.from_iterable(encoding.ids for encoding in encodings)
        return Encoded(np.fromiter(ids, np.int32, int(offsets[-1])), offsets)


def _batches(texts: Sequence[str], characters: int) -> Iterator[list[str]]:
    """Yields texts in lists that end as soon as they hold so many characters."""
    batch: list[str] = []
    held = 0
    for text in texts:
        batch.append(text)
        held += len(text) + 1
        if held >= characters:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _joined(parts: Sequence[Encoded]) -> Encoded:
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(len(part.ids) for part in parts)], dtype=np.int64)
    moved = [part.offsets[1:] + start for part, start in zip(parts, starts, strict=False)]
    ids = np.concatenate([np.empty(0, np.int32), *(part.ids for part in parts)])
    return Encoded(ids, np.concatenate([np.zeros(1, np.int64), *moved]))


# ----------------------------------------------------------------------------------- admission


def fastokens() -> Library | None:
    """The library that is used where it is installed."""
    try:
        import fastokens as library
    except ImportError:
        return None

    def load(source: str) -> Encode:
        encode = library.Tokenizer.from_json_str(source).encode_batch_flat

        def flat(texts: list[str]) -> Encoded:
            ids, offsets = encode(texts)
            return Encoded(np.frombuffer(ids, np.int32), np.frombuffer(offsets, np.int64))

        return flat

    return Library(f"{LIBRARY} {importlib.metadata.version(LIBRARY)}", load)


def admit(text: tokenizers.Tokenizer, library: Library | None = None) -> Fast | Refusal:
    """A fast engine that agrees with `text` on the whole battery, or why there is none.

    `text` is to encode its special tokens as text. The library is fastokens unless another is
    given. Takes about a second.
    """
    fast = prepare(text, library)
    if isinstance(fast, Refusal):
        return fast
    strings = hard_strings.strings(text)
    try:
        found = _call(fast.encode, strings)
    except Exception as error:
        return Refusal(f"{fast.name} raised {error!r}")
    wrong = list(_differences(fast.reference.encode(strings), found))
    if wrong:
        first = _start(strings[wrong[0]])
        return Refusal(
            f"{fast.name} differs on {len(wrong)} of {len(strings)} strings, first on {first}"
        )
    return fast


def prepare(text: tokenizers.Tokenizer, library: Library | None = None) -> Fast | Refusal:
    """The engine that `admit` would examine: for a process whose parent has admitted it."""
    library = library or fastokens()
    if library is None:
        return Refusal("fastokens is not installed")
    source = json.loads(text.to_str())
    unknown = _unknown(source)
    if unknown:
        return Refusal(f"its {unknown} is not one that {library.name} is known to get right")
    table = coverage.classes().copy()
    table[_unspellable(source["model"]["vocab"])] |= coverage.ROUTED
    plain = _without_special_tokens(source)
    if _digits_can_be_tokens(plain):
        plain = _with_digits_as_tokens(plain)
        table[coverage.numeric_or_unassigned()] |= coverage.ROUTED
    try:
        encode = _call(library.load, json.dumps(plain))
    except Exception as error:
        return Refusal(f"{library.name} cannot read it: {error}")
    return Fast(library.name, encode, table, Reference(text))


def _call(function: Callable[[Given], Result], given: Given) -> Result:
    """What a function returns that calls a library written in Rust, or an Exception it raises.

    A panic in Rust comes as something that is no Exception.
    """
    try:
        return function(given)
    except (Exception, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as panic:
        raise PanicError(str(panic)) from panic


def _unknown(source: dict[str, Any]) -> str:
    """The part of a tokenizer.json that the fast path was not made for, or nothing."""
    model, normalizer = source["model"], source["normalizer"]
    oddities = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")
    if model["type"] != "BPE" or any(model.get(key) for key in (*oddities, "byte_fallback")):
        return "model"
    if normalizer and normalizer["type"] != "NFC":
        return "normalizer"
    *splits, last = _stages(source["pre_tokenizer"])
    if last["type"] != "ByteLevel" or last["add_prefix_space"]:
        return "pre-tokenizer"
    is_known = not splits if last["use_regex"] else len(splits) == 1 and _is_known(splits[0])
    return "" if is_known or _cuts_digits([*splits, last]) else "pre-tokenizer"


def _stages(pre_tokenizer: dict[str, Any] | None) -> list[dict[str, Any]]:
    nothing = {"type": "none"}
    stages = (pre_tokenizer or nothing).get("pretokenizers", [pre_tokenizer or nothing])
    return list(stages) or [nothing]


def _is_known(split: dict[str, Any]) -> bool:
    return (
        split["type"] == "Split"
        and split["pattern"].get("Regex") in _SPLITS
        and split["behavior"] == "Isolated"
        and not split["invert"]
    )


def _cuts_digits(stages: Sequence[dict[str, Any]]) -> bool:
    """Are these StarCoder's stages: each digit alone, then the words of GPT-2?"""
    kinds = [stage["type"] for stage in stages]
    if kinds != ["Digits", "ByteLevel"]:
        return False
    return bool(stages[0]["individual_digits"] and stages[1]["use_regex"])


def _without_special_tokens(source: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer.json to which the text of a special token is text; ids do not move."""
    added = [token for token in source["added_tokens"] if not token["special"]]
    return {**source, "added_tokens": added, "post_processor": None}


def _digits_can_be_tokens(source: dict[str, Any]) -> bool:
    """May the ten digits become added tokens, in place of the stage that cuts them off?

    Added tokens are cut out of a text before anything else is done to it, which gives the same
    pieces as that stage, and a library that knows the words of GPT-2 needs to know no more.
    """
    added, vocabulary = source["added_tokens"], source["model"]["vocab"]
    return (
        _cuts_digits(_stages(source["pre_tokenizer"]))
        and source["normalizer"] is None
        and all(digit in vocabulary for digit in _DIGITS)
        and not any(token["single_word"] or set(token["content"]) & set(_DIGITS) for token in added)
    )


def _with_digits_as_tokens(source: dict[str, Any]) -> dict[str, Any]:
    flags = dict.fromkeys(("special", "normalized", "single_word", "lstrip", "rstrip"), False)
    vocabulary = source["model"]["vocab"]
    digits = [{"id": vocabulary[digit], "content": digit, **flags} for digit in _DIGITS]
    return {
        **source,
        "added_tokens": [*source["added_tokens"], *digits],
        "pre_tokenizer": _stages(source["pre_tokenizer"])[-1],
    }


def _unspellable(vocabulary: dict[str, int]) -> npt.NDArray[np.bool_]:
    """For every code point, does the vocabulary lack one of its bytes in UTF-8?"""
    lacks = np.asarray([letter not in vocabulary for letter in _byte_letters()])
    unspellable = np.zeros(coverage.CODE_POINTS, np.bool_)
    scalars = np.delete(np.arange(coverage.CODE_POINTS, dtype="<u4"), slice(0xD800, 0xE000))
    utf8 = np.frombuffer(scalars.tobytes().decode("utf-32-le").encode(), np.uint8)
    first_bytes = np.flatnonzero(utf8 & 0xC0 != 0x80)
    unspellable[scalars] = np.logical_or.reduceat(lacks[utf8], first_bytes)
    return unspellable


def _byte_letters() -> list[str]:
    """The letter that stands for each byte in a byte-level vocabulary, as GPT-2 chose them."""
    itself = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in itself else next(others)) for byte in range(256)]


# ------------------------------------------------------------------------------------- engines


@dataclass(frozen=True, slots=True)
class Fast:
    """A tokenizer in the hands of a fast library, and the characters it must not be given.

    Made by `admit`; never changes, and can be used on both sides of a fork. `encode` compares
    nothing; a build encodes through a `session`.
    """

    name: str
    unguarded: Encode
    table: coverage.Classes
    reference: Reference

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The ids of texts; raises what the library raises."""
        batches = _batches(texts, _CHARACTERS_A_CALL)
        return _joined([self.fill(batch, self.look(batch)[0]) for batch in batches])

    def look(
        self, texts: Sequence[str], seen_so_far: Novelty | None = None
    ) -> tuple[list[int], list[Excerpt]]:
        """The texts that are not for the library, and what is new in the others."""
        routed: list[int] = []
        new: list[Excerpt] = []
        first = 0
        for block in _batches(texts, _CHARACTERS_A_LOOK):
            seen = coverage.see(block, self.table)
            routed += [first + number for number in seen.routed()]
            found = seen_so_far.excerpts(seen) if seen_so_far else []
            new += [excerpt._replace(text=first + excerpt.text) for excerpt in found]
            first += len(block)
        return routed, new

    def fill(self, texts: Sequence[str], routed: Sequence[int]) -> Encoded:
        """The ids of texts, `tokenizers` doing those that are routed."""
        blanked = list(texts)
        for number in routed:
            blanked[number] = ""
        own = self.unguarded(blanked)
        if not routed:
            return own
        return _filled(own, routed, self.reference.encode([texts[number] for number in routed]))

    def session(self, one_in: int = SAMPLE) -> FastSession:
        """An engine that remembers what it saw: make one for each part of a build.

        `one_in=EVERYTHING` compares all texts.
        """
        return FastSession(self, one_in)


class FastSession:
    """A fast engine that is compared with `tokenizers` as it goes."""

    def __init__(self, fast: Fast, one_in: int) -> None:
        self.fast, self.one_in = fast, one_in
        self.audit = Audit()
        self._novelty = Novelty()

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The ids of texts. Raises EngineDiffers where the library is found to be wrong: then
        what it encoded before is in doubt too."""
        return _joined([self._attempt(batch) for batch in _batches(texts, _CHARACTERS_A_CALL)])

    def _attempt(self, texts: list[str]) -> Encoded:
        """The ids of a batch, by `tokenizers` where the library gives up."""
        self.audit.texts += len(texts)
        before = self._novelty.state()
        try:
            return _call(self._encode, texts)
        except EngineDiffers:
            raise
        except Exception:
            self._novelty.restore(before)
            self.audit.failed += len(texts)
            return self.fast.reference.encode(texts)

    def _encode(self, texts: list[str]) -> Encoded:
        routed, new = self.fast.look(texts, self._novelty)
        encoded = self.fast.fill(texts, routed)
        entire = {one.text for one in new if one.end - one.start == len(texts[one.text])}
        whole = sorted((entire | self._chosen(texts)) - set(routed))
        compared = set(whole)
        self._compare(texts, encoded, whole, [one for one in new if one.text not in compared])
        self.audit.routed += len(routed)
        return encoded

    def _chosen(self, texts: list[str]) -> set[int]:
        """The texts that are compared whatever they hold: a sample, and the first of about its
        length."""
        sample = {n for n, text in enumerate(texts) if _digest(text) % self.one_in == 0}
        return sample | self._novelty.first_of_their_length(texts)

    def _compare(
        self, texts: list[str], encoded: Encoded, whole: list[int], excerpts: list[Excerpt]
    ) -> None:
        """Raises EngineDiffers where whole texts or excerpts, as texts of their own, differ."""
        pieces = [texts[one.text][one.start : one.end] for one in excerpts]
        compared = [texts[number] for number in whole] + pieces
        found = _joined([encoded.choose(whole), self.fast.unguarded(pieces)])
        expected = self.fast.reference.encode(compared)
        self.audit.whole += len(whole)
        self.audit.excerpts += len(pieces)
        self.audit.characters += sum(map(len, compared))
        for number in _differences(expected, found):
            self.audit.differences += 1
            ids = [own.of(number).tolist() for own in (expected, found)]
            raise EngineDiffers(self.fast.name, compared[number], *ids)


def _digest(text: str) -> int:
    """A number that says nothing of what a text holds: the CRC of its length and its start."""
    return zlib.crc32(f"{len(text)} {text[:_DIGESTED]}".encode())


def _differences(one: Encoded, other: Encoded) -> Iterator[int]:
    """Yields the numbers of the texts whose ids differ."""
    if np.array_equal(one.ids, other.ids) and np.array_equal(one.offsets, other.offsets):
        return
    for number in range(len(one.offsets) - 1):
        if not np.array_equal(one.of(number), other.of(number)):
            yield number


def _filled(own: Encoded, numbers: Sequence[int], other: Encoded) -> Encoded:
    """The ids of `own`, those of the empty texts with these numbers taken from `other`."""
    lengths = np.diff(own.offsets)
    lengths[numbers] = np.diff(other.offsets)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    is_other = np.zeros(len(lengths), np.bool_)
    is_other[numbers] = True
    from_other = np.repeat(is_other, lengths)
    ids = np.empty(int(offsets[-1]), np.int32)
    ids[from_other], ids[~from_other] = other.ids, own.ids
    return Encoded(ids, offsets)
