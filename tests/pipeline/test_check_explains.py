"""What `check` says of files that a source cannot read: what `build` says, and the way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from chatdata import preview_dataset, sources
from chatdata.cli import main
from chatdata.core import ledger, tallies
from chatdata.core.errors import BuildError
from chatdata.dataset.entries import Example

pytestmark = pytest.mark.slow

ASKED, ANSWERED = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
TURNS = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
ROOT = {"message_id": "r", "role": "prompter", "text": "a"}
REPLY = {"message_id": "s", "parent_id": "r", "role": "assistant", "text": "b"}

FILES: dict[str, Any] = {
    "messages": {"messages": [ASKED, ANSWERED]},
    "turns": {"conversations": TURNS},
    "pair": {"prompt": "a", "completion": "b"},
    "tree": {"message_tree_id": "r", "prompt": {**ROOT, "replies": [REPLY]}},
    "of two kinds": {"messages": TURNS},
    "strings": {"conversations": ["a", "b"]},
    "unknown roles": {
        "id": "x",
        "messages": [{**ASKED, "role": "Me"}, {**ANSWERED, "role": "Bot"}],
    },
    "an unknown asker": {"messages": [{**ASKED, "role": "Me"}, ANSWERED]},
    "parts": {"messages": [{"role": "assistant", "content": [{"text": "b"}]}]},
    "no text": {"messages": [ASKED, {"role": "assistant", "content": None}]},
    "choice": {"prompt": "a", "chosen": "b", "rejected": "c"},
    "disliked": {"prompt": "a", "completion": "b", "label": False},
    "unknown": {"body": "a", "topic": 3},
    "empty": {"messages": []},
    "a number": 3,
}
READERS: dict[str, set[str]] = {
    "messages": {"auto", "jsonl", "sharegpt"},
    "turns": {"auto", "sharegpt"},
    "pair": {"auto", "jsonl"},
    "tree": {"auto", "oasst"},
    "of two kinds": {"auto", "sharegpt"},
    "strings": {"auto"},
    "unknown roles": {"auto"},
    "an unknown asker": {"auto"},
    "parts": {"auto"},
    "choice": {"auto"},
    "disliked": set(),  # `auto` reads it, and learns nothing from it
}


def run(command: str, folder: Path, source: str, record: Any, *more: str) -> Result:
    recipe = f"name: n\nversion: 1.0.0\nsource: {{{source}: {{}}}}\nmax_dropped: 1\n"
    (folder / "r.yaml").write_text(recipe)
    (folder / "a.jsonl").write_text(json.dumps(record))
    arguments = [str(folder / "r.yaml"), "--input", str(folder / "a.jsonl"), *more]
    return CliRunner().invoke(main, [command, *arguments])


@pytest.mark.parametrize("source", sources.names())
@pytest.mark.parametrize("name", FILES)
def test_check_says_what_build_says(tmp_path: Path, source: str, name: str) -> None:
    checked = run("check", tmp_path, source, FILES[name])
    built = run("build", tmp_path, source, FILES[name], "--out", str(tmp_path / "out"))
    assert (checked.exit_code, built.exit_code) == ((0, 0) if is_read(name, source) else (1, 1))
    assert isinstance(checked.exception, SystemExit | None), checked.exception
    examples, error, refusal = built.stderr.rpartition("Error: ")
    assert checked.stderr == error + refusal
    assert examples in checked.stdout
    assert bool(examples) == ("Correct the recipe or the files" in refusal)
    assert "chatdata check" not in checked.stderr
    if not is_read(name, source):
        words = "reads the file; add --set" if name in READERS else "reads the file; there are"
        ways = (words, "Correct the recipe or the files", "name the fields in the recipe")
        assert any(way in checked.stderr for way in ways)


def is_read(name: str, source: str) -> bool:
    return source in READERS.get(name, set())


@pytest.mark.parametrize(
    ("source", "name", "words"),
    [
        (
            "jsonl",
            "turns",
            "none of the 1 records in '{}' can be used as 'jsonl'; the first, a.jsonl:1, is "
            "unknown_record (no known shape; its keys: conversations). The source 'sharegpt' reads "
            "the file; add --set source.jsonl.format=sharegpt.",
        ),
        (
            "jsonl",
            "unknown roles",
            "none of the 1 records in '{}' has an answer that can be used as 'jsonl'; the first "
            "message that cannot is jsonl/x#0 in a.jsonl:1 (role 'Me'). The source "
            "'auto' reads the file; add --set source.jsonl.format=auto.",
        ),
        (
            "sharegpt",
            "choice",
            "none of the 1 records in '{}' can be used as 'sharegpt'; the first, a.jsonl:1, is "
            "preference ('chosen' and 'rejected' are answers to choose from; read the file with "
            "`auto`, of which `threads.pairs` makes pairs, or write what was chosen as the end of "
            "`messages`). The source 'auto' reads the file; add --set source.sharegpt.format=auto.",
        ),
        (
            "jsonl",
            "an unknown asker",
            "no conversation is left; the main reason is 'unknown_role' (1 of 1 conversations), "
            "mostly \"role 'Me'\". Correct the recipe or the files.",
        ),
    ],
)
def test_the_sentences(tmp_path: Path, source: str, name: str, words: str) -> None:
    checked = run("check", tmp_path, source, FILES[name])
    assert checked.stderr == f"Error: {words.format(tmp_path / 'a.jsonl')}\n"


def test_the_way_out_is_one(tmp_path: Path) -> None:
    checked = run(
        "check", tmp_path, "jsonl", FILES["turns"], "--set", "source.jsonl.format=sharegpt"
    )
    assert checked.exit_code == 0, checked.output


def test_the_first_refusal_is_that_of_the_source(tmp_path: Path) -> None:
    """A source before it may have had problems too, and still be read."""
    (tmp_path / "a.jsonl").write_text(json.dumps(FILES["messages"]) + "\n{bad\n")
    (tmp_path / "b.jsonl").write_text(json.dumps(FILES["unknown"]))
    both = "{a: {format: jsonl, files: [a.jsonl]}, b: {format: jsonl, files: [b.jsonl]}}"
    (tmp_path / "r.yaml").write_text(f"name: n\nversion: 1.0.0\nsource: {both}\n")
    checked = CliRunner().invoke(main, ["check", str(tmp_path / "r.yaml")])
    assert "the first, b.jsonl:1, is unknown_record" in checked.stderr


def test_check_says_how_much_it_looked_at(tmp_path: Path) -> None:
    few = run("check", tmp_path, "jsonl", FILES["messages"])
    assert few.stdout.endswith("looked at all of the input: 1 record of 1 file (87 bytes)\n")
    (tmp_path / "b.jsonl").write_text(
        "\n".join(json.dumps({"id": at, **FILES["messages"]}) for at in range(101))
    )
    for number, is_whole in ((101, False), (100, True)):
        lines = (tmp_path / "b.jsonl").read_text().splitlines()[:number]
        (tmp_path / "c.jsonl").write_text("\n".join(lines))
        described = preview_dataset(tmp_path / "r.yaml", inputs=[str(tmp_path / "c.jsonl")])
        assert described.preview is not None
        assert described.preview.is_whole == is_whole
    (tmp_path / "c.jsonl").write_text((tmp_path / "b.jsonl").read_text())
    arguments = ["check", str(tmp_path / "r.yaml"), "--input", str(tmp_path / "c.jsonl")]
    size = (tmp_path / "c.jsonl").stat().st_size
    words = (
        "looked at the first 100 trees or conversations of each source: 100 records of 1 file "
        f"({size:,} bytes); a build reads the rest too\n"
    )
    assert CliRunner().invoke(main, arguments).stdout.endswith(words)


def test_an_example_says_why_and_does_not_point_elsewhere() -> None:
    rows = [
        ("conversation", "c", "bad_content", f"{ledger.BECAUSE}c#1"),
        ("message", "c#0", "bad_content", f"{ledger.GOES_WITH}c#1"),
        ("message", "c#1", "bad_content", "no text"),
        ("message", "d#1", "empty", None),
        ("message", "e#1", None, "turn 1"),
    ]
    outcomes = pl.LazyFrame(rows, ["unit", "id", "reason", "detail"], orient="row")
    assert tallies.examples(outcomes) == {
        "bad_content": {"unit": "message", "id": "c#1", "detail": "no text", "place": ""},
        "empty": {"unit": "message", "id": "d#1", "detail": "", "place": ""},
    }
    placed = tallies.examples(outcomes.with_columns(place=pl.lit("a.jsonl:7")))
    words = Example.model_validate(placed["bad_content"]).in_words("bad_content")
    assert words == "bad_content, for example message c#1 in a.jsonl:7: no text"


def test_a_build_gives_the_examples_of_check(tmp_path: Path) -> None:
    records = [FILES["messages"], {"id": "n", **FILES["no text"]}, FILES["unknown"]]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, records)))
    recipe = "name: n\nversion: 1.0.0\nsource: {jsonl: {files: [b.jsonl]}}\nmax_dropped: 1\n"
    (tmp_path / "r.yaml").write_text(recipe)
    examples = (
        "bad_content, for example message jsonl/n#1 in b.jsonl:2: no text\n"
        "trailing_turn, for example message jsonl/n#0 in b.jsonl:2: goes with jsonl/n#1\n"
        "unknown_record, for example record b.jsonl:3: no known shape; its keys: body, topic\n"
    )
    out = tmp_path / "out"
    for arguments, more in (
        (["check"], "looked at all of the input: 3 records of 1 file"),
        (["build", "-v", "--out", str(out)], f"more of them: chatdata show {out} --dropped REASON"),
        (["build", "-v", "--out", str(out), "--no-dropped"], "\nbuilt n 1.0.0: 1 conversation"),
    ):
        done = CliRunner().invoke(main, [*arguments, str(tmp_path / "r.yaml")])
        given = examples
        if "--no-dropped" in arguments:  # the ledger knows no places but those of records
            given = examples.replace(" in b.jsonl:2", "")
        assert given + more in done.stdout
    refused = CliRunner().invoke(
        main, ["build", str(tmp_path / "r.yaml"), "--set", "max_dropped=0"]
    )
    assert refused.stderr.startswith(f"{examples}Error: 33.3% of the records would be dropped")


def test_of_nothing_it_is_said_that_nothing_was_read() -> None:
    counts = {unit: {"read": 0, "kept": 0, "dropped": {}} for unit in tallies.UNITS}
    with pytest.raises(BuildError, match="since none was read; name files that hold some"):
        tallies.check_dropped(counts, 1)


@pytest.mark.parametrize("trees", [1, 150])  # all of the input, and more than a preview reads
def test_a_record_of_which_no_message_is_a_row_counts_as_read(tmp_path: Path, trees: int) -> None:
    nameless = {"text": "a", "role": "user", "message_id": None}
    records = [nameless] + [{"prompt": {**ROOT, "message_id": f"r{n}"}} for n in range(trees)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    (tmp_path / "r.yaml").write_text("name: n\nversion: 1.0.0\nsource: {oasst: {}}\n")
    previewed = preview_dataset(tmp_path / "r.yaml", inputs=[str(tmp_path / "a.jsonl")])
    assert previewed.counts.records.read == 1 + min(trees, 100)
    assert previewed.counts.messages.dropped["no_id"] == 1
