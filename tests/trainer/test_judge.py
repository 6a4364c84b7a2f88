"""Judging against an endpoint that is a script: planted judges, faults, and runs that ended."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.later import need
from tests.support.scripted_judge import Asked, Judge, Response, Scripted, completion, serve
from trainer.evaluation import judging
from trainer.evaluation.__main__ import main

need("openai")

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NUMBER = 12


def write(path: Path, word: str, number: int = NUMBER, first: int = 0) -> Path:
    rows = [
        {"id": f"q{i}", "prompt": f"Question {i}", "answer": word * (1 + i % 5)}
        for i in range(first, first + number)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "a.jsonl", "good "), write(tmp_path / "b.jsonl", "bad")


def run(files: tuple[Path, Path], endpoint: Scripted, *more: str) -> Any:
    out = files[0].parent / "out"
    where = ["--endpoint", endpoint.url, "--model", "m", "--out", str(out), "--retries", "2"]
    return CliRunner().invoke(main, ["judge", *map(str, files), *where, *more])


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out" / judging.SUMMARY).read_text())  # type: ignore[no-any-return]


def verdict(first: bool, scores: str = "7, 3") -> str:
    scores = scores if first else ", ".join(reversed(scores.split(", ")))
    return f"Scores: {scores}\nVerdict: {1 if first else 2}"


def fair(asked: Asked) -> str:
    return verdict(asked.first.startswith("good"))


# ------------------------------------------------------------------------------------ what is said


def test_a_fair_judge_prefers_the_better_answers(files: tuple[Path, Path], tmp_path: Path) -> None:
    with serve(fair) as endpoint:
        done = run(files, endpoint)
        assert done.exit_code == 0, done.output
        assert len(endpoint.asked) == 2 * NUMBER
        pairs = {(asked.prompt, asked.first[:3]) for asked in endpoint.asked}
        assert len(pairs) == 2 * NUMBER  # each prompt with either answer in front
    numbers = summary(tmp_path)
    assert (numbers["n"], numbers["win_rate"], numbers["position_bias"]) == (NUMBER, 1.0, 0.0)
    low, high = numbers["win_rate_interval"]
    assert 0.7 < low < high == 1.0
    counted = ("ties", "inconsistent", "unparsed", "refused", "failed", "contradictory")
    assert [numbers[name] for name in counted] == [0] * 6
    assert numbers["scores"]["m"]["A"] == {"mean": 7.0, "histogram": {"7": 2 * NUMBER}}
    usage = {"replies": 24, "tokens_read": 240, "tokens_written": 120}
    assert numbers["usage"] == usage
    lines = [json.loads(x) for x in (tmp_path / "out" / "verdicts.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [f"q{i}" for i in range(NUMBER)]
    assert [order["verdict"] for order in lines[0]["orders"]] == ["A", "A"]
    pairs = [json.loads(x) for x in (tmp_path / "out" / "pairs.jsonl").read_text().splitlines()]
    assert pairs[1] == {"id": "q1", "prompt": "Question 1", "A": "good good ", "B": "badbad"}
    assert numbers["models"] == {"A": "a", "B": "b"}
    assert "A wins 100.0% of 12 pairs" in done.output


@pytest.mark.parametrize(
    ("judge", "expected"),
    [
        (lambda asked: verdict(True), {"win_rate": 0.5, "position_bias": 1.0, "inconsistent": 12}),
        (
            lambda asked: verdict(len(asked.first) > len(asked.second)),
            {"length_bias": 1.0, "position_bias": 0.0},
        ),
        (lambda asked: "Scores: 5, 5\nVerdict: tie", {"win_rate": 0.5, "ties": 12}),
        (lambda asked: "I'm sorry, I can't.", {"win_rate": None, "refused": 12, "n": 0}),
        (lambda asked: "Hm.", {"win_rate": None, "unparsed": 12, "n": 0}),
        (lambda asked: "Scores: 2, 8\nVerdict: 1", {"contradictory": 24}),
        (lambda asked: "8, 3", {"by_scores": 24, "position_bias": 1.0}),
    ],
    ids=["place", "length", "tie", "refusal", "nothing", "contradiction", "scores"],
)
def test_what_a_judge_goes_by_comes_out(
    files: tuple[Path, Path], tmp_path: Path, judge: Judge, expected: dict[str, Any]
) -> None:
    with serve(judge) as endpoint:
        assert run(files, endpoint).exit_code == 0
    numbers = summary(tmp_path)
    assert {key: numbers[key] for key in expected} == expected


def test_the_page_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its command runs with the line of answers that it shows, and it names every number."""
    page = (ROOT / "docs" / "judging.md").read_text()
    command, line = (page.split(f"```{kind}\n")[1].split("\n```")[0] for kind in ("sh", "json"))
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "trainer.evaluation", "judge"]
    monkeypatch.chdir(tmp_path)
    for name in words[4:6]:
        Path(name).write_text(line + "\n")
    with serve(lambda asked: "Scores: 5, 5\nVerdict: tie") as endpoint:
        words[words.index("--endpoint") + 1] = endpoint.url
        done = CliRunner().invoke(main, words[3:])
    assert done.exit_code == 0, done.output
    numbers = json.loads(Path("out/judged/summary.json").read_text())
    unnamed = {"pairs", "judges", "settings", "versions"}
    assert [key for key in numbers if f"`{key}`" not in page and key not in unnamed] == []


def test_two_judges_are_told_apart_and_compared(files: tuple[Path, Path], tmp_path: Path) -> None:
    def judge(asked: Asked) -> str:
        is_good = asked.first.startswith("good")
        return verdict(
            is_good if asked.model == "m" or asked.prompt < "Question 5" else not is_good
        )

    with serve(judge) as endpoint:
        assert run(files, endpoint, "--model", "n").exit_code == 0
    numbers = summary(tmp_path)
    assert [numbers["judges"][name]["win_rate"] for name in ("m", "n")] == [1.0, 7 / 12]
    assert numbers["win_rate"] == pytest.approx((1 + 7 / 12) / 2)
    (both,) = numbers["agreement"]["pairs_of_judges"]
    assert (both["pairs"], both["equal"]) == (12, 7 / 12)
    assert sorted(numbers["scores"]) == ["m", "n"]


# ------------------------------------------------------------------------------------------ faults


def misbehaving(asked: Asked) -> str | Response:
    """Every second request fails, each in another way; the next try of it does not."""
    faults = [
        Response(429, "{}", (("Retry-After", "0"),)),
        Response(429, "{}"),
        Response(500, "oops"),
        Response(503, "{}", (("Retry-After", "0.01"),)),
        Response(200, completion("Verdict")[:40]),
        Response(200, '{"choices": []}'),
        Response(200, completion(None)),
    ]
    is_bad = asked.number % 2 == 0 and asked.number < 2 * len(faults)
    return faults[asked.number // 2] if is_bad else fair(asked)


def test_faults_are_tried_again_now_or_by_the_next_run(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    with serve(misbehaving) as endpoint:
        done = run(files, endpoint, "--concurrency", "1")
        assert done.exit_code == 1
        assert "run the command again to ask for these" in done.output
        assert summary(tmp_path)["failed"] > 0
        before = len(endpoint.asked)
        done = run(files, endpoint)
        assert done.exit_code == 0, done.output
        assert len(endpoint.asked) - before <= 4
    numbers = summary(tmp_path)
    assert (numbers["failed"], numbers["n"], numbers["win_rate"]) == (0, NUMBER, 1.0)


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_request_that_is_wrong_stops_the_run_and_says_why(
    files: tuple[Path, Path], status: int
) -> None:
    body = json.dumps({"error": {"message": "there is no model m"}})
    with serve(lambda asked: Response(status, body)) as endpoint:
        done = run(files, endpoint, "--concurrency", "1")
        assert done.exit_code == 1
        assert f"refuses model 'm' with status {status}" in done.output
        assert "there is no model m" in done.output
        assert len(endpoint.asked) < 4


def test_what_was_paid_for_is_not_asked_again(files: tuple[Path, Path], tmp_path: Path) -> None:
    with serve(lambda asked: fair(asked) if asked.number < 9 else Response(401, "{}")) as endpoint:
        assert run(files, endpoint, "--concurrency", "1").exit_code == 1
        replies = tmp_path / "out" / judging.REPLIES
        assert len(replies.read_bytes().splitlines()) == 9
        with replies.open("ab") as file:
            file.write(b'{"key": "half')  # as a run leaves it that is killed in a write
        endpoint.judge = fair
        asked = len(endpoint.asked)
        assert "15 requests" in run(files, endpoint, "--dry-run").output
        assert run(files, endpoint).exit_code == 0
        assert len(endpoint.asked) - asked == 2 * NUMBER - 9
        first = (tmp_path / "out" / judging.SUMMARY).read_bytes()
        assert run(files, endpoint).exit_code == 0
        assert len(endpoint.asked) - asked == 2 * NUMBER - 9
    assert (tmp_path / "out" / judging.SUMMARY).read_bytes() == first
    assert summary(tmp_path)["n"] == NUMBER


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on(files: tuple[Path, Path], tmp_path: Path) -> None:
    reached, out = threading.Event(), tmp_path / "out"

    def judge(asked: Asked) -> str:
        if asked.number >= 10:
            reached.set()
            threading.Event().wait(0.2)
        return fair(asked)

    with serve(judge) as endpoint:
        where = ["--endpoint", endpoint.url, "--model", "m", "--out", str(out)]
        command = [sys.executable, "-m", "trainer.evaluation", "judge", *map(str, files), *where]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen([*command, "--concurrency", "2"], env=environment) as process:
            assert reached.wait(60)
            process.send_signal(signal.SIGKILL)
        kept = len((out / judging.REPLIES).read_bytes().splitlines())
        assert kept >= 8
        asked = len(endpoint.asked)
        endpoint.judge = fair
        assert run(files, endpoint).exit_code == 0
        assert len(endpoint.asked) - asked == 2 * NUMBER - kept
    assert summary(tmp_path)["win_rate"] == 1.0


def test_the_number_of_requests_at_a_time_does_not_show(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    written = []
    for at_a_time in ("1", "8"):
        with serve(fair) as endpoint:
            out = tmp_path / at_a_time
            assert (
                run(files, endpoint, "--concurrency", at_a_time, "--out", str(out)).exit_code == 0
            )
        settings = json.loads((out / "settings.json").read_text())
        written.append((out / "verdicts.jsonl").read_bytes())
        assert settings["endpoint"] == endpoint.url
    assert written[0] == written[1]


# ------------------------------------------------------------------------------------ what is given


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 13: no JSON"),
        ("[1]", "line 13: list is no object"),
        ('{"prompt": "p", "answer": "a"}', "line 13: 'id' is null"),
        ('{"id": true, "prompt": "p", "answer": "a"}', "line 13: 'id' is true"),
        ('{"id": 1, "prompt": 2, "answer": "a"}', "line 13: 'prompt' is 2; write a text"),
        ('{"id": 1, "prompt": "p"}', "line 13: 'answer' is null; write a text"),
        ('{"id": 1, "prompt": "p", "answer": "\\\\ud83d"}', "line 13: 'answer' is"),
        ('{"id": "q0", "prompt": "p", "answer": "a"}', "the id 'q0' was there before"),
    ],
)
def test_a_line_that_is_no_answer_is_named(files: tuple[Path, Path], line: str, words: str) -> None:
    with files[0].open("a") as file:
        file.write(line.replace("\\\\u", "\\u") + "\n")
    with serve(fair) as endpoint:
        done = run(files, endpoint)
        assert (done.exit_code, words in done.output) == (1, True), done.output
        assert not endpoint.asked


def test_answers_have_to_go_together(tmp_path: Path) -> None:
    files = write(tmp_path / "a.jsonl", "good "), write(tmp_path / "b.jsonl", "bad", first=8)
    with serve(fair) as endpoint:
        done = run(files, endpoint, "--dry-run")
        assert "4 pairs, 8 requests" in done.output
        assert "8 prompts are answered in A alone: q0, q1, q2, ..." in done.output
        assert "8 prompts are answered in B alone" in done.output
        assert not (tmp_path / "out").exists()
        assert run(files, endpoint).exit_code == 0
        assert summary(tmp_path)["only_in_a"] == [f"q{i}" for i in range(8)]
        write(files[1], "bad", first=20)
        assert "have no id in common" in run(files, endpoint).output
        files[1].write_text('{"id": "q1", "prompt": "Another", "answer": "a"}\n')
        assert "the prompt of 'q1'" in run(files, endpoint).output
        files[1].write_text("")
        assert "has no answers" in run(files, endpoint).output


def test_a_folder_of_another_run_is_left_alone(files: tuple[Path, Path], tmp_path: Path) -> None:
    with serve(fair) as endpoint:
        assert run(files, endpoint).exit_code == 0
        before = (tmp_path / "out" / judging.REPLIES).read_bytes()
        done = run(files, endpoint, "--temperature", "0.7")
        assert (done.exit_code, "temperature differ" in done.output) == (1, True)
        write(files[0], "good  ")
        assert "answers differ" in run(files, endpoint).output
        assert (tmp_path / "out" / judging.REPLIES).read_bytes() == before
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "notes.txt").write_text("mine")
        done = run(files, endpoint, "--out", str(tmp_path / "mine"))
        assert "holds other files" in done.output


def test_what_it_costs_is_said_before_and_after(files: tuple[Path, Path]) -> None:
    with serve(fair) as endpoint:
        done = run(files, endpoint, "--price", "2", "8", "--max-tokens", "100", "--dry-run")
        assert done.exit_code == 0
        assert "at most 2400 to write, at most about 0.0" in done.output
        assert not endpoint.asked
        done = run(files, endpoint, "--price", "1000", "8000", "--max-tokens", "100")
        assert "24 replies, 240 tokens read, 120 written, 1.20" in done.output
