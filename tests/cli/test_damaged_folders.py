"""A folder of a stranger that is damaged is a sentence and status 1 for every command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from chatdata import build_dataset
from chatdata.cli import main

RECIPE = """
name: x
version: 1.0.0
source: {jsonl: {files: [talks.jsonl]}}
split: {test_percent: 30}
render: {tokenizer: bytes}
"""

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    talks = [json.dumps({"id": f"t{number}", "messages": turns}) for number in range(8)]
    (folder / "talks.jsonl").write_text("\n".join(talks))
    (folder / "x.yaml").write_text(RECIPE)
    build_dataset(folder / "x.yaml", folder / "out", workers=1)
    return folder / "out"


def manifest(text: str) -> Damage:
    return lambda folder: (folder / "manifest.json").write_text(text)


def deep_key(folder: Path) -> None:
    whole = (folder / "manifest.json").read_text().rstrip().removesuffix("}")
    (folder / "manifest.json").write_text(f'{whole}, "more": {"[" * 3000}{"]" * 3000}}}')


def half_character(folder: Path) -> None:
    values = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**values, "name": "x\ud800"}))


def shards(table: str, change: Callable[[Path], object]) -> Damage:
    def damage(folder: Path) -> None:
        for path in (folder / table).iterdir():
            change(path)

    return damage


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def numbers(path: Path) -> None:
    table = pq.read_table(path)
    columns = {name: pa.array(range(table.num_rows)) for name in table.column_names}
    pq.write_table(pa.table(columns), path)


def first_column(path: Path) -> None:
    pq.write_table(pq.read_table(path).select([0]), path)


def nulls(path: Path) -> None:
    table = pq.read_table(path)
    columns = [pa.nulls(table.num_rows, field.type) for field in table.schema]
    pq.write_table(pa.table(columns, names=table.column_names), path)


def as_type(column: str, kind: pa.DataType) -> Callable[[Path], None]:
    """Gives a column of a shard another type, its values as they were."""

    def change(path: Path) -> None:
        table = pq.read_table(path)
        values = table[column].cast(kind)
        place = table.column_names.index(column)
        pq.write_table(table.set_column(place, column, values), path)

    return change


def emptied(column: str) -> Callable[[Path], None]:
    """Makes all values of a column of a shard null."""

    def change(path: Path) -> None:
        table = pq.read_table(path)
        values = pa.nulls(table.num_rows, table.schema.field(column).type)
        place = table.column_names.index(column)
        pq.write_table(table.set_column(place, column, values), path)

    return change


DEEP = manifest("[" * 5000 + "]" * 5000)
COMMANDS = {
    "verify {0}": [DEEP, deep_key, shards("ledger", numbers)],
    "show {0}": [
        *(half_character, shards("messages", cut), shards("messages", Path.unlink)),
        *(shards("messages", first_column), shards("messages", nulls)),
        *(shards("tokens", cut), shards("tokens", numbers), shards("tokenizer", cut)),
    ],
    "stats {0}": [DEEP, half_character, shards("messages", numbers), shards("tokens", nulls)],
    "explain {0} t1": [DEEP, shards("ledger", cut), shards("ledger", numbers)],
    "report {0}": [deep_key, half_character, shards("messages", cut), shards("messages", numbers)],
    "diff {0} {1}": [DEEP, half_character, shards("messages", first_column)],
    "diff {1} {0}": [shards("messages", numbers), shards("tokens", numbers)],
    "pack {0} --max-tokens 500": [DEEP, half_character, shards("tokens", cut)],
    "render {0} --tokenizer bytes --out {0}/new": [DEEP, half_character],
    "audit {0}": [DEEP, shards("tokens", cut)],
}
CASES = [
    pytest.param(command, damage, marks=pytest.mark.slow if number else ())
    for command, damages in COMMANDS.items()
    for number, damage in enumerate(damages)
]


@pytest.mark.parametrize(("command", "damage"), CASES)
def test_damage_is_a_sentence(whole: Path, tmp_path: Path, command: str, damage: Damage) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(whole, folder)
    damage(folder)
    done = CliRunner().invoke(main, command.format(folder, whole).split())
    assert isinstance(done.exception, SystemExit)
    assert done.exit_code == 1
    (sentence,) = [line for line in done.output.splitlines() if str(folder) in line][:1]
    assert len(sentence) < 500


TYPES: dict[str, tuple[Damage, str]] = {
    "messages": (
        shards("messages", as_type("group", pa.binary())),
        "has the column 'group' as binary, which is string in messages; build the folder again",
    ),
    "tokens": (
        shards("tokens", as_type("length", pa.int64())),
        "has the column 'length' as int64, which is int32 in tokens; build the folder again",
    ),
    "lists": (
        shards("tokens", as_type("labels", pa.list_(pa.int64()))),
        "has the column 'labels' as list of int64, which is list of int32 in tokens; build",
    ),
    "ledger": (
        shards("ledger", as_type("detail", pa.binary())),
        "has the column 'detail' as binary, which is string in ledger; build the folder again",
    ),
    "missing": (
        shards("ledger", first_column),
        "has no column 'id', which is string in ledger; build the folder again",
    ),
    "no length": (
        shards("tokens", emptied("length")),
        "has nothing but nulls in the column 'length'; build the folder again",
    ),
    "no role": (
        shards("messages", emptied("messages")),
        "has nothing but nulls in the column 'messages.role'; build the folder again",
    ),
    "no outcome": (
        shards("ledger", emptied("outcome")),
        "has nothing but nulls in the column 'outcome'; build the folder again",
    ),
}
READ = {
    "show {0}": ["messages", "lists", "no role"],
    "show {0} --ids": ["tokens"],
    "stats {0}": ["messages", "tokens", "no length", "no role"],
    "explain {0} t1": ["ledger", "missing", "no outcome"],
    "report {0}": ["messages", "tokens", "ledger", "lists", "no role", "no outcome"],
    "diff {0} {1}": ["messages", "tokens", "no role", "no length"],
    "diff {1} {0}": ["messages", "tokens"],
    "pack {0} --max-tokens 500": ["tokens", "lists", "no length"],
    "render {0} --tokenizer bytes --out {0}-new": ["messages", "ledger", "no role", "no outcome"],
}


@pytest.mark.parametrize(
    ("command", "damage"), [(command, name) for command, names in READ.items() for name in names]
)
def test_a_column_of_another_type_is_named(
    whole: Path, tmp_path: Path, command: str, damage: str
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(whole, folder)
    change, words = TYPES[damage]
    change(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = CliRunner().invoke(main, command.format(folder, whole).split())
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 1
    (sentence,) = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    assert f"Error: '{folder}/" in sentence
    assert words in sentence
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_fault_of_chatdata_keeps_its_traceback(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("chatdata.dataset.reader.stats", fails)
    done = CliRunner().invoke(main, ["stats", str(whole)])
    assert isinstance(done.exception, KeyError)
