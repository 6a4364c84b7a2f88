"""The page of the arena, used in a real browser: one server, a tab for each annotator."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Proxy, chromium
from tests.support.commands import free_port
from tests.support.contests import contest, write
from tests.support.later import Later, need
from trainer.evaluation.arena.book import Book
from trainer.evaluation.arena.contest import settle

need("gradio", "nltk")
arena_page = Later("trainer.evaluation.arena.page")

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "arena.md").read_text()
DANGER = (
    "<script>document.title = 'no'</script><img src=x onerror=\"document.title = 'no'\">\n"
    "![image](http://example.org/image.png) <b>bold</b> &lt;i&gt; ${1 + 1} {{value}}\n"
    "```html\n<iframe src='http://example.org/'></iframe>\n````\nstill code? no\n~~~\n\tlast"
)
CODE = "    indented\n\tby a tab:\n```python\nclass A:\n\tdef f(self):\n\t\treturn 1  \n\n\n```\n"
LONG = "x" * 20_000 + "\n" + "many words " * 20_000
# Names that are in no other text of the page.
ANSWERS = {
    "zwicky-7b": [CODE, DANGER, LONG, ""],
    "quokka-1b": ["\r\nlines\r\n  of Windows\r\n", "plain", "short", "Yes."],
    "ferret-3b": ["third", "# heading\n- a\n- b", "~~~\n", "No."],
}


class Arena:
    """The command of the docs, with three files, as a process that can be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        files = [path.name for path in write(folder, **ANSWERS)]
        words = shlex.split(PAGE.split("```sh\n")[1].split("\n")[0])
        assert words[:6] == ["python", "-m", "trainer.evaluation", "arena", *words[4:6]]
        self.words = [*words[1:4], *files, *words[6:], "--port", str(self.port)]
        self.out = folder / words[words.index("--out") + 1]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *self.words],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert self.process.stdout is not None
        assert str(self.port) in self.process.stdout.readline()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def clicks(self, annotator: str) -> list[dict[str, Any]]:
        """What is on the disk."""
        path = self.out / "clicks.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [line for line in lines if line["annotator"] == annotator]

    def order(self, annotator: str, at: int) -> list[str]:
        """The answers to a prompt in the order of an annotator."""
        of = [click for click in self.clicks(annotator) if click.get("id") == f"q{at}"]
        letters = dict(zip("ABC", ANSWERS.values(), strict=True))
        return [letters[letter][at] for letter in of[-1]["order"]]


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    served = Arena(tmp_path_factory.mktemp("arena"))
    yield served
    served.kill()


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    notes = Proxy()
    notes.start()
    yield notes
    notes.server.close()


@pytest.fixture(scope="module")
def browser(arena: Arena, proxy: Proxy) -> Iterator[Any]:
    with chromium(proxy) as started:
        yield started


class Visit:
    """A tab with the page, what the page was sent, and which scripts failed in it."""

    def __init__(self, browser: Any, arena: Arena, **context: Any) -> None:
        self.arena = arena
        self.context = browser.new_context(**context)
        self.context.set_default_timeout(30_000)
        self.tab = self.context.new_page()
        self.errors: list[str] = []
        self.sent: list[str] = []
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on("response", self._note)
        self.tab.goto(f"http://127.0.0.1:{arena.port}")

    def _note(self, response: Any) -> None:
        if "component_server" in response.url:
            self.sent.append(response.text())

    def enter(self, name: str) -> None:
        self.tab.get_by_label("Your name").wait_for()
        self.keys(*name, "Enter")
        self.at(1)

    def keys(self, *keys: str) -> None:
        for key in keys:
            self.tab.keyboard.press(key)

    def at(self, number: int) -> None:
        """Waits for a prompt."""
        self.tab.get_by_text(f"Prompt {number} of 4").wait_for()

    def part(self, name: str) -> Any:
        return self.tab.locator(f'[data-part="{name}"]')

    def saved(self) -> None:
        self.part("saved").get_by_text("saved", exact=True).wait_for()

    def ranks(self) -> list[str]:
        """The rank of each answer, as the page shows it."""
        chosen = self.tab.locator("article input:checked")
        return [chosen.nth(at).get_attribute("value") for at in range(chosen.count())]

    def answers(self) -> list[str]:
        """The answers to the character, as the page shows them."""
        shown: list[str] = self.tab.locator("article > .text").evaluate_all(
            "all => all.map(text => text.textContent)"
        )
        return shown


@pytest.fixture
def visit(browser: Any, arena: Arena) -> Iterator[Callable[..., Visit]]:
    """Opens the page. A script that fails in it is an error of the test."""
    opened: list[Visit] = []

    def open_page(**context: Any) -> Visit:
        opened.append(Visit(browser, arena, **context))
        return opened[-1]

    yield open_page
    for visited in opened:
        assert visited.errors == []
        visited.context.close()


def _wait(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def shoot(visited: Visit, name: str) -> None:
    """Keeps a picture, where somebody wants to look."""
    if folder := os.environ.get("CHATDATA_SCREENSHOTS"):
        visited.tab.screenshot(path=f"{folder}/arena-{name}.png")


# ------------------------------------------------------------------------------------------- tests


def test_a_contest_is_judged_by_the_keyboard_alone(
    visit: Callable[..., Visit], arena: Arena
) -> None:
    """From the name to the results; the names of models are not sent before these."""
    page = visit()
    page.enter("ann")
    page.keys("2", "Enter")  # two answers have no rank
    page.saved()
    assert [click["ranks"] for click in arena.clicks("ann")] == [[2, None, None]]
    assert "Give every answer a rank" in page.part("note").inner_text()
    page.keys("1", "1")
    page.saved()
    assert arena.clicks("ann")[-1]["ranks"] == [2, 1, 1]
    best = arena.order("ann", 0)[1].replace("\r\n", "\n")  # the first of two
    assert page.part("correction").input_value() == best
    page.keys("e", "Control+End")
    page.tab.keyboard.type("\n1 sum up\n")  # no key of these is a command
    page.keys("Escape")
    page.saved()
    last = arena.clicks("ann")[-1]
    assert (last["correction"], last["is_kept"]) == (best + "\n1 sum up\n", True)
    page.keys("Enter", "1", "2", "3", "g", "Enter", "s")  # faster than the page
    page.at(4)
    page.keys("p", "p")
    page.at(2)
    assert page.ranks() == ["1", "2", "3"]
    page.keys("b", "1", "u")  # an earlier judgement, and on to what is open
    page.at(4)
    page.keys("1", "1", "2", "Enter")
    page.tab.get_by_text("3 judged, 1 skipped, 0 open.").wait_for()
    shown = "".join(page.sent) + page.tab.content() + _get(arena, "/config") + _get(arena, "/")
    assert not any(name in shown for name in ANSWERS)
    page.keys("r")
    page.part("results").get_by_text("zwicky-7b against quokka-1b").wait_for()
    shoot(page, "results")
    of_second = [click["ranks"] for click in arena.clicks("ann") if click.get("id") == "q1"]
    assert of_second[-2:] == [[1, 2, 3], [1, 1, 3]]
    assert json.loads((arena.out / "summary.json").read_text())["annotators"]["ann"]["judged"] == 3


def _get(arena: Arena, path: str, **headers: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", arena.port, timeout=10)
    connection.request("GET", path, headers=headers)
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def test_answers_are_shown_to_the_character_and_do_nothing(
    visit: Callable[..., Visit], arena: Arena, proxy: Proxy
) -> None:
    page = visit()
    page.enter("bob")
    for at in range(4):
        page.at(at + 1)
        page.keys("1", "2", "3")
        page.saved()
        shown = [text or "(an empty answer)" for text in arena.order("bob", at)]
        assert page.answers() == shown
        assert page.tab.locator("#arena").locator("img, iframe, script, b, h3").count() == 0
        if at == 1:
            shoot(page, "danger")
        page.keys("Enter")
    assert page.tab.title() == "Compare answers"
    assert proxy.asked == []


def test_the_corrected_answer_is_kept_to_the_character(
    visit: Callable[..., Visit], arena: Arena
) -> None:
    page = visit()
    page.enter("cy")
    page.keys("3", "3", "3")
    page.saved()
    place = arena.order("cy", 0).index(CODE)
    page.keys("abc"[place], "1")
    page.saved()
    box = page.part("correction")
    assert box.input_value() == CODE
    box.press("Control+Home")
    page.tab.keyboard.insert_text("\n\t# first\n")
    page.saved()
    assert arena.clicks("cy")[-1]["correction"] == "\n\t# first\n" + CODE
    page.tab.get_by_role("button", name="Undo my edits").click()
    page.saved()
    assert box.input_value() == CODE
    assert [arena.clicks("cy")[-1][key] for key in ("correction", "is_kept")] == [None, False]
    page.tab.get_by_label("It is right: keep it").check()
    _wait(lambda: bool(arena.clicks("cy")[-1]["is_kept"]))
    page.keys("abc"[place], "3")  # now another answer is the best, of which nobody said this
    page.saved()
    assert not arena.clicks("cy")[-1]["is_kept"]


def test_annotators_have_orders_and_places_of_their_own(
    visit: Callable[..., Visit], arena: Arena
) -> None:
    orders = []
    for name in ("dee", "eve"):
        page = visit()
        page.enter(name)
        page.keys("1", "2", "3", "Enter", "2", "1", "1", "Enter")
        page.at(3)
        orders.append([arena.order(name, at) for at in (0, 1)])
    assert orders[0] != orders[1]
    page.tab.reload()  # the address knows the name
    page.at(3)
    again = visit()
    again.tab.get_by_label("Your name").fill("Dee ")
    again.keys("Enter")
    again.at(3)
    again.keys("p")
    again.at(2)
    assert again.ranks() == ["2", "1", "1"]


def test_what_is_clicked_while_the_server_is_dead_is_saved(
    visit: Callable[..., Visit], arena: Arena
) -> None:
    page = visit()
    page.enter("flo")
    page.keys("2")
    _wait(lambda: len(arena.clicks("flo")) == 1)
    arena.kill()
    page.keys("1", "3", "Enter")
    page.part("note").get_by_text("The server does not answer").wait_for()
    assert len(arena.clicks("flo")) == 1
    arena.start()
    page.at(2)
    assert [click["ranks"] for click in arena.clicks("flo")] == [
        [2, None, None],
        [2, 1, None],
        [2, 1, 3],
    ]
    page.keys("p")
    page.at(1)
    assert page.ranks() == ["2", "1", "3"]


PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
OVERFLOWING = """() => [...document.querySelectorAll('body, #arena, #arena *')].filter(e =>
    e.checkVisibility() && e.clientWidth && getComputedStyle(e).display != 'inline'
    && (e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > innerWidth + 1)
).map(e => e.outerHTML.slice(0, 80))"""


def test_it_works_on_a_phone(visit: Callable[..., Visit], arena: Arena) -> None:
    page = visit(color_scheme="dark", **PHONE)
    page.tab.get_by_label("Your name").fill("gus")
    page.tab.get_by_role("button", name="Start").tap()
    for at in range(4):
        page.at(at + 1)
        for place in range(3):
            page.tab.locator("article").nth(place).locator("label").nth(place).tap()
        page.saved()
        assert page.tab.evaluate(OVERFLOWING) == []
        assert page.tab.evaluate("document.documentElement.scrollWidth") == 360
        shoot(page, f"phone-{at}")
        button = page.tab.get_by_role("button", name="Next")
        assert button.bounding_box()["y"] < 740  # at hand, however long the answers are
        button.tap()
    page.tab.get_by_role("button", name="Show the results").tap()
    page.part("results").get_by_text("Judged by").wait_for()
    assert page.tab.evaluate(OVERFLOWING) == []
    assert [click["ranks"] for click in arena.clicks("gus") if "id" in click][-1] == [1, 2, 3]


def test_nothing_but_the_page_is_served(arena: Arena) -> None:
    assert "not served at this name" in _get(arena, "/config", Host="rebound.example")
    settings = arena.out / "settings.json"
    assert "zwicky" in settings.read_text()
    assert "zwicky" not in _get(arena, f"/gradio_api/file={settings}")


def test_ctrl_c_sums_up(arena: Arena) -> None:
    """The last test of the server: it ends."""
    (arena.out / "rankings.jsonl").unlink(missing_ok=True)
    arena.process.send_signal(signal.SIGINT)
    printed, _ = arena.process.communicate(timeout=60)
    assert arena.process.returncode == 0
    assert "4 of 4 prompts judged" in printed
    assert "zwicky-7b wins" in printed
    assert (arena.out / "rankings.jsonl").read_text().count('"id"') == 4


# ------------------------------------------------------------------------------ without a browser


def test_what_the_page_asks_for_has_no_names_and_refuses_nonsense(tmp_path: Path) -> None:
    made, out = contest(tmp_path, number=2), tmp_path / "out"
    out.mkdir()
    settle(made, out)
    book = Book(made, out)
    calls = {f.__name__: f for f in arena_page.functions(book, dict, None)}
    assert calls["open_contest"]({"annotator": None}) == {"annotator": None}
    assert calls["open_contest"]({"annotator": "Ann"})["statuses"] == ["open", "open"]
    for at in (-1, 2, None, True, "0"):
        assert "there is no prompt" in calls["open_prompt"]({"annotator": "ann", "at": at})["error"]
    assert "error" in calls["save_judgement"]({"annotator": "ann", "at": 0})
    half = {"annotator": "ann", "at": 0, "ranks": [1, 2], "correction": "\ud83d"}
    assert "the corrected answer is" in calls["save_judgement"](half)["error"]
    assert "2 prompts are left" in calls["show_results"]({"annotator": "ann"})["error"]
    assert "error" in calls["open_prompt"]([1])
    fixed = {f.__name__: f for f in arena_page.functions(book, dict, "bob")}
    assert fixed["open_contest"]({"annotator": None})["annotator"] == "bob"
    fixed["save_judgement"]({"annotator": "ann", "at": 1, "ranks": [2, 1]})
    assert book.statuses("bob") == ["open", "judged"]
    book.close()
