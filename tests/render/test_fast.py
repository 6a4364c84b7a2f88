"""A fast engine is exact or is not used: admission, routing, audit, and what follows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

from chatdata import build_dataset, load_recipe, read_manifest
from chatdata.pipeline import job
from chatdata.render.encoding import fast, hard_strings
from chatdata.render.encoding.fast import (
    EVERYTHING,
    Encode,
    Encoded,
    EngineDiffers,
    Fast,
    Library,
    Reference,
)

pytest.importorskip("fastokens")

NAMES = ["starcoder", "starcoder2", "gpt2", "gpt-neox-20b", "smollm2", "qwen3"]


def words(seed: int, count: int) -> list[str]:
    """Texts of made-up words, code, digits and characters of several scripts."""
    draw = Random(seed)
    alphabet = "etaoin shrdlu  \n\n\t'_(){}[]=.,:;0123456789éüß日本語한국 ²½٣Ⅷ👍\u0301"
    pieces = ["def ", "return ", "don't ", " the", "\n    ", "can't", "=> ", "the ", "a_b", " 42"]
    texts = []
    for _ in range(count):
        own = [draw.choice(pieces) for _ in range(draw.randint(0, 12))]
        own += ["".join(draw.choices(alphabet, k=draw.randint(0, 20)))]
        draw.shuffle(own)
        texts.append("".join(own))
    return texts


@pytest.fixture(scope="session")
def starcoder_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level BPE with StarCoder's stages, trained here, that lacks a byte as StarCoder's
    vocabulary does."""
    own = tokenizers.Tokenizer(models.BPE())
    own.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    own.decoder = decoders.ByteLevel()
    alphabet = [letter for letter in pre_tokenizers.ByteLevel.alphabet() if letter != "ñ"]
    own.train_from_iterator(
        words(1, 3000),
        trainers.BpeTrainer(
            vocab_size=1200, initial_alphabet=sorted(alphabet), show_progress=False
        ),
    )
    own.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
    own.add_tokens([AddedToken("<tool>", special=False, normalized=False)])
    folder = tmp_path_factory.mktemp("tokenizer") / "starcoder-like"
    folder.mkdir()
    own.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
    return folder


def text_twin(folder: Path) -> tokenizers.Tokenizer:
    from chatdata.render.built_in import load
    from chatdata.render.template_spec import BUILT_IN

    return load(folder, folder.name, BUILT_IN["starchat"], None).text


@pytest.fixture(scope="session")
def text(starcoder_like: Path) -> tokenizers.Tokenizer:
    return text_twin(starcoder_like)


@pytest.fixture(scope="session")
def engine(text: tokenizers.Tokenizer) -> Fast:
    admitted = fast.admit(text)
    assert isinstance(admitted, Fast), admitted
    return admitted


def same(one: Encoded, other: Encoded) -> bool:
    return one.ids.tolist() == other.ids.tolist() and one.offsets.tolist() == other.offsets.tolist()


def corrupting(rule: Any) -> Library:
    """fastokens, that drops the last id of each text that the rule picks."""
    real = fast.fastokens()
    assert real is not None

    def load(source: str) -> Encode:
        encode = real.load(source)

        def wrong(texts: list[str]) -> Encoded:
            right = encode(texts)
            own = [right.of(i)[: -1 if rule(text) else None] for i, text in enumerate(texts)]
            offsets = np.cumsum([0, *map(len, own)], dtype=np.int64)
            return Encoded(np.concatenate([np.empty(0, np.int32), *own]), offsets)

        return wrong

    return Library("corrupting 1.0", load)


# ------------------------------------------------------------------------------------ exactness


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=8))
def test_it_encodes_as_tokenizers_does(engine: Fast, texts: list[str]) -> None:
    assert same(engine.encode(texts), engine.reference.encode(texts))


def test_it_encodes_many_texts_as_tokenizers_does(engine: Fast) -> None:
    hard = ["", "\x00", "<|endoftext|>", "<tool>x", "<|end|>\n", "U\U00040000x"]
    texts = [*words(2, 3000), *hard]
    assert same(engine.session().encode(texts), engine.reference.encode(texts))
    assert same(engine.encode([]), Encoded(np.empty(0, np.int32), np.zeros(1, np.int64)))


@pytest.mark.parametrize("name", NAMES)
def test_real_tokenizers_are_admitted_and_exact(name: str, real_data: Path) -> None:
    admitted = fast.admit(text_twin(real_data / "tokenizers" / name))
    assert isinstance(admitted, Fast), admitted
    texts = ["\n" + own for own in words(3, 1500)] + [f"a{chr(p)}1" for p in range(0x250, 0x2200)]
    assert same(admitted.session().encode(texts), admitted.reference.encode(texts))


def test_control_tokens_are_text_and_other_added_tokens_are_not(
    engine: Fast, text: tokenizers.Tokenizer
) -> None:
    found = engine.encode(["<|endoftext|>", "<tool>"])
    assert text.token_to_id("<|endoftext|>") not in found.of(0)
    assert found.of(1).tolist() == [text.token_to_id("<tool>")]


# ---------------------------------------------------------------------------- routing and refusal


@pytest.mark.parametrize("character", ["²", "½", "٣", "Ⅷ", "\u0378", "\U00040000", "\U0001d7d8"])
def test_what_the_rewrite_gets_wrong_is_left_to_tokenizers(engine: Fast, character: str) -> None:
    texts = ["plain", f"a{character}1", "é"]
    session = engine.session()
    assert same(session.encode(texts), engine.reference.encode(texts))
    assert session.audit.routed == 1


def test_without_its_guard_the_rewrite_is_refused(
    text: tokenizers.Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hole that the guard closes is one that the battery sees."""
    nothing = np.zeros(0x110000, np.bool_)
    monkeypatch.setattr(fast.novelty, "numeric_or_unassigned", lambda: nothing)
    monkeypatch.setattr(fast, "_unspellable", lambda vocabulary: nothing)
    refused = fast.admit(text)
    assert isinstance(refused, fast.Refusal)


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        (lambda text: "\t't" in text, "a contraction behind a tab"),
        (lambda text: "-" * 256 in text, "a run of 256"),
        (lambda text: len(text.encode()) > 10_000, "a long text"),
        (lambda text: "\u0300\u0d3c" in text, "marks in an order of their own"),
    ],
)
def test_faults_that_were_met_are_refused_at_admission(
    text: tokenizers.Tokenizer, rule: Any, what: str
) -> None:
    refused = fast.admit(text, corrupting(rule))
    assert isinstance(refused, fast.Refusal), what
    assert "differs on" in refused.reason


def test_a_library_with_known_faults_is_refused(real_data: Path, tmp_path: Path) -> None:
    library = tokie_library(tmp_path)
    for name in NAMES:
        refused = fast.admit(text_twin(real_data / "tokenizers" / name), library)
        assert isinstance(refused, fast.Refusal), name
        assert "tokie differs on" in refused.reason


def tokie_library(folder: Path) -> Library:
    """tokie, which is fast and wrong on contractions behind a tab and on long runs."""
    tokie = pytest.importorskip("tokie")

    def load(source: str) -> Encode:
        path = folder / "tokie.json"
        path.write_text(source, encoding="utf-8")
        own = tokie.Tokenizer.from_json(str(path))

        def encode(texts: list[str]) -> Encoded:
            ids, lengths = own.encode_batch_flat(texts, add_special_tokens=False)
            offsets = np.concatenate([[0], np.cumsum(np.asarray(lengths))]).astype(np.int64)
            return Encoded(np.asarray(ids).astype(np.int32), offsets)

        return encode

    return Library("tokie", load)


def test_what_is_not_known_is_refused_in_words(
    text: tokenizers.Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    word_level = tokenizers.Tokenizer(models.WordLevel({"a": 0}, "a"))
    assert "model" in refusal(fast.admit(word_level))
    byte_level = tokenizers.Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    assert "pre-tokenizer" in refusal(fast.admit(byte_level))

    def unreadable(source: str) -> Encode:
        raise ValueError("not mine")

    assert "cannot read it: not mine" in refusal(fast.admit(text, Library("x", unreadable)))
    monkeypatch.setattr(fast, "fastokens", lambda: None)
    assert "not installed" in refusal(fast.admit(text))


def refusal(found: Fast | fast.Refusal) -> str:
    assert isinstance(found, fast.Refusal)
    return found.reason


# -------------------------------------------------------------------------------------- the audit


def rare(texts: Sequence[str]) -> list[str]:
    """The texts with a few of a class that none of them had before, far behind."""
    return [*texts, *["the end \x0b'tis"] * 2, *texts]


def test_what_is_new_in_the_stream_is_compared(text: tokenizers.Tokenizer) -> None:
    """Admission left out: the fault is met in the 3,001st text, and found there."""
    careless = fast.prepare(text, corrupting(lambda own: "\x0b'" in own))
    assert isinstance(careless, Fast)
    with pytest.raises(EngineDiffers) as caught:
        careless.session().encode(rare(words(4, 3000)))
    assert "\x0b'tis" in caught.value.text
    assert caught.value.expected[:-1] == caught.value.found
    assert "corrupting 1.0 makes" in str(caught.value)


def test_a_random_share_alone_does_not_find_it(
    text: tokenizers.Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    careless = fast.prepare(text, corrupting(lambda own: "\x0b'" in own))
    assert isinstance(careless, Fast)
    monkeypatch.setattr(fast.Novelty, "excerpts", lambda own, seen: [])
    careless.session().encode(rare(words(4, 3000)))
    with pytest.raises(EngineDiffers):
        careless.session(EVERYTHING).encode(rare(words(4, 3000)))


def without_runs(patch: pytest.MonkeyPatch) -> None:
    nothing = np.empty(0, np.int64)
    patch.setattr(fast.Novelty, "_runs", lambda own, classes: (nothing, nothing, nothing))


def without_lengths(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fast.Novelty, "first_of_their_length", lambda own, texts: set())


def without_a_random_share(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fast, "_digest", lambda text: 1)


NUMBERED = [f"the end {number}" for number in range(10_000, 15_000)]
(DRAWN, *_) = [own for own in NUMBERED[1:] if fast._digest(own) % fast.SAMPLE == 0]


@pytest.mark.parametrize(
    ("rule", "texts", "switch_off"),
    [
        (lambda own: "-" * 256 in own, ["end -----b", "e" * 8 + " end" * 80], without_runs),
        (lambda own: len(own) > 600, ["the end " * 2, "the end " * 9], without_lengths),
        (lambda own: own == DRAWN, NUMBERED[:1], without_a_random_share),
    ],
)
def test_each_guard_finds_what_the_others_miss(
    text: tokenizers.Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
    rule: Any,
    texts: list[str],
    switch_off: Any,
) -> None:
    """A run of a new length, a text of a new length, and a fault in what has nothing new."""
    wrong = next(own for own in ("end " + "-" * 300 + "b", "the end " * 80, DRAWN) if rule(own))
    careless = fast.prepare(text, corrupting(rule))
    assert isinstance(careless, Fast)
    with pytest.raises(EngineDiffers):
        careless.session().encode([*texts, wrong])
    switch_off(monkeypatch)
    careless.session().encode([*texts, wrong])


@pytest.mark.parametrize("forgets", [True, False])
def test_what_was_new_in_a_batch_that_failed_is_new_again(
    text: tokenizers.Tokenizer, monkeypatch: pytest.MonkeyPatch, forgets: bool
) -> None:
    """It was left to `tokenizers`, and so the library has not been compared on it."""
    wrong = corrupting(lambda own: "\x0b'" in own)
    library = raising(RuntimeError("boom"), lambda own: "boom" in own, wrong)
    careless = fast.prepare(text, library)
    assert isinstance(careless, Fast)
    if not forgets:
        monkeypatch.setattr(fast.Novelty, "restore", lambda own, state: None)
    session = careless.session()
    session.encode(["the end tis"])
    session.encode(["boom end \x0b'tis"])
    assert session.audit.failed == 1
    with pytest.raises(EngineDiffers) if forgets else contextlib.nullcontext():
        session.encode(["the end \x0b'tis"])


def test_a_known_faulty_library_is_caught_on_real_texts(real_data: Path, tmp_path: Path) -> None:
    """tokie, admission left out, on real chats: in the first session that meets its faults."""
    import gzip

    with gzip.open(next((real_data / "sharegpt-en-1k").glob("*.json.gz")), "rt") as file:
        records = json.load(file)
    texts = ["\n" + turn["value"] for own in records for turn in own["conversations"]]
    twin = text_twin(real_data / "tokenizers" / "qwen3")
    careless = fast.prepare(twin, tokie_library(tmp_path))
    assert isinstance(careless, Fast)
    with pytest.raises(EngineDiffers):
        careless.session().encode(texts)


def test_what_is_audited_does_not_depend_on_the_calls(engine: Fast) -> None:
    texts = words(5, 2000)
    whole, cut = engine.session(), engine.session()
    whole.encode(texts)
    for start in range(0, len(texts), 300):
        cut.encode(texts[start : start + 300])
    assert whole.audit == cut.audit
    assert 0 < whole.audit.whole < whole.audit.texts / 2
    assert whole.audit.differences == 0


class PanicException(BaseException):
    """What a panic in Rust looks like: it is no Exception."""


def raising(error: BaseException, rule: Any, real: Library | None = None) -> Library:
    """A library, fastokens or another, that raises an error where the rule picks a text."""
    real = real or fast.fastokens()
    assert real is not None

    def load(source: str) -> Encode:
        encode = real.load(source)

        def failing(texts: list[str]) -> Encoded:
            if any(rule(own) for own in texts):
                raise error
            return encode(texts)

        return failing

    return Library("failing", load)


def test_a_panic_at_admission_leaves_the_tokenizer_to_tokenizers(
    text: tokenizers.Tokenizer,
) -> None:
    """It used to end the build."""

    def unreadable(source: str) -> Encode:
        raise PanicException("index out of bounds")

    refused = fast.admit(text, Library("x", unreadable))
    assert refusal(refused) == "x cannot read it: index out of bounds"
    refused = fast.admit(text, raising(PanicException("index out of bounds"), bool))
    assert refusal(refused) == "failing raised PanicError('index out of bounds')"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_who_ends_a_build_is_heard(text: tokenizers.Tokenizer, error: BaseException) -> None:
    library = raising(error, lambda own: "boom" in own)
    careless = fast.prepare(text, library)
    assert isinstance(careless, Fast)
    with pytest.raises(type(error)):
        careless.session().encode(["boom"])
    with pytest.raises(type(error)):
        fast.admit(text, raising(error, bool))


@pytest.mark.parametrize("error", [RuntimeError("boom"), PanicException("boom")])
def test_a_library_that_fails_is_replaced_for_the_batch(
    text: tokenizers.Tokenizer, error: BaseException
) -> None:
    careless = fast.prepare(text, raising(error, lambda own: "boom" in own))
    assert isinstance(careless, Fast)
    session = careless.session()
    texts = ["a", "boom", "b"]
    assert same(session.encode(texts), Reference(text).encode(texts))
    assert session.audit.failed == 3


def test_strings_are_the_same_every_time(text: tokenizers.Tokenizer) -> None:
    strings = hard_strings.strings(text)
    assert strings == hard_strings.strings(text)
    assert strings != hard_strings.strings(text, seed=1)
    assert len(strings) > 12_000
    assert not any("\ud800" <= character <= "\udfff" for own in strings for character in own)


# ----------------------------------------------------------------------------------- whole builds


def built(folder: Path, out: Path, **own: Any) -> dict[str, Any]:
    recipe = load_recipe("sample", [f"render.tokenizer={folder}"])
    build_dataset(recipe, out, **own)
    return read_manifest(out)


def shards(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "tokens").glob("*"))}


def test_builds_with_and_without_it_write_the_same_rows(
    starcoder_like: Path, tmp_path: Path
) -> None:
    ways = {"audit": "audit", "full": "full", "off": "off"}
    facts = {name: built(starcoder_like, tmp_path / name, verify=way) for name, way in ways.items()}
    assert shards(tmp_path / "audit") == shards(tmp_path / "full") == shards(tmp_path / "off")
    engines = {name: own["render"]["certificate"]["engine"] for name, own in facts.items()}
    assert engines["off"] == {"name": f"tokenizers {tokenizers.__version__}"}
    assert engines["audit"]["name"].startswith("fastokens ")
    full = engines["full"]["audit"]
    assert full["whole"] + full["routed"] == full["texts"] > engines["audit"]["audit"]["whole"]
    assert full["differences"] == 0


def test_a_difference_gives_the_whole_build_to_tokenizers(
    starcoder_like: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards that were written before the difference was met are written again."""
    library = corrupting(lambda own: "deploy" in own or "sort" in own)
    monkeypatch.setattr(fast, "fastokens", lambda: library)
    monkeypatch.setattr(job.fast, "admit", fast.prepare)
    wrong = built(starcoder_like, tmp_path / "wrong", verify="full")
    engine = wrong["render"]["certificate"]["engine"]
    assert engine["name"].startswith("tokenizers ")
    assert "corrupting 1.0 makes" in engine["remark"]
    built(starcoder_like, tmp_path / "right", verify="off")
    assert shards(tmp_path / "wrong") == shards(tmp_path / "right")
