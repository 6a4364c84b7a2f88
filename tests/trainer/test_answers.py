"""Answers to a file of prompts: the same in a batch and alone, and runs that go on."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from transformers import AutoTokenizer

from chatdata.core.errors import ConfigError, OutputError
from tests.support import assistant, tiny
from tests.support.scripted_judge import Asked, Response, completion, serve
from trainer.chat import few_shot, generation
from trainer.chat.few_shot import FewShot
from trainer.chat.generation import ChatModel, Sampling
from trainer.chat.prompt_window import PromptWindow, TemplateWriter
from trainer.evaluation import answering, batches, prompts
from trainer.evaluation.__main__ import main
from trainer.evaluation.journal import Lines, read
from trainer.evaluation.prompts import Prompt

pytestmark = pytest.mark.filterwarnings("ignore")  # other people's deprecations

GREEDY = Sampling(temperature=0, repetition_penalty=1, max_new_tokens=12)
WORDS = [
    "Why?",
    "Say something about the sea.",
    "a " * 40,
    "Tell me of boats",
    "x",
    "One, two, three",
]
ABOUT = {"model": "m"}


@pytest.fixture(scope="module")
def folder(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose next token depends on every token before it."""
    out = tmp_path_factory.mktemp("models") / "random"
    tokenizer = AutoTokenizer.from_pretrained(sample / "tokenizer")
    made = tiny.model("llama", 3, vocab_size=len(tokenizer), max_position_embeddings=1024)
    made.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<|end|>")
    made.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def chat_model(folder: Path) -> ChatModel:
    network, tokenizer = generation.load(str(folder), None)
    return ChatModel(network.double(), tokenizer, TemplateWriter(tokenizer))


def listed(*words: str) -> list[Prompt]:
    return [Prompt(f"q{number}", text, {}) for number, text in enumerate(words or WORDS)]


def prompt_ids(chat_model: ChatModel, words: list[str] = WORDS) -> list[list[int]]:
    asked = [[{"role": "user", "content": text}] for text in words]
    return [chat_model.prompt_window(messages, GREEDY).ids for messages in asked]


def written(chat_model: ChatModel, ids: list[list[int]], size: int, most: int) -> list[list[int]]:
    """What a model writes behind each prompt, with at most `size` prompts at a time."""
    sampling = GREEDY.model_copy(update={"max_new_tokens": most})
    made = [each for ended in batches.generate(chat_model, sampling, ids, size) for each in ended]
    assert sorted(each.prompt for each in made) == list(range(len(ids)))
    return [each.ids for each in sorted(made)]


def test_padding_on_the_left_changes_no_answer(chat_model: ChatModel) -> None:
    """Prompts of many lengths, in a batch and each alone, and by the loop that chat uses."""
    ids = prompt_ids(chat_model)
    together = written(chat_model, ids, 8, 12)
    assert len({len(prompt) for prompt in ids}) > 3
    assert together == [written(chat_model, [prompt], 1, 12)[0] for prompt in ids]
    assert len({tuple(answer) for answer in together}) > 1
    assert written(chat_model, ids[::-1], 8, 12)[::-1] == together
    for prompt, answer in zip(ids, together, strict=True):
        spoken = "".join(chat_model.answer(PromptWindow(prompt, 0, 0), GREEDY))
        assert spoken == answering._made(chat_model, answer).answer


@pytest.fixture(scope="module")
def stopping(chat_model: ChatModel) -> ChatModel:
    """The random model, with so many end tokens that answers end anywhere."""
    network = copy.deepcopy(chat_model.network)
    network.generation_config.eos_token_id = list(range(0, network.config.vocab_size, 17))
    return ChatModel(network, chat_model.tokenizer, chat_model.writer)


@pytest.fixture(scope="module")
def alone(stopping: ChatModel) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts, and what transformers writes behind each of them alone."""
    ids = prompt_ids(stopping, [f"{number} {text}" for number in range(3) for text in WORDS])
    network: Any = stopping.network
    return ids, [
        network.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones((1, len(prompt)), dtype=torch.int64),
            do_sample=False,
            max_new_tokens=40,
            pad_token_id=0,
        )[0, len(prompt) :].tolist()
        for prompt in ids
    ]


@pytest.mark.parametrize("size", [1, 3, 8, 64])
def test_rows_that_come_and_go_change_no_answer(
    stopping: ChatModel,
    alone: tuple[list[list[int]], list[list[int]]],
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Answers that end after a few tokens or never, in batches that are refilled, are those of
    transformers for each prompt alone; what has ended is not gone on with."""
    ids, expected = alone
    visits, go_on = [], batches._Writer.go_on
    counted = lambda writer, rows: visits.append(len(rows.numbers)) or go_on(writer, rows)  # noqa: E731
    monkeypatch.setattr(batches._Writer, "go_on", counted)
    assert len({len(answer) for answer in expected}) > 5
    assert max(map(len, expected)) == 40
    assert written(stopping, ids, size, 40) == expected
    assert max(visits) <= size
    assert sum(visits) < 3 * len(ids)  # the longest are visited three times


def test_a_model_with_another_cache_is_answered_batch_by_batch(
    stopping: ChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = prompt_ids(stopping)
    expected = written(stopping, ids, 4, 40)
    monkeypatch.setattr(batches._Writer, "can_mix", lambda writer: False)
    begin = batches._Writer.begin
    monkeypatch.setattr(batches._Writer, "begin", None)
    assert written(stopping, ids, 4, 40) == expected
    assert begin is not None


@pytest.mark.parametrize(("window", "can"), [(None, True), (8, False)])
def test_only_plain_caches_are_mixed(chat_model: ChatModel, window: int | None, can: bool) -> None:
    network = copy.deepcopy(chat_model.network)
    network.config.sliding_window = window
    model = ChatModel(network, chat_model.tokenizer, chat_model.writer)
    assert batches._Writer(model, GREEDY).can_mix() == can


@pytest.mark.parametrize(
    ("make", "words", "ends"),
    [
        (assistant.tuned, assistant.ANSWER, "stop"),
        (assistant.endless, "on and " * 12, "length"),
    ],
)
def test_an_answer_ends_where_the_model_ends_it(
    sample: Path, tmp_path: Path, make: Any, words: str, ends: str
) -> None:
    network, tokenizer = generation.load(str(make(sample / "tokenizer", tmp_path / "model")), None)
    model = ChatModel(network, tokenizer, TemplateWriter(tokenizer))
    lines = answering.answer(model, GREEDY, listed(), tmp_path / "a.jsonl", about=ABOUT)
    assert {(line["answer"], line["finish_reason"]) for line in lines} == {(words, ends)}


@pytest.mark.slow
def test_a_base_model_stops_before_the_next_human_turn(sample: Path, tmp_path: Path) -> None:
    """Some rows of a batch are longer than others, and none has the words of the next turn."""
    folder = assistant.base(sample / "tokenizer", tmp_path / "model")
    network, tokenizer = generation.load(str(folder), None)
    shown = few_shot.load(Path(__file__).parents[2] / "recipes" / "prompts" / "assistant.yaml")
    model = ChatModel(network, tokenizer, FewShot(shown, tokenizer))
    lines = answering.answer(model, GREEDY, listed(), tmp_path / "a.jsonl", about=ABOUT)
    assert {line["answer"] for line in lines} == {assistant.ANSWER.strip()}
    assert {line["finish_reason"] for line in lines} == {"stop"}


def test_lines_are_in_the_order_of_the_prompts(chat_model: ChatModel, tmp_path: Path) -> None:
    asked = [Prompt(p.id, p.prompt, {"reference": "r", "test": "t"}) for p in listed()]
    lines = answering.answer(
        chat_model, GREEDY, asked, tmp_path / "a.jsonl", batch_size=4, about=ABOUT
    )
    read = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert read == lines
    assert [line["id"] for line in lines] == [prompt.id for prompt in asked]
    assert {(line["reference"], line["test"], line["model"]) for line in lines} == {("r", "t", "m")}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "a.summary.json"]
    summary = json.loads((tmp_path / "a.summary.json").read_text())
    assert (summary["answers"], summary["settings"]["model"]) == (len(WORDS), "m")
    assert summary["tokens"] == sum(line["tokens"] for line in lines)
    assert sorted(summary["versions"]) == ["torch", "transformers"]
    alone = answering.answer(
        chat_model, GREEDY, asked, tmp_path / "b.jsonl", batch_size=1, about=ABOUT
    )
    assert alone == lines


def test_a_run_that_ended_early_goes_on(
    chat_model: ChatModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, whole = tmp_path / "a.jsonl", tmp_path / "whole.jsonl"
    expected = answering.answer(chat_model, GREEDY, listed(), whole, about=ABOUT)
    go_on, asked = batches._Writer.go_on, []

    def interrupted(writer: Any, rows: Any) -> Any:
        asked.append(len(rows.numbers))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return go_on(writer, rows)

    monkeypatch.setattr(batches._Writer, "go_on", interrupted)
    with pytest.raises(KeyboardInterrupt):
        answering.answer(chat_model, GREEDY, listed(), out, batch_size=2, about=ABOUT)
    assert not out.exists()
    (journal,) = tmp_path.glob(".a.jsonl*")
    with journal.open("ab") as file:
        file.write(b'["half')
    with pytest.raises(OutputError, match="another model or other settings"):
        answering.answer(chat_model, GREEDY, listed("Else?"), out, about=ABOUT)
    assert (
        answering.answer(chat_model, GREEDY, listed(), out, batch_size=2, about=ABOUT) == expected
    )
    assert asked == [2, 2, 2, 2]
    assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob(".a*"))


def test_two_runs_do_not_write_to_a_file_at_the_same_time(tmp_path: Path) -> None:
    with Lines(tmp_path / "a.jsonl") as lines:
        lines.add(1)
        with pytest.raises(OutputError, match="a run is writing to"):
            Lines(tmp_path / "a.jsonl")
        lines.add([2])
    assert read(tmp_path / "a.jsonl") == [1, [2]]


def test_a_prompt_that_does_not_fit_is_said(chat_model: ChatModel, tmp_path: Path) -> None:
    lines = answering.answer(
        chat_model, GREEDY, listed("Why?", "long " * 5000), tmp_path / "a.jsonl", about=ABOUT
    )
    assert [line["finish_reason"] == "refused" for line in lines] == [False, True]
    assert lines[1]["answer"] == ""
    assert "shorten them" in lines[1]["error"]


def test_the_command_answers_the_prompts_that_ship(folder: Path, tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "recipes" / "prompts" / "coding.jsonl"
    some = tmp_path / "some.jsonl"
    some.write_text("\n".join(shipped.read_text().splitlines()[:3]))
    out = tmp_path / "out.jsonl"
    arguments = ["answer", str(folder), "--prompts", str(some), "--out", str(out)]
    done = CliRunner().invoke(main, [*arguments, "--max-new-tokens", "4"])
    assert done.exit_code == 0, done.output
    assert "3 answers" in done.output
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows] == ["write-001", "write-002", "write-003"]
    assert all(row["test"] and row["reference"] for row in rows)
    done = CliRunner().invoke(main, [*arguments, "--endpoint", "http://x/v1", "--revision", "r"])
    assert (done.exit_code, "--revision is for a model that runs here" in done.output) == (2, True)


def test_a_model_behind_an_endpoint_answers(tmp_path: Path) -> None:
    pytest.importorskip("openai")
    file, out = tmp_path / "prompts.jsonl", tmp_path / "out.jsonl"
    file.write_text("\n".join(json.dumps({"prompt": text}) for text in WORDS))
    arguments = ["answer", "m", "--prompts", str(file), "--out", str(out), "--batch-size", "1"]

    def reply(asked: Asked) -> str | Response:
        return f"To {asked.prompt}" if asked.number < 3 else Response(401, "{}")

    with serve(reply) as endpoint:
        arguments += ["--endpoint", endpoint.url]
        done = CliRunner().invoke(main, arguments)
        assert (done.exit_code, "refuses model 'm' with status 401" in done.output) == (1, True)
        assert not out.exists()
        before = len(endpoint.asked)
        endpoint.judge = lambda asked: f"To {asked.prompt}"
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.output
        assert len(endpoint.asked) - before == len(WORDS) - 3
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["id"], row["answer"]) for row in rows] == [
        (str(number), f"To {text}") for number, text in enumerate(WORDS, 1)
    ]


TOO_LONG = json.dumps({"error": {"message": "This model's maximum context length is 8 tokens."}})


@pytest.mark.parametrize(
    ("response", "answer", "ended", "error"),
    [
        (Response(400, TOO_LONG), "", "refused", "maximum context length is 8"),
        (Response(200, completion(None, "length")), "", "length", None),
        (Response(200, completion("half \ud83d")), "half \ufffd", "stop", None),
    ],
    ids=["too long", "thoughts alone", "half a character"],
)
def test_what_no_second_try_can_mend_is_an_answer(
    tmp_path: Path, response: Response, answer: str, ended: str, error: str | None
) -> None:
    """A prompt that a served model cannot answer does not keep the file from being written."""
    pytest.importorskip("openai")
    file, out = tmp_path / "prompts.jsonl", tmp_path / "out.jsonl"
    file.write_text("\ufeff" + "".join(json.dumps({"prompt": text}) + "\n" for text in WORDS))
    with serve(lambda asked: response if asked.prompt == WORDS[1] else "Yes") as endpoint:
        address = endpoint.url.replace("//", "//user:hidden@")
        where = ["--prompts", str(file), "--out", str(out), "--endpoint", address]
        done = CliRunner().invoke(main, ["answer", "m", *where])
        assert done.exit_code == 0, done.output
        assert len(endpoint.asked) == len(WORDS)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["answer"] for row in rows] == ["Yes", answer, *["Yes"] * 4]
    assert rows[1]["finish_reason"] == ended
    assert error is None or error in rows[1]["error"]
    summary = (tmp_path / "out.summary.json").read_text()
    assert endpoint.url in summary
    assert "hidden" not in summary


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "has no prompts"),
        ("{", "line 1: no JSON"),
        ('{"prompt": 1}', "'prompt' is 1; write a text"),
        ('{"id": "", "prompt": "a"}', "'id' is \"\""),
        ('{"prompt": "a"}\n{"id": 1, "prompt": "b"}', "the id '1' was there before"),
    ],
)
def test_a_line_that_is_no_prompt_is_named(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(content)
    with pytest.raises(ConfigError, match=words):
        prompts.read(path)
