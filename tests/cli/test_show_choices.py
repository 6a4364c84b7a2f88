"""`show` finds what is asked for: by words, language, source, chance, and as a tree."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from chatdata.cli import main, show_tree
from chatdata.cli.choosing import Choice
from chatdata.core import row_id
from chatdata.dataset import reader

LINES = re.compile(r"^(\S+)  (train|test), (\w+), (\w+), \d+ of", re.M)


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def shown(folder: Path, *words: object) -> list[str]:
    """The ids of the rows that `show` prints."""
    done = run("show", folder, "-n", 99, *words)
    assert done.exit_code == 0, done.output
    return [match[1] for match in LINES.finditer(done.stdout)]


@pytest.fixture(scope="module")
def rows(sample: Path) -> pl.DataFrame:
    """The conversations of the sample."""
    return reader.scan(sample, "messages").collect()


def test_a_source_and_a_language_choose(sample: Path, rows: pl.DataFrame) -> None:
    for source in ("oasst", "sharegpt"):
        expected = rows.filter(source=source)["id"].to_list()
        assert sorted(map(row_id.conversation_of, shown(sample, "--source", source))) == sorted(
            expected
        )
    assert len(shown(sample, "--lang", "en")) == rows.filter(lang="en").height


@pytest.mark.parametrize("words", ["bakery", "BAKERY", "a", "<|end|>", "(", "w.it"])
def test_words_choose_in_capitals_or_not_and_are_no_pattern(
    words: str, sample: Path, rows: pl.DataFrame
) -> None:
    def says(messages: list[dict[str, str | None]]) -> bool:
        texts = [text for m in messages for text in (m["content"], m["reasoning_content"])]
        return any(words.lower() in (text or "").lower() for text in texts)

    expected = [row["id"] for row in rows.iter_rows(named=True) if says(row["messages"])]
    if expected:
        assert sorted(shown(sample, "--grep", words)) == sorted(expected)
    else:
        assert "none of these says" in run("show", sample, "--grep", words).stderr


def test_limits_hold_together(sample: Path) -> None:
    both = shown(sample, "--source", "oasst", "--grep", "dough", "--split", "train")
    assert set(both) <= set(shown(sample, "--source", "oasst")) & set(
        shown(sample, "--grep", "dough")
    )


def test_a_seed_chooses_some_and_the_same_again(sample: Path) -> None:
    def some(seed: int) -> list[str]:
        return [m[1] for m in LINES.finditer(run("show", sample, "--random", seed).stdout)]

    assert len(some(1)) == 3
    assert some(1) == some(1)
    assert len({tuple(some(seed)) for seed in range(5)}) > 1
    assert shown(sample, "--random", 7) == shown(sample)  # all of them, in their order


def test_how_many_fit_is_said(sample: Path) -> None:
    done = run("show", sample, "--lang", "en", "-n", 2)
    assert done.stderr == "2 of 29 rows that fit; -n shows more\n"
    assert run("show", sample, "--grep", "bakery").stderr == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--lang", "xx"], "has --lang xx; there are en."),
        (["--source", "reddit"], "has --source reddit; there are oasst, sharegpt."),
        (["--grep", "qqq"], "none of these says 'qqq'"),
        (["--tree", "--id", "nope"], "nothing in"),
    ],
)
def test_where_nothing_fits_it_says_what_there_is(
    options: list[str], words: str, sample: Path
) -> None:
    done = run("show", sample, *options)
    assert done.exit_code == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_makes_no_sense_together_is_said(sample: Path) -> None:
    for options in (["--tree", "--ids"], ["--pairs", "--grep", "a"], ["--pairs", "--tree"]):
        assert run("show", sample, *options).exit_code == 2


# ------------------------------------------------------------------------------------- trees

TREE = """\
oasst1/bread
└── ● user bread: How do I know when bread dough has proofed enough before I ba…
    ├── ● assistant bread-a: Press the dough gently with a floured finger. If t…
    │   ├── ● user bread-a1: My kitchen is cold, about 16 degrees. Can I speed …
    │   │   ├── ● assistant bread-a1a: Put the bowl in the oven with only the l…
    │   │   └── ○ assistant bread-a1b: You can also let it proof in the fridge …
    │   └── ✗ user bread-a2 (trailing_turn): Thank you, that is exactly what I …
    ├── ○ assistant bread-b: Wait until it has doubled in size. In a warm kitch…
    └── ○ assistant bread-c: Just bake it after 40 minutes, that always works.

● on the path  ○ kept elsewhere  ✗ dropped  
"""


@pytest.mark.parametrize("id", ["oasst1/bread/bread-a1a", "bread-a1a"])
def test_a_tree_with_the_kept_path_lit(id: str, sample: Path) -> None:
    assert run("show", sample, "--tree", "--id", id).stdout == TREE


def every(nodes: list[show_tree.Node]) -> list[show_tree.Node]:
    return [node for top in nodes for node in (top, *every(top.below))]


def test_every_message_of_a_tree_stands_in_it_once(sample: Path) -> None:
    """Trees of all groups hold each message of the ledger that stands in one of them."""
    trees = show_tree.find(sample, Choice(number=999))
    nodes = [node for tree in trees for node in every([*tree.roots, *tree.elsewhere])]
    groups = {tree.group for tree in trees}
    ledger = reader.scan_ledger(sample).filter(unit="message").collect()
    homes = ledger["conversation"].fill_null("")
    is_merged = pl.col("detail").str.starts_with("merged into ")  # its words stand in another
    kept = set(ledger.filter(is_merged.not_(), outcome="kept")["id"])
    assert {node.id for node in nodes if node.mark != "✗"} == kept
    dropped = ledger.filter((pl.col("outcome") == "dropped") & homes.is_in(list(groups)))
    assert set(dropped["id"]) <= {node.id for node in nodes if node.mark == "✗"}
    assert len({(node.id, node.mark) for node in nodes}) == len(nodes)


# ------------------------------------------------------------------------------------- pager


def on_a_terminal(folder: Path, *words: str) -> str:
    """What `show` prints on a terminal of 20 lines whose pager numbers the lines."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "20"}
    environment |= {"PAGER": "cat -n"}
    process = subprocess.Popen(
        [sys.executable, "-m", "chatdata", "show", str(folder), *words],
        stdin=follower,
        stdout=follower,
        env=environment,
    )
    parts: list[bytes] = []
    reading = threading.Thread(target=_read, args=(leader, parts))
    reading.start()
    assert process.wait() == 0
    os.close(follower)
    reading.join()
    os.close(leader)
    return b"".join(parts).decode()


def _read(leader: int, parts: list[bytes]) -> None:
    """Reads what a terminal shows until its other end is closed."""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            return
        if not part:
            return
        parts.append(part)


@pytest.mark.slow
def test_what_is_longer_than_the_terminal_is_in_a_pager(sample: Path) -> None:
    numbered = re.compile(r"^ +\d+\t", re.M)
    assert len(numbered.findall(on_a_terminal(sample, "-n", "20"))) > 20
    assert not numbered.search(on_a_terminal(sample, "-n", "20", "--no-pager"))
    assert not numbered.search(on_a_terminal(sample, "--grep", "bakery"))
