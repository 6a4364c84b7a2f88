"""Renderings added to a built folder: what it holds stays, and the new tokens stand beside it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatdata import add_rendering, build_dataset, load_recipe, read_manifest, render_dataset
from chatdata.core.errors import BuildError, ConfigError, RenderError
from chatdata.core.hashing import sha256_file
from chatdata.dataset import card, reader
from chatdata.dataset.shards import PARQUET
from chatdata.pipeline import pieces
from chatdata.verify import added, rebuild, recount
from chatdata.verify.verification import verdicts_on, verify_folder
from tests.support.builds import ONCE, TALKS, TREES, files, make, rows_of, talk_file, tree_file
from tests.support.first_format import as_format_1

ALL_ROWS = ("render.max_tokens=null", "render.overflow=drop")
TINY = ["render.max_tokens=12", "max_dropped=0"]
CHANGING = {"manifest.json", "README.md", "croissant.json"}


@pytest.fixture(scope="module", params=["trees", "talks"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "trees":
        return make(folder, TREES, tree_file(folder), "built", *ALL_ROWS)
    return make(folder, TALKS, talk_file(folder, seeds=40), "built", *ALL_ROWS)


@pytest.fixture
def built(original: Path, tmp_path: Path) -> Path:
    """A folder to add to."""
    return Path(shutil.copytree(original, tmp_path / "built"))


def short(folder: Path, overflow: str = "drop") -> dict[str, Any]:
    """The options of a rendering that leaves out some conversations of a folder."""
    limit = 60 if read_manifest(folder).name == "t" else 100
    settings = (f"render.max_tokens={limit}", f"render.overflow={overflow}", "max_dropped=1")
    return {"tokenizer": "bytes", "template": "dialogue", "settings": settings}


def table(folder: Path, name: str) -> dict[str, bytes]:
    """The files of a table, by their names in its folder."""
    held = files(folder).items()
    return {path.partition("/")[2]: data for path, data in held if path.startswith(f"{name}/")}


# ---------------------------------------------------------------------------------- what is added


@pytest.mark.slow
@pytest.mark.parametrize("overflow", ["cut", "split", "drop"])
def test_the_tokens_are_those_of_the_folder_rendered_apart(
    built: Path, tmp_path: Path, overflow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is left out is what goes from the ledger of that folder, to the word."""
    chosen = short(built, overflow)
    before = reader.scan_ledger(built).collect()
    apart = render_dataset(built, tmp_path / "apart", **chosen)
    monkeypatch.setattr(pieces, "PART_BYTES", 10_000)
    entry = add_rendering(built, name="short", **chosen).renders["short"]

    assert table(built, "tokens-short") == table(tmp_path / "apart", "tokens")
    assert table(built, "tokenizer-short") == table(tmp_path / "apart", "tokenizer")
    assert entry.render == apart.render
    for split, figures in apart.splits.items():
        same = entry.splits.get(split)
        assert same is not None
        assert (same.rows, same.tokens) == (figures.rows, figures.tokens)
        assert (same.token_rows, same.trained_tokens) == (
            figures.token_rows,
            figures.trained_tokens,
        )
    after = reader.scan_ledger(tmp_path / "apart").collect()
    gone_since = after.filter((before["outcome"] == "kept") & (after["outcome"] == "dropped"))
    assert reader.scan_left_out(built, "short").collect().equals(gone_since)
    assert gone_since.height or overflow == "split"
    verify_folder(built, everything=True)


@pytest.mark.slow
def test_what_the_folder_holds_stays_and_two_runs_give_the_same_bytes(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(built)
    monkeypatch.setattr(pieces, "PART_BYTES", 10_000)
    chosen = {**short(built), "name": "b"}
    add_rendering(built, tmp_path / "copy", workers=2, **chosen)
    assert files(built) == before
    add_rendering(built, **chosen)
    after = files(built)
    assert after == files(tmp_path / "copy")
    assert {name for name in before if after[name] != before[name]} == CHANGING
    add_rendering(built, tokenizer="bytes", template="starchat", name="c")
    assert list(read_manifest(built).renders) == ["b", "c"]
    again = files(built)
    assert {name for name in after if again[name] != after[name]} == CHANGING
    verify_folder(built)


@pytest.mark.slow
def test_counts_say_what_is_left_out_and_explain_says_why(built: Path) -> None:
    manifest = add_rendering(built, name="short", **short(built))
    counts = manifest.renders["short"].counts
    assert counts.conversations.read == manifest.counts.conversations.kept
    assert counts.messages.read == manifest.counts.messages.kept
    left_out = reader.scan_left_out(built, "short").collect()
    for unit, count in counts.items():
        assert count.read == count.kept + sum(count.dropped.values())
        assert left_out.filter(unit=unit.removesuffix("s")).height == sum(count.dropped.values())
    id = left_out.filter(unit="conversation", reason="too_long")["id"][0]
    kept, dropped = reader.explain(built, id).filter(unit="conversation").to_dicts()
    assert (kept["outcome"], kept["rendering"]) == ("kept", None)
    assert (dropped["reason"], dropped["rendering"]) == ("too_long", "short")
    assert "allowed" in dropped["detail"]
    assert id in [row["id"] for row in rows_of(built)]
    page = (built / card.PAGE).read_text()
    assert f"{counts.conversations.dropped['too_long']} `too_long`" in page


# -------------------------------------------------------------------------------- how it is added


def test_the_name_is_that_of_the_template_and_is_taken_once(tmp_path: Path, sample: Path) -> None:
    copy = tmp_path / "copy"
    assert list(add_rendering(sample, copy, tokenizer="bytes", template="chatml").renders) == [
        "chatml"
    ]
    before = files(tmp_path)
    for name, words in (
        (None, "has a rendering 'chatml' already; choose another with --name"),
        ("starchat", "has a rendering 'starchat' already"),  # that of the build
        ("Qwen", "--name Qwen: a name is lower-case letters"),
        ("a/b", "--name a/b: a name is lower-case letters"),
        ("tokens", "--name tokens: the rows of a rendering stand in tokens-NAME"),
        ("tokens-a", "--name tokens-a: the rows of a rendering stand in tokens-NAME"),
    ):
        with pytest.raises(ConfigError, match=words):
            add_rendering(copy, tokenizer="bytes", template="chatml", name=name)
    (copy / "tokens-mine").mkdir()
    with pytest.raises(ConfigError, match="tokens-mine' is there already"):
        add_rendering(copy, tokenizer="bytes", name="mine")
    (copy / "tokens-mine").rmdir()
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("error", "words", "options"),
    [
        (BuildError, 'would be dropped.*, mostly "[0-9]+ tokens, 12 allowed"', {"settings": TINY}),
        (RenderError, "chat template", {"template": "tokenizer"}),
        (ConfigError, r"only `render\.KEY`", {"settings": ["drop=[]"]}),
    ],
)
def test_a_folder_is_changed_whole_or_not_at_all(
    sample: Path, tmp_path: Path, error: type[Exception], words: str, options: dict[str, Any]
) -> None:
    before = files(sample)
    with pytest.raises(error, match=words):
        add_rendering(sample, **{"tokenizer": "bytes", "name": "new", **options})
    assert files(sample) == before
    assert [path.name for path in sample.parent.iterdir()] == [sample.name]


@pytest.mark.slow
def test_what_users_wrote_on_the_card_stays(sample: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    add_rendering(sample, copy, tokenizer="bytes", name="a")
    page = (copy / card.PAGE).read_text()
    assert page == card.text(read_manifest(copy))
    edited = page.replace("tags: [", "tags: [mine, ") + "\nWords of mine.\n"
    (copy / card.PAGE).write_text(edited)
    (copy / "notes.txt").write_text("mine")
    after = add_rendering(copy, tokenizer="bytes", template="chatml", name="b")
    page = (copy / card.PAGE).read_text()
    assert page.endswith("\nWords of mine.\n")
    assert "tags: [mine, " in page
    assert "config_name: tokens-b" in page
    assert (copy / "notes.txt").read_text() == "mine"
    assert list(after.renders) == ["a", "b"]
    verify_folder(copy)


@pytest.mark.slow
def test_a_folder_without_tokens_takes_renderings(tmp_path: Path) -> None:
    build_dataset(load_recipe("sample", ["render=null"]), tmp_path / "plain")
    manifest = add_rendering(tmp_path / "plain", tokenizer="bytes", template="chatml")
    assert manifest.render is None
    assert table(tmp_path / "plain", "tokens-chatml")
    verify_folder(tmp_path / "plain", everything=True)


@pytest.mark.slow
def test_a_folder_of_format_1_learns_what_its_labels_say(tmp_path: Path) -> None:
    first = as_format_1(make(tmp_path, ONCE, tree_file(tmp_path), "built"), tmp_path / "first")
    chosen: Any = {"tokenizer": "bytes", "template": "chatml"}
    apart = render_dataset(first, tmp_path / "apart", **chosen)
    manifest = add_rendering(first, **chosen)
    assert manifest.format == 1
    assert table(first, "tokens-chatml") == table(tmp_path / "apart", "tokens")
    assert manifest.renders["chatml"].render == apart.render
    assert list(added.count_problems(first, manifest)) == []
    assert list(added.rendered_problems(first, manifest, everything=True)) == []


@pytest.mark.slow
def test_weights_and_variables_of_conversations_are_those_of_the_folder(tmp_path: Path) -> None:
    talks = [
        {
            "id": str(number),
            "messages": [
                {"role": "user", "content": "Hi!"},
                {"role": "assistant", "content": "Hello.", **weight},
                {"role": "user", "content": "And?" * number},
                {"role": "assistant", "content": "Well."},
            ],
        }
        for number, weight in enumerate([{}, {"weight": 0.5}, {"weight": 2}] * 10)
    ]
    (tmp_path / "talks.jsonl").write_text("\n".join(map(json.dumps, talks)))
    text = "name: s\nversion: 1.0.0\nsource: {jsonl: {}}\nrender: {tokenizer: bytes}\n"
    built = make(tmp_path, text, tmp_path / "talks.jsonl", "built", "max_dropped=1")
    assert read_manifest(built).weighted_messages == 20
    limit = ["render.max_tokens=90", "render.overflow=cut"]
    chosen: Any = {"tokenizer": "bytes", "template": "chatml", "settings": limit}
    render_dataset(built, tmp_path / "apart", **chosen)
    add_rendering(built, **chosen)
    assert table(built, "tokens-chatml") == table(tmp_path / "apart", "tokens")
    assert {0.5, 2.0} <= set(reader.scan(built, "tokens-chatml").collect()["weights"].explode())
    verify_folder(built, everything=True)


# ------------------------------------------------------------------------------------- verified


@pytest.fixture(scope="module")
def with_short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trees with an added rendering that leaves some out."""
    folder = tmp_path_factory.mktemp("short")
    built = make(folder, TREES, tree_file(folder), "built", *ALL_ROWS)
    add_rendering(built, name="short", **short(built))
    assert failed(built) == {}
    return built


def sign(folder: Path) -> None:
    """Makes the manifest name the files as they are."""
    values = json.loads((folder / "manifest.json").read_text())
    for file in values["files"]:
        file["sha256"] = sha256_file(folder / file["path"])
        file["rows"] = pq.read_metadata(folder / file["path"]).num_rows
    (folder / "manifest.json").write_text(json.dumps(values))
    for name, text in card.pages(read_manifest(folder)).items():
        (folder / name).write_text(text)


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path, **PARQUET)


def failed(folder: Path, everything: bool = True) -> dict[str, str]:
    verdicts = verdicts_on(folder, everything=everything)
    return {v.check: v.problems[0] for v in verdicts if v.outcome == "failed"}


def _other_token(rows: pa.Table) -> pa.Table:
    frame = pl.DataFrame(rows)
    changed = pl.col("input_ids").list.eval(pl.element() + 1)
    return frame.with_columns(input_ids=changed, labels=changed).to_arrow().cast(rows.schema)


def _other_reason(rows: pa.Table) -> pa.Table:
    frame = pl.DataFrame(rows)
    return frame.with_columns(reason=pl.lit("unrenderable")).to_arrow().cast(rows.schema)


TOKENS = "tokens-short/train-00000-of-00001.parquet"
LEFT_OUT = "ledger-short/ledger-00000-of-00001.parquet"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "change", "words"),
    [
        (TOKENS, lambda rows: rows.slice(1), "has no row of tokens-short before row"),
        (TOKENS, _other_token, "short: trained_tokens of train|short: content_hash|short: row '"),
        (LEFT_OUT, lambda rows: rows.slice(1), "short: conversations left out|has no row"),
        (LEFT_OUT, _other_reason, "short: messages left out"),
    ],
)
def test_a_table_that_was_tampered_with_is_seen(
    with_short: Path, tmp_path: Path, path: str, change: Any, words: str
) -> None:
    folder = shutil.copytree(with_short, tmp_path / "copy")
    rewrite(folder / path, change)
    assert list(failed(folder)) == ["hashes"]
    sign(folder)
    problems = failed(folder)
    assert list(problems) == ["renderings"]
    assert re.search(words, problems["renderings"]), problems


def forge(folder: Path) -> None:
    """Makes the manifest agree with all of the rendering that can be counted and hashed."""
    sign(folder)
    values = json.loads((folder / "manifest.json").read_text())
    entry = values["renders"]["short"]
    counted = recount.count_added(folder, read_manifest(folder), "short")
    entry["content_hash"] = counted.content_hash()
    left_out = reader.scan_left_out(folder, "short").collect()
    for unit, count in entry["counts"].items():
        reasons = left_out.filter(unit=unit.removesuffix("s"))["reason"]
        count["dropped"] = dict(reasons.value_counts().iter_rows())
    (folder / "manifest.json").write_text(json.dumps(values))
    for name, text in card.pages(read_manifest(folder)).items():
        (folder / name).write_text(text)


def _next_ids(rows: pa.Table) -> pa.Table:
    """Rows whose trained tokens are others, with labels and sums that fit them."""
    frame = pl.DataFrame(rows)
    lists = frame.select("input_ids", "labels").to_dicts()
    for row in lists:
        is_trained = [label != -100 for label in row["labels"]]
        for name in row:
            row[name] = [n + t for n, t in zip(row[name], is_trained, strict=True)]
    columns = {name: pl.Series([row[name] for row in lists]) for name in lists[0]}
    return frame.with_columns(**columns).to_arrow().cast(rows.schema)


def _fewer_labels(rows: pa.Table) -> pa.Table:
    """Rows in which another token is trained than the first of an answer."""
    frame = pl.DataFrame(rows)
    lists = frame.select("input_ids", "labels").to_dicts()
    for row in lists:
        first = next(n for n, label in enumerate(row["labels"]) if label != -100)
        row["labels"][first], row["labels"][first - 1] = -100, row["input_ids"][first - 1]
    labels = pl.Series([row["labels"] for row in lists])
    return frame.with_columns(labels=labels).to_arrow().cast(rows.schema)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "change", "words"),
    [
        (TOKENS, _next_ids, "its ids are not what the template makes of its messages"),
        (TOKENS, _fewer_labels, "its labels are not those of whole answers"),
        (LEFT_OUT, _other_reason, "its ledger says unrenderable, but it is too_long"),
    ],
)
def test_a_forgery_is_seen_when_rows_are_rendered_again(
    with_short: Path, tmp_path: Path, path: str, change: Any, words: str
) -> None:
    folder = shutil.copytree(with_short, tmp_path / "copy")
    rewrite(folder / path, change)
    forge(folder)
    for everything in (False, True):
        problems = failed(folder, everything)
        assert list(problems) == ["rerendered"]
        assert words in problems["rerendered"]


@pytest.mark.slow
def test_a_build_and_its_renderings_again_are_the_same_bytes(tmp_path: Path) -> None:
    data = talk_file(tmp_path, seeds=40)
    built = make(tmp_path, TALKS, data, "built", *ALL_ROWS)
    add_rendering(built, **short(built))
    assert rebuild.problems(built, inputs=[str(data)]) == []
    values = json.loads((built / "manifest.json").read_text())
    values["renders"]["dialogue"]["options"]["max_tokens"] = 70
    (built / "manifest.json").write_text(json.dumps(values))
    problems = rebuild.problems(built, inputs=[str(data)])
    assert any("tokens-dialogue/train-00000" in problem for problem in problems)
