"""Prompts made by an endpoint that is a script: what is used, what is counted, runs that ended."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.evaluation import LONG
from tests.support.later import need
from tests.support.scripted_judge import Asked, Response, Scripted, completion, serve
from trainer.evaluation import prompt_requests, prompts
from trainer.evaluation.__main__ import main

need("openai")

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SYLLABLES = [a + b for a in "bdfgklmnprst" for b in "aeiou"]


def request(asked: Asked) -> random.Random:
    """What depends on a request alone, in whatever order requests come."""
    return random.Random(asked.prompt)


def prompt(drawn: random.Random) -> str:
    """A prompt that is like no other, and can be reviewed."""
    words = ["".join(drawn.choices(SYLLABLES, k=3)) for _ in range(9)]
    return f"Write {' '.join(words)}:\n```python\n{words[0]} = {words[1]}()[{words[2]}]\n```"


def good(asked: Asked) -> str:
    """As many prompts as were asked for, a line each."""
    drawn, count = request(asked), int(re.findall(r"Write (\d+) requests", asked.prompt)[0])
    return "\n".join(json.dumps({"prompt": prompt(drawn)}) for _ in range(count))


def run(folder: Path, endpoint: Scripted, *more: str) -> Any:
    where = ["--endpoint", endpoint.url, "--model", "m", "--out", str(folder / "p.jsonl")]
    return CliRunner().invoke(main, ["prompts", "generate", *where, "--retries", "0", *more])


def rows(folder: Path, name: str = "p.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "p.summary.json").read_text())  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------ what is used


def test_as_many_as_were_wanted_three_to_one(tmp_path: Path) -> None:
    with serve(good) as endpoint:
        done = run(tmp_path, endpoint, "--n", "20", "--per-request", "4")
        assert done.exit_code == 0, done.output
        assert len(endpoint.asked) == 6  # 15 by fours, and 5 by fours
        assert len({asked.prompt for asked in endpoint.asked}) == 6
    made = rows(tmp_path)
    assert [row["kind"] for row in made] == ["write"] * 15 + ["review"] * 5
    assert len({row["prompt"] for row in made}) == len({row["id"] for row in made}) == 20
    assert all((row["model"], row["endpoint"]) == ("m", endpoint.url) for row in made)
    assert [row["request"] for row in made[::4]] == [0, 1, 2, 3, 0]
    assert [each.prompt for each in prompts.read(tmp_path / "p.jsonl")] == [
        row["prompt"] for row in made
    ]
    numbers = summary(tmp_path)
    assert numbers["dropped"]["surplus"] == 4
    assert numbers["usage"] == {"requests": 6, "tokens_read": 60, "tokens_written": 30}
    assert numbers["asked"]["write"] == prompt_requests.WRITE
    assert "20 prompts (15 write, 5 review) of 24 that were read" in done.output


@pytest.mark.parametrize("kind", prompt_requests.KINDS)
def test_of_a_kind_alone(tmp_path: Path, kind: str) -> None:
    with serve(good) as endpoint:
        assert run(tmp_path, endpoint, "--n", "5", "--kind", kind).exit_code == 0
        (asked,) = endpoint.asked
        assert ("The mistake:" in asked.prompt) == (kind == "review")
    assert {row["kind"] for row in rows(tmp_path)} == {kind}


def test_what_is_of_no_use_is_counted_and_shown(tmp_path: Path) -> None:
    """A test question, a repetition, what is too short, a review without code, and half a line."""
    sets = tmp_path / "questions.jsonl"
    sets.write_text(json.dumps({"question": LONG}) + "\n")

    def mixed(asked: Asked) -> str:
        drawn = request(asked)
        first = prompt(drawn)
        bad = [
            first.replace("Write", "Please write"),
            f"Solve this for me, with f(x) = x: {LONG}",
            "Sort it.",
            "What may be wrong with my program today?",
        ]
        lines = [json.dumps({"prompt": text}) for text in (first, *bad)]
        return "\n".join([*lines, '{"prompt": "Write a'])

    with serve(mixed) as endpoint:
        done = run(tmp_path, endpoint, "--kind", "review", "--n", "3", "--against", str(sets))
        assert done.exit_code == 0, done.output
        assert len(endpoint.asked) == 3
    numbers = summary(tmp_path)
    counted = {"too_short": 3, "no_code": 3, "overlap": 3, "near_duplicate": 3, "surplus": 0}
    assert (numbers["prompts"], numbers["read"], numbers["dropped"]) == (3, 15, counted)
    assert numbers["unread_lines"] == 3
    dropped = {row["id"]: row for row in rows(tmp_path, "p.dropped.jsonl")}
    assert re.fullmatch(r"0\.\d\d like review-0000-1", dropped["review-0000-2"]["detail"])
    assert dropped["review-0000-3"]["detail"] == "questions.jsonl, item 1: 33 words"
    assert dropped["review-0000"]["text"] == '{"prompt": "Write a'
    assert numbers["sieve"]["against"][0]["file"] == "questions.jsonl"
    assert "3 near_duplicate" in done.output


def test_the_prompts_that_ship_are_not_alike_and_hold_no_test_question(tmp_path: Path) -> None:
    """What a person wrote passes the sieve as a whole, and once more is a repetition as a whole."""
    shipped = prompts.read(ROOT / "recipes" / "prompts" / "coding.jsonl")
    lines = "\n".join(json.dumps({"prompt": each.prompt}) for each in shipped)
    with serve(lambda asked: lines) as endpoint:
        done = run(tmp_path, endpoint, "--kind", "write", "--n", "200", "--max-requests", "2")
        assert done.exit_code == 1
    numbers = summary(tmp_path)
    assert (numbers["prompts"], numbers["dropped"]["near_duplicate"]) == (115, 115)


def test_requests_differ_from_each_other() -> None:
    """Unlike the article, which asked the same each time."""
    for kind in prompt_requests.KINDS:
        texts = [
            prompt_requests.messages(kind, number, 5, 0)[-1]["content"] for number in range(301)
        ]
        assert len(set(texts)) == 301  # 43 topics in 7 manners, even where the language is the same
        assert prompt_requests.messages(kind, 0, 5, 1)[-1]["content"] != texts[0]
    languages = [prompt_requests._pick(prompt_requests.LANGUAGES, "x", n, 0) for n in range(1600)]
    assert languages.count("Python") == 800


# ------------------------------------------------------------------------------------------ faults


def test_replies_of_all_sorts_are_counted_and_asked_past(tmp_path: Path) -> None:
    sorts = [
        "I'm sorry, I can't.",
        "",
        "Once upon a time.",
        "<think>Hm",
        "1. Write a game of dice.",
    ]
    faults = [Response(500, "oops"), Response(429, "{}"), Response(200, completion("{")[:40])]

    def odd(asked: Asked) -> str | Response:
        odd_ones = [*itertools.chain(*zip(sorts, faults, strict=False)), *sorts[3:]]
        return [*odd_ones, good(asked)][min(asked.number, len(odd_ones))]

    with serve(odd) as endpoint:
        arguments = ["--kind", "write", "--n", "7", "--concurrency", "2", "--max-requests", "30"]
        done = run(tmp_path, endpoint, *arguments)
        assert done.exit_code == 0, done.output
    replies = summary(tmp_path)["replies"]
    read = replies.pop("read")
    assert replies == {"refused": 1, "empty": 2, "unread": 1, "failed": 3}
    assert (read, len(rows(tmp_path))) == (3, 7)
    faults_shown = [row["reason"] for row in rows(tmp_path, "p.dropped.jsonl")]
    assert sorted({*faults_shown} - {"surplus"}) == ["empty", "refused", "unread"]


def test_a_model_that_only_repeats_itself_is_left_in_the_end(tmp_path: Path) -> None:
    same = json.dumps({"prompt": "Write a program that says hello to the world."})
    with serve(lambda asked: same) as endpoint:
        done = run(tmp_path, endpoint, "--kind", "write", "--n", "3", "--max-requests", "6")
        assert done.exit_code == 1
        assert "1 of 3 prompts after 6 requests; raise --max-requests to ask on" in done.output
        assert len(endpoint.asked) == 6
        again = run(tmp_path, endpoint, "--kind", "write", "--n", "3", "--max-requests", "6")
        assert (again.exit_code, len(endpoint.asked)) == (1, 6)
        endpoint.judge = good
        done = run(tmp_path, endpoint, "--kind", "write", "--n", "3", "--max-requests", "7")
        assert (done.exit_code, len(endpoint.asked)) == (0, 7), done.output
    assert len(rows(tmp_path)) == 3


def test_an_endpoint_that_answers_nothing_ends_the_run(tmp_path: Path) -> None:
    with serve(lambda asked: Response(503, "{}")) as endpoint:
        done = run(tmp_path, endpoint, "--n", "8", "--concurrency", "2")
        assert (done.exit_code, len(endpoint.asked)) == (1, 2)
        assert "answers none of 2 requests (status 503); run the command again" in done.output
        endpoint.judge = lambda asked: Response(401, "{}")
        assert "refuses model 'm' with status 401" in run(tmp_path, endpoint).output
        endpoint.judge = good
        assert run(tmp_path, endpoint, "--n", "8", "--concurrency", "2").exit_code == 0
    assert len(rows(tmp_path)) == 8


# ------------------------------------------------------------------------------ runs that go on


def test_what_was_paid_for_is_read_again_and_not_asked_again(tmp_path: Path) -> None:
    """By a run that wants more, and by one that sifts otherwise."""
    with serve(good) as endpoint:
        arguments = ["--kind", "write", "--per-request", "4"]
        assert run(tmp_path, endpoint, *arguments, "--n", "8").exit_code == 0
        first = rows(tmp_path)
        assert (
            "1 to 8 requests"
            in run(tmp_path, endpoint, *arguments, "--n", "12", "--dry-run").output
        )
        assert run(tmp_path, endpoint, *arguments, "--n", "12").exit_code == 0
        assert (rows(tmp_path)[:8], len(endpoint.asked)) == (first, 3)
        sets = tmp_path / "questions.txt"
        sets.write_text(first[0]["prompt"].split("\n")[0] + "\n")
        assert (
            run(tmp_path, endpoint, *arguments, "--n", "11", "--against", str(sets)).exit_code == 0
        )
        assert len(endpoint.asked) == 3
        assert rows(tmp_path)[0] == first[1]
        done = run(tmp_path, endpoint, *arguments, "--n", "8", "--temperature", "0")
        assert (done.exit_code, "temperature differ; choose another --out" in done.output) == (
            1,
            True,
        )


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on(tmp_path: Path) -> None:
    reached = threading.Event()

    def slow(asked: Asked) -> str:
        if asked.number >= 4:
            reached.set()
            threading.Event().wait(0.3)
        return good(asked)

    with serve(slow) as endpoint:
        where = ["--endpoint", endpoint.url, "--model", "m", "--out", str(tmp_path / "p.jsonl")]
        command = [sys.executable, "-m", "trainer.evaluation", "prompts", "generate", *where]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        arguments = ["--n", "40", "--concurrency", "2", "--per-request", "4"]
        with subprocess.Popen([*command, *arguments], env=environment) as process:
            assert reached.wait(60)
            process.send_signal(signal.SIGKILL)
        kept = rows(tmp_path, "p.replies.jsonl")[1:]
        assert len(kept) >= 3
        endpoint.judge, before = good, len(endpoint.asked)
        assert run(tmp_path, endpoint, *arguments).exit_code == 0
        asked_before = {(row["kind"], row["number"]) for row in kept}
        all_kept = rows(tmp_path, "p.replies.jsonl")[1:]
        assert len(endpoint.asked) - before == len(all_kept) - len(asked_before)
    (tmp_path / "whole").mkdir()
    with serve(good) as endpoint:
        assert run(tmp_path / "whole", endpoint, *arguments).exit_code == 0
    ids = [[row["id"] for row in rows(folder)] for folder in (tmp_path, tmp_path / "whole")]
    assert ids[0] == ids[1]


# ---------------------------------------------------------------------------------- what is said


def test_what_it_costs_is_said_before_and_after(tmp_path: Path) -> None:
    with serve(good) as endpoint:
        arguments = ["--n", "10", "--max-requests", "4", "--price", "2", "8000"]
        done = run(tmp_path, endpoint, *arguments, "--max-tokens", "100", "--dry-run")
        assert done.exit_code == 0
        assert re.search(
            r"3 to 4 requests: about \d+ tokens to read in each, at most 100 to write, at most "
            r"about 3\.20\n",
            done.output,
        )
        assert not endpoint.asked
        assert not list(tmp_path.iterdir())
        done = run(tmp_path, endpoint, *arguments, "--max-tokens", "100")
        assert "3 requests, 30 tokens read, 15 written, 0.12" in done.output


def test_no_secret_of_the_address_is_written(tmp_path: Path) -> None:
    with serve(good) as endpoint:
        address = endpoint.url
        endpoint.url = address.replace("//", "//user:hidden@") + "?key=hidden"
        done = run(tmp_path, endpoint, "--n", "4")
        assert done.exit_code == 0, done.output
    assert rows(tmp_path)[0]["endpoint"] == address
    for path in tmp_path.iterdir():
        assert "hidden" not in path.read_text(), path


def test_the_page_names_all_that_is_written(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "prompts.md").read_text()
    (command,) = re.findall(r"```sh\npython -m (trainer\.evaluation .*?)\n```", page, re.DOTALL)
    words = command.replace("\\\n", " ").split()
    with serve(good) as endpoint:
        words[words.index("--endpoint") + 1] = endpoint.url
        words[words.index("--out") + 1] = str(tmp_path / "p.jsonl")
        words[words.index("--against") + 1] = str(tmp_path / "questions.jsonl")
        (tmp_path / "questions.jsonl").write_text(json.dumps({"question": LONG}))
        done = CliRunner().invoke(main, words[1:])
    assert done.exit_code == 0, done.output
    assert [name for name in rows(tmp_path)[0] if f"`{name}`" not in page] == []
    numbers = summary(tmp_path)
    names = [*numbers, *numbers["dropped"], *numbers["replies"]]
    assert [name for name in names if f"`{name}`" not in page] == []
    for text in (prompt_requests.WRITE, prompt_requests.REVIEW, prompt_requests.FORM):
        assert " ".join(text.split()) in " ".join(page.split())
