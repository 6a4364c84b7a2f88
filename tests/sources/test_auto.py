"""The source `auto`: each shape is recognised, read to the letter, and mistaken for no other."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatdata import sources
from chatdata.core import schema
from chatdata.core.errors import SourceError
from chatdata.sources import Batch, File
from chatdata.sources.shapes import SHAPES
from chatdata.steps import filtering, filters, threads, trees
from tests.support.formats import CITY, EXAMPLES, Example, spoken

NAMES = [shape.name for shape in SHAPES]
parts_of_names = pytest.mark.parametrize("names", [NAMES[n::4] for n in range(4)], ids=range(4))


def write(path: Path, example: Example) -> File:
    lines = [json.dumps(record) for record in example.records]
    path.write_text("\n".join(lines))
    return File(path, path.name)


def read(*files: File) -> list[Batch]:
    return list(sources.get("auto").read(files, "auto", "auto"))


def shapes(batches: list[Batch]) -> dict[str, str]:
    return {label: name for batch in batches for label, name in batch.shapes.items()}


def conversations(batches: list[Batch]) -> list[list[tuple[str, Any]]]:
    """The (role, words) of all conversations, those of trees by the policy `all_leaves`."""
    made: list[list[tuple[str, Any]]] = []
    for rows in schema.by_kind(pl.concat([batch.rows for batch in batches])):
        linearize = trees.linearize if schema.is_of_trees(rows) else threads.linearize_turns
        marked = filtering.mark(rows, filters.always())
        messages = linearize(marked, threads.Threads()).messages
        for _, turns in messages.group_by("conversation", maintain_order=True):
            spoken_columns = turns.select("role", "content", "tool_calls").iter_rows()
            made.append([spoken(*row) for row in spoken_columns])
    return made


def test_every_shape_has_an_example_and_a_name_of_its_own() -> None:
    assert len(NAMES) == len(set(NAMES)) >= 60
    assert set(EXAMPLES) == set(NAMES)


def test_the_table_of_the_docs_has_every_shape() -> None:
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    rows = [line.split(" | ")[0].removeprefix("| ") for line in page.splitlines() if " | `" in line]
    assert [name for name in rows if rows.count(name) > 1] == []
    assert set(rows) ^ set(NAMES) == set()


def unlike(change: Callable[[Any], Any]) -> dict[str, list[list[str]]]:
    """The shapes that changed records fit, by the names of those which do not fit theirs alone."""
    fitting = {
        name: [
            [shape.name for shape in SHAPES if shape.fits(change(record))]
            for record in example.records
        ]
        for name, example in EXAMPLES.items()
    }
    return {name: fits for name, fits in fitting.items() if any(fit != [name] for fit in fits)}


def test_an_example_fits_its_shape_and_no_other() -> None:
    assert unlike(lambda record: record) == {}


def test_an_example_is_read_to_the_letter(tmp_path: Path) -> None:
    for name, example in EXAMPLES.items():
        file = f"{name}{example.suffix}"
        batches = read(write(tmp_path / file, example))
        assert shapes(batches) == {file: name}
        assert [problem for batch in batches for problem in batch.problems] == [], name
        assert told(batches) == list(map(tuple, example.turns)), name


def told(batches: list[Batch]) -> list[tuple[tuple[str, Any], ...]]:
    return [tuple(turns) for turns in conversations(batches)]


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_keys_does_not_matter(seed: int) -> None:
    assert unlike(lambda record: shuffled(record, random.Random(seed))) == {}


def shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, list):
        return [shuffled(item, chance) for item in value]
    if not isinstance(value, dict):
        return value
    keys = chance.sample(list(value), len(value))
    return {key: shuffled(value[key], chance) for key in keys}


# Lists are no rows, and a column of a table does not hold a text here and a list there.
NO_TABLES = {name for name in NAMES if not isinstance(EXAMPLES[name].records[0], dict)}
NO_TABLES.add("Claude Code session")


@parts_of_names
def test_the_nulls_of_a_table_do_not_matter(tmp_path: Path, names: list[str]) -> None:
    """A table has a column for each key of any of its rows."""
    for name in set(names) - NO_TABLES:
        example = EXAMPLES[name]
        keys = [key for record in example.records for key in record]
        everywhere = dict.fromkeys([*keys, "question", "answer", "messages", "text", "id"])
        records = [{**everywhere, **record} for record in example.records]
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.Table.from_pylist(records), path)
        batches = read(File(path, path.name))
        assert shapes(batches) == {path.name: name}
        assert told(batches) == list(map(tuple, example.turns)), name


def test_files_of_several_shapes_are_read_together(tmp_path: Path) -> None:
    names = ["LIMA", "OASST trees", "ShareGPT", "question and answer"]
    files = [write(tmp_path / f"{n}.jsonl", EXAMPLES[name]) for n, name in enumerate(names)]
    batches = read(*files)
    assert shapes(batches) == {f"{n}.jsonl": name for n, name in enumerate(names)}
    assert len(conversations(batches)) == sum(len(EXAMPLES[name].turns) for name in names)


def test_a_record_of_another_shape_is_refused_by_name(tmp_path: Path) -> None:
    lima, pair = EXAMPLES["LIMA"].records[0], EXAMPLES["question and answer"].records[0]
    batches = read(write(tmp_path / "a.jsonl", Example([lima, lima, pair], [])))
    (problem,) = [problem for batch in batches for problem in batch.problems]
    assert (problem.reason, problem.id) == ("unknown_record", "a.jsonl:3")
    assert sum(batch.conversations for batch in batches) == 2


def test_turns_under_another_key_than_in_the_first_record_are_read(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
    records = [
        {"conversations": turns},
        {"items": turns},
        {"conversations": "none", "items": turns},
    ]
    batches = read(write(tmp_path / "a.jsonl", Example(records, [])))
    assert conversations(batches) == [[("user", "Q"), ("assistant", "A")]] * 3


def test_missing_speakers_under_another_key_keep_their_turns(tmp_path: Path) -> None:
    first = {"conversations": [{"from": "human", "value": "Q"}]}
    odd = {"items": [{"from": None, "value": "Q"}]}
    records = [*[first] * 8, odd, {**odd, "conversations": "none"}]
    batches = read(write(tmp_path / "a.jsonl", Example(records, [])))
    reasons = {problem.reason for batch in batches for problem in batch.problems}
    assert "no_turns" not in reasons
    assert sum(batch.conversations for batch in batches) == 10


def test_what_fits_two_shapes_is_not_guessed(tmp_path: Path) -> None:
    both = {**EXAMPLES["LIMA"].records[0], **EXAMPLES["UltraChat"].records[0]}
    with pytest.raises(SourceError, match="fits 'LIMA' and 'UltraChat'"):
        read(write(tmp_path / "a.jsonl", Example([both], [])))


def test_a_file_of_no_shape_is_described_in_two_lines(tmp_path: Path) -> None:
    record = {"query": "a", "reply": "b", "when": 3, "who": ["x"]}
    with pytest.raises(SourceError) as error:
        read(write(tmp_path / "a.jsonl", Example([record], [])))
    first, second = str(error.value).splitlines()
    assert first.endswith(
        "a.jsonl' has no known shape: its records have query (text), reply (text), when (number), "
        "who (list of text)."
    )
    assert second == (
        "The nearest shape is 'query and response', with 'query' and 'response': there is no "
        "'response'; name the fields in the recipe (`fields`, see docs/formats.md)."
    )


def test_a_file_without_a_record_is_described_by_its_first_problem(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\nnot json\n")
    (tmp_path / "b.json").write_text("[]")
    with pytest.raises(SourceError, match=r"a\.jsonl' holds no record: a\.jsonl:2 is bad_json"):
        read(File(tmp_path / "a.jsonl", "a.jsonl"))
    with pytest.raises(SourceError, match=r"b\.json' holds no record\.$"):
        read(File(tmp_path / "b.json", "b.json"))


def test_a_file_of_no_shape_beside_others_stands_in_the_ledger(tmp_path: Path) -> None:
    known = write(tmp_path / "a.jsonl", EXAMPLES["LIMA"])
    batches = read(known, write(tmp_path / "b.jsonl", Example([{"x": 1}, {"y": 2}], [])))
    problems = [problem for batch in batches for problem in batch.problems]
    assert [problem.reason for problem in problems] == ["unknown_record"] * 2
    assert shapes(batches)["b.jsonl"] == "no known shape"
    assert sum(batch.records for batch in batches) == 3


# ------------------------------------------------------------------------------ texts of templates

TEMPLATED = {
    "guanaco text": ["### Human: a### Human: b", "### Human: a\n### Response: b### Assistant: c"],
    "ChatML text": [
        "<|im_start|>user\na<|im_end|>\nb",
        "<|im_start|>user\na",
        "<|im_start|>judge\na<|im_end|>",
        "<|im_start|>user\na <|im_start|>b<|im_end|>",
    ],
    "Llama 2 text": ["[INST] a [/INST] b [/INST] c", "[INST] a", "[INST] a [/INST] b</s> c"],
    "Llama 3 text": ["<|start_header_id|>user<|end_header_id|>\n\na"],
    "Zephyr text": ["<|user|>\na</s>\n<|assistant|>\nb"],
    "Gemma text": ["<start_of_turn>user\na<end_of_turn>\n<start_of_turn>user\nb<end_of_turn>"],
    "Vicuna text": ["USER: a ASSISTANT: b USER: c ASSISTANT: d</s>", "USER: a ASSISTANT: b"],
}


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in TEMPLATED.items() for text in texts]
)
def test_a_text_that_its_template_does_not_write_is_refused(
    tmp_path: Path, name: str, text: str
) -> None:
    good = EXAMPLES[name].records
    batches = read(write(tmp_path / "a.jsonl", Example([*good, {"text": text}], [])))
    assert shapes(batches) == {"a.jsonl": name}
    (problem,) = [problem for batch in batches for problem in batch.problems]
    assert (problem.reason, problem.id) == ("unknown_record", "a.jsonl:2")
    assert "'text': " in problem.detail


# ----------------------------------------------------------------------------- the same as by name

BY_NAME = {
    "jsonl": ["OpenAI messages", "prompt and completion", "instruction and output"],
    "sharegpt": ["ShareGPT", "ShareGPT items", "conversation of role and content", "Firefly"],
    "oasst": ["OASST trees", "OASST messages", "OASST threads"],
}


@pytest.mark.parametrize(
    ("source", "name"), [(source, name) for source, names in BY_NAME.items() for name in names]
)
def test_what_a_source_reads_auto_reads_as_the_source_does(
    tmp_path: Path, source: str, name: str
) -> None:
    file = write(tmp_path / "a.jsonl", EXAMPLES[name])
    by_name = pl.concat([b.rows for b in sources.get(source).read([file], "x", "x")])
    rows = pl.concat([b.rows for b in sources.get("auto").read([file], "x", "x")])
    assert rows.select(by_name.columns).equals(by_name)


# ------------------------------------------------------------------------------------- long texts

LONG = {
    "guanaco text": ["### Human: a{}### Assistant: b", "### Human: a### Assistant: b{}c"],
    "Alpaca text": ["### Instruction:\na{}### Response:\nb"],
    "Vicuna text": ["USER: a{}ASSISTANT: b</s>"],
    "Human and Assistant text": ["\n\nHuman: a{}\n\nAssistant: b"],
    "Llama 2 text": ["[INST] a{}[/INST] b", "[INST] a [/INST] b{}[INST] c [/INST] d{}x"],
    "ChatML text": ["<|im_start|>user\na{}<|im_end|>{}\n<|im_start|>assistant\nb<|im_end|>"],
    "Gemma text": ["<start_of_turn>user\na{}<end_of_turn>{}\n"],
}


@pytest.mark.parametrize("blank", [" ", "\n", "\n \t"])
@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in LONG.items() for text in texts]
)
@pytest.mark.timeout(20)
def test_long_white_space_takes_no_longer_than_its_length(
    tmp_path: Path, name: str, text: str, blank: str
) -> None:
    record = {"text": text.replace("{}", blank * 200_000)}
    assert shapes(read(write(tmp_path / "a.jsonl", Example([record], [])))) == {"a.jsonl": name}


# ------------------------------------------------------------------------- records that are damaged

ODD: tuple[Any, ...] = (None, "", "x", 3, -1.5, True, [], {}, [3], ["x"], [{}], {"x": 1}, [[]])


def damaged(value: Any, chance: random.Random, odd: Any) -> Any:
    """A value in which something, at any depth, is another value or is missing."""
    if not isinstance(value, dict | list) or not value or chance.random() < 0.15:
        return odd
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = chance.choice(list(keys))
    if chance.random() < 0.1:
        rest = [k for k in keys if k != key]
        return {k: value[k] for k in rest} if isinstance(value, dict) else [value[k] for k in rest]
    changed = damaged(value[key], chance, odd)
    if isinstance(value, dict):
        return {**value, key: changed}
    return [*value[:key], changed, *value[key + 1 :]]


@parts_of_names
@pytest.mark.parametrize("seed", range(4))
def test_no_damage_to_a_record_stops_reading(tmp_path: Path, seed: int, names: list[str]) -> None:
    """A damaged record is read, refused with a reason, or of another shape; nothing else."""
    for name in names:
        chance, records = random.Random(f"{name} {seed}"), EXAMPLES[name].records
        bad = []
        for odd in ODD:
            at = chance.randrange(len(records))
            bad += [*records[:at], damaged(records[at], chance, odd), *records[at + 1 :]]
        with contextlib.suppress(SourceError):
            batches = read(write(tmp_path / f"{name}.jsonl", Example([*records, *bad], [])))
            assert sum(batch.records for batch in batches) == len(records) + len(bad)
            rows = pl.concat([batch.rows for batch in batches])
            assert rows.filter(pl.col("role").is_null() & pl.col("note").is_null()).is_empty()
            conversations(batches)


# ------------------------------------------------------------------------------- parts of vendors


def words_of(tmp_path: Path, record: Any) -> list[tuple[Any, ...]]:
    batches = read(write(tmp_path / "a.jsonl", Example([record], [])))
    rows = pl.concat([batch.rows for batch in batches])
    columns = ("role", "reasoning", "content", "tool_calls", "note")
    return list(rows.select(columns).iter_rows())


THOUGHT = {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "x"}}}
USE = {"toolUse": {"toolUseId": "t", "name": "weather", "input": {"city": "Oslo"}}}
USED = {"toolResult": {"toolUseId": "t", "content": [{"json": {"degrees": -3}}]}}


def converse(*parts: Any) -> dict[str, Any]:
    asked = {"role": "user", "content": [{"text": "How cold?"}]}
    return {"messages": [asked, {"role": "assistant", "content": list(parts)}]}


def test_parts_of_bedrock_are_carried_or_refused(tmp_path: Path) -> None:
    record = converse(THOUGHT, {"text": "I look."}, USE, {"cachePoint": {"type": "default"}})
    record["messages"].append({"role": "user", "content": [USED, {"text": "Well?"}]})
    _, called, result, asked = words_of(tmp_path, record)
    assert called[:3] == ("assistant", "Hm.", "I look.")
    assert json.loads(called[3])[0]["function"]["arguments"] == {"city": "Oslo"}
    assert (result[0], result[2]) == ("tool", '{"degrees": -3}')
    assert asked[:3] == ("user", None, "Well?")


@pytest.mark.parametrize(
    "part",
    [
        {"reasoningContent": {"redactedContent": "gAAA"}},
        {"image": {"format": "png"}},
        {"toolUse": "weather"},
        {"text": "a", "document": {"name": "b"}},
    ],
)
def test_a_part_of_bedrock_that_cannot_be_carried_is_refused(tmp_path: Path, part: Any) -> None:
    *_, answer = words_of(tmp_path, converse({"text": "a"}, part))
    assert answer[2] is None
    assert "cannot be carried as text" in answer[4]


def gemini(*parts: Any) -> dict[str, Any]:
    asked = {"role": "user", "parts": [{"text": "How cold?"}]}
    return {"contents": [asked, {"role": "model", "parts": list(parts)}]}


def test_parts_of_gemini_are_carried_or_refused(tmp_path: Path) -> None:
    thought = {"text": "Hm.", "thought": True}
    called = {"functionCall": {"name": "weather", "args": CITY}, "thoughtSignature": "x"}
    record = gemini(thought, {"text": "I look.", "thought": False}, called)
    answer = {"name": "weather", "response": {"degrees": -3}}
    record["contents"].append({"role": "user", "parts": [{"functionResponse": answer}]})
    record["tools"] = [{"functionDeclarations": [{"name": "weather", "parameters": {}}]}]
    _, spoken_, result = words_of(tmp_path, record)
    assert spoken_[:3] == ("assistant", "Hm.", "I look.")
    assert json.loads(spoken_[3])[0]["function"]["arguments"] == CITY
    assert (result[0], result[2]) == ("tool", '{"degrees": -3}')


@pytest.mark.parametrize(
    "part",
    [
        {"inlineData": {"mimeType": "image/png", "data": "x"}},
        {"executableCode": {"code": "1"}},
        {"functionCall": {"name": "f"}, "text": "a"},
        "a",
    ],
)
def test_a_part_of_gemini_that_cannot_be_carried_is_refused(tmp_path: Path, part: Any) -> None:
    *_, answer = words_of(tmp_path, gemini({"text": "a"}, part))
    assert answer[2] is None
    assert "cannot be carried as text" in answer[4]


# ------------------------------------------------------------------------ nothing goes in silence

PLANTED = "zz_planted"
# Where an object is a part of content, of a call or of a tool, whose keys are not counted, or holds
# nothing that is read.
INSIDE = frozenset(
    ["content", "parts", "tools", "author", "message", "payload", "products", "params"]
)


# What tells again what is read elsewhere, or what nobody preferred, whose key is counted itself.
AGAIN = {("chat", "messages"), ("non_preferred_output", 0)}


def objects(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of the objects in a record that are no part of a message."""
    if isinstance(value, list):
        return [inner for n, item in enumerate(value) for inner in objects(item, (*path, n))]
    if not isinstance(value, dict):
        return []
    below = [objects(item, (*path, key)) for key, item in value.items() if key not in INSIDE]
    return [path, *(inner for paths in below for inner in paths)]


def planted(value: Any, path: tuple[Any, ...]) -> Any:
    if not path:
        return {**value, PLANTED: "words that nobody reads"}
    key, *rest = path
    changed = planted(value[key], tuple(rest))
    if isinstance(value, dict):
        return {**value, key: changed}
    return [*value[:key], changed, *value[key + 1 :]]


def is_silent(file: File) -> bool:
    """Whether a planted key is neither counted nor a reason to refuse anything."""
    try:
        batches = read(file)
    except SourceError:  # as it is where names are those of the user, not of the shape
        return False
    keys = [key for batch in batches for entry in batch.unread for key in entry.keys]
    problems = [problem for batch in batches for problem in batch.problems]
    notes = [note for batch in batches for note in batch.rows["note"] if note]
    return not (PLANTED in keys or problems or notes)


def test_a_key_that_no_shape_knows_is_counted_or_refused(tmp_path: Path) -> None:
    silent = []
    for name, example in EXAMPLES.items():
        records = list(example.records)
        for number, record in enumerate(records):
            for path in objects(record):
                changed = [*records[:number], planted(record, path), *records[number + 1 :]]
                file = write(tmp_path / "a.jsonl", Example(changed, []))
                if path[:2] not in AGAIN and is_silent(file):
                    silent.append((name, path))
    assert silent == []
