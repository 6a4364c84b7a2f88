"""Parts of single messages that are learnt (`train_parts`), by every kind of writer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chatdata.core import train_parts
from chatdata.core.constants import IGNORE_INDEX
from chatdata.render import built_in, certificate
from chatdata.render.conversation import Messages, Tools
from chatdata.render.fit import fit
from chatdata.render.options import Render
from chatdata.render.parity import ParityCounts
from chatdata.render.parts import TrainParts
from chatdata.render.rows import Rendered, render
from chatdata.render.segments.from_spec import encode_from_spec, encode_joined
from chatdata.render.segments.from_text import Answer
from chatdata.render.segments.prompt_prefix import prefix_lengths
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.segments.unencoded import TrainOn, UnencodedSegments
from chatdata.render.template_spec import BUILT_IN
from chatdata.render.tokenizer import Tokenizer
from tests.support.conversations import random_conversation, table
from tests.support.structured import call, calls, structured
from tests.support.templates import FORGETTING, GENERATION, PLAIN, QWEN_LIKE, bracketed, load_bytes
from tests.support.tides import ANSWER, CALL, END, FIRST, QUESTION, RESULT, SECOND, TALK
from tests.support.transcripts import Transcript, TranscriptSource

NAMES = train_parts.NAMES


def options(train_on: TrainOn = "assistant") -> Render:
    given = Render(tokenizer="t", template="tokenizer")
    return given.model_copy(update={"train_on": train_on})  # also parts that no recipe may choose


def chatml() -> Tokenizer:
    return built_in.load(None, "bytes", BUILT_IN["chatml"], None)


def named(messages: pl.DataFrame, parts: Sequence[str | None]) -> pl.DataFrame:
    """The messages with these `train_parts`, as they stand in the table."""
    return messages.with_columns(train_parts=pl.Series(parts, dtype=pl.String))


def in_brackets(tokenizer: Tokenizer, parts: Sequence[str | None], train_on: TrainOn) -> str:
    """TALK as text, what is learnt of it in brackets."""
    pool = TextPool(tokenizer)
    fitted = fit(named(structured({"talk": TALK}), parts), pool, options(train_on))
    assert fitted.outcomes.is_empty()
    rendered = render(fitted.messages, fitted.windows, pool, options(train_on))
    return bracketed(rendered, tokenizer)[-1]


# ---------------------------------------------------------------------------------------- goldens


@pytest.mark.parametrize(
    ("first", "second", "train_on", "expected"),
    [
        (
            "tool_calls",
            "answer,end",
            "assistant",
            f"{QUESTION}{FIRST}[{CALL}]{END}\n{RESULT}{ANSWER}{SECOND}[At 12:40.{END}]\n",
        ),
        (
            None,
            "reasoning",
            "assistant",
            f"{QUESTION}[{FIRST}{CALL}{END}]\n{RESULT}{ANSWER}[{SECOND}]At 12:40.{END}\n",
        ),
        (
            "tool_calls,end",
            "reasoning,answer",
            TrainParts(reasoning=False),
            f"{QUESTION}{FIRST}[{CALL}{END}]\n{RESULT}{ANSWER}{SECOND}[At 12:40.]{END}\n",
        ),
        (
            "reasoning",
            None,
            TrainParts(reasoning=False),
            f"{QUESTION}{FIRST}{CALL}{END}\n{RESULT}{ANSWER}{SECOND}[At 12:40.{END}]\n",
        ),
        (
            "tool_calls",
            "reasoning,end",
            "last_assistant",
            f"{QUESTION}{FIRST}{CALL}{END}\n{RESULT}{ANSWER}[{SECOND}]At 12:40.[{END}]\n",
        ),
    ],
    ids=["calls, answer", "all, reasoning", "recipe narrower", "nothing in common", "the last"],
)
def test_parts_of_two_answers_by_chatml(
    first: str | None, second: str | None, train_on: TrainOn, expected: str
) -> None:
    assert in_brackets(chatml(), [None, first, None, second], train_on) == expected


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("chatml", "[Yes.]<|im_end|>", "Yes.[<|im_end|>]"),
        ("starchat", "[Yes.]<|end|>", "Yes.[<|end|>]"),
        ("compiled", "[Yes.]<|im_end|>", "Yes.[<|im_end|>]"),
        ("transcript", "[Yes.]<|over|>", "Yes.[<|over|>]"),
    ],
)
def test_parts_of_words_alone(name: str, first: str, second: str, tmp_path: Path) -> None:
    tokenizer = writer(name, tmp_path)
    talk = [{"role": role, "content": "Yes."} for role in ("user", "assistant") * 2]
    pool = TextPool(tokenizer)
    for parts, expected in (
        ((None, "reasoning,answer", None, "tool_calls,end"), (first, second)),
        ((None, "tool_calls,end", None, "answer"), (second, first)),
    ):
        messages = named(structured({"talk": talk}), parts)
        (text,) = bracketed(render(messages, None, pool, options()), tokenizer)
        assert text.count("[") == 2
        assert 0 <= text.find(expected[0]) < text.find(expected[1])


@pytest.mark.parametrize("name", ["starchat", "chatml"])
def test_both_writers_of_specs_agree(name: str) -> None:
    spec, draw = BUILT_IN[name], random.Random(name)
    talks = {str(seed): random_conversation(seed) for seed in range(20)}
    messages = table(talks)
    texts = [train_parts.joined(random_parts(draw)) for _ in range(messages.height)]
    messages = named(messages, texts)
    pool = TextPool(built_in.load(None, "bytes", spec, None))
    drafts = [
        write(spec, messages, pool, TrainParts()) for write in (encode_from_spec, encode_joined)
    ]
    pool.encode()
    first, second = (_flat(draft, pool) for draft in drafts)
    assert first == second
    assert {is_trained for _, is_trained in first} == {True, False}


def _flat(segments: UnencodedSegments, pool: TextPool) -> list[tuple[int, bool]]:
    """Each token, and whether it is trained."""
    ids, starts, lengths = pool.arrays()
    prefixes = prefix_lengths(segments, segments.header_text_id, pool)
    return [
        (int(id), bool(trained) and at >= prefix)
        for text, trained, prefix in zip(segments.text_id, segments.trained, prefixes, strict=True)
        for at, id in enumerate(ids[starts[text] : starts[text] + lengths[text]])
    ]


def test_a_thought_without_words_is_reasoning(tmp_path: Path) -> None:
    tokenizer = load_bytes(QWEN_LIKE, tmp_path)
    talk = [{"role": "user", "content": "Up?"}, {"role": "assistant", "content": "No."}]
    head = "<|im_start|>user\nUp?<|im_end|>\n<|im_start|>assistant\n"
    empty = "<think>\n\n</think>\n\n"
    for parts, expected in (
        ("reasoning,answer", f"{head}[{empty}No.]{END}\n"),
        ("answer,end", f"{head}{empty}[No.{END}]\n"),
    ):
        pool, given = TextPool(tokenizer), options(TrainParts(empty_thought=True))
        messages = named(structured({"talk": talk}), [None, parts])
        assert bracketed(render(messages, None, pool, given), tokenizer) == [expected]


# -------------------------------------------------------------------------------------- properties


def transcript(keeps_history: bool) -> Tokenizer:
    source = TranscriptSource(Transcript("transcript", keeps_history))
    return source.load(None, "bytes", options())


def writer(name: str, folder: Path) -> Tokenizer:
    """A tokenizer of bytes with a template of each kind."""
    if name in BUILT_IN:
        return built_in.load(None, "bytes", BUILT_IN[name], None)
    if name.startswith("transcript"):
        return transcript(name == "transcript")
    return load_bytes(CARRIED[name], folder)


CARRIED = {
    "compiled": PLAIN,
    "compiled answers": FORGETTING,
    "generation": GENERATION,
    "by prefixes": QWEN_LIKE,
}
# The others end answers with the end-of-text token of a tokenizer.
BY_BYTES = [name for name, spec in BUILT_IN.items() if name != "dialogue"]
WRITERS = [*BY_BYTES, *CARRIED, "transcript", "transcript by answer"]


def random_talk(draw: random.Random) -> list[dict[str, Any]]:
    """A conversation, half of them of words alone."""
    is_plain, talk = draw.random() < 0.5, list[dict[str, Any]]()
    for number in range(draw.randint(1, 4)):
        talk.append({"role": "user", "content": f"q{number}"})
        answer: dict[str, Any] = {"role": "assistant", "content": draw.choice(["a", "b c", "a"])}
        if not is_plain and draw.random() < 0.5:
            answer["reasoning"] = draw.choice(["hm", "so a"])
        if not is_plain and draw.random() < 0.4:
            answer["tool_calls"] = calls(call(draw.choice(["f", "g"])))
            talk += [answer, {"role": "tool", "content": "r", "name": "f"}]
            answer = {"role": "assistant", "content": "so"}
        talk.append(answer)
    return talk


def random_parts(draw: random.Random) -> frozenset[str]:
    while True:
        parts = frozenset(name for name in NAMES if draw.random() < 0.6)
        if train_parts.fault(parts) is None:
            return parts


def learnt(messages: pl.DataFrame, tokenizer: Tokenizer, train_on: TrainOn) -> dict[str, set[int]]:
    """The places of the labels of each row."""
    pool = TextPool(tokenizer)
    fitted = fit(messages, pool, options(train_on))
    rendered = render(fitted.messages, fitted.windows, pool, options(train_on))
    spans = zip(rendered.offsets[:-1], rendered.offsets[1:], strict=True)
    return {
        id: {at for at, label in enumerate(rendered.labels[a:b]) if label != IGNORE_INDEX}
        for id, (a, b) in zip(rendered.ids, spans, strict=True)
    }


def as_parts(names: frozenset[str], empty_thought: bool) -> TrainParts:
    chosen = {name: name in names for name in NAMES}
    return TrainParts.model_construct(**chosen, empty_thought=empty_thought)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_what_is_learnt_is_in_the_parts_of_recipe_and_message(name: str, tmp_path: Path) -> None:
    """As the union of what each answer alone learns in a recipe of the parts they share."""
    tokenizer, draw = writer(name, tmp_path), random.Random(name)
    rows = 0
    for _ in range(10):
        messages = structured({f"t{number}": random_talk(draw) for number in range(2)})
        recipe, has_thought = random_parts(draw), draw.random() < 0.3
        answers = (messages["role"] == "assistant").to_list()
        chosen = [
            random_parts(draw) if is_one and draw.random() < 0.8 else None for is_one in answers
        ]
        texts = [None if parts is None else train_parts.joined(parts) for parts in chosen]
        got = learnt(named(messages, texts), tokenizer, as_parts(recipe, has_thought))
        expected: dict[str, set[int]] = {}
        for place, parts in enumerate(chosen):
            if answers[place]:
                shared = recipe if parts is None else recipe & parts
                thought = has_thought and (parts is None or "reasoning" in parts)
                alone = messages.with_columns(train=pl.int_range(pl.len()) == place)
                for row, labels in learnt(alone, tokenizer, as_parts(shared, thought)).items():
                    expected[row] = expected.get(row, set()) | labels
        assert got == {row: labels for row, labels in expected.items() if labels}
        rows += len(got)
    assert rows > 4


# QWEN_LIKE is refused for answers before which it has written a thought.
@pytest.mark.parametrize("name", [name for name in WRITERS if name != "by prefixes"])
def test_what_is_made_of_random_parts_is_certified(name: str, tmp_path: Path) -> None:
    tokenizer, draw = writer(name, tmp_path), random.Random(f"{name}, certified")
    answers = 0
    for number in range(8):
        messages = structured({f"t{number}": random_talk(draw) for number in range(3)})
        chosen = [
            train_parts.joined(random_parts(draw)) if role == "assistant" else None
            for role in messages["role"]
        ]
        train_on: TrainOn = (
            "assistant",
            "last_assistant",
            TrainParts(),
            TrainParts(reasoning=False),
        )[number % 4]
        counts = compared(made(tokenizer, named(messages, chosen), train_on), tokenizer, train_on)
        assert counts.first_failure == ""
        answers += counts.in_parts
    assert answers > 10


def test_all_parts_are_no_parts() -> None:
    assert train_parts.joined(NAMES) is None
    assert train_parts.joined(["end", "answer"]) == "answer,end"


# --------------------------------------------------------------------------------- the certificate


def made(tokenizer: Tokenizer, messages: pl.DataFrame, train_on: TrainOn) -> Rendered:
    pool = TextPool(tokenizer)
    fitted = fit(messages, pool, options(train_on))
    return render(fitted.messages, fitted.windows, pool, options(train_on))


def compared(rendered: Rendered, tokenizer: Tokenizer, train_on: TrainOn) -> ParityCounts:
    everything = pl.repeat(True, len(rendered.ids), eager=True)
    return certificate.compare_rows(rendered, tokenizer, train_on, everything)


TWICE = [
    {"role": "user", "content": "High water?"},
    {"role": "assistant", "content": "Now.", "reasoning": "Hm."},
    {"role": "user", "content": "High water?"},
    {"role": "assistant", "content": "Now.", "reasoning": "Hm."},
]


@pytest.mark.parametrize(
    ("made_with", "stated", "words"),
    [
        ((None, None), ("answer,end", None), "more is learnt than there is without the parts"),
        (("answer,end", None), (None, None), "the labels of the answer 'Now.' are not"),
        (("answer", None), ("answer,end", None), "of 1 answers 0 end with a trained end token"),
        ((None, "reasoning,answer,end"), (None, "answer,end"), "without the parts reasoning"),
        # What one answer says, the other says too: only the places of the labels differ.
        (("answer,end", "reasoning"), ("reasoning", "answer,end"), "of 1 answers 1 end with"),
        (("reasoning", "answer"), ("answer", "reasoning"), "'Now.' of turn 1 is not learnt"),
    ],
)
def test_labels_of_other_parts_are_caught(
    made_with: tuple[str | None, str | None], stated: tuple[str | None, str | None], words: str
) -> None:
    messages = structured({"talk": TWICE})
    first, second = made_with
    rendered = made(chatml(), named(messages, [None, first, None, second]), "assistant")
    assert compared(rendered, chatml(), "assistant").first_failure == ""
    first, second = stated
    stating = replace(rendered, row_messages=named(messages, [None, first, None, second]))
    assert words in compared(stating, chatml(), "assistant").first_failure


def test_the_certificate_counts_what_is_learnt_in_parts() -> None:
    messages = named(structured({"talk": TWICE}), [None, "answer", None, None])
    counts = compared(made(chatml(), messages, "assistant"), chatml(), "assistant").counts()
    assert (counts["answers"], counts["in_parts"]) == (2, 1)
    assert (counts["stops_trained"], counts["ends_left_out"]) == (1, 1)
    plain = compared(made(chatml(), structured({"t": TWICE}), "assistant"), chatml(), "assistant")
    assert not {"in_parts", "ends_left_out"} & plain.counts().keys()


# ---------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("train_on", ["all", "assistant_with_header"])
def test_what_has_no_parts_is_refused_for_a_conversation_that_has(train_on: TrainOn) -> None:
    plain = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    messages = named(structured({"plain": plain, "some": plain}), [None, None, None, "answer"])
    fitted = fit(messages, TextPool(chatml()), options(train_on))
    assert fitted.messages["conversation"].unique().to_list() == ["plain"]
    refused = fitted.outcomes.filter(unit="conversation")
    assert refused.select("id", "reason", "detail").rows() == [
        ("some", "unrenderable", f"train_on is {train_on}, and an answer has train_parts")
    ]


class Thinker(Transcript):
    """A renderer in Python that writes reasoning, and does not say where it ends."""

    def write(
        self, messages: Messages, wanted: Sequence[int], tools: Tools | None = None
    ) -> tuple[str, list[Answer]]:
        spoken = [
            {
                "role": message["role"],
                "content": f"{message.get('reasoning_content', '')} {message['content']}",
            }
            for message in messages
        ]
        return super().write(spoken, wanted, tools)


def test_a_renderer_that_does_not_say_where_parts_stand_is_given_no_parts() -> None:
    source = TranscriptSource(Thinker("thinker", True))
    tokenizer = source.load(None, "bytes", options())
    messages = structured({"parts": TWICE, "whole": TWICE})
    some = named(messages, [None, "answer", *(None for _ in range(6))])
    fitted = fit(some, TextPool(tokenizer), options())
    assert fitted.messages["conversation"].unique().to_list() == ["whole"]
    (detail,) = fitted.outcomes.filter(unit="conversation")["detail"]
    assert "drop_train_parts" in detail
