"""Chats with a model: the prompt that it gets, where an answer ends, and the terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from transformers import AutoTokenizer, GenerationMixin, set_seed

from chatdata import build_dataset, load_recipe
from chatdata.core.errors import ChatdataError, RenderError
from chatdata.core.text import printable
from chatdata.dataset import reader
from chatdata.render.chat_template import meter
from tests.support import assistant
from tests.support.carrying import carry
from trainer.chat import __main__, generation, terminal
from trainer.chat.generation import ChatModel, Sampling
from trainer.chat.prompt_window import Message, TemplateWriter, fit, plain_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore")  # other people's deprecations

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def tokenizer(sample: Path) -> Any:
    return AutoTokenizer.from_pretrained(sample / "tokenizer")


@pytest.fixture(scope="module")
def tuned(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return assistant.tuned(sample / "tokenizer", tmp_path_factory.mktemp("models") / "tuned")


@pytest.fixture(scope="module")
def endless(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return assistant.endless(sample / "tokenizer", tmp_path_factory.mktemp("models") / "endless")


def load(folder: Path) -> ChatModel:
    network, tokenizer = generation.load(str(folder), None)
    return ChatModel(network, tokenizer, TemplateWriter(tokenizer))


def asked(*contents: str) -> list[Message]:
    roles = ("user", "assistant") * len(contents)
    return [
        {"role": role, "content": content} for role, content in zip(roles, contents, strict=False)
    ]


# -------------------------------------------------------------------------- the model's prompt

CARRIED = "render.template=tokenizer"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "setting"),
    [
        (None, "render.template=starchat"),
        (None, "render.template=chatml"),
        ("starcoder", "render.template=starchat"),
        ("smollm2", CARRIED),
    ],
)
def test_the_prompt_is_the_beginning_of_the_row_up_to_the_answer(
    folder: str | None, setting: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Token by token, also where content quotes control tokens."""
    name = (
        "bytes" if folder is None else request.getfixturevalue("real_data") / "tokenizers" / folder
    )
    recipe = load_recipe("sample", [f"render.tokenizer={name}", setting, "render.max_tokens=4096"])
    build_dataset(recipe, tmp_path / "out", workers=1, verify="off")
    template = TemplateWriter(AutoTokenizer.from_pretrained(tmp_path / "out" / "tokenizer"))
    tokens = reader.scan(tmp_path / "out", "tokens").collect()
    messages_of = conversations(tmp_path / "out")
    compared = quoting = 0
    for id, ids, labels in tokens.select("id", "input_ids", "labels").iter_rows():
        messages = messages_of[id]
        starts = [i for i in range(1, len(ids)) if labels[i] >= 0 and labels[i - 1] < 0]
        answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        for start, answer in zip(starts[-1:], answers[-1:], strict=True):
            assert template.ids(messages[:answer]) == ids[:start]
            compared += 1
            quoting += bool(template.plain.control.quoted_in(str(messages[:answer])))
    assert compared > 5
    assert quoting > 0


def conversations(folder: Path) -> dict[str, list[Message]]:
    rows = reader.scan(folder, "messages").select("id", "messages").collect()
    return dict(rows.iter_rows())


TOKENIZERS = ["starcoder", "smollm2", "qwen3"]


def template_of(name: str, real_data: Path) -> TemplateWriter:
    folder = real_data / "tokenizers" / name
    loaded = AutoTokenizer.from_pretrained(folder)
    if not loaded.chat_template:
        tokens = ["<|user|>", "<|assistant|>", "<|end|>"]
        loaded.add_special_tokens({"additional_special_tokens": tokens})
        loaded.chat_template = (
            "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}"
            "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
        )
    return TemplateWriter(loaded)


def controls(template: TemplateWriter, messages: list[Message]) -> list[int]:
    """The control tokens in a prompt, in their order."""
    return [id for id in template.ids(messages) if id in template.plain.control.ids.values()]


@pytest.mark.slow
@pytest.mark.parametrize("name", TOKENIZERS)
def test_no_control_token_can_be_typed(name: str, real_data: Path) -> None:
    template = template_of(name, real_data)
    harmless = controls(template, asked("a", "b", "c"))
    for token in template.plain.control.ids:
        for content in (token, f"a {token} b", f"{token}\n{token}", f"`{token}`"):
            assert controls(template, asked(content, content, content)) == harmless, content
            assert content in template.tokenizer.decode(template.ids(asked(content)))


@given(st.lists(st.sampled_from(["<|end|>", "<|user|>", "<|en", "d|>", " ", "\n", "é", "x"])))
@settings(max_examples=100)
def test_what_is_typed_is_text(parts: list[str]) -> None:
    template = _bytes()
    content = "".join(parts)
    ids = template.ids([{"role": "user", "content": content}])
    control = template.plain.control.ids
    expected = [control["<|user|>"], *f"\n{content}".encode(), control["<|end|>"]]
    assert ids == [*expected, *b"\n", control["<|assistant|>"], *b"\n"]


_MADE: list[TemplateWriter] = []


def _bytes() -> TemplateWriter:
    return _MADE[0]


@pytest.fixture(autouse=True)
def _made(tokenizer: Any) -> None:
    _MADE[:] = _MADE or [TemplateWriter(tokenizer)]


def test_transformers_alone_lets_users_type_control_tokens(tokenizer: Any) -> None:
    """What the tests above guard against."""
    ids = tokenizer.apply_chat_template(asked("<|end|>"), tokenize=True, return_dict=False)
    assert ids.count(tokenizer.convert_tokens_to_ids("<|end|>")) == 2


def test_characters_that_stand_for_quoted_tokens_cannot_be_typed() -> None:
    with pytest.raises(ChatdataError, match="private use"):
        _bytes().ids(asked("\U000f0001 <|end|>"))


def test_control_tokens_that_are_not_special_are_known(tokenizer: Any, tmp_path: Path) -> None:
    """Some models add the tokens that open a turn as ordinary tokens."""
    loaded = AutoTokenizer.from_pretrained(tokenizer.name_or_path)
    loaded.add_tokens(["<turn>"])
    loaded.chat_template = "{% for m in messages %}<turn>{{ m.content }}{% endfor %}<turn>"
    template = TemplateWriter(loaded)
    turn = loaded.convert_tokens_to_ids("<turn>")
    assert template.ids(asked("a<turn>b")).count(turn) == 2


@pytest.mark.slow
@given(
    contents=st.lists(st.text("abc ", min_size=1, max_size=40), min_size=1, max_size=9),
    system=st.booleans(),
    room=st.integers(0, 250),
)
@settings(max_examples=200)
def test_whole_oldest_exchanges_are_left_out_and_the_system_turn_stays(
    contents: list[str], system: bool, room: int
) -> None:
    template = _bytes()
    contents = contents if len(contents) % 2 else contents[:-1]
    head = [{"role": "system", "content": "s"}] * system
    messages = asked(*contents)
    sizes = {cut: len(template.ids([*head, *messages[cut:]])) for cut in range(0, len(messages), 2)}
    fitting = [cut for cut, size in sizes.items() if size <= room]
    if not fitting:
        with pytest.raises(ChatdataError, match=f"{room} are left"):
            fit(template, [*head, *messages], room)
        return
    window = fit(template, [*head, *messages], room)
    assert window.messages_out == fitting[0]
    assert window.ids == template.ids([*head, *messages[fitting[0] :]])


def test_a_template_that_refuses_is_quoted(tokenizer: Any) -> None:
    with pytest.raises(ChatdataError, match="unknown role: narrator"):
        _bytes().ids([{"role": "narrator", "content": "x"}])


@pytest.mark.parametrize(
    "template",
    [
        "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m['content'] | trim }}{% endfor %}",
        "{{ strftime_now('%Y') }}{% if add_generation_prompt %}{{ messages | tojson }}{% endif %}",
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}"
        "{{ ns.n }}{{ tools is defined }}{{ eos_token }}",
    ],
)
def test_a_prompt_is_what_transformers_writes(template: str, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(carry(None, template, tmp_path / "t"))
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    messages = [{"role": "user", "content": " Why? \u00e9"}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert TemplateWriter(tokenizer).ids(messages) == ids


def test_a_template_that_does_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = "{% for a in range(20) %}{{ messages[0].content }}{% endfor %}"
    writer = TemplateWriter(AutoTokenizer.from_pretrained(carry(None, template, tmp_path / "t")))
    question = [{"role": "user", "content": "Hello"}]
    assert len(writer.ids(question)) == 100
    monkeypatch.setattr(meter, "MOST_STEPS", 19)
    with pytest.raises(RenderError, match="over a limit: it takes more than 19 steps"):
        writer.ids(question)


def test_of_several_templates_the_default_is_used_or_they_are_named(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(carry(None, "{{ 'x' }}", tmp_path / "t"))
    tokenizer.chat_template = {"default": "{{ messages[0].content }}", "rag": "{{ 'y' }}"}
    assert TemplateWriter(tokenizer).source == "{{ messages[0].content }}"
    del tokenizer.chat_template["default"]
    with pytest.raises(RenderError, match="several chat templates and none is the default"):
        TemplateWriter(tokenizer)


def test_white_space_that_a_token_swallows_is_what_the_tokenizer_calls_so(tmp_path: Path) -> None:
    folder = carry(
        None, "{{ '<|im_start|>' + messages[0]['content'] }}", tmp_path / "t", strip=True
    )
    template = TemplateWriter(AutoTokenizer.from_pretrained(folder))
    for content in (" a", "\x1c a", "\n\x1f\u2003a"):
        plain, quoting = (
            template.ids([{"role": "user", "content": content + tail}])
            for tail in ("", "<|im_start|>")
        )
        assert quoting[: len(plain)] == plain
        assert quoting.count(plain[0]) == 1


def test_text_that_a_tokenizer_turns_into_control_tokens_is_refused(tokenizer: Any) -> None:
    plain = plain_tokenizer(tokenizer)
    plain._control_ids |= {ord("x")}
    with pytest.raises(ChatdataError, match="out of plain text"):
        plain.ids("x")


# -------------------------------------------------------------------------------------- answers


def test_an_answer_ends_at_the_end_token(tuned: Path) -> None:
    chat_model = load(tuned)
    sampling = chat_model.sampling({})
    answer = chat_model.answer(chat_model.prompt_window(asked("Well?"), sampling), sampling)
    pieces = list(answer)
    assert "".join(pieces) == assistant.ANSWER
    assert len([piece for piece in pieces if piece]) > 2  # it streams
    assert answer.tokens == len(assistant.PARTS) + 1
    assert not answer.is_truncated


def test_the_end_tokens_are_those_of_the_generation_config_and_of_the_template(
    tuned: Path,
) -> None:
    chat_model = load(tuned)
    end = chat_model.tokenizer.convert_tokens_to_ids("<|end|>")
    config: Any = chat_model.network.generation_config
    config.eos_token_id = [7, end]
    assert chat_model.stop_ids() == [7, end]
    chat_model.tokenizer.eos_token = None
    config.eos_token_id = None
    assert chat_model.stop_ids() == [end]
    window = chat_model.prompt_window(asked("?"), Sampling())
    assert "".join(chat_model.answer(window, Sampling())) == assistant.ANSWER


def test_an_answer_of_full_length_is_truncated(endless: Path) -> None:
    chat_model = load(endless)
    sampling = Sampling(max_new_tokens=7)
    answer = chat_model.answer(chat_model.prompt_window(asked("?"), sampling), sampling)
    assert "".join(answer) == "on and " * 7
    assert (answer.tokens, answer.is_truncated) == (7, True)


def test_the_model_stops_when_the_iteration_stops(endless: Path) -> None:
    chat_model = load(endless)
    sampling = Sampling(max_new_tokens=4000)
    pieces = iter(chat_model.answer(chat_model.prompt_window(asked("?"), sampling), sampling))
    assert next(pieces) == "on and "
    start = time.monotonic()
    pieces.close()  # type: ignore[attr-defined]
    assert time.monotonic() - start < 5  # 4,000 tokens take longer


def test_an_error_of_the_model_is_raised(tuned: Path) -> None:
    chat_model = load(tuned)
    with torch.no_grad():
        chat_model.network.get_input_embeddings().weight.fill_(float("nan"))
    with pytest.raises(RuntimeError, match="probability tensor"):
        list(chat_model.answer(chat_model.prompt_window(asked("?"), Sampling()), Sampling()))


def test_an_answer_of_full_length_always_fits(tuned: Path) -> None:
    chat_model = load(tuned)
    assert chat_model.context() == assistant.CONTEXT
    assert chat_model.sampling({}).max_new_tokens == 512
    messages = asked(*["x" * 200] * 21)
    window = chat_model.prompt_window(messages, Sampling(max_new_tokens=3000))
    assert window.messages_out > 0
    assert len(window.ids) + 3000 <= assistant.CONTEXT
    with pytest.raises(ChatdataError, match="max_new_tokens is 4096"):
        chat_model.prompt_window(messages, Sampling(max_new_tokens=4096))


@pytest.fixture
def arrived(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The settings that arrive inside `generate` of transformers, a dict for each answer."""
    made: list[dict[str, Any]] = []
    original = GenerationMixin._get_logits_processor
    sample = GenerationMixin._sample

    def processors(self: Any, *args: Any, **kwargs: Any) -> Any:
        processors_ = original(self, *args, **kwargs)
        names = ("temperature", "top_p", "top_k", "penalty")
        made.append(
            {
                n: getattr(processor, n)
                for processor in processors_
                for n in names
                if hasattr(processor, n)
            }
        )
        return processors_

    def sampled(self: Any, *args: Any, generation_config: Any, **kwargs: Any) -> Any:
        made[-1]["max_new_tokens"] = generation_config.max_length - args[0].shape[1]
        made[-1]["do_sample"] = generation_config.do_sample
        return sample(self, *args, generation_config=generation_config, **kwargs)

    monkeypatch.setattr(GenerationMixin, "_get_logits_processor", processors)
    monkeypatch.setattr(GenerationMixin, "_sample", sampled)
    return made


def test_the_settings_are_the_articles_and_all_reach_generate(
    tuned: Path, arrived: list[dict[str, Any]]
) -> None:
    talk(tuned, "one\n")
    assert arrived.pop() == {
        "temperature": 0.2,
        "top_p": 0.95,
        "top_k": 50,
        "penalty": 1.2,
        "max_new_tokens": 512,
        "do_sample": True,
    }
    options = "--temperature 0.7 --top-p 0.8 --top-k 33 --repetition-penalty 1.05"
    talk(tuned, "one\n", *options.split(), "--max-new-tokens", "77")
    assert arrived.pop() == {
        "temperature": 0.7,
        "top_p": 0.8,
        "top_k": 33,
        "penalty": 1.05,
        "max_new_tokens": 77,
        "do_sample": True,
    }


def test_temperature_0_takes_the_most_likely_token(
    tuned: Path, arrived: list[dict[str, Any]]
) -> None:
    talk(tuned, "one\n", "--temperature", "0")
    assert arrived == [{"penalty": 1.2, "max_new_tokens": 512, "do_sample": False}]


def test_a_seed_draws_the_same_answer_again(endless: Path) -> None:
    chat_model = load(endless)
    with torch.no_grad():
        chat_model.network.lm_head.weight.zero_()  # any token is as likely as any other
    sampling = Sampling(max_new_tokens=20)

    def answer() -> str:
        return "".join(chat_model.answer(chat_model.prompt_window(asked("?"), sampling), sampling))

    set_seed(1)
    first, second = answer(), answer()
    set_seed(1)
    assert first == answer() != second


# ------------------------------------------------------------------------------- in the terminal


def talk(model: Path, typed: str, *options: str) -> Result:
    line = assistant.readme_command("", model)
    done = CliRunner().invoke(__main__.main, [*line, *options], input=typed)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def test_a_conversation_can_be_saved_and_built(tuned: Path, tmp_path: Path) -> None:
    saved = tmp_path / "talk.jsonl"
    typed = f'/system Be <brief>.\n"""\ntwo\n\nlines <|end|>\n"""\nmore\n/save {saved}\n'
    first = talk(tuned, typed + f"/reset\nagain\n/save {saved}\n")
    assert first.output.count("appended") == 2, first.output
    build_dataset(load_recipe(str(_recipe(tmp_path)), []), tmp_path / "out")
    table = reader.scan(tmp_path / "out", "messages").collect()["messages"].to_list()
    rows = [[{key: turn[key] for key in ("role", "content")} for turn in row] for row in table]
    system = {"role": "system", "content": "Be <brief>."}
    long = asked("two\n\nlines <|end|>", assistant.ANSWER, "more", assistant.ANSWER)
    expected = [[system, *long], [system, *asked("again", assistant.ANSWER)]]
    assert sorted(map(str, rows)) == sorted(map(str, expected))


def _recipe(folder: Path) -> Path:
    path = folder / "talk.yaml"
    path.write_text(
        "name: talk\nversion: 1.0.0\nsource: {jsonl: {files: [talk.jsonl]}}\n"
        "render: {template: starchat, tokenizer: bytes, max_tokens: 4096}\n"
    )
    return path


def test_every_command_prints_its_result(tuned: Path, tmp_path: Path) -> None:
    typed = (
        "/help /save_x /save /system /foo /reset _ /save_/nowhere/x hi /save_/nowhere/x /exit never"
    )
    output = talk(tuned, typed.replace(" ", "\n").replace("_", " ") + "\n").output
    for name in (*terminal.COMMANDS, "/exit"):
        assert re.search(rf"^{name}\b.* \w", output, re.MULTILINE), name
    assert "ask a question first" in output
    assert "nothing is saved: /save FILE" in output
    assert "'/foo' is not a command" in output
    assert "'/nowhere/x' cannot be written: No such file" in output
    assert output.count("tokens of prompt") == 1  # `hi`; nothing after /exit is read


def test_a_path_is_a_question(tuned: Path) -> None:
    assert "print(6 * 7)" in talk(tuned, "/usr/bin/python is missing\n").output


def test_messages_that_no_longer_fit_are_reported_once(tuned: Path) -> None:
    question = "x" * 500
    done = talk(tuned, f"{question}\n" * 6, "--max-new-tokens", "2300")
    lines = re.findall("does not see (.*)", done.output)
    assert lines == [f"{number} of the oldest messages" for number in (2, 4, 6)]


def test_a_question_that_does_not_fit_is_removed(tuned: Path, tmp_path: Path) -> None:
    done = talk(tuned, f"{'x' * 4000}\nshort\n/save {tmp_path / 's'}\n")
    assert "are left for them" in done.output
    (line,) = (tmp_path / "s").read_text().splitlines()
    assert json.loads(line)["messages"] == asked("short", assistant.ANSWER)


def test_a_model_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b]0;title\x07b\x1b[31m\n\té\u202e") == "a]0;titleb[31m\n\té"


def test_the_system_option_is_the_system_turn(tuned: Path, tmp_path: Path) -> None:
    talk(tuned, f"hi\n/save {tmp_path / 's'}\n", "--system", "Be brief.")
    messages = json.loads((tmp_path / "s").read_text())["messages"]
    assert messages[0] == {"role": "system", "content": "Be brief."}


class Terminal:
    """A program in a real terminal."""

    def __init__(self, *command: str) -> None:
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.environ |= {"TERM": "xterm", "PYTHONPATH": str(ROOT)}
            os.execv(sys.executable, [sys.executable, *command])
        self.shown = ""

    def until(self, text: str) -> str:
        """The output since the last call, up to a text. Waits until the text is shown."""
        assert self.shows(text, 120), self.shown
        before, self.shown = self.shown.split(text, 1)
        return before

    def shows(self, text: str, seconds: float) -> bool:
        """Whether a text is shown within some seconds."""
        end = time.monotonic() + seconds
        while text not in self.shown and (left := end - time.monotonic()) > 0:
            if select.select([self.file], [], [], left)[0]:
                self.shown += os.read(self.file, 65536).decode(errors="replace")
        return text in self.shown

    def interrupt(self, text: str) -> None:
        """Types Ctrl-C until a text is shown.

        Python's readline misses a Ctrl-C between its prompt and the moment when it begins to wait.
        """
        self.type("\x03")
        while not self.shows(text, 5):
            self.type("\x03")
        self.until(text)

    def type(self, keys: str) -> None:
        os.write(self.file, keys.encode())


@pytest.mark.slow
def test_in_a_real_terminal_ctrl_c_stops_an_answer_and_nothing_else(
    endless: Path, tmp_path: Path
) -> None:
    program = Terminal("-m", "trainer.chat", str(endless), "--max-new-tokens", "4000")
    program.until("you> ")
    program.type("\x1b[200~one\ntwo\x1b[201~\r")  # pasted
    program.until("on and on and")
    program.type("\x03")
    program.until("stopped")
    program.until("you> ")
    program.interrupt("Ctrl-D or /exit leaves")
    program.type(f"/save {tmp_path / 's'}\r")
    program.until("appended")
    program.until("you> ")
    program.type("\x04")
    assert os.waitstatus_to_exitcode(os.waitpid(program.pid, 0)[1]) == 0
    question, answer = json.loads((tmp_path / "s").read_text())["messages"]
    assert question["content"] == "one\ntwo"
    assert 2 <= answer["content"].count("on and") < 4000


# ------------------------------------------------------------------------------ the command line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["/nowhere"], "'/nowhere' cannot be loaded"),
        (["MODEL", "--prompt", "/nowhere.yaml"], "cannot read '/nowhere.yaml'"),
        (["MODEL", "--temperature", "-1"], "-1.0 is not in the range"),
        (["MODEL", "--top-p", "0"], "0.0 is not in the range"),
        (["MODEL", "--serve", "--web"], "--serve and --web do not go together"),
        (["MODEL", "--serve", "--top-k", "3"], "--serve and --top-k do not go together"),
        (["MODEL", "--serve", "--prompt", "x.yaml"], "--serve and --prompt do not go together"),
        (["/nowhere", "--serve"], "'/nowhere' cannot be loaded"),
    ],
)
def test_what_is_wrong_is_named(tuned: Path, options: list[str], words: str) -> None:
    line = [str(tuned) if word == "MODEL" else word for word in options]
    done = CliRunner().invoke(__main__.main, line)
    assert done.exit_code in (1, 2)
    assert words in " ".join(done.output.split())


def test_a_model_without_a_template_is_a_base_model(sample: Path, tmp_path: Path) -> None:
    folder = assistant.base(sample / "tokenizer", tmp_path / "base")
    done = CliRunner().invoke(__main__.main, [str(folder)])
    assert done.exit_code == 1
    assert "--prompt recipes/prompts/assistant.yaml" in done.output


def test_an_adapter_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    done = CliRunner().invoke(__main__.main, [str(tmp_path)])
    assert "merge it" in done.output


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from trainer.chat.__main__ import main; "
        "main(['--help'], standalone_mode=False); "
        "print(sorted({'torch', 'transformers', 'gradio', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--repetition-penalty" in done.stdout
    assert "512, or half" in done.stdout


# --------------------------------------------------------------------------------- the endpoint


@pytest.fixture
def endpoint(tuned: Path) -> Iterator[str]:
    pytest.importorskip("fastapi")
    pytest.importorskip("openai")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    line = [*assistant.readme_command("--serve", tuned), "--port", str(port)]
    command = [sys.executable, "-m", "trainer.chat", *line]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(60)


@pytest.mark.slow
def test_the_endpoint_answers_and_stops(endpoint: str, tuned: Path) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"{endpoint}/health", timeout=5).read()
            break
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.2)
    body = {"model": str(tuned), "messages": asked("Is <|end|> text?"), "max_tokens": 100}
    request = urllib.request.Request(
        f"{endpoint}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        reply = json.load(response)
    (choice,) = reply["choices"]
    assert choice["message"]["content"] == assistant.ANSWER
    assert choice["finish_reason"] == "stop"
    template = load(tuned).writer
    assert reply["usage"]["prompt_tokens"] == len(template.ids(asked("Is <|end|> text?"), 0))
