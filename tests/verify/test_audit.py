"""Audits of files and folders, and the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chatdata.core.errors import SourceError
from chatdata.verify.audit import auditing, findings, inputs
from chatdata.verify.audit.known import Known
from chatdata.verify.audit.token_rows import TokenRows
from tests.support.audits import KEY, TOOLS, answer, audited, faults, row, run, user, write_jsonl

# ------------------------------------------------------------------------------------- files


ROWS = [{"id": f"r{n}", **row(f"5 {20 + n} 3 4 7 +21 3")} for n in range(5)]
CHATS = [
    {"id": f"c{n}", "messages": [user(f"Question {n}?"), answer("" if n == 2 else "Yes.")]}
    for n in range(5)
]
SHAREGPT = [
    {"conversations": [{"from": "human", "value": f"Q{n}"}, {"from": "gpt", "value": "A"[: n - 2]}]}
    for n in range(3)
]


def _json(path: Path, rows: list[Any]) -> None:
    path.write_text(json.dumps(rows))


def _parquet(path: Path, rows: list[Any]) -> None:
    pl.DataFrame(rows).write_parquet(path)


def _arrow(path: Path, rows: list[Any]) -> None:
    pl.DataFrame(rows).write_ipc_stream(path, compat_level=pl.CompatLevel.oldest())


WRITERS = {"a.jsonl": write_jsonl, "a.json": _json, "a.parquet": _parquet, "a.arrow": _arrow}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(("rows", "kind"), [(ROWS, "tokens"), (CHATS, "messages")])
def test_every_format_gives_the_same(
    tmp_path: Path, name: str, rows: list[Any], kind: findings.Kind
) -> None:
    WRITERS[name](tmp_path / name, rows)
    (part,) = inputs.locate([tmp_path]).parts
    assert part.kind == kind
    (batch_,) = inputs.batches(part)
    if isinstance(batch_, TokenRows):
        assert batch_.names == [f"r{n}" for n in range(5)]
        assert batch_.labels.tolist() == [label for each in ROWS for label in each["labels"]]
    else:
        assert batch_.rows["conversation"].unique(maintain_order=True).len() == 5
        assert faults(audited(tmp_path)) == {"empty_answer": 1}


def test_sharegpt_is_told_from_openai_by_what_is_in_the_file(tmp_path: Path) -> None:
    _json(tmp_path / "x.json", SHAREGPT)
    write_jsonl(tmp_path / "y.jsonl", CHATS)
    assert {part.source for part in inputs.locate([tmp_path]).parts} == {"sharegpt", "jsonl"}


def test_trees_are_read_as_their_paths(tmp_path: Path) -> None:
    replies = [{"message_id": f"m{n}", "role": "assistant", "text": f"A{n}"} for n in range(2)]
    root = {"message_id": "m", "role": "prompter", "text": "Q", "replies": replies}
    write_jsonl(tmp_path / "trees.jsonl", [{"message_tree_id": "m", "prompt": root}])
    audit = auditing.audit([tmp_path], Known())
    assert audit.read == {"conversations": 2, "messages": 4}
    assert audit.faults == 0


def test_the_batches_of_a_long_file_are_bounded_and_numbered(tmp_path: Path) -> None:
    many = [{"input_ids": [5, 4, 7, 20 + n % 9, 3]} for n in range(1200)]
    _parquet(tmp_path / "a.parquet", many)
    (part,) = inputs.locate([tmp_path]).parts
    batches = [each for each in inputs.batches(part) if isinstance(each, TokenRows)]
    assert max(len(each) for each in batches) <= 512
    places = [place for each in batches for place in each.places]
    assert places == [f"a.parquet#{n}" for n in range(1200)]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.jsonl", "train"),
        ("data/test-00000-of-00001.parquet", "test"),
        ("validation/data-00000-of-00001.arrow", "validation"),
        ("oasst1_val.json", "validation"),
        ("train/part-1.jsonl", "train"),
        ("latest.jsonl", None),
        ("training-notes.jsonl", None),
        ("contest.json", None),
    ],
)
def test_splits_are_told_by_names(name: str, split: str | None) -> None:
    assert inputs.split_of(name) == split


@pytest.mark.slow
def test_files_of_two_splits_are_compared(tmp_path: Path) -> None:
    sound = [CHATS[0], CHATS[1], CHATS[3]]
    write_jsonl(tmp_path / "train.jsonl", sound)
    write_jsonl(tmp_path / "test.jsonl", sound[:1])
    assert faults(audited(tmp_path)) == {"repeats_across_splits": 1}
    both = audited(tmp_path / "train.jsonl", tmp_path / "test.jsonl")
    assert faults(both) == {"repeats_across_splits": 1}


def test_variables_that_no_template_can_be_given_are_found(tmp_path: Path) -> None:
    talk = {"messages": [user(), answer()]}
    given: list[Any] = [{"enable_thinking": False}, "{}", None, {"tools": []}, "high"]
    lines = [json.dumps({**talk, "chat_template_kwargs": variables}) for variables in given]
    (tmp_path / "talks.jsonl").write_text("\n".join(lines))
    cases = audited(tmp_path / "talks.jsonl")["not_carried"].cases
    assert (cases.count, cases.of) == (2 * 2, 2 * len(given))
    assert cases.example is not None
    assert "'tools' is not for variables" in cases.example.words


def test_damaged_records_are_counted(tmp_path: Path) -> None:
    lines = [json.dumps(CHATS[0]), '{"messages": [', json.dumps({"text": "x"}), "5"]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    results = audited(tmp_path)
    assert faults(results) == {"unreadable": 3}
    assert results["unreadable"].cases.tally == {"bad_json": 1, "unknown_record": 2}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "nowhere.jsonl", "there is no '"),
        (lambda folder: folder, "holds neither conversations nor rows of input_ids"),
        (lambda folder: folder / "notes.txt", "holds neither conversations nor rows"),
        (lambda folder: folder / "x.json", "the keys of its first record are text, score"),
    ],
)
def test_what_cannot_be_audited_is_a_sentence(
    tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    _json(tmp_path / "x.json", [{"text": "a", "score": 1}])
    with pytest.raises(SourceError, match=words):
        inputs.locate([make(tmp_path)])
    done = run(make(tmp_path))
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


def test_arguments_that_sources_mend_are_found_in_the_records(tmp_path: Path) -> None:
    city = {"city": "Porto"}
    arguments = [city, json.dumps(city), json.dumps(json.dumps(city)), '"Porto"', "{"]
    rows = [
        {
            "messages": [
                {**user(), "name": "x"},
                {
                    "role": "assistant",
                    "tool_calls": [{"function": {"name": "weather", "arguments": value}}],
                },
            ],
            "tools": json.loads(TOOLS),
        }
        for value in arguments
    ]
    write_jsonl(tmp_path / "a.jsonl", rows)
    results = audited(tmp_path)
    assert faults(results)["encoded_twice"] == 1
    assert results["encoded_twice"].cases.of == len(arguments)
    example = results["encoded_twice"].cases.example
    assert example is not None
    assert example.where == "a.jsonl:3"


def test_calls_in_texts_are_records_too(tmp_path: Path) -> None:
    functions = [json.dumps({"name": "f", "arguments": text}) for text in ("{}", '"{}"')]
    deep = '{"arguments": ' + "[" * 5000
    talks = [
        [
            {"from": "human", "value": f'Say "arguments" {number} times: {deep}'},
            {"from": "function_call", "value": function},
            {"from": "observation", "value": "19"},
            {"from": "gpt", "value": "Done."},
        ]
        for number, function in enumerate(functions)
    ]
    write_jsonl(tmp_path / "a.jsonl", [{"conversations": talk} for talk in talks])
    results = audited(tmp_path)
    assert faults(results) == {"undeclared_tool": 2, "encoded_twice": 1}
    example = results["undeclared_tool"].cases.example
    assert example is not None
    assert '"name": "f"' in example.words


def test_lists_of_lists_in_a_table_are_a_sentence(tmp_path: Path) -> None:
    pl.DataFrame({"input_ids": [[[1], [2]]]}).write_parquet(tmp_path / "a.parquet")
    done = run(tmp_path / "a.parquet")
    assert done.exit_code == 1
    assert "which are no lists of whole numbers" in done.stderr


def test_other_files_of_a_folder_are_named(tmp_path: Path) -> None:
    _json(tmp_path / "x.json", [{"text": "a"}])
    _json(tmp_path / "dataset_info.json", [{"text": "a"}])
    write_jsonl(tmp_path / "y.jsonl", CHATS)
    assert inputs.locate([tmp_path]).unknown == ("x.json",)
    assert "not audited: x.json" in run(tmp_path).stdout


# -------------------------------------------------------------------------------- the command


def test_the_sample_has_no_faults(sample: Path, tmp_path: Path) -> None:
    done = run(sample, "--html", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == "no faults"
    assert "✗" not in done.stdout
    assert "untrained_end" in (tmp_path / "page.html").read_text()


def test_faults_are_status_1_and_json_says_which(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_jsonl(path, [*CHATS, {"messages": [user(f"Key: {KEY}"), answer()]}])
    done = run(path, "--json", "--html", tmp_path / "page.html")
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert report["faults"] == 2
    (empty,) = [check for check in report["checks"] if check["check"] == "empty_answer"]
    assert (empty["outcome"], empty["cases"], empty["of"]) == ("fault", 1, 6)
    assert empty["example"]["where"] == "a.jsonl:3"
    page = (tmp_path / "page.html").read_text()
    shown = run(path).stdout
    for text in (done.stdout, page, shown):
        assert KEY not in text
        assert "c2#1" in text
    assert "✗ empty_answer" in shown
    assert "the filter `empty`" in shown


def test_the_page_loads_nothing_and_words_cannot_break_it(tmp_path: Path) -> None:
    words = "<script>alert(1)</script><|im_end|><img src=x>"
    write_jsonl(tmp_path / "a.jsonl", [{"messages": [user(words), answer()]}])
    run(tmp_path / "a.jsonl", "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "default-src 'none'" in page
    assert "&lt;|im_end|&gt;" in page
    assert "<script" not in page
    assert "<img" not in page


def test_remarks_are_no_faults(tmp_path: Path, sample: Path) -> None:
    words = "Mail ada@lovelace.org. " + "It is a long way to the sea from here. " * 40
    write_jsonl(tmp_path / "a.jsonl", [{"messages": [user(), answer(words)]}])
    done = run(tmp_path / "a.jsonl", "--tokenizer", sample / "tokenizer")
    assert done.exit_code == 0
    for name in ("• personal_data", "• cut", "• languages"):
        assert name in done.stdout
