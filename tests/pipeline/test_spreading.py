"""Messages that are spread in two steps give the bytes of one step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chatdata import build_dataset
from chatdata.pipeline import partitions, prepare, spreading
from chatdata.pipeline.partitions import PartitionFiles
from tests.support.builds import files

RECIPE = """
name: t
version: 1.0.0
source:
  many: {format: auto, files: [many.jsonl]}
  few: {format: auto, files: [few.jsonl]}
drop: [duplicate]
max_dropped: 1
"""


def write(path: Path, number: int) -> None:
    """Writes so many conversations, of which some are equal."""
    talks = [
        [{"role": role, "content": f"{path.stem} {n % 30}"} for role in ("user", "assistant")]
        for n in range(number)
    ]
    path.write_text("\n".join(json.dumps({"messages": talk}) for talk in talks))


def test_a_bucket_without_messages_of_a_source_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    are_there, spread = list[bool](), spreading._spread

    def seen(files: PartitionFiles, task: tuple[int, int]) -> None:
        spread(files, task)
        are_there.append(files.bucket(*task).exists())

    write(tmp_path / "many.jsonl", 40)
    write(tmp_path / "few.jsonl", 2)
    (tmp_path / "r.yaml").write_text(RECIPE)
    monkeypatch.setattr(prepare, "PART_BYTES", 6000)
    monkeypatch.setattr(spreading, "_spread", seen)
    in_one_step = build_dataset(tmp_path / "r.yaml", tmp_path / "one")
    assert not are_there
    monkeypatch.setattr(partitions, "ONE_STEP", 1)
    assert build_dataset(tmp_path / "r.yaml", tmp_path / "two") == in_one_step
    assert set(are_there) == {False, True}
    assert files(tmp_path / "one") == files(tmp_path / "two")
