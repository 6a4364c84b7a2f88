"""No content, id, label or key acts on a terminal, or hides what stands in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from chatdata.cli import main

# A title of the window, a colour by C1, a change of direction, markup of rich, line separators.
BAD = "A\x1b]0;t\x07B\x9b31mC\u202eD\u2066[/bold][red]E\x85\u2028\r\x08\x7f\u200f\u061c"
ACTS = {*map(chr, range(32)), *map(chr, range(0x7F, 0xA0)), *"\u061c\u200e\u200f\u2028\u2029"}
ACTS |= {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
ACTS -= set("\n\t")
TALKS = [
    {
        "id": f"id{BAD}",
        f"key{BAD}": 1,
        "messages": [
            {"role": "user", "content": f"q{BAD}", "name": f"n{BAD}"},
            {"role": "assistant", "content": f"a{BAD}", "reasoning_content": f"r{BAD}"},
        ],
    },
    {"id": f"no{BAD}", "messages": [{"role": f"user{BAD}", "content": f"q{BAD}"}]},
    {"id": "no", "messages": [{"role": f"user{BAD}", "content": f"q{BAD}"}]},
    {f"key{BAD}": f"q{BAD}"},
]
TREE = [
    {"message_id": f"a{BAD}", "text": "q", "role": "prompter"},
    {"message_id": "b", "parent_id": f"a{BAD}", "text": "a", "role": "assistant"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unsafe")
    tree = [{"message_tree_id": "a", "parent_id": None, "lang": BAD, **row} for row in TREE]
    for name, source, rows in (("talks", "jsonl", TALKS), ("tree", "oasst", tree)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        (folder / f"{name}.yaml").write_text(
            f"name: {name}\nversion: 1.0.0\nmax_dropped: 1.0\nsource: {{{source}: {{}}}}\n"
            "render: {tokenizer: bytes, template: chatml}\n"
        )
        recipe = [str(folder / f"{name}.yaml"), "--input", str(folder / f"{name}.jsonl")]
        out = ["--out", str(folder / name)]
        done = CliRunner().invoke(main, ["build", *recipe, *out])
        assert done.exit_code == 0, done.output
        assert not ACTS & set(done.output)
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "check {0}/talks.yaml --input {0}/talks.jsonl",
        "check {0}/tree.yaml --input {0}/tree.jsonl --json",
        "show {0}/talks",
        "show {0}/talks --ids",
        "show {0}/tree",
        "show {0}/talks --dropped",
        "explain {0}/talks no",
        "stats {0}/tree",
        "stats {0}/tree --json",
        "diff {0}/talks {0}/tree",
        "verify {0}/talks --full",
        "audit {0}/talks.jsonl",
        "explain {0}/talks ID",
        "explain {0}/talks none",
        "report {0}/talks",
    ],
)
def test_nothing_acts_on_the_terminal(folder: Path, command: str) -> None:
    words = [word.format(folder).replace("ID", f"id{BAD}") for word in command.split()]
    done = CliRunner().invoke(main, words)
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert done.output
    assert not ACTS & set(done.output)


def test_a_label_is_text_and_no_markup(folder: Path) -> None:
    done = CliRunner().invoke(main, ["stats", str(folder / "tree")])
    assert "[/bold][red]" in done.output


def test_json_says_what_the_label_is(folder: Path) -> None:
    done = CliRunner().invoke(main, ["stats", str(folder / "tree"), "--json"])
    assert list(json.loads(done.stdout)["languages"]) == [BAD]
