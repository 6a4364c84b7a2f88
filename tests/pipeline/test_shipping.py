"""What travels: a task sees nothing but what it was given, and leaves the same files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from chatdata import build_dataset
from chatdata.core import cache_folder
from chatdata.core.errors import SourceError
from chatdata.dataset import shards
from chatdata.dataset.manifest import Manifest
from chatdata.pipeline import engines, partitions, prepare, shipping
from chatdata.pipeline.partitions import Batches, PartitionWriter
from chatdata.pipeline.shipping import Piece
from chatdata.sources import cutting
from tests.support import zstd_frames
from tests.support.builds import files
from tests.support.elsewhere import Elsewhere

RECIPE = """
name: t
version: 1.0.0
source:
  lines: {format: auto, files: [lines.jsonl]}
  values: {format: auto, files: [values.json]}
  frames: {format: auto, files: [frames.jsonl.zst]}
forget: forget.txt
drop:
  - contaminated: {against: [questions.jsonl]}
  - duplicate
split: {test_percent: 20}
render: {tokenizer: TOKENIZER, template: chatml, max_tokens: 3000}
max_dropped: 1.0
"""
QUESTION = "how many sides has a polygon of eleven corners that was cut at each of its corners"


REASONS = {"contaminated", "duplicate", "bad_json", "forgotten"}


def talks(name: str, number: int) -> list[dict[str, object]]:
    """Conversations, of which one repeats a test question, and some each other."""
    words = [f"what is {name} {n % 35} of {'many ' * (n % 7)}things?" for n in range(number)]
    words[number // 2] = QUESTION
    return [
        {
            "id": f"{name}-{n}",
            "messages": [
                {"role": "user", "content": text},
                {"role": "assistant", "content": f"it is {n % 35} \u00e9 {text}"},
            ],
        }
        for n, text in enumerate(words)
    ]


def write(folder: Path, tokenizer: str = "bytes") -> Path:
    """A recipe with its inputs."""
    folder.mkdir()
    lines = [json.dumps(talk, ensure_ascii=False) + "\n" for talk in talks("l", 90)]
    (folder / "lines.jsonl").write_text("".join(lines) + '{"broken": \n')
    (folder / "values.json").write_text(json.dumps(talks("v", 60), indent=1))
    frames = [(json.dumps(talk) + "\n").encode() for talk in talks("f", 30)]
    (folder / "frames.jsonl.zst").write_bytes(b"".join(map(zstd_frames.sized, frames)))
    (folder / "forget.txt").write_text("lines/l-4\n")
    (folder / "questions.jsonl").write_text(json.dumps({"question": QUESTION}) + "\n")
    recipe = folder / "r.yaml"
    recipe.write_text(RECIPE.replace("TOKENIZER", tokenizer))
    return recipe


def reasons(manifest: Manifest) -> set[str]:
    """The reasons for which something was dropped."""
    return {reason for reason in REASONS if reason in manifest.counts.model_dump_json()}


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs of several splits, builds of several parts, and datasets of many shards."""
    monkeypatch.setattr(cutting, "SPLIT_BYTES", 3000)
    monkeypatch.setattr(prepare, "PART_BYTES", 20_000)
    monkeypatch.setattr(shards, "SHARD_BYTES", 4000)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Elsewhere:
    """Workers that do not see the folder `home`."""
    (tmp_path / "nodes").mkdir()
    return Elsewhere(tmp_path / "nodes", tmp_path / "home")


@pytest.mark.usefixtures("small_parts")
def test_tasks_need_nothing_but_what_travels(
    tmp_path: Path, starcoder: Path, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    recipe = write(home, str(home / "tokenizer"))
    shutil.copytree(starcoder, home / "tokenizer")
    here = build_dataset(recipe, home / "here")
    monkeypatch.setattr(engines, "start", elsewhere.start)
    monkeypatch.setattr(partitions, "ONE_STEP", 1)
    moved = build_dataset(recipe, home / "there")
    assert elsewhere.tasks > 12
    assert {name.rpartition("-")[0] for name in elsewhere.left} >= {"threaded", "tokens-train"}
    assert not any("tokens" in name for name in elsewhere._left), "what is written is let go"
    assert reasons(here) == REASONS
    assert moved == here
    assert files(home / "there") == files(home / "here")


@pytest.mark.slow
@pytest.mark.usefixtures("small_parts")
def test_the_cache_is_asked_before_anything_travels(
    tmp_path: Path, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cache_folder.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(engines, "start", elsewhere.start)
    recipe, reused = write(tmp_path / "home"), list[tuple[str, int, int]]()
    build_dataset(recipe, tmp_path / "home" / "1")
    first = elsewhere.tasks
    assert not elsewhere.left, "the cache has it all"
    build_dataset(recipe, tmp_path / "home" / "2", reused=lambda *about: reused.append(about))
    assert elsewhere.tasks - first < first  # splits are read again
    assert reused
    assert all(kept == all_ for _, kept, all_ in reused)
    assert files(tmp_path / "home" / "1") == files(tmp_path / "home" / "2")


def test_a_refusal_names_the_path_of_the_user(
    tmp_path: Path, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "start", elsewhere.start)
    recipe = write(tmp_path / "home")
    path = tmp_path / "home" / "lines.jsonl"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(SourceError, match=str(path)):
        build_dataset(recipe, tmp_path / "home" / "out")


def test_of_a_part_its_batches_travel(tmp_path: Path) -> None:
    rows = pl.DataFrame({"group": [f"g{n}" for n in range(400)], "text": ["x" * 500] * 400})
    writer = PartitionWriter(tmp_path / "read-0", 8)
    for half in (rows[:200], rows[200:]):
        writer.add(half)
        writer.flush()
    for part in range(8):
        pieces = list(shipping.batch_pieces(Batches(tmp_path / "read-0", part), tmp_path))
        assert sum(piece.content.size for piece in pieces) < 60_000
        scratch = tmp_path / str(part)
        shipping.unpack(pieces, scratch)
        expected = pl.concat(partitions.read(Batches(tmp_path / "read-0", part)))
        arrived = pl.concat(partitions.read(Batches(scratch / "read-0", part)))
        assert arrived.equals(expected)


def test_what_was_given_does_not_come_back(tmp_path: Path) -> None:
    data = np.frombuffer(b"abc", np.uint8)
    given = shipping.unpack([Piece("in/a", data, 2, 9), Piece("b", data)], tmp_path)
    assert (tmp_path / "in" / "a").read_bytes() == b"\0\0abc\0\0\0\0"
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "c").write_bytes(b"made")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    made = shipping.collect(tmp_path, given)
    assert {name: bytes(content) for name, content in made.items()} == {"new/c": b"made"}
