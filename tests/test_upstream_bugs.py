"""The faults of StarChat alpha that have no test elsewhere; the table is in the trainer's README.

`chat/` of bigcode-project/starcoder, June 2023.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import AutoTokenizer

from chatdata import build_dataset, dataset, load_recipe, manifest
from chatdata.errors import ChatdataError
from trainer import config, data, push

pytestmark = pytest.mark.filterwarnings("ignore")  # other people's deprecations

ROOT = Path(__file__).parent.parent
TABLE = (ROOT / "trainer" / "README.md").read_text().split("\n## Seventeen faults")[1]


def test_each_of_the_seventeen_has_a_test_that_is_there() -> None:
    rows = re.findall(r"^\| (\d+) \|.*`(\w+\.py)::(\w+)` \|$", TABLE, re.MULTILINE)
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
    return data.load_tokens(folder, manifest.read(folder), "train")


def trained(folder: Path) -> list[str]:
    """What is trained of each row, as text."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    return [tokenizer.decode([i for i in labels if i != -100]) for labels in rows(folder)["labels"]]


ASKED = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4."}]


def test_a_value_may_hold_an_equals_sign() -> None:
    recipe = ROOT / "recipes" / "train" / "sample.yaml"
    assert config.load(recipe, ["output=a=b"]).output == "a=b"


def test_a_system_text_is_context(tmp_path: Path) -> None:
    said = [{"role": "system", "content": "Be brief."}, *ASKED]
    assert trained(build(tmp_path, said)) == ["4.<|end|>"]


def test_a_conversation_may_end_in_a_question(tmp_path: Path) -> None:
    said = [*ASKED, {"role": "user", "content": "Why?"}]
    assert trained(build(tmp_path, said, "threads.end=any")) == ["4.<|end|>"]


def test_no_input_is_ignored(sample: Path) -> None:
    tokens = dataset.scan(sample, "tokens").collect()
    assert tokens["input_ids"].explode().min() >= 0  # type: ignore[operator]
    assert tokens["labels"].explode().min() == manifest.IGNORE_INDEX
    assert tokens["attention_mask"].explode().unique().to_list() == [1]


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
    described = data.describe(data.find(str(sample)))
    said = json.dumps(described)
    assert said == json.dumps(data.describe(data.find(str(sample))))
    for row in dataset.scan(sample, "messages").collect().to_dicts():
        for message in row["messages"]:
            assert message["content"][:40] not in said or len(message["content"]) < 10


# ------------------------------------------------------------------------------------- the Hub


class _Hub(BaseHTTPRequestHandler):
    """A user `me` of the organisation `team`, one repository of theirs, one of another's."""

    answers = {  # noqa: RUF012
        "/api/whoami-v2": (200, {"name": "me", "type": "user", "orgs": [{"name": "team"}]}),
        "/api/models/team/there/auth-check/write": (200, {}),
        "/api/models/author/model/auth-check/write": (403, {"error": "Forbidden"}),
    }

    def log_message(self, format: str, *args: object) -> None:
        return

    def do_GET(self) -> None:
        status, body = self.answers.get(self.path, (404, {"error": "Repository not found"}))
        content = json.dumps(body).encode()
        self.send_response(status)
        if status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    yield
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("repo", ["team/there", "team/new", "me/new"])
def test_a_repository_that_one_may_write_is_found(hub: None, repo: str) -> None:
    assert repo in push.check_writable(repo)


@pytest.mark.parametrize(
    ("repo", "words"),
    [("author/model", "cannot be written"), ("author/new", "it is of me, team")],
)
def test_a_repository_that_one_may_not_write_is_refused_beforehand(
    hub: None, repo: str, words: str
) -> None:
    with pytest.raises(ChatdataError) as caught:
        push.check_writable(repo)
    assert words in str(caught.value)


def test_no_recipe_names_a_repository_to_push_to() -> None:
    for path in (ROOT / "recipes" / "train").glob("*.yaml"):
        assert "push" not in path.read_text()
        assert "hub_" not in path.read_text()
