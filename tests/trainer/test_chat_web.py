"""The page, opened and used in a real browser: one server, one session."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from transformers import GenerationMixin, LogitsProcessor

from chatdata.core.errors import ChatdataError
from tests.support import assistant
from tests.support.browser import Proxy, chromium
from tests.support.commands import free_port
from tests.support.later import Later, need
from trainer.chat import __main__, generation
from trainer.chat.generation import ChatModel, Sampling
from trainer.chat.prompt_window import TemplateWriter

need("gradio")
gr = Later("gradio")
web = Later("trainer.chat.web")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # other people's deprecations
]

QUESTION = "What is vector<int>? <|end|> <b>bold</b> <script>document.title = 'no'</script>"
SECRET = "an-unusual-word-7f3a"


# ------------------------------------------------------------------------------------ the text


PIECES = ["<", "b>", "&lt;", "&", "amp;", "`", "```", "\n", " ", "é", "/", "x"]


@given(st.lists(st.sampled_from(PIECES)))
def test_an_escaped_text_is_unescaped_to_itself(parts: list[str]) -> None:
    text = "".join(parts)
    assert web.unescaped(web.escaped(text)) == text


def test_tags_are_shown_and_code_is_left_alone() -> None:
    text = "a <b> 1 < 2 `<i>`\n```html\n<p>\n```\n<T>"
    assert web.escaped(text) == "a &lt;b> 1 < 2 `<i>`\n```html\n<p>\n```\n&lt;T>"


def test_the_history_of_the_page_is_a_conversation() -> None:
    history = [
        {"role": "user", "content": [{"type": "text", "text": "&lt;b>"}]},
        {"role": "assistant", "content": "`&lt;`"},
    ]
    assert web.conversation(" ", history, "c") == [
        {"role": "user", "content": "<b>"},
        {"role": "assistant", "content": "`&lt;`"},
        {"role": "user", "content": "c"},
    ]
    assert web.conversation("s", [], "c")[0] == {"role": "system", "content": "s"}


def test_a_question_without_an_answer_is_no_part_of_the_conversation() -> None:
    history = [{"role": role, "content": text} for role, text in zip("uuau", "abcd", strict=True)]
    history = [
        message | {"role": {"u": "user", "a": "assistant"}[message["role"]]} for message in history
    ]
    assert [message["content"] for message in web.conversation("", history, "e")] == ["b", "c", "e"]


# ------------------------------------------------------------------------------------ the server


class Watched:
    """The page's server, with what it generates and which machines it tries to reach."""

    def __init__(self) -> None:
        self.settings: list[dict[str, float]] = []
        self.prompts: list[list[int]] = []
        self.running = 0
        self.outside: list[str] = []
        self.port = free_port()
        self.models: list[tuple[Any, Any]] = []
        self.more: list[LogitsProcessor] = []

    @property
    def network(self) -> Any:
        return self.models[0][0]

    def text(self) -> str:
        """The last prompt."""
        return str(self.models[0][1].decode(self.prompts[-1]))

    def id(self, token: str) -> int:
        return int(self.models[0][1].convert_tokens_to_ids(token))


@pytest.fixture(scope="module")
def watched(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The README's command for the page, in this process, with a model that answers."""
    folder = assistant.tuned(sample / "tokenizer", tmp_path_factory.mktemp("models") / "tuned")
    served = Watched()
    patch = pytest.MonkeyPatch()
    _watch_models(served, patch)
    _watch_generation(served, patch)
    _watch_sockets(served, patch)
    patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
    patch.chdir(tmp_path_factory.mktemp("run"))
    line = assistant.readme_command("--web", folder)
    server = threading.Thread(
        target=_serve, args=([*line, "--port", str(served.port)],), daemon=True
    )
    server.start()
    _wait(lambda: _is_open(served.port))
    yield served
    gr.close_all(verbose=False)
    server.join(30)
    assert not server.is_alive()
    patch.undo()
    gc.collect()  # Gradio leaves event loops open, which is a warning when they are collected


def _serve(options: list[str]) -> None:
    __main__.main(options, standalone_mode=False)


def _watch_models(watched: Watched, patch: pytest.MonkeyPatch) -> None:
    load = generation.load

    def kept(*args: Any) -> Any:
        watched.models.append(load(*args))
        return watched.models[-1]

    patch.setattr(generation, "load", kept)


def _watch_generation(watched: Watched, patch: pytest.MonkeyPatch) -> None:
    processors, sample = GenerationMixin._get_logits_processor, GenerationMixin._sample

    def recorded(network: Any, *args: Any, **kwargs: Any) -> Any:
        processors_ = processors(network, *args, **kwargs)
        names = ("temperature", "top_p", "top_k", "penalty")
        watched.settings.append(
            {
                n: getattr(processor, n)
                for processor in processors_
                for n in names
                if hasattr(processor, n)
            }
        )
        processors_.extend(watched.more)
        return processors_

    def sampled(network: Any, ids: Any, *args: Any, generation_config: Any, **kwargs: Any) -> Any:
        watched.running += 1
        watched.prompts.append(ids[0].tolist())
        watched.settings[-1]["max_new_tokens"] = generation_config.max_length - ids.shape[1]
        try:
            return sample(network, ids, *args, generation_config=generation_config, **kwargs)
        finally:
            watched.running -= 1

    patch.setattr(GenerationMixin, "_get_logits_processor", recorded)
    patch.setattr(GenerationMixin, "_sample", sampled)


def _watch_sockets(watched: Watched, patch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def guarded(client: socket.socket, address: Any) -> None:
        if client.family in (socket.AF_INET, socket.AF_INET6) and address[0] != "127.0.0.1":
            watched.outside.append(str(address))
        connect(client, address)

    patch.setattr(socket.socket, "connect", guarded)


def _is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _wait(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


# ----------------------------------------------------------------------------------- the browser


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    notes = Proxy()
    notes.start()
    yield notes
    notes.server.close()


@pytest.fixture(scope="module")
def tab(watched: Watched, proxy: Proxy) -> Iterator[Any]:
    """A tab of Chromium."""
    with chromium(proxy) as browser:
        context = browser.new_context(viewport={"width": 1100, "height": 800})
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        context.set_default_timeout(60_000)
        yield context.new_page()


@pytest.fixture
def page(tab: Any, watched: Watched) -> Any:
    """The page, newly loaded. A script that fails in the page is an error of the test."""
    errors: list[str] = []

    def note(error: Any) -> None:
        errors.append(str(error))

    tab.on("pageerror", note)
    tab.goto(f"http://127.0.0.1:{watched.port}")
    tab.get_by_placeholder("Enter sends").wait_for()
    yield tab
    tab.remove_listener("pageerror", note)
    assert errors == []


def question(page: Any) -> Any:
    return page.get_by_role("textbox", name="question")


def answers(page: Any) -> Any:
    return page.locator(".bot.message")


def ask(page: Any, text: str) -> None:
    """Types a question and waits for the whole answer."""
    before = answers(page).count()
    question(page).fill(text)
    question(page).press("Enter")
    _wait(lambda: answers(page).count() > before)
    rest(page)


def choose(page: Any, name: str, value: str) -> None:
    """Sets a slider of the side bar, which is open."""
    box = page.get_by_role("spinbutton", name=f"number input for {name}")
    box.fill(value)
    box.press("Tab")


def rest(page: Any) -> None:
    """Waits until an answer is complete: then another question can be typed."""
    _wait(lambda: bool(question(page).is_editable()))
    page.locator("#status").get_by_text("tokens of prompt").wait_for()


def test_a_question_is_answered_in_markdown_with_code_to_copy(page: Any) -> None:
    ask(page, QUESTION)
    assert page.locator(".user.message").inner_text().strip() == QUESTION
    assert answers(page).locator("pre code").inner_text().strip() == "print(6 * 7)"
    answers(page).get_by_title("copy", exact=True).click()
    assert page.evaluate("navigator.clipboard.readText()").strip() == "print(6 * 7)"
    assert page.title() == "tuned"
    if folder := os.environ.get("CHATDATA_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/chat.png")


def test_the_settings_are_the_articles_and_each_arrives(page: Any, watched: Watched) -> None:
    ask(page, "one")
    assert watched.settings[-1] == {
        "temperature": 0.2,
        "top_p": 0.95,
        "top_k": 50,
        "penalty": 1.2,
        "max_new_tokens": 512,
    }
    page.get_by_role("button", name="Toggle Sidebar").click()
    page.get_by_role("textbox", name="system turn").fill("Be <brief>.")
    names = ("temperature", "top_p", "top_k", "repetition_penalty", "max_new_tokens")
    for name, value in zip(names, ("0.7", "0.8", "33", "1.05", "77"), strict=True):
        choose(page, name, value)
    if folder := os.environ.get("CHATDATA_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/settings.png")
    ask(page, "two")
    assert list(watched.settings[-1].values()) == [1.05, 0.7, 33, 0.8, 77]
    assert watched.text().startswith("<|system|>\nBe <brief>.<|end|>\n<|user|>\none<|end|>")


def test_what_is_typed_reaches_the_model_as_text(page: Any, watched: Watched) -> None:
    ask(page, QUESTION)
    ask(page, "two")
    assert watched.text() == (
        f"<|user|>\n{QUESTION}<|end|>\n<|assistant|>\n{assistant.ANSWER}<|end|>\n"
        "<|user|>\ntwo<|end|>\n<|assistant|>\n"
    )
    assert watched.prompts[-1].count(watched.id("<|end|>")) == 3


INDENTED = "    if x:\n        y()\n    else:\n        z()"


def test_indentation_is_kept_for_the_next_turn(page: Any, watched: Watched) -> None:
    ask(page, INDENTED)
    ask(page, "two")
    assert watched.text().startswith(f"<|user|>\n{INDENTED}<|end|>\n<|assistant|>")


def test_gradio_alone_would_take_it_out() -> None:
    """Should this fail, `web._kept` may go."""
    assert gr.Chatbot()._postprocess_content(f"\n{INDENTED}").text != f"\n{INDENTED}"
    kept = (
        importlib.import_module("trainer.chat.web")._chatbot()._postprocess_content(f"\n{INDENTED}")
    )
    assert kept.text == f"\n{INDENTED}"


class Slow(LogitsProcessor):
    """Lets a model take as long for a token as a large model does."""

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        time.sleep(0.02)
        return scores


@contextlib.contextmanager
def endless(watched: Watched) -> Iterator[None]:
    """The model writes its line of code again and again, slowly."""
    line, following = (watched.id(part) for part in assistant.PARTS[2:])
    weight = watched.network.lm_head.weight.data
    weight[[line, following], line] = torch.tensor([3.0, 0.0])
    watched.more.append(Slow())
    try:
        yield
    finally:
        weight[[line, following], line] = torch.tensor([0.0, 3.0])
        watched.more.clear()


def test_stop_stops_the_model_and_the_conversation_goes_on(page: Any, watched: Watched) -> None:
    page.get_by_role("button", name="Toggle Sidebar").click()
    choose(page, "max_new_tokens", "2048")
    with endless(watched):
        question(page).fill("one")
        question(page).press("Enter")
        _wait(lambda: answers(page).locator("pre").count() == 1 and watched.running == 1)
        page.get_by_test_id("stop-button").evaluate("button => button.click()")
        _wait(lambda: watched.running == 0)
        page.get_by_test_id("submit-button").wait_for()
    shown = answers(page).inner_text()
    lines = shown.count("print(6 * 7)")
    assert 0 < lines < 2000
    assert page.get_by_text("Error").locator("visible=true").count() == 0
    ask(page, "two")
    assert "<|user|>\none<|end|>\n<|assistant|>\nIt is:" in watched.text()
    assert answers(page).first.inner_text() == shown


def test_an_answer_can_be_made_again(page: Any, watched: Watched) -> None:
    ask(page, "one")
    ask(page, QUESTION)
    before = len(watched.prompts)
    page.get_by_role("button", name="Retry").click()
    _wait(lambda: len(watched.prompts) > before)
    rest(page)
    assert watched.prompts[-1] == watched.prompts[-2]
    assert answers(page).count() == 2


def test_the_last_exchange_can_be_undone(page: Any, watched: Watched) -> None:
    ask(page, "one")
    ask(page, QUESTION)
    page.get_by_role("button", name="Undo").click()
    _wait(lambda: answers(page).count() == 1)
    assert question(page).input_value() == QUESTION  # to be asked in other words
    ask(page, "two")
    assert QUESTION not in watched.text()
    assert "<|user|>\none<|end|>" in watched.text()


def test_an_empty_question_is_not_asked(page: Any, watched: Watched) -> None:
    before = len(watched.prompts)
    question(page).fill(" \n ")
    question(page).press("Enter")
    page.get_by_text("Type a question first.").wait_for()
    ask(page, "one")
    assert len(watched.prompts) == before + 1
    assert answers(page).count() == 1


def test_messages_that_do_not_fit_are_reported(page: Any, watched: Watched) -> None:
    page.get_by_role("button", name="Toggle Sidebar").click()
    choose(page, "max_new_tokens", "2048")
    ask(page, "x" * 1500)
    ask(page, "y" * 1500)
    page.get_by_text("does not see 2 of the oldest messages").wait_for()
    assert "x" not in watched.text()
    before = len(watched.prompts)
    question(page).fill("z" * 3000)
    question(page).press("Enter")
    page.get_by_text("are left for them").wait_for()
    assert len(watched.prompts) == before


def test_nothing_leaves_the_machine_and_nothing_is_stored(
    page: Any, watched: Watched, proxy: Proxy
) -> None:
    ask(page, f"![image](http://example.org/{SECRET}.png) {SECRET}")
    page.locator(".user.message img").wait_for(state="attached")
    time.sleep(0.5)
    assert proxy.asked == []
    assert watched.outside == []
    stored = page.evaluate("JSON.stringify([localStorage, sessionStorage])")
    assert SECRET not in stored
    assert page.evaluate("indexedDB.databases()") == []
    folders = (Path.cwd(), Path(os.environ["GRADIO_TEMP_DIR"]), Path(os.environ["HF_HOME"]))
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert _listening(watched.port) == {"127.0.0.1"}


def _listening(port: int) -> set[str]:
    """The addresses on which some process listens to a port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    addresses = [row[1].split(":") for row in rows if row[3] == "0A"]
    listening = [address for address, number in addresses if int(number, 16) == port]
    return {socket.inet_ntoa(bytes.fromhex(address)[::-1]) for address in listening}


def test_the_proxy_would_have_noticed(tab: Any, proxy: Proxy) -> None:
    """What the test above guards against."""
    tab_ = tab.context.new_page()
    tab_.set_content("<img src=http://example.org/image.png>")
    _wait(lambda: bool(proxy.asked))
    assert proxy.asked == ["GET http://example.org/image.png HTTP/1.1"]
    tab_.close()


def test_a_port_that_is_taken_is_named(watched: Watched) -> None:
    chat_model = ChatModel(*watched.models[0], TemplateWriter(watched.models[0][1]))
    with ThreadPoolExecutor(1) as pool:  # Gradio leaves an event loop in the thread
        started = pool.submit(web.start, chat_model, Sampling(), "t", "", "127.0.0.1", watched.port)
        with pytest.raises(ChatdataError, match=f"port {watched.port} .* cannot be used"):
            started.result()


def test_what_gradio_writes_for_the_page_goes_with_it(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_model = ChatModel(*watched.models[0], TemplateWriter(watched.models[0][1]))
    monkeypatch.setenv("GRADIO_TEMP_DIR", os.environ["GRADIO_TEMP_DIR"])  # as before, afterwards
    folders: list[Path] = []

    def served(page: gr.Blocks, *_: object) -> None:
        folders.append(Path(os.environ["GRADIO_TEMP_DIR"]))
        (folders[0] / "a").write_text("of the page")
        page.close(verbose=False)

    monkeypatch.setattr(web.local_page, "serve", served)
    web.run(chat_model, Sampling(), "t", "", "127.0.0.1", free_port())
    assert len(folders) == 1
    assert not folders[0].exists()
