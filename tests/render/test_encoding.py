"""A fast encoder is exact or is not used: admission, fallback, audit, and what follows."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models

from chatdata import build_dataset, load_recipe, read_manifest
from chatdata.core.errors import ConfigError
from chatdata.render.encoding import admission, audit, coverage, encoder, hard_strings, libraries
from chatdata.render.encoding.admission import Refusal
from chatdata.render.encoding.audit import EVERYTHING, SAMPLE
from chatdata.render.encoding.coverage import CoverageSampler
from chatdata.render.encoding.encoded import Encoded
from chatdata.render.encoding.encoder import EncoderDiffers, FastEncoder
from chatdata.render.encoding.libraries import Encode, Library, ReferenceEncoder
from tests.support import trusted_tokenizer
from tests.support.trusted_tokenizer import words

pytest.importorskip("fastokens")

NAMES = ["starcoder", "starcoder2", "gpt2", "gpt-neox-20b", "smollm2", "qwen3"]


@pytest.fixture(scope="session")
def starcoder_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trusted_tokenizer.starcoder_like(tmp_path_factory.mktemp("tokenizer") / "starcoder-like")


def text_twin(folder: Path) -> tokenizers.Tokenizer:
    from chatdata.render.built_in import load
    from chatdata.render.template_spec import BUILT_IN

    return load(folder, folder.name, BUILT_IN["starchat"], None).text


@pytest.fixture(scope="session")
def text(starcoder_like: Path) -> tokenizers.Tokenizer:
    return text_twin(starcoder_like)


@pytest.fixture(scope="session")
def fast(text: tokenizers.Tokenizer) -> FastEncoder:
    admitted = admission.admit(text)
    assert isinstance(admitted, FastEncoder), admitted
    return admitted


def same(actual: Encoded, expected: Encoded) -> bool:
    arrays = zip(actual, expected, strict=True)
    return all(array.tolist() == wanted.tolist() for array, wanted in arrays)


def corrupting(rule: Any) -> Library:
    """fastokens, that drops the last id of each text that the rule picks."""
    real = libraries.fastokens()
    assert real is not None

    def load(source: str) -> Encode:
        encode = real.load(source)

        def wrong(texts: list[str]) -> Encoded:
            right = encode(texts)
            cut = [right.of(i)[: -1 if rule(text) else None] for i, text in enumerate(texts)]
            offsets = np.cumsum([0, *map(len, cut)], dtype=np.int64)
            return Encoded(np.concatenate([np.empty(0, np.int32), *cut]), offsets)

        return wrong

    return Library("corrupting 1.0", load)


# ------------------------------------------------------------------------------------ exactness


@pytest.mark.slow
@settings(max_examples=100, derandomize=True)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=8))
def test_it_encodes_as_tokenizers_does(fast: FastEncoder, texts: list[str]) -> None:
    assert same(fast.encode(texts), fast.reference.encode(texts))


def test_it_encodes_many_texts_as_tokenizers_does(fast: FastEncoder) -> None:
    hard = ["", "\x00", "<|endoftext|>", "<tool>x", "<|end|>\n", "U\U00040000x"]
    texts = [*words(2, 3000), *hard]
    assert same(fast.session().encode(texts), fast.reference.encode(texts))
    assert same(fast.encode([]), Encoded(np.empty(0, np.int32), np.zeros(1, np.int64)))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_real_tokenizers_are_admitted_and_exact(name: str, real_data: Path) -> None:
    admitted = admission.admit(text_twin(real_data / "tokenizers" / name))
    assert isinstance(admitted, FastEncoder), admitted
    texts = ["\n" + line for line in words(3, 1500)] + [f"a{chr(p)}1" for p in range(0x250, 0x2200)]
    assert same(admitted.session().encode(texts), admitted.reference.encode(texts))


def test_control_tokens_are_text_and_other_added_tokens_are_not(
    fast: FastEncoder, text: tokenizers.Tokenizer
) -> None:
    encoded = fast.encode(["<|endoftext|>", "<tool>"])
    assert text.token_to_id("<|endoftext|>") not in encoded.of(0)
    assert encoded.of(1).tolist() == [text.token_to_id("<tool>")]


# ---------------------------------------------------------------------------- routing and refusal


@pytest.mark.parametrize("character", ["²", "½", "٣", "Ⅷ", "\u0378", "\U00040000", "\U0001d7d8"])
def test_what_the_rewrite_gets_wrong_is_left_to_tokenizers(
    fast: FastEncoder, character: str
) -> None:
    texts = ["plain", f"a{character}1", "é"]
    session = fast.session()
    assert same(session.encode(texts), fast.reference.encode(texts))
    assert session.audit.routed == 1


def test_without_its_guard_the_rewrite_is_refused(
    text: tokenizers.Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hole that the guard closes is one that the hard strings show."""
    nothing = np.zeros(0x110000, np.bool_)
    monkeypatch.setattr(coverage, "numeric_or_unassigned", lambda: nothing)
    monkeypatch.setattr(admission, "_unspellable", lambda vocabulary: nothing)
    refused = admission.admit(text)
    assert isinstance(refused, Refusal)


@pytest.mark.slow
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
    refused = admission.admit(text, corrupting(rule))
    assert isinstance(refused, Refusal), what
    assert "differs on" in refused.reason


@pytest.mark.slow
def test_a_library_with_known_faults_is_refused(real_data: Path, tmp_path: Path) -> None:
    library = tokie_library(tmp_path)
    for name in ("gpt2", "smollm2"):
        refused = admission.admit(text_twin(real_data / "tokenizers" / name), library)
        assert isinstance(refused, Refusal), name
        assert "tokie differs on" in refused.reason


def tokie_library(folder: Path) -> Library:
    """tokie, which is fast and wrong on contractions behind a tab and on long runs."""
    tokie = pytest.importorskip("tokie")

    def load(source: str) -> Encode:
        path = folder / "tokie.json"
        path.write_text(source, encoding="utf-8")
        tokenizer = tokie.Tokenizer.from_json(str(path))

        def encode(texts: list[str]) -> Encoded:
            ids, lengths = tokenizer.encode_batch_flat(texts, add_special_tokens=False)
            offsets = np.concatenate([[0], np.cumsum(np.asarray(lengths))]).astype(np.int64)
            return Encoded(np.asarray(ids).astype(np.int32), offsets)

        return encode

    return Library("tokie", load)


def test_what_is_not_known_is_refused_in_words(
    text: tokenizers.Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    word_level = tokenizers.Tokenizer(models.WordLevel({"a": 0}, "a"))
    assert "model" in refusal(admission.admit(word_level))
    byte_level = tokenizers.Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    assert "pre-tokenizer" in refusal(admission.admit(byte_level))

    def unreadable(source: str) -> Encode:
        raise ValueError("not mine")

    assert "cannot read it: not mine" in refusal(admission.admit(text, Library("x", unreadable)))
    monkeypatch.setattr(libraries, "fastokens", lambda: None)
    assert "not installed" in refusal(admission.admit(text))


def refusal(outcome: FastEncoder | Refusal) -> str:
    assert isinstance(outcome, Refusal)
    return outcome.reason


def source_of(text: tokenizers.Tokenizer) -> dict[str, Any]:
    return dict(json.loads(text.to_str()))


KNOWN = {
    "starcoder": admission.STARCODER,
    "starcoder2": admission.STARCODER,
    "gpt2": admission.GPT2,
    "gpt-neox-20b": admission.GPT2,
    "smollm2": admission.GPT2,
    "qwen3": admission.QWEN,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_real_tokenizer_is_of_the_family_that_names_it(name: str, real_data: Path) -> None:
    text = text_twin(real_data / "tokenizers" / name)
    assert admission.family_of(source_of(text)) is KNOWN[name]


@pytest.mark.parametrize("family", admission.FAMILIES, ids=lambda family: family.members)
def test_a_family_is_left_when_a_setting_that_counts_is_another(family: admission.Family) -> None:
    """Every setting of every stage in the table counts, and so does the number of stages."""
    stages = [dict(stage) for stage in family.stages]
    sequence = {"type": "Sequence", "pretokenizers": stages}
    assert admission.family_of({"pre_tokenizer": sequence}) is family
    for stage in stages:
        for key, value in list(stage.items()):
            stage[key] = not value if isinstance(value, bool) else "another"
            assert admission.family_of({"pre_tokenizer": sequence}) is not family
            stage[key] = value
    stages.append(stages[-1])
    assert admission.family_of({"pre_tokenizer": sequence}) is None


@pytest.mark.parametrize(
    ("part", "edit"),
    [
        ("model", {"model": {"type": "Unigram"}}),
        *[
            ("model", {"model": {"type": "BPE", key: value}})
            for key, value in [
                ("dropout", 0.1),
                ("unk_token", "<unk>"),
                ("continuing_subword_prefix", "##"),
                ("end_of_word_suffix", "</w>"),
                ("byte_fallback", True),
            ]
        ],
        ("normalizer", {"normalizer": {"type": "NFKC"}}),
        ("pre-tokenizer", {"pre_tokenizer": None}),
        (None, {"normalizer": {"type": "NFC"}}),
        (None, {}),
    ],
)
def test_each_rule_refuses_a_part_of_its_own(
    text: tokenizers.Tokenizer, part: str | None, edit: dict[str, Any]
) -> None:
    source = {**source_of(text), **edit}
    broken = next((name for name, holds in admission.RULES if not holds(source)), None)
    assert broken == part


# -------------------------------------------------------------------------------------- the audit


def rare(texts: Sequence[str]) -> list[str]:
    """The texts with a few of a class that none of them had before, far behind."""
    return [*texts, *["the end \x0b'tis"] * 2, *texts]


@pytest.mark.slow
def test_what_is_new_in_the_stream_is_compared(text: tokenizers.Tokenizer) -> None:
    """Admission left out: the fault is met in the 3,001st text, and found there."""
    careless = admission.prepare(text, corrupting(lambda text: "\x0b'" in text))
    assert isinstance(careless, FastEncoder)
    with pytest.raises(EncoderDiffers) as caught:
        careless.session().encode(rare(words(4, 3000)))
    assert "\x0b'tis" in caught.value.text
    assert caught.value.expected[:-1] == caught.value.actual
    assert "corrupting 1.0 makes" in str(caught.value)


@pytest.mark.slow
def test_a_random_share_alone_does_not_find_it(
    text: tokenizers.Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    careless = admission.prepare(text, corrupting(lambda text: "\x0b'" in text))
    assert isinstance(careless, FastEncoder)
    monkeypatch.setattr(CoverageSampler, "excerpts", lambda self, texts: [])
    careless.session().encode(rare(words(4, 3000)))
    with pytest.raises(EncoderDiffers):
        careless.session(EVERYTHING).encode(rare(words(4, 3000)))


def without_runs(patch: pytest.MonkeyPatch) -> None:
    nothing = np.empty(0, np.int64)
    patch.setattr(CoverageSampler, "_runs", lambda self, classes: (nothing, nothing, nothing))


def without_lengths(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CoverageSampler, "first_of_their_length", lambda self, texts: set())


def without_a_random_share(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(encoder, "_digest", lambda text: 1)


NUMBERED = [f"the end {number}" for number in range(10_000, 15_000)]
(DRAWN, *_) = [text for text in NUMBERED[1:] if encoder._digest(text) % SAMPLE == 0]


@pytest.mark.parametrize(
    ("rule", "texts", "switch_off"),
    [
        (lambda text: "-" * 256 in text, ["end -----b", "e" * 8 + " end" * 80], without_runs),
        (lambda text: len(text) > 600, ["the end " * 2, "the end " * 9], without_lengths),
        (lambda text: text == DRAWN, NUMBERED[:1], without_a_random_share),
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
    wrong = next(t for t in ("end " + "-" * 300 + "b", "the end " * 80, DRAWN) if rule(t))
    careless = admission.prepare(text, corrupting(rule))
    assert isinstance(careless, FastEncoder)
    with pytest.raises(EncoderDiffers):
        careless.session().encode([*texts, wrong])
    switch_off(monkeypatch)
    careless.session().encode([*texts, wrong])


@pytest.mark.parametrize("forgets", [True, False])
def test_what_was_new_in_a_batch_that_failed_is_new_again(
    text: tokenizers.Tokenizer, monkeypatch: pytest.MonkeyPatch, forgets: bool
) -> None:
    """It was left to `tokenizers`, and so the library has not been compared on it."""
    wrong = corrupting(lambda text: "\x0b'" in text)
    library = raising(RuntimeError("boom"), lambda text: "boom" in text, wrong)
    careless = admission.prepare(text, library)
    assert isinstance(careless, FastEncoder)
    if not forgets:
        monkeypatch.setattr(CoverageSampler, "restore", lambda self, state: None)
    session = careless.session()
    session.encode(["the end tis"])
    session.encode(["boom end \x0b'tis"])
    assert session.audit.failed == 1
    with pytest.raises(EncoderDiffers) if forgets else contextlib.nullcontext():
        session.encode(["the end \x0b'tis"])


@pytest.mark.slow
def test_a_known_faulty_library_is_caught_on_real_texts(real_data: Path, tmp_path: Path) -> None:
    """tokie, admission left out, on real chats: in the first session that meets its faults."""
    import gzip

    with gzip.open(next((real_data / "sharegpt-en-1k").glob("*.json.gz")), "rt") as file:
        records = json.load(file)
    texts = ["\n" + turn["value"] for record in records for turn in record["conversations"]]
    twin = text_twin(real_data / "tokenizers" / "qwen3")
    careless = admission.prepare(twin, tokie_library(tmp_path))
    assert isinstance(careless, FastEncoder)
    with pytest.raises(EncoderDiffers):
        careless.session().encode(texts)


def test_what_is_audited_does_not_depend_on_the_calls(fast: FastEncoder) -> None:
    texts = words(5, 2000)
    whole, cut = fast.session(), fast.session()
    whole.encode(texts)
    for start in range(0, len(texts), 300):
        cut.encode(texts[start : start + 300])
    assert whole.audit == cut.audit
    assert 0 < whole.audit.whole < whole.audit.texts / 2
    assert whole.audit.differences == 0


class Asked(ReferenceEncoder):
    """`tokenizers`, that notes what it is given."""

    def __init__(self, text: tokenizers.Tokenizer) -> None:
        super().__init__(text)
        self.texts: list[str] = []

    def encode(self, texts: Sequence[str]) -> Encoded:
        self.texts += texts
        return super().encode(texts)


@pytest.mark.parametrize("one_in", [SAMPLE, EVERYTHING])
def test_what_was_compared_before_is_counted_and_not_encoded_again(
    fast: FastEncoder, text: tokenizers.Tokenizer, one_in: int
) -> None:
    texts = words(5, 1000)
    before, plain, reference = fast.session(one_in), fast.session(one_in), Asked(text)
    before.encode([*texts[:300], *texts[310:]])
    again = replace(fast, reference=reference).session(one_in, before.marks)
    assert same(again.encode(texts), plain.encode(texts))
    assert (again.audit, again.marks) == (plain.audit, plain.marks)
    asked = len(reference.texts) - again.audit.routed
    assert len(plain.marks - before.marks) <= asked < len(plain.marks) / 10


def test_other_ids_of_a_text_that_was_compared_before_are_found(
    fast: FastEncoder, text: tokenizers.Tokenizer
) -> None:
    texts = words(5, 100)
    session = fast.session(EVERYTHING)
    session.encode(texts)
    careless = admission.prepare(text, corrupting(lambda text: text == texts[70]))
    assert isinstance(careless, FastEncoder)
    with pytest.raises(EncoderDiffers):
        careless.session(EVERYTHING, session.marks).encode(texts)


class PanicException(BaseException):
    """What a panic in Rust looks like: it is no Exception."""


def raising(error: BaseException, rule: Any, real: Library | None = None) -> Library:
    """A library, fastokens or another, that raises an error where the rule picks a text."""
    real = real or libraries.fastokens()
    assert real is not None

    def load(source: str) -> Encode:
        encode = real.load(source)

        def failing(texts: list[str]) -> Encoded:
            if any(rule(text) for text in texts):
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

    refused = admission.admit(text, Library("x", unreadable))
    assert refusal(refused) == "x cannot read it: index out of bounds"
    refused = admission.admit(text, raising(PanicException("index out of bounds"), bool))
    assert refusal(refused) == "failing raised PanicError('index out of bounds')"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_who_ends_a_build_is_heard(text: tokenizers.Tokenizer, error: BaseException) -> None:
    library = raising(error, lambda text: "boom" in text)
    careless = admission.prepare(text, library)
    assert isinstance(careless, FastEncoder)
    with pytest.raises(type(error)):
        careless.session().encode(["boom"])
    with pytest.raises(type(error)):
        admission.admit(text, raising(error, bool))


@pytest.mark.parametrize("error", [RuntimeError("boom"), PanicException("boom")])
def test_a_library_that_fails_is_replaced_for_the_batch(
    text: tokenizers.Tokenizer, error: BaseException
) -> None:
    careless = admission.prepare(text, raising(error, lambda text: "boom" in text))
    assert isinstance(careless, FastEncoder)
    session = careless.session()
    texts = ["a", "boom", "b"]
    assert same(session.encode(texts), ReferenceEncoder(text).encode(texts))
    assert session.audit.failed == 3


def test_strings_are_the_same_every_time(text: tokenizers.Tokenizer) -> None:
    strings = hard_strings.strings(text)
    assert strings == hard_strings.strings(text)
    assert strings != hard_strings.strings(text, seed=1)
    assert len(strings) > 12_000
    assert not any("\ud800" <= character <= "\udfff" for string in strings for character in string)


# ----------------------------------------------------------------------------------- whole builds


def built(folder: Path, out: Path, **options: Any) -> dict[str, Any]:
    recipe = load_recipe("sample", [f"render.tokenizer={folder}"])
    build_dataset(recipe, out, **options)
    return read_manifest(out)


def shards(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "tokens").glob("*"))}


@pytest.mark.slow
def test_builds_with_and_without_it_write_the_same_rows(
    starcoder_like: Path, tmp_path: Path
) -> None:
    modes = audit.AUDIT_MODES
    facts = {name: built(starcoder_like, tmp_path / name, verify=name) for name in modes}
    assert shards(tmp_path / "audit") == shards(tmp_path / "full") == shards(tmp_path / "off")
    engines = {
        name: manifest["render"]["certificate"]["engine"] for name, manifest in facts.items()
    }
    assert engines["off"] == {"name": f"tokenizers {tokenizers.__version__}"}
    assert engines["audit"]["name"].startswith("fastokens ")
    full = engines["full"]["audit"]
    assert full["whole"] + full["routed"] == full["texts"] > engines["audit"]["audit"]["whole"]
    assert full["differences"] == 0


@pytest.mark.slow
def test_a_difference_gives_the_whole_build_to_tokenizers(
    starcoder_like: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards that were written before the difference was met are written again."""
    library = corrupting(lambda text: "deploy" in text or "sort" in text)
    monkeypatch.setattr(libraries, "fastokens", lambda: library)
    monkeypatch.setattr(admission, "admit", admission.prepare)
    wrong = built(starcoder_like, tmp_path / "wrong", verify="full")
    engine = wrong["render"]["certificate"]["engine"]
    assert engine["name"].startswith("tokenizers ")
    assert "corrupting 1.0 makes" in engine["remark"]
    built(starcoder_like, tmp_path / "right", verify="off")
    assert shards(tmp_path / "wrong") == shards(tmp_path / "right")


def test_an_audit_mode_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no audit mode 'sometimes'; known: audit, full, off\."):
        build_dataset(load_recipe("sample"), tmp_path / "out", verify="sometimes")


# ------------------------------------------------------------------------- the coverage sampler

ODD = "aaaa    \n\t1==''<|>éüß中文日本😀\u0301\u200b\x7f\x00\x85\x0b"
RUNS = st.tuples(st.sampled_from(ODD), st.integers(1, 40)).map(lambda run: run[0] * run[1])
TEXTS = st.lists(st.lists(RUNS, max_size=12).map("".join), max_size=6)


@pytest.mark.slow
@settings(max_examples=100)
@given(TEXTS)
def test_classes_are_those_of_the_table_character_by_character(texts: list[str]) -> None:
    table = coverage.class_table().copy()
    table[ord("=")] |= coverage.NEEDS_FALLBACK
    table[ord("中")] |= coverage.NEEDS_FALLBACK
    classes, starts = coverage.classify(texts, table)
    expected = [0]
    for text in texts:
        expected += [int(table[ord(character)]) for character in text] + [0]
    assert classes.tolist() == expected
    assert [classes[start] for start in starts] == [0] * len(starts)
    classes[0] = 1  # it can be written to


@pytest.mark.slow
@settings(max_examples=166)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 60)), max_size=30))
def test_long_runs_are_those_that_a_look_at_each_place_gives(parts: list[tuple[int, int]]) -> None:
    groups = [group for group, length in parts for _ in range(length)]
    expected, place = [], 0
    for _, members in itertools.groupby(groups):
        length = len(list(members))
        if length >= 16:
            expected.append((place, place + length))
        place += length
    first, end = coverage._long_runs(np.asarray(groups, np.uint8))
    assert list(zip(first.tolist(), end.tolist(), strict=True)) == expected


def test_the_classes_of_a_group_have_numbers_in_a_row() -> None:
    numbers = np.arange(len(coverage._NUMBERS), dtype=np.uint8)
    named = dict(enumerate(name for group in coverage._GROUPS for name in group))
    expected = [[named[n] in group for group in coverage._GROUPS].index(True) for n in named]
    assert coverage._groups(numbers).tolist() == expected


@settings(max_examples=40)
@given(st.lists(TEXTS, max_size=3))
def test_what_is_new_is_what_a_look_at_each_place_gives(calls: list[list[str]]) -> None:
    table, sampler = coverage.class_table(), CoverageSampler()
    seen: set[Any] = set()
    for texts in calls:
        actual = sampler.excerpts(coverage.classify(texts, table))
        spans = [
            (number, max(0, start - 32), min(len(text), end + 32))
            for number, text in enumerate(texts)
            for start, end in new_places(text, table, seen)
        ]
        assert actual == list(coverage._merged(sorted(map(coverage.Excerpt._make, spans))))


def new_places(text: str, table: coverage.Classes, seen: set[Any]) -> Iterator[tuple[int, int]]:
    """Yields where three characters, or a run of them, have a shape that is not among `seen`."""
    classes = [0, *(int(table[ord(character)]) for character in text), 0]
    for place in range(1, len(classes) - 1):
        shape = tuple(classes[place - 1 : place + 2])
        if classes[place] and shape not in seen:
            yield place - 1, place
        seen.add(shape)
    groups = coverage._groups(np.asarray(classes, np.uint8)).tolist()
    end = 0
    for group, run in itertools.groupby(groups):
        start, end = end, end + len(list(run))
        bucket = int(np.searchsorted(coverage._RUN_LENGTHS, end - start, "right"))
        shape = classes[end - 1], bucket
        if group and end - start >= 16 and shape not in seen:
            yield start - 1, end - 1
            seen.add(shape)
