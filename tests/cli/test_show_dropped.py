"""`show --dropped` and `explain` print what was dropped, and a way to keep it that does so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from chatdata.cli import main
from chatdata.core import ledger
from chatdata.dataset import dropped
from chatdata.steps import ways
from chatdata.steps.filters import FILTERS
from tests.support.builds import TALKS, TREES, make, talk_file, tree_file

RECIPE = """
name: k
version: 1.0.0
source: {jsonl: {files: [talks.jsonl]}}
drop: [wrong_language: {allow: [en]}, error_answer, duplicate]
max_dropped: 1
"""


def talk(id: str, *texts: object, lang: str = "en") -> str:
    roles = ["user", "assistant"] * len(texts)
    turns = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    return json.dumps({"id": id, "messages": turns, "lang": lang})


LINES = [
    talk("a", "Hi", "Hello"),
    talk("b", "Hi", "Hello"),
    talk("french", "Bonjour", "Salut", lang="fr"),
    talk("error", "Hi\nthere", "Too many requests in 1 hour. Try again later.", "Oh", "Now, yes"),
    talk("odd", 3, "What?"),
    talk("end", "One", "1", "Thanks"),
    "{broken",
]
SHOWN = """\
1 of 6  record talks.jsonl:7  bad_json
    a stretch of a file that is not JSON
    Expecting property name enclosed in double quotes at column 2
    in talks.jsonl:7, source jsonl
    to keep it: no setting does; mend the file there
    {broken

2 of 6  conversation jsonl/b  duplicate
    Conversations that say the same, white space aside, as another that comes first.
    says the same as jsonl/a
    in talks.jsonl:2, source jsonl
    to keep it: --set 'keep=["jsonl/b"]', or change 'duplicate' in the recipe's `drop`
  0 user:
    Hi
  1 assistant:
    Hello

3 of 6  message jsonl/end#2  trailing_turn
    a turn behind the last assistant turn
    in talks.jsonl:6, source jsonl
    to keep it: --set threads.end=any
  2 user:
    Thanks

4 of 6  conversation jsonl/error  error_answer
    Answers that are an error of the service: `Too many requests in 1 hour`, `network error`.
    because of jsonl/error#1
    in talks.jsonl:4, source jsonl
    to keep it: --set 'keep=["jsonl/error#1"]'
  0 user:  (trailing_turn: goes with jsonl/error#1)
    Hi
    there
  1 assistant:  (error_answer)
    Too many requests in 1 hour. Try again later.
  2 user:  (error_answer: goes with jsonl/error#1)
    Oh
  3 assistant:  (error_answer: goes with jsonl/error#1)
    Now, yes

5 of 6  conversation jsonl/french  wrong_language
    Messages in a language that is not allowed, by the source's label, a detector, or both.
    because of jsonl/french#0
    in talks.jsonl:3, source jsonl
    to keep it: --set 'drop.wrong_language.allow=[en,fr]', or it alone: --set \
'keep=["jsonl/french#0"]'
  0 user:  (wrong_language: fr)
    Bonjour
  1 assistant:  (wrong_language: fr)
    Salut

6 of 6  conversation jsonl/odd  bad_content
    Content that is not text: a number, null, a lone surrogate, parts that are no text.
    because of jsonl/odd#0
    in talks.jsonl:5, source jsonl
    to keep it: no setting does; correct that message in the file, for no template can write it
  0 user:  (bad_content: not text but int)
    (no text that could be read)
  1 assistant:  (bad_content: goes with jsonl/odd#0)
    What?

"""

WAY = """\
    to keep it: --set 'drop.wrong_language.allow=[en,fr]', or it alone: --set \
'keep=["jsonl/french#1"]'
"""


def run(*arguments: object) -> Result:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert isinstance(done.exception, SystemExit | None), done.exception
    return done


def build(folder: Path, *more: str) -> Path:
    done = run("build", folder / "r.yaml", "--out", folder / "out", "--force", *more)
    assert done.exit_code == 0, done.output
    return folder / "out"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shown")
    (folder / "talks.jsonl").write_text("\n".join(LINES))
    (folder / "r.yaml").write_text(RECIPE)
    return build(folder)


def test_what_is_shown(out: Path) -> None:
    assert run("show", out, "--dropped", "-n", 9).stdout == SHOWN


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ([""], [0, 1, 2]),
        (["duplicate"], [1]),
        (["error_answer"], [3]),
        (["trailing_turn"], [2, 3]),
        (["", "--grep", "hI"], [1, 3]),
        (["", "--grep", "hi", "-n", "1"], [1]),
        (["trailing_turn", "--grep", "Now, yes"], [3]),
        (["", "--grep", "[a"], []),
        (["", "--source", "jsonl", "-n", "1"], [0]),
        (["", "--source", "oasst"], []),
    ],
)
def test_a_reason_and_words_choose(out: Path, options: list[str], numbers: list[int]) -> None:
    done = run("show", out, "--dropped", *options)
    entries = [entry.partition("  ")[2] for entry in SHOWN.split("\n\n")[:-1]]
    shown = [entry.partition("  ")[2] for entry in done.stdout.split("\n\n")[:-1]]
    assert shown == [entries[number] for number in numbers]
    assert done.stderr == ("" if numbers else "nothing of that kind was dropped\n")


def test_explain_prints_the_words_too(out: Path) -> None:
    done = run("explain", out, "jsonl/french#1")
    assert done.stdout.endswith(
        "    fr\n    in jsonl/french\n" + WAY + "  1 assistant:\n    Salut\n"
    )
    (facts,) = json.loads(run("explain", out, "talks.jsonl:7", "--json").stdout)
    assert (facts["reason"], facts["content"]) == ("bad_json", "{broken")


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--dropped", "emty"], 1, "was dropped for 'emty'; reasons"),
        (["--dropped", "duplicat"], 1, "did you mean 'duplicate'?"),
        (["--dropped", "", "--lang", "en"], 2, "--dropped goes with -n, --random, --grep and"),
        (["--dropped", "duplicate", "--ids"], 2, "--dropped goes with -n, --random, --grep and"),
    ],
)
def test_what_makes_no_sense_is_said(
    out: Path, options: list[str], status: int, words: str
) -> None:
    done = run("show", out, *options)
    assert done.exit_code == status
    assert words.split(";")[0] in done.stderr


def test_a_folder_without_the_words_says_why(out: Path, tmp_path: Path) -> None:
    pulled = Path(shutil.copytree(out, tmp_path / "pulled"))
    shutil.rmtree(pulled / "dropped")
    done = run("show", pulled, "--dropped")
    assert done.exit_code == 1
    assert done.stderr == (
        f"Error: '{pulled}' has no folder `dropped`: a folder that was pulled or rendered again, "
        "or built with --no-dropped or by an earlier chatdata, has the reasons alone (`chatdata "
        "explain`). Build it again from its sources to have the texts.\n"
    )
    assert "Salut" not in run("explain", pulled, "jsonl/french#1").stdout
    assert "content" not in run("explain", pulled, "jsonl/french#1", "--json").stdout


@pytest.mark.slow
@pytest.mark.parametrize(("text", "data"), [(TREES, tree_file), (TALKS, talk_file)])
def test_entries_hold_all_rows_in_order(text: str, data: type, tmp_path: Path) -> None:
    """Each row is in one entry; an entry holds whole conversations."""
    out = make(tmp_path, text, data(tmp_path), "out")
    table = dropped.scan(out).collect()
    everything = dropped.select(out)
    assert everything.number == len(everything.entries)
    together = pl.concat(everything.entries)
    assert together.sort(pl.all()).equals(table.sort(pl.all()))
    for entry in everything.entries:
        units = entry["unit"].to_list()
        assert units in (["record"], ["message"]) or set(units[1:]) <= {"message"}
    for reason in table["reason"].unique():
        chosen = dropped.select(out, reason=reason)
        has_reason = [e for e in everything.entries if reason in e["reason"].to_list()]
        assert len(chosen.entries) == chosen.number == len(has_reason)


def test_every_reason_has_a_way() -> None:
    for reason in [*ledger.REASONS, *FILTERS]:
        row = {"unit": "message", "id": "m", "conversation": "c", "reason": reason, "detail": None}
        words = ways.to_keep(row, {})
        assert words.startswith("to keep it: ")
        assert "another recipe" not in words
    indirect = {**row, "reason": "trailing_turn", "detail": "goes with c#2"}
    assert ways.to_keep(indirect, {}) == "to keep it: --set 'keep=[\"c#2\"]'"
