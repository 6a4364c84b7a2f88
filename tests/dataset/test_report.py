"""The report, opened in a real browser: it shows what is there, runs nothing of the data, and asks
nobody for anything.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chatdata import build_dataset, load_recipe
from chatdata.cli import main
from chatdata.dataset import manifest, report
from tests.support import traps
from tests.support.manifests import rich_facts

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")


@pytest.fixture
def page(sample: Path, tmp_path: Path) -> Path:
    """The report of a copy of the sample."""
    return report.write(Path(shutil.copytree(sample, tmp_path / "sample")))


def browse(page: Path, tmp_path: Path, *options: str, fragment: str = "") -> str:
    """Opens a page, and gives what the browser made of it as HTML."""
    assert CHROMIUM is not None
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path / 'profile'}",
        *options,
        f"{page.as_uri()}{fragment}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


def reasons(dom: str) -> dict[str, bool]:
    """The reasons on a page, and whether each is shown."""
    rows = re.findall(
        r'<details class="reason" data-search=""( hidden="")?>.*?<code>(.*?)</code>', dom, re.DOTALL
    )
    return {name: not is_hidden for is_hidden, name in rows}


# ------------------------------------------------------------------------------- what it shows


def test_the_command_writes_the_page_and_names_it(sample: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sample, tmp_path / "sample"))
    done = CliRunner().invoke(main, ["report", str(folder)])
    assert done.output == f"{folder}/report.html\n"
    assert (folder / "report.html").read_text() == report.page(folder)


def test_a_page_is_a_function_of_the_folder(sample: Path) -> None:
    assert report.page(sample) == report.page(sample)
    assert str(sample.parent) not in report.page(sample)


def test_the_numbers_are_those_of_the_manifest(sample: Path, page: Path) -> None:
    facts, text = manifest.read(sample), page.read_text()
    for unit, count in facts["counts"].items():
        assert f"{count['read']:,} read, {count['kept']:,} kept" in text, unit
        for reason in count["dropped"]:
            assert f"<code>{reason}</code>" in text
    assert facts["content_hash"] in text
    assert text.count('class="n yes"') == 5


def test_what_was_dropped_is_shown_with_examples(page: Path) -> None:
    (bad_json,) = re.findall(r"<code>bad_json</code>.*?</ul>", page.read_text(), re.DOTALL)
    assert "oasst.messages.jsonl:22" in bad_json
    assert "at column" in bad_json


def test_trained_tokens_and_control_tokens_are_marked(page: Path) -> None:
    text = page.read_text()
    spans = re.findall(
        r'<span class="(trained|trained control| control)">(.*?)</span>', text, re.DOTALL
    )
    assert {kind for kind, _ in spans} == {"trained", "trained control", " control"}
    assert {html.unescape(words) for kind, words in spans if kind == "trained control"} == {
        "<|end|>"
    }
    assert "<|user|>" in {html.unescape(words) for kind, words in spans if kind == " control"}


def test_a_folder_of_an_older_chatdata_is_refused_in_a_sentence(page: Path) -> None:
    facts = manifest.read(page.parent).as_json()
    del facts["lengths"]
    (page.parent / "manifest.json").write_text(json.dumps(facts))
    done = CliRunner().invoke(main, ["report", str(page.parent)])
    assert done.exit_code == 1
    assert "the key 'lengths' is missing. Build the folder again" in done.stderr


def test_a_page_of_a_dataset_without_tokens(tmp_path: Path) -> None:
    build_dataset(load_recipe("sample", ["render=null"]), tmp_path / "out")
    text = report.page(tmp_path / "out")
    assert "Certificate" not in text
    assert "spoken by the assistant" in text
    assert '<span class="trained">assistant: ' in text


def test_a_page_says_what_every_step_found(page: Path) -> None:
    folder = page.parent
    (folder / "manifest.json").write_text(manifest.text(rich_facts(manifest.read(folder))))
    text = html.unescape(report.page(folder))
    for words in (
        '<td>html</td><td class="n">3</td><td class="n">1,200</td>',
        "<code>m|1`<b></code>",
        '<td>near_duplicate</td><td class="n" data-head="shared at least">80.0 %</td>',
        '<td>humaneval</td><td class="n">164</td>',
        "<td>email</td>",
        "57.1 %",
    ):
        assert words in text, words


def test_long_conversations_are_shortened_and_say_so(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "x" * 20_000}]
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "x", "messages": messages}))
    text = (
        "name: r\nversion: 1.0.0\nsource: {jsonl: {files: [a.jsonl]}}\nrender: {tokenizer: bytes}"
    )
    (tmp_path / "r.yaml").write_text(text)
    build_dataset(load_recipe(tmp_path / "r.yaml"), tmp_path / "out")
    page = report.page(tmp_path / "out")
    assert "x" * 5_900 in page
    assert "x" * 6_001 not in page
    assert "characters more" in page


# ------------------------------------------------------------------------------- in a browser


@pytest.mark.slow
@needs_browser
def test_a_browser_shows_it_and_searches_it(page: Path, tmp_path: Path) -> None:
    everything = reasons(browse(page, tmp_path, "--dump-dom"))
    dropped = [count["dropped"] for count in manifest.read(page.parent)["counts"].values()]
    assert set(everything) == set().union(*dropped)
    assert all(everything.values())
    dom = browse(page, tmp_path, "--dump-dom", fragment="#search=LANGUAGE%20that")
    shown = reasons(dom)
    assert [name for name, is_shown in shown.items() if is_shown] == ["wrong_language"]
    assert 'id="none" class="soft" hidden=""' in dom


@pytest.mark.slow
@needs_browser
def test_nothing_is_wider_than_the_screen(page: Path, tmp_path: Path) -> None:
    """A browser's window has a least width, so phones are frames in it. In all but the narrowest no
    table hides a column either."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy".*?>', "", page.read_text())
    frames = [
        f'<iframe style="width: {width}px" srcdoc="{html.escape(text)}"></iframe>'
        for width in (320, 420, 1100)
    ]
    measure = """onload = () => { document.title = [...document.querySelectorAll("iframe")].map(
        (own, n) => Math.max(...[...own.contentDocument.querySelectorAll(
            n ? "html, .scroll" : "html")].map(
            (box) => box.scrollWidth - box.clientWidth))) }"""
    (tmp_path / "wide.html").write_text(f"{''.join(frames)}<script>{measure}</script>")
    dom = browse(tmp_path / "wide.html", tmp_path, "--window-size=1300,900", "--dump-dom")
    (beyond,) = re.findall(r"<title>(.*?)</title>", dom)
    assert [int(pixels) <= 0 for pixels in beyond.split(",")] == [True] * 3


@pytest.fixture
def trap() -> Iterator[tuple[str, list[str]]]:
    with traps.trap() as address_and_asked:
        yield address_and_asked


def attacks(url: str) -> list[str]:
    return [
        f"<script src='{url}/script'></script><script>document.title='owned'</script>",
        f"<img src='{url}/img' onerror=\"document.title='owned'\">",
        f"</pre></span><style>@import '{url}/css';</style><link rel=stylesheet href='{url}/link'>",
        f"<iframe src='{url}/frame'></iframe><svg onload=\"document.title='owned'\">",
        f"{{{{ 7 * 7 }}}} {{% raw %}} <meta http-equiv=refresh content='0;url={url}/meta'>",
        "</script><script>document.title='owned'</script> \u202e\u0000 ]]> -->",
    ]


def hostile(folder: Path, url: str) -> Path:
    """The page of a dataset of which every text is an attack."""
    rows = [
        {
            "id": f"{number}{text}",
            "lang": text[:9],
            "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": text}],
        }
        for number, text in enumerate(attacks(url))
    ]
    rows += [{"id": "e", "messages": [{"role": text, "content": text}]} for text in attacks(url)]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    about = json.dumps(attacks(url)[0])
    (folder / "r.yaml").write_text(
        f"name: r\nversion: 1.0.0\nabout: {about}\nsource: {{jsonl: {{files: [a.jsonl]}}}}\n"
        "render: {tokenizer: bytes}\nmax_dropped: 1.0\n"
    )
    build_dataset(load_recipe(folder / "r.yaml"), folder / "out")
    return report.write(folder / "out")


@pytest.mark.slow
@needs_browser
def test_texts_of_the_data_run_nothing_and_ask_nobody(
    tmp_path: Path, trap: tuple[str, list[str]]
) -> None:
    url, asked = trap
    page = hostile(tmp_path, url)
    dom = browse(page, tmp_path, "--virtual-time-budget=2000", "--dump-dom")
    assert "<title>r 1.0.0</title>" in dom
    assert asked == []
    assert "{{ 7 * 7 }}" in dom
    for tag in ("img", "iframe", "link", "svg"):
        assert f"<{tag}" not in dom
    bare = page.with_name("bare.html")  # without escaping, the trap snaps: the test can fail
    bare.write_text(f"<html><body>{attacks(url)[1]}</body></html>")
    assert "<title>owned</title>" in browse(
        bare, tmp_path, "--virtual-time-budget=2000", "--dump-dom"
    )
    assert asked == ["/img"]


@pytest.mark.slow
@needs_browser
def test_the_policy_alone_would_stop_what_is_not_escaped(
    page: Path, tmp_path: Path, trap: tuple[str, list[str]]
) -> None:
    url, asked = trap
    torn = tmp_path / "torn.html"
    torn.write_text(page.read_text().replace("</h1>", "</h1>" + "".join(attacks(url)[:4])))
    dom = browse(torn, tmp_path, "--virtual-time-budget=2000", "--dump-dom")
    assert "<title>sample 1.0.0</title>" in dom
    assert asked == []
    assert all(reasons(dom).values())  # our own script still runs


def test_the_policy_names_our_script_and_no_place(page: Path) -> None:
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', page.read_text())
    rules: dict[str, Any] = dict(rule.split(" ", 1) for rule in html.unescape(policy).split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].startswith("'sha256-")
    assert "http" not in policy
    assert "src=" not in page.read_text().replace("-src", "")
