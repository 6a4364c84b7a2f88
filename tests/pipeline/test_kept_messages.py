"""Shards of messages that are taken over from a folder: the bytes that would be written anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatdata import read_manifest, render_dataset
from chatdata.dataset import plots, shards
from chatdata.pipeline import kept_messages, pieces
from chatdata.verify.verification import verify_folder
from tests.support.builds import ONCE, TALKS, files, make, rows_of, talk_file, tree_file

RECIPES = {"once": ONCE, "talks": TALKS}
WRITE = {
    "once": lambda folder: tree_file(folder, seeds=7),
    "talks": lambda folder: talk_file(folder, seeds=15),
}
WHOLE = ("render.max_tokens=null", "render.overflow=drop")


@pytest.fixture(params=["talks"])
def built(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: Any) -> Path:
    """A folder of several shards, rendered in many pieces."""
    size = 1500 if request.param == "talks" else 75
    monkeypatch.setattr(shards, "SHARD_BYTES", size)
    monkeypatch.setattr(pieces, "PART_BYTES", (10 if request.param == "talks" else 20) * size)
    folder = make(tmp_path, RECIPES[request.param], WRITE[request.param](tmp_path), "built", *WHOLE)
    assert len(list((folder / "messages").iterdir())) > 2
    return folder


def render(built: Path, out: Path, **chosen: Any) -> dict[str, bytes]:
    chosen = {"tokenizer": "bytes", "template": "chatml", **chosen}
    render_dataset(built, out, **chosen)
    return files(out)


@pytest.fixture
def anew(monkeypatch: Any) -> Any:
    """Makes a function write all messages anew and draw all plots, as if nothing were kept."""

    def call(function: Any, *arguments: Any, **options: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(kept_messages, "are_kept", lambda *given: False)
            patch.setattr(plots, "drawn_in", lambda *given: {})
            return function(*arguments, **options)

    return call


@pytest.mark.slow
@pytest.mark.parametrize(
    ("built", "overflow", "share", "workers"),
    [
        ("once", "drop", None, 1),
        ("once", "split", 0.95, 1),
        ("talks", "drop", 1.0, 1),
        ("talks", "cut", 0.9, 2),
    ],
    indirect=["built"],
)
def test_the_bytes_are_those_of_messages_that_are_written_anew(
    built: Path, tmp_path: Path, anew: Any, overflow: str, share: float | None, workers: int
) -> None:
    """Whether nothing goes, the longest conversation alone, or many of them."""
    render_dataset(built, tmp_path / "sized", tokenizer="bytes", template="chatml")
    lengths = sorted(row["length"] for row in rows_of(tmp_path / "sized", "tokens"))
    limit = None if share is None else lengths[int((len(lengths) - 1) * share)] - 1
    settings = [f"render.max_tokens={json.dumps(limit)}", f"render.overflow={overflow}"]
    chosen = {"settings": [*settings, "max_dropped=1"]}
    kept = render(built, tmp_path / "kept", workers=workers, **chosen)
    assert kept == anew(render, built, tmp_path / "anew", **chosen)
    verify_folder(tmp_path / "kept", everything=True)


@pytest.mark.slow
def test_nothing_is_written_or_drawn_where_nothing_goes(
    built: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """And what is copied is no link to the file of the folder."""

    def refuse(*arguments: Any) -> Any:
        raise AssertionError(arguments)

    template = read_manifest(built).rendering.template.name
    monkeypatch.setattr(pieces, "conversations", once_each(pieces.conversations))
    monkeypatch.setattr(plots, "_png", refuse)
    render(built, tmp_path / "kept", template=template, settings=WHOLE)
    for path in sorted((built / "messages").iterdir()):
        copy = tmp_path / "kept" / "messages" / path.name
        assert copy.read_bytes() == path.read_bytes()
        assert not copy.samefile(path)


def once_each(function: Any) -> Any:
    """A function that fails where it is called twice with the same piece."""
    seen: set[int] = set()

    def call(folder: Any, piece: Any) -> Any:
        assert piece.number not in seen
        seen.add(piece.number)
        return function(folder, piece)

    return call


@pytest.mark.slow
def test_a_shard_that_is_not_the_one_of_the_manifest_is_not_copied(
    built: Path, tmp_path: Path, anew: Any
) -> None:
    """The rows are the same: another hand has packed them in another way."""
    path = sorted((built / "messages").iterdir())[-1]
    pq.write_table(pq.read_table(path), path, compression="none")
    packed = path.read_bytes()
    kept = render(built, tmp_path / "kept")
    assert kept == anew(render, built, tmp_path / "anew")
    assert packed not in kept.values()
    verify_folder(tmp_path / "kept", everything=True)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["version", "column", "name"])
def test_a_folder_that_another_hand_wrote_is_written_anew(
    built: Path, tmp_path: Path, monkeypatch: Any, change: str
) -> None:
    copied: list[Path] = []
    copy = kept_messages.KeptMessages._copy

    def noted(kept: kept_messages.KeptMessages, out: Path) -> bool:
        copied.append(out)
        return copy(kept, out)

    monkeypatch.setattr(kept_messages.KeptMessages, "_copy", noted)
    render(built, tmp_path / "kept")
    assert copied
    copied.clear()
    change_folder(built, change)
    changed = render(built, tmp_path / "changed")
    assert not copied
    names = {name for name in changed if name.startswith("messages/")}
    assert names == {name for name in files(tmp_path / "kept") if name.startswith("messages/")}
    verify_folder(tmp_path / "changed", everything=True)


def change_folder(folder: Path, change: str) -> None:
    """Makes the shards of a folder such as this chatdata would not write."""
    facts = json.loads((folder / "manifest.json").read_text())
    entries = [file for file in facts["files"] if file["path"].startswith("messages/")]
    for entry in entries:
        path = folder / entry["path"]
        if change == "column":
            table = pq.read_table(path)
            pq.write_table(table.append_column("more", pa.array([1] * table.num_rows)), path)
        elif change == "name":
            entry["path"] = entry["path"].replace("-of-", "-out-of-")
            shutil.move(path, folder / entry["path"])
    if change == "version":
        facts["versions"]["pyarrow"] = "1.0"
    (folder / "manifest.json").write_text(json.dumps(facts))
