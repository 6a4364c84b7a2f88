"""Ids and labels: the properties of every template, on every tokenizer at hand."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import RenderError
from chatdata.render import certificate
from chatdata.render.built_in import BuiltInTemplate, load
from chatdata.render.encoding import libraries
from chatdata.render.fit import fit
from chatdata.render.options import Render
from chatdata.render.rows import Rendered, render
from chatdata.render.segments import encoded
from chatdata.render.segments.from_spec import encode_from_spec, encode_joined
from chatdata.render.segments.prompt_prefix import prefix_lengths
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.segments.unencoded import TrainOn, UnencodedSegments
from chatdata.render.template import Pool
from chatdata.render.template_spec import BUILT_IN, TemplateSpec, Turn
from chatdata.render.tokenizer import Tokenizer
from tests.support.conversations import CONTENTS, HELLO, Turns, random_conversation, table

TRAIN_ON: list[TrainOn] = ["assistant", "last_assistant", "assistant_with_header", "all"]
RANDOM = {str(seed): random_conversation(seed) for seed in range(60)}
CONTROL = ["<|end|>", "<|im_end|>", "<|assistant|>", "<|endoftext|>"]
PLAIN = {
    name: turns
    for name, turns in RANDOM.items()
    if not any(token in content for _, content in turns for token in CONTROL)
}


# Each tokenizer, and each template: where the tokenizer has the template's tokens, and where not.
PAIRS = [("bytes", name) for name in BUILT_IN]
PAIRS += [("starcoder", "starchat"), ("smollm2", "chatml"), ("qwen3", "chatml")]
PAIRS += [("qwen3", "starchat"), ("gpt-neox-20b", "dialogue")]


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    name, template = request.param
    real = None if name == "bytes" else request.getfixturevalue("real_data") / "tokenizers" / name
    return load(real, name, BUILT_IN[template], None)


def options(**settings: Any) -> Render:
    return Render(tokenizer="bytes", **settings)


def run(
    conversations: Mapping[str, Turns] | pl.DataFrame, tokenizer: Tokenizer, **settings: Any
) -> Rendered:
    messages = conversations if isinstance(conversations, pl.DataFrame) else table(conversations)
    pool, chosen = TextPool(tokenizer), options(**settings)
    fitted = fit(messages, pool, chosen)
    return render(fitted.messages, fitted.windows, pool, chosen)


def row(rendered: Rendered, number: int = 0) -> tuple[list[int], list[int]]:
    start, end = rendered.offsets[number : number + 2]
    return rendered.input_ids[start:end].tolist(), rendered.labels[start:end].tolist()


def byte_tokenizer(template: TemplateSpec, system: str | None = None) -> Tokenizer:
    return load(None, "bytes", template, system)


# ------------------------------------------------------------- properties, template x tokenizer


@pytest.mark.slow
def test_the_twin_that_sees_only_text_differs_in_that_alone(tokenizer: Tokenizer) -> None:
    full, twin = (json.loads(each.to_str()) for each in (tokenizer.full, tokenizer.text))
    assert twin.pop("post_processor") is None
    full.pop("post_processor")
    for token in full["added_tokens"]:
        token["special"] = token["special"] or token["content"] in tokenizer.template.special_tokens
    assert twin == full
    assert tokenizer.text.encode_special_tokens
    assert not tokenizer.full.encode_special_tokens


@pytest.mark.slow
def test_ids_are_those_of_apply_chat_template(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """transformers itself, on the folder that a build writes, is the reference."""
    transformers = pytest.importorskip("transformers")
    tokenizer.save(tmp_path / "t")
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path / "t")
    rendered = run(PLAIN, tokenizer)
    for number, name in enumerate(rendered.conversations):
        turns = [{"role": role, "content": content} for role, content in PLAIN[name]]
        expected = reference.apply_chat_template(turns, tokenize=True, return_dict=False)
        assert row(rendered, number)[0] == expected, name


def test_labels_are_the_id_or_ignored(tokenizer: Tokenizer) -> None:
    for train_on in TRAIN_ON:
        rendered = run(RANDOM, tokenizer, train_on=train_on)
        trained = rendered.labels != IGNORE_INDEX
        assert (rendered.labels == rendered.input_ids)[trained].all()
        counts = np.add.reduceat(trained, rendered.offsets[:-1])
        assert counts.tolist() == rendered.trained.tolist()


def test_what_precedes_the_first_trained_id_is_the_generation_prompt(tokenizer: Tokenizer) -> None:
    """Where the answer does not begin with white space, which may merge with the header."""
    for text in ("Sure", "def f():", "日本", "1. one"):
        ids, labels = row(run({"x": [("user", "q"), ("assistant", text)]}, tokenizer))
        first = next(i for i, label in enumerate(labels) if label != IGNORE_INDEX)
        prompt = tokenizer.full.decode(ids[:first], skip_special_tokens=False)
        assert prompt.endswith(tokenizer.template.generation_prompt)


def test_the_trained_ids_are_the_answers_and_their_stop_token(tokenizer: Tokenizer) -> None:
    stop = tokenizer.id(tokenizer.template.stop)
    turns = [("user", "q"), ("assistant", "one"), ("user", "r"), ("assistant", "two")]
    _, labels = row(run({"x": turns}, tokenizer))
    trained = [label for label in labels if label != IGNORE_INDEX]
    assert [label for label in trained if label == stop] == [stop, stop]
    text = tokenizer.decode([label for label in trained if label != stop])
    assert text.split() == ["onetwo"] or text.split() == ["one", "two"]
    assert trained[-1] == stop


@pytest.mark.slow
def test_k_turns_are_a_prefix_of_k_plus_one(tokenizer: Tokenizer) -> None:
    for turns in [*RANDOM.values()][:20]:
        whole, _ = row(run({"x": turns}, tokenizer))
        for k in range(1, len(turns)):
            if turns[k - 1][0] != "assistant":
                continue  # a template may join a question with the answer's header
            part, _ = row(run({"x": turns[:k]}, tokenizer))
            stop = len(part) - part[::-1].index(tokenizer.id(tokenizer.template.stop))
            assert whole[:stop] == part[:stop]


def test_content_forges_no_control_token(tokenizer: Tokenizer) -> None:
    controls = tokenizer.control_ids()
    for token in [*controls, *CONTROL]:
        forged = [("user", f"a{token}\n{token}b"), ("assistant", f"{token}{token}")]
        harmless = [("user", "x"), ("assistant", "x")]
        ids, _ = row(run({"x": forged}, tokenizer))
        plain, _ = row(run({"x": harmless}, tokenizer))
        for id in controls.values():
            assert ids.count(id) == plain.count(id)


def test_the_certificate_passes_and_looked_at_something(tokenizer: Tokenizer) -> None:
    counts = certificate.certify(tokenizer, options())
    assert counts.differences == counts.forged == counts.headers_trained == 0
    assert counts.compared > 30
    assert counts.quoting >= 2
    assert counts.stops_trained == counts.answers > 100


@pytest.mark.slow
@pytest.mark.parametrize(
    "tokenizer", [pair for pair in PAIRS if pair[1] != "dialogue"], ids="-".join, indirect=True
)
def test_both_writers_agree(tokenizer: Tokenizer) -> None:
    assert isinstance(tokenizer.template, BuiltInTemplate)
    spec, messages = tokenizer.template.spec, table(RANDOM)
    for train_on in TRAIN_ON:
        pool = TextPool(tokenizer)
        drafts = [
            write(spec, messages, pool, train_on) for write in (encode_from_spec, encode_joined)
        ]
        pool.encode()
        from_spec, joined = (_flat(draft, pool) for draft in drafts)
        assert from_spec == joined


def _flat(segments: UnencodedSegments, pool: TextPool) -> list[tuple[int, bool]]:
    prefixes = prefix_lengths(segments, segments.header_text_id, pool)
    ids, starts, lengths = pool.arrays()
    flat = []
    for text, trained, prefix in zip(segments.text_id, segments.trained, prefixes, strict=True):
        of_text = ids[starts[text] : starts[text] + lengths[text]].tolist()
        flat += [(id, bool(trained) and at >= prefix) for at, id in enumerate(of_text)]
    return flat


# --------------------------------------------------------------------------- the article's example


def test_the_printed_example_of_the_article(starcoder: Path) -> None:
    tokenizer = load(starcoder, "starcoder", BUILT_IN["starchat"], None)
    assert tokenizer.control_ids() == {
        "<|system|>": 49152,
        "<|assistant|>": 49153,
        "<|user|>": 49154,
        "<|end|>": 49155,
    }
    ids, labels = row(run({"x": HELLO}, tokenizer, train_on="assistant_with_header"))
    answer = [49153, 203, 69, 513, 30, 2769, 883, 439, 745, 436, 844, 49, 49155, 203]
    assert labels == [-100] * 11 + answer
    user, assistant = (content for _, content in HELLO)
    dialogue = f"<|user|>\n{user}<|end|>\n<|assistant|>\n{assistant}<|end|>\n"
    assert tokenizer.full.encode(dialogue).ids == ids


def test_train_on_by_bytes() -> None:
    """A golden that can be read: trained text in brackets."""
    turns = [("system", "s"), ("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b")]
    expected = {
        ("starchat", "assistant"): (
            "<|system|>\ns<|end|>\n<|user|>\nq<|end|>\n<|assistant|>\n[a<|end|>]\n"
            "<|user|>\nr<|end|>\n<|assistant|>\n[b<|end|>]\n"
        ),
        ("starchat", "last_assistant"): (
            "<|system|>\ns<|end|>\n<|user|>\nq<|end|>\n<|assistant|>\na<|end|>\n"
            "<|user|>\nr<|end|>\n<|assistant|>\n[b<|end|>]\n"
        ),
        ("starchat", "assistant_with_header"): (
            "<|system|>\ns<|end|>\n<|user|>\nq<|end|>\n[<|assistant|>\na<|end|>\n]"
            "<|user|>\nr<|end|>\n[<|assistant|>\nb<|end|>\n]"
        ),
        ("chatml", "assistant"): (
            "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nq<|im_end|>\n"
            "<|im_start|>assistant\n[a<|im_end|>]\n<|im_start|>user\nr<|im_end|>\n"
            "<|im_start|>assistant\n[b<|im_end|>]\n"
        ),
        ("dialogue", "assistant"): (
            "s\n\nHuman: q\n\nAssistant:[ a<|endoftext|>]\n\nHuman: r\n\nAssistant:"
            "[ b<|endoftext|>]\n\n"
        ),
        ("dialogue", "assistant_with_header"): (
            "s\n\nHuman: q\n\n[Assistant: a<|endoftext|>]\n\nHuman: r\n\n"
            "[Assistant: b<|endoftext|>\n\n]"
        ),
    }
    for (name, train_on), text in expected.items():
        tokenizer = byte_tokenizer(BUILT_IN[name])
        assert bracketed(run({"x": turns}, tokenizer, train_on=train_on), tokenizer) == text
    for name in BUILT_IN:
        tokenizer = byte_tokenizer(BUILT_IN[name])
        whole = bracketed(run({"x": turns}, tokenizer, train_on="all"), tokenizer)
        assert whole[0] + whole[-1] == "[]"
        assert "[" not in whole[1:]


def bracketed(rendered: Rendered, tokenizer: Tokenizer, number: int = 0) -> str:
    ids, labels = row(rendered, number)
    text, inside = "", False
    for id, label in [*zip(ids, labels, strict=True), (None, IGNORE_INDEX)]:
        if (label != IGNORE_INDEX) != inside:
            text += "]" if inside else "["
            inside = not inside
        text += tokenizer.decode([id]) if id is not None else ""
    return text


# ----------------------------------------------------------------------------- flags and lengths


def test_a_message_that_is_not_to_be_trained_is_context() -> None:
    tokenizer = byte_tokenizer(BUILT_IN["starchat"])
    turns = [("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b")]
    messages = table({"x": turns}).with_columns(train=pl.col("message") == "x#3")
    for train_on in ("assistant", "last_assistant"):
        text = bracketed(run(messages, tokenizer, train_on=train_on), tokenizer)
        assert text.count("[") == 1
        assert "[b<|end|>]" in text
    untrained = messages.with_columns(train=pl.col("message") == "x#1")
    lost = run(untrained, tokenizer, train_on="last_assistant")
    assert lost.conversations == []
    assert set(lost.outcomes["reason"]) == {"no_trained_tokens"}
    assert lost.outcomes.filter(pl.col("unit") == "message").height == 4


def test_a_default_system_text_stands_where_none_is_said(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer(BUILT_IN["starchat"], "Below is a dialogue.")
    rendered = run({"x": HELLO, "y": [("system", "own"), *HELLO]}, tokenizer)
    first, second = (tokenizer.decode(row(rendered, number)[0]) for number in (0, 1))
    assert first.startswith("<|system|>\nBelow is a dialogue.<|end|>\n<|user|>")
    assert second.startswith("<|system|>\nown<|end|>\n<|user|>")
    assert certificate.certify(tokenizer, options()).differences == 0


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_default_system_text_is_trained_where_all_is(name: str) -> None:
    """As a system turn of the conversation is; in no other case is it trained."""
    tokenizer = byte_tokenizer(BUILT_IN[name], "Be kind.")
    everything = run({"x": HELLO, "y": [("system", "Be kind."), *HELLO]}, tokenizer, train_on="all")
    by_default, from_turn = (row(everything, number) for number in (0, 1))
    assert by_default == from_turn
    ids, labels = by_default
    assert labels == ids
    for train_on in ("assistant", "last_assistant", "assistant_with_header"):
        text = bracketed(run({"x": HELLO}, tokenizer, train_on=train_on), tokenizer)
        assert text.index("Be kind.") < text.index("[")


LONG = [("user", "q" * 10), ("assistant", "a" * 10), ("user", "r" * 10), ("assistant", "b" * 10)]


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILT_IN)
def test_rows_that_are_too_long_are_dropped_or_cut_behind_an_answer(name: str) -> None:
    tokenizer = byte_tokenizer(BUILT_IN[name])
    pool = TextPool(tokenizer)
    whole = len(row(run({"x": LONG}, tokenizer))[0])
    half = len(row(run({"x": LONG[:2]}, tokenizer))[0])
    messages = table({"x": LONG, "y": LONG[:2]})
    for limit in range(half - 2, whole + 2):
        for overflow in ("drop", "cut"):
            chosen = options(max_tokens=limit, overflow=overflow)
            fitted = fit(messages, pool, chosen)
            rendered = render(fitted.messages, fitted.windows, pool, chosen)
            kept = dict(zip(rendered.conversations, np.diff(rendered.offsets), strict=True))
            assert all(length <= limit for length in kept.values())
            assert ("y" in kept) == (half <= limit)
            assert ("x" in kept) == (whole <= limit or (overflow == "cut" and half <= limit))
            lost = fitted.outcomes.filter(pl.col("unit") == "message")["id"].to_list()
            assert sorted([*rendered.messages["message"], *lost]) == sorted(messages["message"])
            assert set(fitted.outcomes["reason"]) <= {"too_long"}


def test_rows_that_a_cut_makes_alike_are_kept_once() -> None:
    """Two paths of a tree that share their first turns."""
    tokenizer = byte_tokenizer(BUILT_IN["starchat"])
    rows = table({"t/b": LONG, "t/c": LONG, "t/d": LONG[:2]}).with_columns(
        group=pl.lit("t"), message=pl.Series(["u", "a", "v", "b", "u", "a", "v", "c", "u", "d"])
    )
    limit = len(row(run({"x": LONG[:2]}, tokenizer))[0])
    fitted = fit(rows, TextPool(tokenizer), options(max_tokens=limit, overflow="cut"))
    assert fitted.messages["conversation"].unique(maintain_order=True).to_list() == ["t/b", "t/d"]
    lost = dict(fitted.outcomes.select("id", "reason").iter_rows())
    assert lost == {
        "t/c": "prefix_of_another",
        "v": "too_long",
        "b": "too_long",
        "c": "prefix_of_another",
    }


def test_no_rows_at_all() -> None:
    tokenizer = byte_tokenizer(BUILT_IN["starchat"])
    rendered = run(table({}), tokenizer)
    assert rendered.conversations == []
    assert len(rendered.input_ids) == 0
    assert fit(table({}), TextPool(tokenizer), options(max_tokens=5)).messages.is_empty()


@pytest.mark.slow
def test_a_large_text_and_many_turns() -> None:
    tokenizer = byte_tokenizer(BUILT_IN["starchat"])
    turns = [("user", "é" * 500_000), ("assistant", "a")] + [
        ("user", "b"),
        ("assistant", "c"),
    ] * 100
    ids, labels = row(run({"x": turns}, tokenizer))
    assert len(ids) > 1_000_000
    assert sum(label != IGNORE_INDEX for label in labels) == 2 * 101


def test_texts_are_encoded_once_whatever_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = byte_tokenizer(BUILT_IN["chatml"])
    expected = run(RANDOM, tokenizer)
    monkeypatch.setattr(libraries, "_REFERENCE_CHARACTERS", 50)
    again = run(RANDOM, tokenizer)
    assert again.input_ids.tolist() == expected.input_ids.tolist()
    pool = TextPool(tokenizer)
    text_ids = [pool.add(text) for text in ("a", "b", "a")]
    assert text_ids == [0, 1, 0]
    assert pool.texts == ["a", "b"]


def test_texts_that_are_added_at_once_have_the_ids_of_each_alone() -> None:
    draw, tokenizer = random.Random(1), byte_tokenizer(BUILT_IN["chatml"])
    at_once, alone = TextPool(tokenizer), TextPool(tokenizer)
    for pool in (at_once, alone):
        pool.place_matters = True
    for _ in range(50):
        texts = ["x" * draw.randrange(30) for _ in range(draw.randrange(6))]
        ids = [alone.add(text) for text in texts]
        assert at_once.add_all(texts).tolist() == ids
        starts = draw.choices(ids, k=2) if ids else []
        assert [*map(at_once.at_start, starts)] == [*map(alone.at_start, starts)]
    assert at_once.texts == alone.texts
    assert at_once._begins == alone._begins


def test_the_arrays_of_a_pool_hold_what_was_written_last() -> None:
    pool = TextPool(byte_tokenizer(BUILT_IN["chatml"]))
    for number in range(3):
        text, written = f"text {number}", f"<|im_start|>{number}"
        text_ids = [pool.add(text), pool.written(written)]
        pool.encode()
        _, _, lengths = pool.arrays()
        assert lengths[text_ids].tolist() == [6, 2]
        assert pool.arrays() is pool.arrays()
        assert len(pool.joined(np.asarray(text_ids))) == 8
        text_ids.append(pool.written(f"<|im_end|>{text}"))
        assert len(pool.joined(np.asarray(text_ids))) == 15


# -------------------------------------------------------------------- the guards, shown to fail


def broken(**turn: str) -> BuiltInTemplate:
    """StarChat, of which the segments are no longer what its Jinja writes."""
    starchat = BUILT_IN["starchat"]
    assistant = Turn(
        **{
            "open": "<|assistant|>",
            "header": "\n",
            "lead": "",
            "close": "<|end|>",
            "after": "\n",
            **turn,
        }
    )

    class Broken(TemplateSpec):
        def jinja(self) -> str:
            return starchat.jinja()

    turns = {**starchat.turns, "assistant": assistant}
    return BuiltInTemplate(Broken(starchat.name, starchat.about, turns, starchat.special_tokens))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("turn", "words"),
    [
        ({"header": ""}, "differs"),
        ({"header": "\n\n"}, "differs"),
        ({"after": ""}, "differs"),
        ({"open": "<|user|>"}, "differs"),
        ({"close": "<|system|>"}, "differs"),
    ],
)
def test_a_template_that_is_not_its_jinja_is_refused(turn: dict[str, str], words: str) -> None:
    template = broken(**turn)
    with pytest.raises(RenderError, match=words):
        certificate.certify(_with(template), options())


def _with(template: BuiltInTemplate) -> Tokenizer:
    return replace(byte_tokenizer(BUILT_IN["starchat"]), template=template)


def test_labels_that_are_not_the_answers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = byte_tokenizer(BUILT_IN["starchat"])
    nothing = "chatdata.render.segments.encoded.prefix_lengths"
    monkeypatch.setattr(
        nothing, lambda segments, ids, pool: np.zeros(len(segments.text_id), np.int64)
    )
    with pytest.raises(RenderError, match="are not that answer"):
        certificate.certify(tokenizer, options())


def test_a_tokenizer_that_reads_control_tokens_in_text_is_refused() -> None:
    tokenizer = byte_tokenizer(BUILT_IN["starchat"])
    careless = replace(tokenizer, text=tokenizer.full)
    with pytest.raises(RenderError, match="makes control tokens out of plain text"):
        certificate.certify(careless, options())


def test_a_template_that_refuses_most_probes_is_refused() -> None:
    """Nothing differs, and hardly anything was compared."""

    class Shy(BuiltInTemplate):
        def refusals(self, messages: pl.DataFrame, pool: Pool) -> list[tuple[str, str]]:
            names = messages["conversation"].unique(maintain_order=True).to_list()
            return [(name, "it is shy") for name in names[certificate._LEAST_PROBES - 1 :]]

    with pytest.raises(RenderError, match=r"too few probes can be written \(19; \['it is shy'\]\)"):
        certificate.certify(_with(Shy(BUILT_IN["starchat"])), options())


def test_forged_tokens_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = byte_tokenizer(BUILT_IN["starchat"])
    careless = replace(tokenizer, text=tokenizer.full)
    monkeypatch.setattr(TextPool, "_refuse_control", lambda self, flat: None)
    with pytest.raises(RenderError, match="content forges"):
        certificate.certify(careless, options())


def test_dialogue_needs_an_end_of_text_token(starcoder: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((starcoder / "tokenizer.json").read_bytes())
    with pytest.raises(RenderError, match="names none"):
        load(tmp_path, "t", BUILT_IN["dialogue"], None)
    with pytest.raises(RenderError, match="holds no tokenizer"):
        load(tmp_path / "nothing", "t", BUILT_IN["starchat"], None)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(RenderError, match="cannot be read"):
        load(tmp_path, "t", BUILT_IN["starchat"], None)


def test_random_contents_cover_the_hard_cases() -> None:
    contents = {content for turns in RANDOM.values() for _, content in turns}
    assert len(contents & set(CONTENTS)) > 10
    assert len(PLAIN) > 10


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("tokenizer.json", b"\xff", r"tokenizer.json' is not a text file \(byte 0 is not UTF-8\)"),
        (
            "tokenizer_config.json",
            b'{"a": ',
            r"tokenizer_config.json' is not valid JSON \(Expecting",
        ),
        ("tokenizer_config.json", b'{"\xff": 1}', "tokenizer_config.json' is not a text file"),
        ("special_tokens_map.json", b"[1]", "special_tokens_map.json' holds no keys"),
    ],
)
def test_a_broken_file_of_a_tokenizer_is_named(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    """Each of them was a traceback."""
    (tmp_path / "tokenizer.json").write_text(
        load(None, "bytes", BUILT_IN["starchat"], None).full.to_str()
    )
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RenderError, match=words) as caught:
        load(tmp_path, "broken", BUILT_IN["starchat"], None)
    assert "download it again" in str(caught.value)


def test_rows_that_were_measured_are_not_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other rows are, and the same rows with another mask."""
    calls: list[tuple[Any, ...]] = []
    encode = encoded._encode

    def counted(*given: Any) -> encoded.Segments:
        calls.append(given)
        return encode(*given)

    monkeypatch.setattr(encoded, "_encode", counted)
    tokenizer = load(None, "bytes", BUILT_IN["chatml"], None)
    chosen = options(template="chatml", max_tokens=10_000)
    messages, pool = table(RANDOM), TextPool(tokenizer)
    fitted = fit(messages, pool, chosen)
    assert len(calls) == 1
    rendered = render(fitted.messages, fitted.windows, pool, chosen)
    assert len(calls) == 1
    apart = render(messages.clone(), None, TextPool(tokenizer), chosen)
    assert len(calls) == 2
    assert np.array_equal(rendered.labels, apart.labels)
    everything = render(fitted.messages, None, pool, options(template="chatml", train_on="all"))
    assert len(calls) == 3
    assert everything.trained.sum() > rendered.trained.sum()
    render(fitted.messages.head(4), None, pool, chosen)
    assert len(calls) == 4
