"""A build joins the pieces of conversations, wherever they stand in its files, and says so."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from chatdata.cli import main
from chatdata.core.errors import BuildError, ConfigError
from chatdata.dataset import manifest, reader
from chatdata.steps.entries import PiecesEntry
from chatdata.verify.verification import verdicts_on
from tests.support.builds import TALKS, files, make, rows_of

JOIN = "threads={join: pieces, start: user, end: assistant}"
TURNS = 24


def talk(number: int) -> list[dict[str, str]]:
    speakers = ("human", "gpt")
    words = (f"turn {turn} of conversation {number}" for turn in range(TURNS))
    return [{"from": speakers[turn % 2], "value": text} for turn, text in enumerate(words)]


def dump(folder: Path, seed: int = 0) -> Path:
    """A file of thirty conversations in pieces, some of them missing, in any order."""
    draw = random.Random(7)
    records = []
    for number in range(30):
        turns, start = talk(number), 0
        while start < TURNS:
            end = min(TURNS, start + draw.choice([2, 4, 8]))
            records.append({"id": f"c{number}_{start}", "conversations": turns[start:end]})
            start = end - (draw.random() < 0.7) if end < TURNS else end
    records = [record for record in records if draw.random() < 0.95]
    path = folder / "pieces.json"
    path.write_text(json.dumps(random.Random(seed).sample(records, len(records))))
    return path


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pieces")
    return make(folder, TALKS, dump(folder), "out", JOIN)


def test_every_row_is_a_run_of_turns_without_a_gap(out: Path) -> None:
    for row in rows_of(out):
        number, start = row["id"].removeprefix("sharegpt/c").split("_")
        assert row["group"] == f"sharegpt/c{number}"
        texts = [turn["value"] for turn in talk(int(number))]
        first = texts.index(row["messages"][0]["content"])
        assert first - int(start) in (0, 1)  # a leading answer is trimmed
        words = [message["content"] for message in row["messages"]]
        assert words == texts[first : first + len(words)]


def gaps(path: Path) -> int:
    """How many pieces of a file begin in the middle, and no other reaches them."""
    reached: dict[str, int] = {}
    gaps = 0
    pieces = [(*record["id"].split("_"), record) for record in json.loads(path.read_text())]
    for name, start, record in sorted(pieces, key=lambda piece: int(piece[1])):
        gaps += int(start) > reached.get(name, 0)
        reached[name] = max(reached.get(name, 0), int(start) + len(record["conversations"]))
    return gaps


def test_the_manifest_counts_what_the_ledger_says(out: Path) -> None:
    described = manifest.read(out)
    assert described.pieces is not None
    joined = described.pieces.by_text + described.pieces.by_number
    assert joined == described.counts.conversations.dropped["joined"] > 80
    assert described.pieces.missing == gaps(out.parent / "pieces.json") > 0
    assert described.pieces.differs == 0
    assert not [verdict for verdict in verdicts_on(out) if verdict.outcome == "failed"]


def test_verify_counts_the_pieces_again(out: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(out, tmp_path / "out"))
    facts = json.loads((folder / manifest.FILE).read_text())
    facts["pieces"]["by_number"] += 1
    (folder / manifest.FILE).write_text(json.dumps(facts))
    words = [problem for verdict in verdicts_on(folder) for problem in verdict.problems]
    assert any("pieces joined by_number" in problem for problem in words)


def test_terminal_and_card_say_what_was_joined(out: Path) -> None:
    arguments = ["check", str(out.parent / "r.yaml"), "--set", JOIN]
    done = CliRunner().invoke(main, [*arguments, "--input", str(out.parent / "pieces.json")])
    described = manifest.read(out).pieces
    assert described is not None
    assert described.in_words() in done.output
    assert described.in_words() in (out / "README.md").read_text()
    few = PiecesEntry(by_text=3, by_number=1, missing=0, differs=0)
    assert few.in_words() == (
        "4 of 4 pieces that begin in the middle of a conversation are joined to the piece before, "
        "3 by what both say and 1 by their number"
    )


def test_neither_workers_nor_the_order_of_the_file_show(out: Path, tmp_path: Path) -> None:
    again = make(tmp_path, TALKS, dump(tmp_path), "again", JOIN, workers=2)
    assert files(again) == files(out)
    shuffled = make(tmp_path, TALKS, dump(tmp_path, seed=1), "shuffled", JOIN)
    assert manifest.read(shuffled).content_hash == manifest.read(out).content_hash


def test_a_joined_conversation_is_kept_by_any_id_of_its_pieces_and_its_messages_by_theirs(
    tmp_path: Path,
) -> None:
    data = tmp_path / "two.json"
    turns = talk(1)
    turns[3]["value"] = " "
    pieces = [{"id": f"x_{at}", "conversations": turns[at : at + 2]} for at in (0, 2)]
    data.write_text(json.dumps(pieces))
    lost = make(tmp_path, TALKS, data, "lost", JOIN)
    assert [len(row["messages"]) for row in rows_of(lost)] == [2]
    for id in ("sharegpt/x_0", "sharegpt/x_2", "sharegpt/x_2#1"):
        kept = make(tmp_path, TALKS, data, "kept", JOIN, f"keep={json.dumps([id])}")
        assert [len(row["messages"]) for row in rows_of(kept)] == [4]
    with pytest.raises(BuildError, match="keep names 'sharegpt/x_3'"):
        make(tmp_path, TALKS, data, "none", JOIN, 'keep=["sharegpt/x_3"]')


def test_what_is_joined_is_not_what_max_dropped_means(out: Path, tmp_path: Path) -> None:
    counts = manifest.read(out).counts.conversations
    assert counts.dropped["joined"] > counts.read / 2
    make(tmp_path, TALKS, dump(tmp_path), "strict", JOIN, "max_dropped=0.2")


def test_trees_have_no_pieces(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"threads\.join is pieces"):
        make(
            tmp_path, TALKS.replace("sharegpt", "oasst"), tmp_path, "out", "threads={join: pieces}"
        )


def test_the_ledger_explains_a_piece(out: Path) -> None:
    ledger = reader.scan_ledger(out).filter(reason="joined", unit="conversation").collect()
    done = CliRunner().invoke(main, ["explain", str(out), ledger["id"][0]])
    assert "a piece of a conversation that was joined to the piece before" in done.output
    assert f"to {ledger['detail'][0].split()[1].rstrip(',')}" in done.output
