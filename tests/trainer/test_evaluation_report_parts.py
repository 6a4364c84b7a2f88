"""The report's parts on programs, people and benchmarks: each where its run is."""

from __future__ import annotations

import base64
import html
import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.support.evaluations import NUMBER, TESTED, run, run_judge, write_both
from tests.support.later import need
from trainer.evaluation.arena import book, contest
from trainer.evaluation.reporting import card_section, coded, folders, judged, page, pictures

need("openai", "nltk")

pytestmark = pytest.mark.slow


def png(width: int = 2) -> bytes:
    """A picture with words of its own in it."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    rows = zlib.compress(b"".join(b"\0" + b"\x7f" * width for _ in range(2)))
    head = struct.pack(">IIBBBBB", width, 2, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"tEXt", b"a\0/home/me"), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def rank(folder: Path) -> None:
    """Two people rank; both like A, save at every third prompt."""
    out = folder / "people"
    made = contest.of_files([folder / "a.jsonl", folder / "b.jsonl"], seed=0)
    out.mkdir()
    contest.settle(made, out)
    written = book.Book(made, out)
    for name in ("ada", "grace"):
        for at in range(NUMBER - 4):
            likes_a = at % 3 > 0 or (name == "ada" and at % 2 == 0)
            order = written.judgement(name, at).order
            ranks = [1 if (letter == "A") == likes_a else 2 for letter in order]
            written.save(name, at, {"ranks": ranks, "correction": None})
    written.close()
    done = run("arena", "--summary", out, "--verdicts", folder / "judged" / "verdicts.jsonl")
    assert done.exit_code == 0, done.output


def benchmark(folder: Path) -> None:
    """What `benchmark` writes of a base without and a tuned model with a template."""
    value = {"standard_error": 0.05, "mean_of_items": True, "higher_is_better": True}
    sides = (("/home/me/base", False, 0.25), ("out/tuned", True, 0.35))
    runs = [
        {
            "task": "arc_easy",
            "template": is_templated,
            "model": {"name": name},
            "identity": {"shots": {"arc_easy": 5}},
            "version": 1.0,
            "n": 100,
            "metrics": {
                "acc": {**value, "value": 0.3, "interval": [0.2, 0.4]},
                "acc_norm": {**value, "value": acc, "interval": [acc - 0.08, acc + 0.1]},
            },
            "chance": 0.25,
        }
        for name, is_templated, acc in sides
    ]
    first, second = ({"model": name, "template": how} for name, how, _ in sides)
    numbers = {"difference": 0.1, "interval": [-0.01, 0.21], "p": 0.0736, "test": "McNemar, exact"}
    row = {"task": "arc_easy", "first": first, "second": second, **numbers}
    counts = {"first_better": 7, "second_better": 17}
    results = {
        "versions": {"lm_eval": "0.4.13"},
        "settings": {"limit": 100},
        "runs": runs,
        "comparisons": [{**row, "metric": name, **counts} for name in ("acc", "acc_norm")],
        "warnings": [{**second, "task": "arc_easy", "check": "delimiter", "requests": 3, "of": 4}],
        "skipped": [{**first, "reason": "'/home/me/base' has no chat template"}],
    }
    results["warnings"][0]["words"] = "' A' and not 'A'"
    (folder / "benchmarked").mkdir()
    (folder / "benchmarked" / "results.json").write_text(json.dumps(results))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs of all kinds; two programs of A are given figures, of which one is none."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    folder.mkdir()
    write_both(folder)
    run_judge(folder, "fair", "place")
    for side in "ba":
        out = folder / f"ran-{side}"
        done = run("run-code", folder / f"{side}.jsonl", "--out", out, "--no-sandbox")
        assert done.exit_code == 0, done.output
    results = folder / "ran-a" / "results.jsonl"
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    lines[1]["figures"], lines[2]["figures"] = ["figures/q1-1.png"], ["../../a.jsonl"]
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "ran-a" / "figures").mkdir()
    (folder / "ran-a" / "figures" / "q1-1.png").write_bytes(png())
    rank(folder)
    benchmark(folder)
    return folder


def html_of(*paths: Path) -> str:
    return page.html(folders.runs(paths)[0])


def plain(text: str) -> str:
    """The words of a page, without its tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


PARTS = {
    "judged": ("Which answers judges prefer", "Side by side", "judge"),
    "ran-a": ("Which programs work", "Figures"),
    "people": ("Which answers people prefer",),
    "benchmarked": ("Benchmarks", "Differences on the same items"),
    "a.jsonl": ("Answers",),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_there_where_its_run_is(whole: Path, name: str) -> None:
    alone, rest = html_of(whole / name), html_of(*(whole / n for n in PARTS if n != name))
    for heading in PARTS[name][:2]:
        assert f">{heading}</h" in alone, heading
        assert f">{heading}</h" not in rest, heading
    for headings in (PARTS[n] for n in PARTS if n != name):
        assert f">{headings[0]}</h" not in alone, headings
    assert "At a glance" not in alone
    assert "At a glance" in rest


def test_the_same_folders_are_the_same_page(whole: Path) -> None:
    text = html_of(whole)
    assert text == html_of(whole)
    assert "/home/me" not in text
    assert str(whole.parent) not in text


def test_programs_stand_beside_what_judges_say(whole: Path) -> None:
    """By the plan of the answers: two of three of A have code, one of four of B."""
    text = plain(html_of(whole))
    a = sum(i % 3 > 0 for i in range(TESTED))
    b = sum(i % 4 == 0 for i in range(TESTED))
    assert text.index(f"{a} of {TESTED} tested") < text.index(f"{b} of {TESTED} tested")
    runs = [folders.Run("run-code", whole / name) for name in ("ran-a", "ran-b")]
    codes = [coded.read(run) for run in runs]
    of = judged.read(folders.Run("judge", whole / "judged"))
    values = coded.values(codes, [of])
    (difference,) = values["differences"]
    both = sum(i % 3 > 0 and i % 4 == 0 for i in range(TESTED))
    assert (difference["n"], difference["both"]) == (TESTED, both)
    assert (difference["first"], difference["second"]) == (a - both, b - both)
    fair, place = values["beside"]
    # The fair judge prefers code, except that it refuses question 7, of which A's alone passes.
    assert (fair["prefers"]["n"], fair["prefers"]["value"]) == (a + b - 2 * both, 4 / 5)
    assert place["prefers"]["value"] == 0.0
    assert fair["high"] == 0
    assert fair["scores"][True] > fair["scores"][False]


def test_pairs_say_which_program_passes(whole: Path) -> None:
    text = html_of(whole)
    pairs = text.split('<details class="pair"')[1:]
    (pair,) = [pair for pair in pairs if "<summary><code>q1</code>" in pair]
    assert "✓ passed" in pair
    assert "✗ no code" in pair
    assert "only-a" in pair.partition(">")[0]
    assert "only A’s code passes" in text


def test_figures_are_on_the_page_without_their_words(whole: Path) -> None:
    text = html_of(whole)
    (data,) = re.findall(r'src="data:image/png;base64,([^"]*)"', text)
    shown = base64.b64decode(data)
    assert shown.startswith(b"\x89PNG")
    assert b"/home/me" not in shown
    assert "a.jsonl is no PNG, and not shown" in text


def test_figures_that_have_no_room_are_counted(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MOST_BYTES", len(png()) - 1)
    text = html_of(whole / "ran-a")
    assert "data:image" not in text.partition("<body>")[2]
    assert "1 figure more had no room" in plain(text)


def test_people_and_how_far_they_agree(whole: Path) -> None:
    summary = json.loads((whole / "people" / "summary.json").read_text())
    text = plain(html_of(whole / "people"))
    (pair,) = summary["pairs"]
    low, high = pair["win_rate_interval"]
    assert low > 0.5
    assert "such people rank out/tuned before base more often than not" in text
    assert f"{100 * pair['win_rate']:.1f} % ({100 * low:.1f} to {100 * high:.1f} %)" in text
    for remark in ("20 ranked prompts: few", "4 prompts of 24 nobody has ranked yet"):
        assert remark in text
    for judge, of in summary["judges"].items():
        assert (
            f"{judge} {of['with_people']['pairs']} {100 * of['with_people']['equal']:.1f} %" in text
        )


def test_benchmarks_with_their_paired_differences(whole: Path) -> None:
    text = plain(html_of(whole / "benchmarked"))
    assert "acc_norm, 5 shots, 100 items, version 1.0" in text
    assert "tuned, with its template 35.0 % (27.0 to 45.0 %), ± 5.0 %" in text.replace("out/", "")
    assert "+10.0 −1.0 to +21.0 0.074 McNemar, exact 17 : 7" in text
    assert text.count("McNemar, exact") == 1  # of the metric that is shown
    assert "delimiter (arc_easy, out/tuned, with its template; 3 of 4 requests)" in text
    assert "'base' has no chat template" in text


def test_the_card_has_programs_and_people(whole: Path) -> None:
    text = card_section.text(page.values(folders.runs([whole])[0]))
    assert re.search(r"\| out/tuned \| 62\.5 % \| .* \| 5 of 8 tested \|", text)
    assert "| out/tuned against base | " in text
    assert "such people rank out/tuned before base" in text


@pytest.mark.parametrize("name", ["ran-a", "people", "benchmarked"])
def test_a_folder_of_another_version_is_refused_in_a_sentence(
    whole: Path, tmp_path: Path, name: str
) -> None:
    kind = {"ran-a": "run-code", "people": "arena", "benchmarked": "benchmark"}[name]
    for file in folders.KINDS[kind]:
        (tmp_path / file).write_text('{"id": "x", "settings": {}}\n')
    done = run("report", tmp_path)
    assert done.exit_code == 1
    assert f"not what this version's {kind} writes" in done.output


def test_no_box_is_wider_than_its_room(whole: Path, tmp_path: Path) -> None:
    """On a telephone, in a real browser, everything open."""
    api = pytest.importorskip("playwright.sync_api")
    import shutil

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium; apt-get install chromium")
    path = tmp_path / "page.html"
    path.write_text(html_of(whole))
    with api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened: Any = browser.new_page(viewport={"width": 420, "height": 900})
        opened.goto(path.as_uri())
        opened.evaluate("document.querySelectorAll('details').forEach((b) => { b.open = true })")
        beyond = """() => [...document.querySelectorAll("main *")].filter((box) =>
            box.clientWidth && box.scrollWidth > box.clientWidth + 1
            && getComputedStyle(box).overflowX !== "auto").map((box) => box.outerHTML)"""
        assert opened.evaluate(beyond) == []
        assert opened.evaluate("document.documentElement.scrollWidth") == 420
        browser.close()
