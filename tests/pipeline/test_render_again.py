"""Built folders rendered again: conversations, ids, splits and ledger stay, the tokens are new."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chatdata import build_dataset, load_recipe, render_dataset
from chatdata.core.errors import BuildError, ConfigError, OutputError, RenderError
from chatdata.dataset import manifest, reader
from chatdata.pipeline import engines, pieces
from chatdata.pipeline.add_rendering import add_rendering
from chatdata.verify import dataset_diff, rebuild
from chatdata.verify.verification import verify_folder
from tests.support.builds import ONCE, TALKS, TREES, files, make, rows_of, talk_file, tree_file
from tests.support.carrying import carry
from tests.support.first_format import as_format_1

TEMPLATE = """{% for m in messages %}<|turn_{{ m.role }}|>{% if m.reasoning_content %}<think>
{{ m.reasoning_content }}
</think>{% endif %}{{ m.content or '' }}{% for call in m.tool_calls or () %}
<|call|>{{ call.function.name }}({{ call.function.arguments | tojson }}){% endfor %}<|stop|>
{% endfor %}{% if add_generation_prompt %}<|turn_assistant|>{% endif %}"""

ALL_ROWS = ("render.max_tokens=null", "render.overflow=drop")


@pytest.fixture(params=["trees", "talks"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    if request.param == "trees":
        return TREES, tree_file(tmp_path)
    return TALKS, talk_file(tmp_path, seeds=40)


def ledger_of(folder: Path) -> list[dict[str, Any]]:
    ledger = reader.scan_ledger(folder).collect()
    return ledger.sort(ledger.columns).to_dicts()


def values_of(folder: Path) -> dict[str, Any]:
    values = json.loads((folder / "manifest.json").read_text())
    del values["render"]["certificate"]["sample"]  # of a share of what was left before
    return dict(values)


@pytest.mark.slow
def test_the_same_template_gives_the_same_bytes(tmp_path: Path, case: tuple[str, Path]) -> None:
    built = make(tmp_path, *case, "built", keep_dropped=False)
    render_dataset(built, tmp_path / "again", tokenizer="bytes")
    old, new = files(built), files(tmp_path / "again")
    assert [name for name in old.keys() | new.keys() if old.get(name) != new.get(name)] in (
        [],
        ["manifest.json"],
    )
    assert values_of(built) == values_of(tmp_path / "again")
    verify_folder(tmp_path / "again", everything=True)


@pytest.mark.slow
def test_the_same_rendering_again_is_no_other_build(tmp_path: Path) -> None:
    """A manifest names the folder of a tokenizer without the folders above it."""
    built = make(tmp_path, TALKS, talk_file(tmp_path), "built")
    saved = built / "tokenizer"
    for _ in range(2):
        render_dataset(built, tmp_path / "again", tokenizer=str(saved), template="chatml")
    with pytest.raises(OutputError, match=r"its recipe has render\.template"):
        render_dataset(built, tmp_path / "again", tokenizer=str(saved), template="dialogue")


@pytest.mark.slow
@pytest.mark.parametrize("overflow", ["cut", "split", "drop"])
def test_what_goes_has_the_ledger_that_a_build_writes(
    tmp_path: Path, case: tuple[str, Path], overflow: str, monkeypatch: Any
) -> None:
    text, data = case
    settings = (f"render.max_tokens={60 if text == TREES else 100}", f"render.overflow={overflow}")
    text = text.replace(", {wrong_language: {allow: [en]}}, duplicate", "")
    whole = make(tmp_path, text, data, "whole", *ALL_ROWS)
    built = make(tmp_path, text, data, "built", *ALL_ROWS, *settings, "render.template=chatml")
    monkeypatch.setattr(pieces, "PART_BYTES", 3000)
    again = tmp_path / "again"
    render_dataset(whole, again, tokenizer="bytes", template="chatml", settings=settings)
    assert ledger_of(again) == ledger_of(built)
    for table in ("messages", "tokens"):
        assert rows_of(again, table) == rows_of(built, table)
    assert values_of(again)["counts"] == values_of(built)["counts"]
    assert ledger_of(again) != ledger_of(whole)
    verify_folder(again, everything=True)


@pytest.mark.slow
def test_the_number_of_workers_does_not_show(tmp_path: Path, monkeypatch: Any) -> None:
    built = make(tmp_path, TALKS, talk_file(tmp_path), "built")
    started = started_processes(monkeypatch)
    monkeypatch.setattr(pieces, "PART_BYTES", 8000)
    for workers in (1, 2):
        out = tmp_path / str(workers)
        render_dataset(built, out, tokenizer="bytes", template="dialogue", workers=workers)
    assert started == [1, 2]
    assert files(tmp_path / "1") == files(tmp_path / "2")


def test_a_small_folder_is_rendered_in_one_process(
    sample: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    started = started_processes(monkeypatch)
    render_dataset(sample, tmp_path / "o", tokenizer="bytes", template="dialogue", workers=8)
    add_rendering(sample, tmp_path / "b", tokenizer="bytes", template="chatml", name="b", workers=8)
    assert len(list(manifest.read(sample).splits.items())) > 1
    assert started == [1, 1]


def started_processes(monkeypatch: Any) -> list[int]:
    """The numbers of processes that are started from now on."""
    numbers: list[int] = []
    start = engines.start

    def counted(name: str, workers: int) -> Any:
        numbers.append(workers)
        return start(name, workers)

    monkeypatch.setattr(engines, "start", counted)
    return numbers


# ------------------------------------------------------------------------ what may be learnt

TALK = [
    {"role": "user", "content": "What is the weather in Turin?"},
    {
        "role": "assistant",
        "content": None,
        "reasoning_content": "I have to look.",
        "tool_calls": [
            {"type": "function", "function": {"name": "weather", "arguments": {"place": "Turin"}}}
        ],
    },
    {"role": "tool", "content": "rain", "name": "weather"},
    {"role": "assistant", "content": "It rains."},
    {"role": "user", "content": "Sure?"},
    {"role": "assistant", "content": "I guess.", "train": False},
    {"role": "user", "content": "No, sure?"},
    {"role": "assistant", "content": "Yes."},
]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
PLAIN = [{"role": "user", "content": "Hi!"}, {"role": "assistant", "content": "Hello."}]
RECIPE = """
name: tools
version: 1.0.0
source: {{jsonl: {{files: [{path}], license: CC0-1.0}}}}
render: {{tokenizer: {tokenizer}, template: tokenizer}}
max_dropped: 1.0
"""


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A built folder of a conversation with tools, and a plain conversation."""
    path = tmp_path / "talks.jsonl"
    talks = [{"id": "tools", "messages": TALK, "tools": TOOLS}, {"id": "plain", "messages": PLAIN}]
    path.write_text("\n".join(map(json.dumps, talks)))
    tokenizer = carry(None, TEMPLATE, tmp_path / "carrying")
    (tmp_path / "r.yaml").write_text(RECIPE.format(path=path, tokenizer=tokenizer))
    build_dataset(load_recipe(tmp_path / "r.yaml"), tmp_path / "built")
    return tmp_path / "built"


@pytest.mark.slow
@pytest.mark.parametrize("template", ["starchat", "chatml"])
def test_a_conversation_with_tools_by_built_in_templates(
    tmp_path: Path, tools: Path, template: str
) -> None:
    again = tmp_path / "again"
    manifest = render_dataset(tools, again, tokenizer="bytes", template=template)
    verify_folder(again, everything=True)
    assert rows_of(again) == rows_of(tools)
    assert manifest.rendering.template.name == template
    before = json.loads((tools / "manifest.json").read_text())
    assert manifest["sources"] == before["sources"]
    assert manifest["license"] == before["license"]
    difference = dataset_diff.between(tools, again)
    assert (difference.rows["the_same"], difference.rows["changed"]) == (0, 0)
    assert difference.rows["retokenised"] == manifest.splits.total("rows") == 2


@pytest.mark.slow
def test_back_to_the_carried_template_gives_the_first_tokens(tmp_path: Path, tools: Path) -> None:
    render_dataset(tools, tmp_path / "chatml", tokenizer="bytes", template="chatml")
    carrying = str(tmp_path / "carrying")
    again = tmp_path / "again"
    render_dataset(tmp_path / "chatml", again, tokenizer=carrying, template="tokenizer")
    tokens = {name: data for name, data in files(tools).items() if name.startswith("tokens/")}
    assert tokens == {n: data for n, data in files(again).items() if n.startswith("tokens/")}
    assert tokens


@pytest.mark.slow
def test_what_the_template_refuses_is_in_the_ledger(tmp_path: Path, tools: Path) -> None:
    refusing = TEMPLATE.replace(
        "{% for m in messages %}",
        "{% if tools %}{{ raise_exception('no tools') }}{% endif %}{% for m in messages %}",
    )
    tokenizer = carry(None, refusing, tmp_path / "refusing")
    again = tmp_path / "again"
    manifest = render_dataset(tools, again, tokenizer=str(tokenizer), template="tokenizer")
    counts = manifest.counts.conversations
    assert (counts.read, counts.kept, counts.dropped) == (2, 1, {"unrenderable": 1})
    assert manifest.counts.messages.dropped == {"unrenderable": len(TALK)}
    (refused,) = reader.explain(again, "tools").filter(unit="conversation").to_dicts()
    assert refused["reason"] == "unrenderable"
    assert "no tools" in refused["detail"]
    verify_folder(again, everything=True)


# ------------------------------------------------------------------------------------- refusals


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path, tools: Path) -> None:
    before = files(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(OutputError, match="a folder that chatdata did not build"):
        render_dataset(tools, tmp_path / "mine", tokenizer="bytes", template="chatml")
    strict = ("max_dropped=0", "render.max_tokens=12")
    with pytest.raises(BuildError, match="would be dropped"):
        render_dataset(tools, tmp_path / "x", tokenizer="bytes", template="chatml", settings=strict)
    with pytest.raises(RenderError):
        render_dataset(tools, tmp_path / "x", tokenizer="bytes", template="tokenizer")
    with pytest.raises(ConfigError, match=r"only `render\.KEY`"):
        render_dataset(tools, tmp_path / "x", tokenizer="bytes", settings=["drop=[]"])
    (tmp_path / "mine" / "notes.txt").unlink()
    assert files(tmp_path) == before


@pytest.mark.slow
def test_bins_of_the_recipe_are_packed_again(tmp_path: Path) -> None:
    settings = ("pack.max_tokens=3000",)
    built = make(tmp_path, TALKS, talk_file(tmp_path), "built", *settings)
    manifest = render_dataset(built, tmp_path / "again", tokenizer="bytes", template="starchat")
    assert {entry.max_tokens for entry in manifest.packs} == {3000}
    verify_folder(tmp_path / "again", everything=True)


# ----------------------------------------------------------------------------------- format 1


@pytest.mark.slow
def test_answers_without_labels_are_not_learnt_from_a_folder_of_format_1(tmp_path: Path) -> None:
    built = make(tmp_path, ONCE, tree_file(tmp_path), "built")
    flags = [turn["train"] for row in rows_of(built) for turn in row["messages"]]
    roles = [turn["role"] for row in rows_of(built) for turn in row["messages"]]
    assert flags.count(True) < roles.count("assistant")
    first = as_format_1(built, tmp_path / "first")
    render_dataset(first, tmp_path / "again", tokenizer="bytes", template="chatml")
    render_dataset(built, tmp_path / "wanted", tokenizer="bytes", template="chatml")
    is_answer = pl.col("role") == "assistant"
    for table in ("messages", "tokens"):
        again, wanted = (rows_of(tmp_path / name, table) for name in ("again", "wanted"))
        if table == "messages":  # of a question, format 1 does not state it
            again, wanted = _answers(again, is_answer), _answers(wanted, is_answer)
        assert again == wanted
    verify_folder(tmp_path / "again", everything=True)


def _answers(rows: list[dict[str, Any]], is_answer: pl.Expr) -> list[dict[str, Any]]:
    return pl.DataFrame(rows).explode("messages").unnest("messages").filter(is_answer).to_dicts()


@pytest.mark.slow
def test_without_tokens_every_answer_of_format_1_may_be_learnt(tmp_path: Path) -> None:
    built = make(tmp_path, TALKS, talk_file(tmp_path), "built", "render=null")
    first = as_format_1(built, tmp_path / "first")
    manifest = render_dataset(first, tmp_path / "again", tokenizer="bytes", template="chatml")
    assert manifest.rendering.trained_tokens > 0
    for row in rows_of(tmp_path / "again"):
        assert all(turn["train"] == (turn["role"] == "assistant") for turn in row["messages"])
    verify_folder(tmp_path / "again", everything=True)


@pytest.mark.slow
def test_a_ledger_that_names_no_turns_does_for_numbered_messages_alone(tmp_path: Path) -> None:
    settings = ("render.max_tokens=100", "render.overflow=cut", "max_dropped=1")
    talks = make(tmp_path, TALKS, talk_file(tmp_path), "talks", *ALL_ROWS)
    first = as_format_1(talks, tmp_path / "first")
    for name, folder in (("again", first), ("wanted", talks)):
        render_dataset(folder, tmp_path / name, tokenizer="bytes", settings=settings)
    again, wanted = (
        [{**row, "detail": row["reason"] and row["detail"]} for row in ledger_of(tmp_path / name)]
        for name in ("again", "wanted")
    )
    assert again == wanted
    trees = make(tmp_path, ONCE, tree_file(tmp_path), "trees")
    first = as_format_1(trees, tmp_path / "first-trees")
    shorter = ("render.max_tokens=50", *settings[1:])
    with pytest.raises(OutputError, match="build the folder again"):
        render_dataset(first, tmp_path / "x", tokenizer="bytes", settings=shorter)


@pytest.mark.slow
def test_a_build_from_the_new_recipe_writes_the_same_bytes(tmp_path: Path) -> None:
    data = talk_file(tmp_path)
    built = make(tmp_path, TALKS, data, "built", *ALL_ROWS)
    again = tmp_path / "again"
    render_dataset(built, again, tokenizer="bytes", template="starchat")
    assert rebuild.problems(again, inputs=[str(data)], settings=["render.tokenizer=bytes"]) == []
