"""The page of all conversations: it shows every row, as it is, to nobody else."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from chatdata import build_dataset, load_recipe
from chatdata.cli import main
from chatdata.cli.browse.queries import ROWS, Browser, Query
from chatdata.cli.browse.server import Server
from chatdata.dataset import manifest, reader
from chatdata.render import token_spans
from tests.support.browser import Proxy, chromium


@pytest.fixture(scope="module")
def browser(sample: Path) -> Browser:
    return Browser(sample)


@pytest.fixture(scope="module")
def server(sample: Path) -> Iterator[Server]:
    yield from served(sample)


def served(folder: Path, before: Path | None = None) -> Iterator[Server]:
    with Server(folder, before=before) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def pages(browser: Browser, **asked: Any) -> list[dict[str, Any]]:
    """The rows of all pages."""
    first = browser.rows(Query(**asked))
    numbers = range(-(-first["number"] // ROWS))
    rows = [row for page in numbers for row in browser.rows(Query(page=page, **asked))["rows"]]
    assert len(rows) == first["number"]
    return rows


# -------------------------------------------------------------------------------- what it shows


def test_the_pages_are_all_rows_in_their_order(sample: Path, browser: Browser) -> None:
    rows = pages(browser)
    assert [row["id"] for row in rows] == reader.scan(sample, "messages").collect()["id"].to_list()
    assert len(rows) > ROWS


def test_words_are_looked_for_in_all_messages(sample: Path, browser: Browser) -> None:
    table = reader.scan(sample, "messages").collect()
    for words in ("MOON", "(", "<|end|>", "no such words", "tides-a"):
        says = [
            id
            for id, messages in table.select("id", "messages").iter_rows()
            if words.lower() in "\n".join([id, *(m["content"] or "" for m in messages)]).lower()
        ]
        assert [row["id"] for row in pages(browser, words=words)] == says, words


def test_filters_limit_what_is_shown(browser: Browser) -> None:
    everything = pages(browser)
    for name, key in (("source", "sources"), ("lang", "languages"), ("split", "splits")):
        for value, number in browser.facts()[key].items():
            fitting = [row for row in everything if (row[name] or "unknown") == value]
            assert pages(browser, **{name: value}) == fitting
            assert len(fitting) == number
    longer = [row for row in everything if 300 <= row["length"] <= 500]
    assert pages(browser, least=300, most=500) == longer
    lengths = [row["length"] for row in pages(browser, order="longest")]
    assert lengths == sorted(lengths, reverse=True)


def test_every_token_is_the_rows(sample: Path, browser: Browser) -> None:
    decoder = token_spans.decoder(sample / "tokenizer")
    for row in reader.scan(sample, "tokens").collect().to_dicts():
        (shown,) = browser.conversation(row["id"])["rows"]
        ids, texts, parts, trained, _ = zip(*shown["tokens"], strict=True)
        assert list(ids) == row["input_ids"]
        assert list(trained) == [label != -100 for label in row["labels"]]
        assert "".join(texts) == decoder.decode(row["input_ids"], skip_special_tokens=False)
        assert all(
            (part == "context") == (not is_it) for part, is_it in zip(parts, trained, strict=True)
        )


def test_a_limit_costs_the_rows_that_are_longer(sample: Path, browser: Browser) -> None:
    rows = reader.scan(sample, "tokens").collect()
    costs = browser.facts()["costs"]
    assert [cost["limit"] for cost in costs[:3]] == [512, 1024, 2048]
    for cost in costs:
        longer = rows.filter(pl.col("length") > cost["limit"])
        assert (cost["rows"], cost["trained"]) == (longer.height, longer["trained"].sum())
    assert costs[0]["rows"]


def test_what_was_dropped_is_shown_by_reason_with_its_words(browser: Browser) -> None:
    for reason in browser.facts()["reasons"]:
        entries = browser.dropped(Query(reason=reason["name"]))["entries"]
        assert entries
        assert all(reason["name"] in [row.get("reason") for row in rows] for rows in entries)
    (entry,) = browser.dropped(Query(words="tides come from the wind"))["entries"]
    assert "wind" in entry[0]["content"]


def test_without_their_words_the_ledger_says_what_was_dropped(sample: Path, tmp_path: Path) -> None:
    for path in sample.iterdir():
        if path.name != "dropped":
            (tmp_path / path.name).symlink_to(path)
    browser = Browser(tmp_path)
    reasons = browser.facts()["reasons"]
    numbers = {r["name"]: browser.dropped(Query(reason=r["name"]))["number"] for r in reasons}
    assert numbers == {reason["name"]: reason["number"] for reason in reasons}
    assert not browser.facts()["has_words"]


def test_a_tree_has_the_path_and_what_was_dropped(browser: Browser) -> None:
    tree = browser.tree("oasst1/tides/tides-a")
    assert [node["mark"] for node in tree["nodes"]] == ["●", "●"]
    assert {node["reason"] for node in tree["elsewhere"]} == {"synthetic", "not_reviewed"}


# ---------------------------------------------------------------------------- to nobody else


def get(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    port = server.server_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    named = {name.replace("_", "-"): value.format(port=port) for name, value in headers.items()}
    connection.request(method, path, headers=named)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def test_the_page_itself_is_answered(sample: Path, server: Server) -> None:
    status, text = get(server, "/api/facts", Sec_Fetch_Site="same-origin")
    assert (status, json.loads(text)["name"]) == (200, "sample")
    assert get(server, "/", Host="localhost:{port}")[0] == 200
    assert get(server, "/api/rows", Origin="http://127.0.0.1:{port}")[0] == 200
    assert get(server, "/api/rows?least=x") == (
        400,
        '{"error": "least is \'x\', which is not a number; give digits alone."}',
    )
    assert get(server, "/api/conversation?id=none")[0] == 400
    assert get(server, "/../manifest.json")[0] == 404
    assert manifest.read(sample).name not in get(server, "/page.html")[1]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:{port}"},
        {"Host": "127.0.0.1"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_others_are_refused(server: Server, headers: dict[str, str]) -> None:
    status, text = get(server, "/api/rows", **headers)
    assert status == 403
    assert server.url in text


def test_it_is_only_read_and_only_here(server: Server) -> None:
    assert get(server, "/api/rows", "POST")[0] == 501
    assert server.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_named(sample: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(main, ["report", str(sample), "--serve", "--port", port])
    assert done.exit_code == 1
    assert f"port {port} of 127.0.0.1 cannot be used" in done.stderr
    assert CliRunner().invoke(main, ["report", str(sample), "--port", "1"]).exit_code == 2


# ------------------------------------------------------------------------------- in a browser

ATTACKS = [
    "<script>document.title='owned'</script>",
    "<img src='http://evil.example/img' onerror=\"document.title='owned'\">",
    "</pre></span><iframe src='http://evil.example/frame'></iframe><svg onload=alert(1)>",
]


def hostile(folder: Path) -> tuple[Path, Path]:
    """A dataset of which every text is an attack, and one that came before it."""
    rows = [
        {
            "id": f"{number}{text}",
            "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": text}],
        }
        for number, text in enumerate(ATTACKS)
    ]
    rows += [{"id": "e", "messages": [{"role": text, "content": text}]} for text in ATTACKS]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "r.yaml").write_text(
        f"name: r\nversion: 1.0.0\nabout: {json.dumps(ATTACKS[0])}\n"
        "source: {jsonl: {files: [a.jsonl]}}\nrender: {tokenizer: bytes}\nmax_dropped: 1.0\n"
    )
    build_dataset(load_recipe(folder / "r.yaml"), folder / "out")
    text = (folder / "a.jsonl").read_text().replace('t", "content": "', 't", "content": "more ')
    (folder / "b.jsonl").write_text(text)
    build_dataset(
        load_recipe(folder / "r.yaml"), folder / "before", inputs=[str(folder / "b.jsonl")]
    )
    return folder / "out", folder / "before"


@pytest.mark.slow
def test_a_browser_shows_texts_as_texts(tmp_path: Path) -> None:
    (proxy := Proxy()).start()
    faults: list[str] = []
    for server in served(*hostile(tmp_path)):
        with chromium(proxy) as started:
            page = started.new_page(viewport={"width": 420, "height": 900})
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.goto(server.url)
            page.locator(".row").nth(1).click()
            token = page.locator("pre.tokens .trained").first
            token.hover()
            assert "trained" in page.locator("#token").inner_text()
            page.get_by_text("Show its tree").click()
            page.locator(".tree li").first.wait_for()
            assert any(text in page.locator("pre.tokens").inner_text() for text in ATTACKS)
            page.get_by_role("link", name="Dropped").click()
            page.locator("article.entry").first.wait_for()
            assert any(text in page.locator("#list").inner_text() for text in ATTACKS)
            page.get_by_role("link", name="Changes").click()
            page.locator("#list .row").first.click()
            page.locator(".compared del").first.wait_for()
            assert any(text in page.locator("#detail").inner_text() for text in ATTACKS)
            wide = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
            assert (page.title(), wide, faults) == ("r 1.0.0", 0, [])
            assert page.locator("main img, main iframe, main svg, main script").count() == 0
    assert not proxy.asked
