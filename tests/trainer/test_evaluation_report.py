"""The report on an evaluation: what it shows, what it does not say, and that nothing in it acts."""

from __future__ import annotations

import hashlib
import html
import json
import re
import shlex
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from chatdata.core.errors import ConfigError
from tests.support import traps
from tests.support.evaluations import NUMBER, run, run_judge, write, write_both
from tests.support.later import need
from tests.support.scripted_judge import serve
from trainer.evaluation.reporting import card_section, examples, folders, judged, page, texts

need("openai")

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "evaluation.md"


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two files of answers and what two judges made of them."""
    folder = tmp_path_factory.mktemp("evaluation") / "run"
    folder.mkdir()
    write_both(folder)
    run_judge(folder, "fair", "place")
    return folder


def report(*words: object) -> Result:
    return run("report", *words)


def page_of(*paths: Path) -> str:
    return page.html(folders.runs(paths)[0])


def plain(text: str) -> str:
    """The words of a page, without its tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


# ------------------------------------------------------------------------------------ what it shows


def test_the_command_writes_the_page_and_names_it(evaluation: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    done = report(evaluation, "--out", out, "--price", 2, 10)
    assert done.exit_code == 0, done.output
    assert done.output == f"{out}\n"
    usage = json.loads((evaluation / "judged" / "summary.json").read_text())["usage"]
    cost = (2 * usage["tokens_read"] + 10 * usage["tokens_written"]) / 1e6
    assert f"{usage['tokens_read']:,} {usage['tokens_written']:,} {cost:.2f}" in plain(
        out.read_text()
    )


def test_the_same_runs_are_the_same_page_wherever_they_are(
    evaluation: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(evaluation, tmp_path / evaluation.name)
    assert page_of(copy) == page_of(evaluation)
    text = page_of(evaluation)
    assert str(evaluation.parent) not in text
    assert str(tmp_path) not in text


def test_the_numbers_are_those_of_the_summary(evaluation: Path) -> None:
    summary = json.loads((evaluation / "judged" / "summary.json").read_text())
    text = plain(page_of(evaluation))
    for numbers in (summary, *summary["judges"].values()):
        low, high = numbers["win_rate_interval"]
        expected = f"{numbers['win_rate']:.1%} ( {low:.1%} to {high:.1%} )".replace("%", " %")
        assert expected.replace("( ", "(").replace(" )", ")").replace(" % to", " to") in text
        assert f"{numbers['length_controlled_win_rate']:.1%}".replace("%", " %") in text
    for key in ("position_bias", "length_bias"):
        assert f"{summary[key]:.1%} (".replace("%", " %") in text
    assert f"alpha of all: {summary['agreement']['alpha']:.2f}".replace("-", "−") in text


def test_every_pair_is_on_the_page_with_both_answers_and_all_that_was_said(
    evaluation: Path,
) -> None:
    text = page_of(evaluation / "judged")
    pairs = text.split('<details class="pair"')[1:]
    assert len(pairs) == NUMBER
    assert sum('sample"' in pair.partition(">")[0] for pair in pairs) == 3 + 2 + 3 + 1  # by outcome
    lines = (evaluation / "judged" / "pairs.jsonl").read_text().splitlines()
    for line in map(json.loads, lines):
        (pair,) = [pair for pair in pairs if f"<code>{line['id']}</code>" in pair]
        words = html.unescape(re.sub(r"<[^>]*>", "", pair))
        for key in ("prompt", "A", "B"):
            assert line[key] in words
        assert pair.count('<pre class="words reply"') == 4
        assert pair.count("Verdict: ") == (0 if line["id"] == "q7" else 4)
    assert text.count("no verdict: refused") == 4


def test_pairs_that_have_no_room_are_counted_and_none_of_them_is_of_the_sample(
    evaluation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "MOST", 10)
    text = page_of(evaluation / "judged")
    assert text.count('<details class="pair"') == 10
    assert len(re.findall(r'data-kinds="[^"]* sample"', text)) == 9
    assert "14 pairs are not on this page" in text


def test_each_part_is_there_with_its_run_alone(evaluation: Path) -> None:
    alone = page_of(evaluation / "a.jsonl")
    assert "Which answers judges prefer" not in alone
    assert "<title>Evaluation: a.jsonl</title>" in alone
    both = page_of(evaluation / "judged")
    assert 'id="answers"' not in both
    assert "<title>tuned beside base</title>" in both.replace("out/tuned", "tuned")


def test_what_stands_beside_answers_is_shown_where_it_is_of_them(
    evaluation: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(evaluation / "a.jsonl", tmp_path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    summary = {"sha256": digest, "settings": {"temperature": 0.7}, "versions": {"torch": "2.9"}}
    (tmp_path / "a.summary.json").write_text(json.dumps(summary))
    assert "temperature 0.7" in plain(page_of(path))
    path.write_text(path.read_text().replace("Question 3", "Question 4"))
    assert "temperature" not in page_of(path)


@pytest.mark.parametrize(
    ("rate", "ends", "words"),
    [
        (0.6, (0.48, 0.71), "do not show which of the two is better"),
        (0.5, (0.5, 0.5), "do not show which of the two is better"),
        (0.6, (0.51, 0.69), "prefer A more often than not"),
        (0.4, (0.31, 0.49), "prefer B more often than not"),
        (None, None, "No pair has a verdict"),
    ],
)
def test_the_headline_says_no_more_than_the_interval(rate: Any, ends: Any, words: str) -> None:
    assert words in judged.preferred(rate, ends)


def test_a_judge_who_alone_would_not_say_so_is_named(evaluation: Path) -> None:
    of = judged.read(folders.Run("judge", evaluation / "judged"))
    words = judged.values(of)["words"]
    assert words.endswith("prefer A more often than not. Taken alone, place does not.")


def test_what_weakens_a_result_is_said(evaluation: Path) -> None:
    (run,) = folders.runs([evaluation / "judged"])[0]
    of = judged.read(run)
    remarks = "\n".join(judged.remarks(of))
    for words in ("are few", "The place decided", "agree little", "have no verdict"):
        assert words in remarks
    assert "gives the score" not in remarks
    assert "for the longer answer" not in remarks
    by_length = of._replace(summary=of.summary | {"length_bias": 0.95})
    assert "95.0 % of the verdicts that decide are for the longer" in "".join(
        judged.remarks(by_length)
    )
    sure = of.summary | {"n": 400, "position_bias": 0.0, "agreement": None, "refused": 0}
    sure |= {"win_rate": 0.7, "length_controlled_win_rate": 0.69}
    sure["judges"] = {"a": {}, "b": {}}
    sure["scores"] = {judge: {side: {"histogram": {}} for side in "AB"} for judge in "ab"}
    assert list(judged.remarks(of._replace(summary=sure))) == []


# ---------------------------------------------------------------------------------- what is refused


def test_a_folder_that_nobody_knows_is_refused_by_name(evaluation: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    done = report(evaluation, tmp_path / "photos")
    assert done.exit_code == 1
    assert "photos' is no folder of an evaluation: judge writes verdicts.jsonl" in done.output


def test_what_is_left_out_of_a_folder_of_runs_is_named(evaluation: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(evaluation, tmp_path / "run"))
    (folder / "model").mkdir()
    (folder / "prompts.jsonl").write_text('{"prompt": "x"}\n')
    done = report(folder)
    assert done.exit_code == 0
    assert f"left out: {folder / 'model'}, {folder / 'prompts.jsonl'}" in done.output
    assert (folder / page.FILE).read_text() == page_of(evaluation)
    assert (report(folder).exit_code, (folder / page.FILE).read_text()) == (0, page_of(evaluation))


def test_numbers_of_verdicts_that_are_not_there_are_refused(
    evaluation: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(evaluation / "judged", tmp_path / "judged"))
    verdicts = (folder / "verdicts.jsonl").read_text()
    (folder / "verdicts.jsonl").write_text("\n".join(verdicts.splitlines()[5:]) + "\n")
    with pytest.raises(ConfigError, match=r"summary\.json is not that of verdicts\.jsonl"):
        page_of(folder)
    (folder / "verdicts.jsonl").write_text('{"id": "x"}\n')
    with pytest.raises(ConfigError, match="is not what this version's judge writes"):
        page_of(folder)


# ----------------------------------------------------------------------------------- the model card


def test_the_section_of_the_card(
    evaluation: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A golden that a human can read."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "README.md").write_text("# Mine\n")
    for _ in range(2):
        out = tmp_path / "page.html"
        assert report(evaluation, "--out", out, "--card", tmp_path).exit_code == 0
    text = (tmp_path / "README.md").read_text()
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_the_page_of_the_docs_is_right(
    evaluation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its command runs."""
    text = (ROOT / "docs" / "evaluation_report.md").read_text()
    words = shlex.split(text.split("```sh\n")[1].split("\n```")[0])
    assert words[:4] == ["python", "-m", "trainer.evaluation", "report"]
    monkeypatch.chdir(tmp_path)
    shutil.copytree(evaluation, "out/evaluation")
    Path("out/sample-model").mkdir()
    Path("out/sample-model/config.json").write_text("{}")
    done = run(*words[3:])
    assert done.exit_code == 0, done.output
    assert "## Evaluation" in Path("out/sample-model/README.md").read_text()


# ---------------------------------------------------------------------------------- hostile answers


def attacks(url: str) -> list[str]:
    return [
        f"<script src='{url}/script'></script><script>document.title='owned'</script>",
        f"<img src='{url}/img' onerror=\"document.title='owned'\">",
        f"</pre></details><style>@import '{url}/css';</style><link rel=stylesheet href='{url}/x'>",
        f"```html\n<iframe src='{url}/frame'></iframe><svg onload=\"document.title='owned'\">\n",
        f"{{{{ 7 * 7 }}}} {{% raw %}} <meta http-equiv=refresh content='0;url={url}/meta'>",
        "</script><script>document.title='owned'</script> \u202e\u0000\u2066\x1b[2J\x9b ]]> -->",
        "\" onmouseover=\"document.title='owned'\" x='",
    ]


def hostile(folder: Path, url: str) -> Path:
    """The page of an evaluation of which every text is an attack."""
    folder.mkdir(exist_ok=True)
    texts_of = attacks(url)
    rows = [(f"{i}{text}", f"{i} {text}", text * 2) for i, text in enumerate(texts_of)]
    write(folder / "a.jsonl", texts_of[0], rows)
    write(folder / "b.jsonl", texts_of[1], [(id, text, f"{words}!") for id, text, words in rows])
    models = [word for text in texts_of[:2] for word in ("--model", text.replace("\0", ""))]
    replies = [f"{text}\nScores: 3, 4\nVerdict: 2" for text in texts_of]
    with serve(lambda asked: replies[asked.number % len(replies)]) as endpoint:
        files = [str(folder / "a.jsonl"), str(folder / "b.jsonl")]
        where = ["--endpoint", endpoint.url, "--out", str(folder / "judged")]
        done = run("judge", *files, *where, *models)
    assert done.exit_code == 0, done.output
    assert report(folder, "--out", folder / "page.html").exit_code == 0
    return folder / "page.html"


class Tags(HTMLParser):
    """Counts the tags of a page, and notes the names of their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1
        self.attributes |= {name for name, _ in attrs}


def test_nothing_that_was_answered_is_markup_or_acts(tmp_path: Path) -> None:
    text = hostile(tmp_path, "http://127.0.0.1:1").read_text()
    tags = Tags()
    tags.feed(text)
    assert text.count("</script>") == tags.seen["script"] == 1
    assert {"img", "iframe", "link", "base", "object", "embed"} & set(tags.seen) == set()
    assert (tags.seen["meta"], tags.seen["style"]) == (4, 1)
    assert [name for name in tags.attributes if name.startswith("on")] == []
    acting = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs")} - {"\n"}
    assert acting == set()
    assert "\u27e8U+202E\u27e9\u2400\u27e8U+2066\u27e9\u241b[2J" in text
    assert "{{ 7 * 7 }}" in text


def test_the_policy_names_our_script_and_no_place(evaluation: Path) -> None:
    text = page_of(evaluation)
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', text)
    rules = dict(rule.split(" ", 1) for rule in html.unescape(policy).split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert re.fullmatch(r"'sha256-[\w+/]{43}='", rules["script-src"])
    assert "http" not in policy
    assert not re.search(r"\b(src|href)=\"(?!#)", text)


@given(st.text())
def test_what_is_shown_is_plain_and_pieces_are_the_whole(text: str) -> None:
    shown = texts.shown(text)
    acting = {c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert acting <= set("\n\t\u200c\u200d")
    assert texts.shown(shown) == shown
    assert "".join(piece.text for piece in texts.pieces(text)) == text.replace("\r\n", "\n")
    short = texts.shortened(text, 5)
    assert sum(len(piece.text) for piece in short.pieces) + short.left <= len(text)


def test_code_stands_between_fences() -> None:
    text = "So:\n```py\nx = '```'\n```\nand ~~~\n~~~~\ny\n~~~\n~~~~~\nend\n```\nz"
    codes = [piece.text for piece in texts.pieces(text) if piece.is_code]
    assert codes == ["```py\nx = '```'\n```\n", "~~~~\ny\n~~~\n~~~~~\n", "```\nz"]


# ------------------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    if BROWSER is None:
        pytest.skip("there is no Chromium; apt-get install chromium")
    with api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def trap() -> Iterator[tuple[str, list[str]]]:
    with traps.trap() as address_and_asked:
        yield address_and_asked


@pytest.mark.slow
def test_a_browser_shows_what_is_chosen(browser: Any, evaluation: Path, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(page_of(evaluation))
    opened = browser.new_page()
    opened.goto(path.as_uri())
    shown = opened.locator(".pair:visible")
    assert shown.count() == 9
    opened.get_by_role("button", name=f"all {NUMBER}").click()
    assert shown.count() == NUMBER
    opened.get_by_role("button", name="no verdict 1").click()
    assert shown.locator("summary code").all_inner_texts() == ["q7"]
    opened.get_by_role("button", name="sample").click()
    opened.get_by_role("searchbox").fill("QUESTION 21")  # of all pairs, not of the sample alone
    assert shown.locator("summary code").all_inner_texts() == ["q21"]
    opened.get_by_role("searchbox").fill("nobody wrote this")
    assert opened.get_by_text("Nothing fits.").is_visible()
    opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [420, 1400])
def test_nothing_is_hidden_beyond_the_edge(
    browser: Any, evaluation: Path, tmp_path: Path, width: int
) -> None:
    """Neither the page nor a box in it is wider than its room, unless it can be scrolled."""
    path = tmp_path / "page.html"
    path.write_text(page_of(evaluation))
    opened = browser.new_page(viewport={"width": width, "height": 900})
    opened.goto(path.as_uri())
    opened.evaluate("document.querySelectorAll('details').forEach((box) => { box.open = true })")
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    beyond = """() => [...document.querySelectorAll("main *")].filter((box) =>
        box.clientWidth && box.scrollWidth > box.clientWidth + 1
        && getComputedStyle(box).overflowX !== "auto").map((box) => box.outerHTML.slice(0, 80))"""
    assert opened.evaluate(beyond) == []
    opened.close()


@pytest.mark.slow
def test_hostile_answers_run_nothing_and_ask_nobody(
    browser: Any, tmp_path: Path, trap: tuple[str, list[str]]
) -> None:
    url, asked = trap
    path = hostile(tmp_path, url)
    opened = browser.new_page()
    opened.goto(path.as_uri())
    opened.wait_for_timeout(500)
    assert "owned" not in opened.title().partition("beside")[0].replace(attacks(url)[0], "")
    assert opened.locator(".pair").count() == len(attacks(url))
    assert asked == []
    torn = tmp_path / "torn.html"  # were a text not escaped, the policy alone would still hold
    torn.write_text(path.read_text().replace("</h1>", "</h1>" + "".join(attacks(url)[:3]), 1))
    opened.goto(torn.as_uri())
    opened.wait_for_timeout(500)
    assert opened.title() != "owned"
    assert asked == []
    bare = tmp_path / "bare.html"  # and without either the trap snaps: the test can fail
    bare.write_text(f"<html><body>{attacks(url)[1]}</body></html>")
    opened.goto(bare.as_uri())
    opened.wait_for_timeout(500)
    assert opened.title() == "owned"
    assert asked == ["/img"]
    opened.close()


def test_a_card_of_hostile_names_has_no_markup(tmp_path: Path) -> None:
    hostile(tmp_path, "http://127.0.0.1:1")
    text = card_section.text(page.values(folders.runs([tmp_path])[0]))
    assert not re.search(r"(?<!\\)<", text)
