"""The faults of StarChat alpha that have no test elsewhere; the table is in the trainer's README.

`chat/` of bigcode-project/starcoder, June 2023.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import AutoTokenizer

from chatdata import build_dataset, load_recipe
from chatdata.core import constants
from chatdata.core.errors import ChatdataError
from chatdata.dataset import reader
from tests.support.loopback import Hub
from trainer import config
from trainer.data import dataset
from trainer.run import upload

pytestmark = pytest.mark.filterwarnings("ignore")  # other people's deprecations

ROOT = Path(__file__).parent.parent
TABLE = (ROOT / "trainer" / "README.md").read_text().split("\n## Seventeen faults")[1]


def test_each_of_the_seventeen_has_a_test_that_is_there() -> None:
    rows = re.findall(r"^\| (\d+) \|.*`([\w/]+\.py)::(\w+)` \|$", TABLE, re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == list(range(1, 18))
    for _, file, name in rows:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(), name


def build(tmp_path: Path, messages: list[dict[str, str]], *settings: str) -> Path:
    """One conversation, as a dataset without a test split."""
    (tmp_path / "own.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    (tmp_path / "own.yaml").write_text(
        "name: own\nversion: 1.0.0\nsource: {jsonl: {files: [own.jsonl]}}\n"
        "split: {test_percent: 0}\nrender: {template: starchat, tokenizer: bytes}\n"
    )
    build_dataset(load_recipe(tmp_path / "own.yaml", settings), tmp_path / "out")
    return tmp_path / "out"


def rows(folder: Path) -> Any:
    return dataset.train_rows(dataset.find(str(folder)))


def trained(folder: Path) -> list[str]:
    """What is trained of each row, as text."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    return [tokenizer.decode([i for i in labels if i != -100]) for labels in rows(folder)["labels"]]


ASKED = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4."}]


def test_a_value_may_hold_an_equals_sign() -> None:
    recipe = ROOT / "recipes" / "train" / "sample.yaml"
    assert config.load(recipe, ["output=a=b"]).output == "a=b"


def test_a_system_text_is_context(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be brief."}, *ASKED]
    assert trained(build(tmp_path, messages)) == ["4.<|end|>"]


def test_a_conversation_may_end_in_a_question(tmp_path: Path) -> None:
    messages = [*ASKED, {"role": "user", "content": "Why?"}]
    assert trained(build(tmp_path, messages, "threads.end=any")) == ["4.<|end|>"]


def test_no_input_is_ignored(sample: Path) -> None:
    tokens = reader.scan(sample, "tokens").collect()
    assert tokens["input_ids"].explode().min() >= 0  # type: ignore[operator]
    assert tokens["labels"].explode().min() == constants.IGNORE_INDEX
    assert tokens["attention_mask"].explode().unique().to_list() == [1]


@pytest.mark.slow
def test_the_tokenizers_own_special_tokens_stay_special(tmp_path: Path, starcoder: Path) -> None:
    folder = build(tmp_path, ASKED, f"render.tokenizer={starcoder}")
    before, after = (
        AutoTokenizer.from_pretrained(path) for path in (starcoder, folder / "tokenizer")
    )
    for token in ("<fim_prefix>", "<filename>", "<|endoftext|>"):
        ids = after(token).input_ids
        assert ids == before(token).input_ids
        assert after.decode(ids, skip_special_tokens=True) == ""
    assert after.convert_tokens_to_ids(["<|system|>", "<|end|>"]) == [49152, 49155]


def test_what_is_said_of_the_data_holds_none_of_it(sample: Path) -> None:
    described = dataset.describe(dataset.find(str(sample)))
    text = json.dumps(described)
    assert text == json.dumps(dataset.describe(dataset.find(str(sample))))
    for row in reader.scan(sample, "messages").collect().to_dicts():
        for message in row["messages"]:
            assert message["content"][:40] not in text or len(message["content"]) < 10


# ------------------------------------------------------------------------------------- the Hub


@pytest.fixture
def tokens(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens of `me`, who writes for `team` and reads for `press`, in this process's client."""
    orgs: dict[str, Any] = {"orgs": ("team",), "read_only_orgs": ("press",)}
    options = {**orgs, "writes": ("me/named",), "kind": "model"}
    for role in ("write", "read", "fineGrained"):
        hub.store.add_user("me", token=f"hf_{role}", role=role, **options)
    discussing = {**options, "permissions": ("discussion.write",)}
    hub.store.add_user("me", token="hf_discussing", role="fineGrained", **discussing)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)


@pytest.mark.parametrize(
    ("token", "repo", "words"),
    [
        ("write", "team/new", None),
        ("write", "me/new", None),
        ("write", "author/model", "not a member of it: publish to me/... or team/..."),
        ("write", "press/model", "'me' may only read in 'press'"),
        ("read", "me/new", "the token may only read"),
        ("fineGrained", "me/named", None),
        ("fineGrained", "me/new", "the token may not write to 'me/new'"),
        ("discussing", "me/named", "the token may not write to 'me/named'"),
        ("unknown", "me/new", "does not accept this token"),
        ("write", "new", "is not the name of a repository"),
    ],
)
def test_a_repository_that_one_may_not_write_is_refused_beforehand(
    tokens: None, token: str, repo: str, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", f"hf_{token}")
    if words is None:
        assert upload.check_writable(repo) == f"'{repo}' may be written by 'me'"
        return
    with pytest.raises(ChatdataError) as caught:
        upload.check_writable(repo)
    assert words in str(caught.value)


def test_no_recipe_names_a_repository_to_push_to() -> None:
    for path in (ROOT / "recipes" / "train").glob("*.yaml"):
        assert "push" not in path.read_text()
        assert "hub_" not in path.read_text()
