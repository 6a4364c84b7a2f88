"""`run-code`: the folder that it writes, runs that go on, scores of judges, figures."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chatdata.core.errors import ConfigError, OutputError
from tests.support.sandboxes import DOUBLE, sandbox_or_skip
from trainer.evaluation import gallery, png, running, scored
from trainer.evaluation.__main__ import main
from trainer.evaluation.running import Job
from trainer.evaluation.sandbox import STATUSES, Limits, Ran, Sandbox

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PROMPTS = ROOT / "recipes" / "prompts" / "coding.jsonl"
TEST = "assert double(2) == 4"
DRAWS = "```python\nimport matplotlib.pyplot as plt\n%matplotlib inline\n"
LINES: list[dict[str, Any]] = [
    {"id": "right", "prompt": "p", "answer": f"```python\n{DOUBLE}```", "test": TEST},
    {"id": "wrong", "prompt": "p", "answer": "```py\ndef double(x): return x\n```", "test": TEST},
    {"id": 3, "prompt": "p", "answer": "No.", "test": TEST},
    {"id": "js", "prompt": "p", "answer": "```js\nlet x\n```", "test": TEST},
    {"id": "../odd/ïd", "prompt": "<b>Draw</b>", "answer": DRAWS + "plt.plot([1])\n```"},
    {"id": "flask", "prompt": "p", "answer": "```python\nimport no_such_package\n```"},
    {"id": "exit", "prompt": "p", "answer": "```python\nimport os\nos._exit(3)\n```"},
]  # fmt: skip


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    return sandbox_or_skip()


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["run-code", *map(str, arguments)])


def results(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def done(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the command has written, beside its answers."""
    folder = tmp_path_factory.mktemp("ran")
    file = write(folder / "answers.jsonl", LINES)
    ran = command(file, "--out", folder / "out", "--workers", 2)
    assert ran.exit_code == 0, ran.output
    assert "1 of 4 pass their test: 25.0% (" in ran.output
    assert "packages that the Python of the sandbox lacks: 1 no_such_package" in ran.output
    return folder / "out"


def test_each_answer_has_a_line_in_order(done: Path) -> None:
    lines = results(done)
    assert [(line["id"], line["status"], line["passed"]) for line in lines] == [
        ("right", "passed", True),
        ("wrong", "failed", False),
        ("3", "no_code", False),
        ("js", "other_language", False),
        ("../odd/ïd", "ran", None),
        ("flask", "missing_package", None),
        ("exit", "exited", None),
    ]
    assert [line["language"] for line in lines[2:5]] == [None, "js", "python"]
    assert lines[4]["removed"] == ["%matplotlib inline"]
    assert all(line["seconds"] >= 0 for line in lines)
    assert lines[0].keys() == lines[-1].keys()


def test_the_summary_counts(done: Path) -> None:
    summary = json.loads((done / "summary.json").read_text())
    assert (summary["n"], summary["with_test"], summary["passed"]) == (7, 4, 1)
    assert summary["pass_rate"] == 0.25
    low, high = summary["pass_rate_interval"]
    assert 0 < low < 0.25 < high < 1
    assert sum(summary["statuses"].values()) == 7
    assert set(summary["statuses"]) <= set(STATUSES)
    assert summary["languages"] == {"js": 1}
    assert summary["missing_packages"] == {"no_such_package": 1}
    assert summary["settings"]["isolation"] == "bubblewrap"


def test_figures_stand_beside_and_in_a_page(done: Path) -> None:
    (name,) = results(done)[4]["figures"]
    assert re.fullmatch(r"figures/___odd__d-[0-9a-f]+-1\.png", name)
    data = (done / name).read_bytes()
    assert png.fault(data) is None
    assert png.size(data) == (640, 480)
    page = (done / "gallery.html").read_text()
    assert base64.b64encode(data).decode() in page
    assert "&lt;b&gt;Draw&lt;/b&gt;" in page
    assert "taken out: <code>%matplotlib inline</code>" in page
    assert page.count("<section>") == 1
    assert "http" not in page.replace("</html>", "")


def test_no_byte_tells_of_the_machine_but_the_seconds(done: Path, tmp_path: Path) -> None:
    """A second run, elsewhere and alone, writes the same."""
    file = write(tmp_path / "answers.jsonl", LINES)
    ran = command(file, "--out", tmp_path / "elsewhere", "--workers", 1)
    assert ran.exit_code == 0, ran.output
    names = {str(path.relative_to(done)) for path in done.rglob("*") if path.is_file()}
    again = tmp_path / "elsewhere"
    assert names == {str(path.relative_to(again)) for path in again.rglob("*") if path.is_file()}
    for name in sorted(names):
        both = [
            re.sub(rb'"seconds": [\d.]+,', b"", (out / name).read_bytes()) for out in (done, again)
        ]
        assert both[0] == both[1], name
        assert str(tmp_path).encode() not in both[1]
        assert sys.prefix.encode() not in both[1]


def test_a_run_that_ended_early_goes_on(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, run, count = write(tmp_path / "answers.jsonl", LINES), Sandbox.run, []

    def interrupted(self: Sandbox, program: str, **options: Any) -> Ran:
        count.append(program)
        if len(count) == 3:
            raise KeyboardInterrupt
        return run(self, program, **options)

    monkeypatch.setattr(Sandbox, "run", interrupted)
    job, out = Job(file), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        running.run(job, out)
    assert not (out / "results.jsonl").exists()
    running.run(job, out)
    programs = [line["program"] for line in results(out) if line["program"]]
    assert len(count) == len(programs) + 1
    running.run(job, out)
    assert len(count) == len(programs) + 1
    assert [line["status"] for line in results(out)] == [line["status"] for line in results(done)]
    with pytest.raises(OutputError, match="holds another run: limits differ"):
        running.run(Job(file, Limits(seconds=3)), out)
    assert {path.name for path in out.iterdir()} == {path.name for path in done.iterdir()}


def test_a_run_that_is_killed_leaves_nothing_that_runs(sandbox: Sandbox, tmp_path: Path) -> None:
    mark = f"r{os.getpid()}"
    program = f"import ctypes, time\nctypes.CDLL(None).prctl(15, b'{mark}')\ntime.sleep(60)\n"
    lines = [{**LINES[0]}, {"id": "sleep", "prompt": "p", "answer": program}]
    file, out = write(tmp_path / "a.jsonl", lines), tmp_path / "out"
    words = ["run-code", str(file), "--out", str(out), "--workers", "1", "--seconds", "60"]
    with subprocess.Popen(
        [sys.executable, "-m", "trainer.evaluation", *words], cwd=ROOT
    ) as process:
        wait_for(lambda: mark in names())
        process.kill()
    wait_for(lambda: mark not in names())
    kept = (out / ".journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in kept] == ["right"]


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def names() -> set[str]:
    """The names of the processes of this machine."""
    running_now = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            running_now.add(path.read_text().strip())
    return running_now


def test_references_that_ship_pass_and_what_is_reviewed_fails(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """A part of them; tests/bench/running.py runs all."""
    lines = []
    for row in [json.loads(line) for line in PROMPTS.read_text().splitlines()][::9]:
        if "test" in row:
            lines.append({**row, "answer": row["reference"]})
        if "bug" in row and "waits" not in row["bug"]:
            code = "```" + row["prompt"].partition("```")[2]
            lines.append({**row, "id": f"{row['id']}-bug", "answer": code})
    file = write(tmp_path / "a.jsonl", lines)
    running.run(Job(file, workers=2), tmp_path / "out")
    assert len(lines) > 12
    assert {
        line["id"].endswith("-bug") == (not line["passed"]) for line in results(tmp_path / "out")
    } == {True}


# ------------------------------------------------------------------------------- beside the results


def test_scores_of_a_judge_stand_beside(done: Path) -> None:
    orders = [{"scores": {"A": 8.0, "B": 2.0}}, {"scores": None}, {"scores": {"A": 7.0, "B": 1.0}}]
    verdicts = [
        {"id": "right", "judge": "m", "orders": orders},
        {"id": "wrong", "judge": "m", "orders": orders[:1]},
        {"id": "wrong", "judge": "n", "orders": [{"scores": {"A": 6.0, "B": 2.0}}]},
        {"id": "js", "judge": "m", "orders": [{"scores": None}]},
        {"id": "flask", "judge": "m", "orders": orders[:1]},
    ]
    file = write(done.parent / "verdicts.jsonl", verdicts)
    answers, options = done.parent / "answers.jsonl", ["--verdicts", file]
    ran = command(answers, "--out", done, *options)
    assert ran.exit_code == 0, ran.output
    assert "the judges' mean score: passed 7.50, failed 7.00, no_test 8.00" in ran.output
    scores = {line["id"]: line["judge_score"] for line in results(done)}
    assert (scores["right"], scores["wrong"], scores["js"], scores["flask"]) == (
        7.5,
        7.0,
        None,
        8.0,
    )
    table = json.loads((done / "summary.json").read_text())["judge"]
    assert (table["side"], table["n"]) == ("A", 3)
    assert table["scores"]["8"] == {"passed": 1, "failed": 0, "no_test": 1}
    assert table["scores"]["7"] == {"passed": 0, "failed": 1, "no_test": 0}
    assert scored.read(file, "B")["right"] == 1.5
    assert command(answers, "--out", done).exit_code == 0
    assert "judge_score" not in results(done)[0]
    with pytest.raises(ConfigError, match="line 1: no verdict"):
        scored.read(answers, "A")


def test_runs_stand_side_by_side(sandbox: Sandbox, done: Path, tmp_path: Path) -> None:
    lines = [{**line, "model": "<tuned>"} for line in LINES[4:5]]
    lines[0]["answer"] = DRAWS + "plt.bar([1], [2])\nplt.savefig('a.png')\nplt.plot([1]).no\n```"
    file = write(tmp_path / "tuned.jsonl", lines)
    ran = command(file, "--out", tmp_path / "out", "--beside", done)
    assert ran.exit_code == 0, ran.output
    page = (tmp_path / "out" / "gallery.html").read_text()
    assert page.index("<b>answers</b>") < page.index("<b>&lt;tuned&gt;</b>")
    assert page.count("data:image/png") == 2
    assert "AttributeError" in page
    with pytest.raises(ConfigError, match="is no folder of run-code"):
        gallery.read(tmp_path)


def test_each_figure_is_kept_once(sandbox: Sandbox) -> None:
    """Shown, saved and shown, saved as something else, after a move; and those open at the end."""
    program = """
import os
import matplotlib
import matplotlib.pyplot as plt
matplotlib.use("TkAgg")

def draw(width):
    plt.figure(figsize=(width, 1))
    plt.plot([1])

draw(1)
draw(2)
plt.show()
draw(3)
plt.savefig("a.png")
plt.show()
os.chdir("/tmp")
draw(4)
plt.savefig("a.pdf")
draw(5)
plt.gcf().show()
draw(6)
plt.savefig("b.png")
draw(7)
1 / 0
"""
    ran = sandbox.run(program)
    assert (ran.status, ran.refused) == ("raised", ()), ran
    assert [png.size(data)[0] for data in ran.figures] == [100, 200, 300, 600, 400, 500, 700]


# --------------------------------------------------------------------------------------- refusals


def test_without_bubblewrap_the_command_says_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "a.jsonl", LINES[:1])
    monkeypatch.setenv("PATH", "/nowhere")
    ran = command(file, "--out", tmp_path / "out")
    assert ran.exit_code == 1
    assert "bubblewrap, which is not installed" in ran.output
    assert "--no-sandbox" in ran.output
    assert not (tmp_path / "out").exists()
    ran = command(file, "--out", tmp_path / "out", "--no-sandbox")
    assert ran.exit_code == 0, ran.output
    (line,) = results(tmp_path / "out")
    assert (line["passed"], line["status"]) == (True, "passed")
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["isolation"] == "none"
