"""The trainer's datasets by name: a version of the Hub is one commit, checked and remembered."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chatdata.dataset import manifest
from tests.support.loopback import Hub
from tests.support.loopback.clients import ROOT, Clients, Done, environment
from tests.support.publishing import ADA, pushed, repository
from trainer.data import published

LOCATE = """
import json
from trainer.data.published import locate
from chatdata.core.errors import ChatdataError
try:
    found = locate({dataset!r}, {allow})
    print(json.dumps([str(found.folder), found.provenance, str(found)]))
except ChatdataError as error:
    raise SystemExit(str(error))
"""


def locate(client: Clients, dataset: str, allow: bool = False) -> Done:
    return client.run(code=LOCATE.format(dataset=dataset, allow=allow), token=ADA)


@pytest.mark.slow
def test_a_version_is_resolved_downloaded_and_named(
    hub: Hub, client: Clients, sample: Path
) -> None:
    pushed(client, sample, "ada/learnt", "1.0.0")
    published_repository = repository(hub, "ada/learnt")
    done = locate(client, "ada/learnt@1.0.0")
    assert done.code == 0, done.stdout
    folder, provenance, text = done.json()
    expected = manifest.read(sample)
    assert provenance == {
        "repo": "ada/learnt",
        "tag": "v1.0.0",
        "commit": published_repository.tags["v1.0.0"],
        "version": "1.0.0",
        "content_hash": expected.content_hash,
    }
    assert published_repository.tags["v1.0.0"] in text
    assert expected.content_hash in text
    for path in manifest.hashes(expected):
        assert (Path(folder) / path).read_bytes() == (sample / path).read_bytes()
    hub.log.clear()
    assert locate(client, f"ada/learnt@{published_repository.tags['v1.0.0']}").json()[0] == folder
    assert not hub.log  # a commit that is in the cache is not asked for


@pytest.mark.slow
def test_a_branch_is_not_trained_on_unless_it_is_allowed(
    hub: Hub, client: Clients, few_rows: Path
) -> None:
    pushed(client, few_rows, "ada/moving", "1.0.0")
    refused = locate(client, "ada/moving@main")
    assert refused.code == 1
    assert locate(client, "ada/moving@main", allow=True).json()[1]["tag"] is None
    assert "allow_moving_revision: true in a train recipe" in refused.stderr


@pytest.mark.parametrize("name", ["out/sample-1.0.0", "here"])
def test_a_folder_is_a_folder(tmp_path: Path, name: str) -> None:
    assert published.locate(str(tmp_path / name)) == published.Located(tmp_path / name)


def test_a_folder_whose_name_has_an_at_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "org" / "name@1.0.0").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert published.locate("org/name@1.0.0").provenance is None


@pytest.mark.slow
def test_a_model_says_which_version_it_learnt_from(
    hub: Hub, client: Clients, sample: Path, tmp_path: Path
) -> None:
    for package in ("torch", "transformers"):
        pytest.importorskip(package)
    pushed(client, sample, "ada/taught", "1.0.0")
    config = "model={config: {model_type: gpt_bigcode, n_layer: 1, n_head: 2, n_embd: 16}}"
    settings = ["dataset=ada/taught@1.0.0", config, f"output={tmp_path}", "deepspeed=null"]
    settings += ["training.max_steps=1"]
    command = [sys.executable, "-m", "trainer.train", str(ROOT / "recipes/train/sample.yaml")]
    command += [text for setting in settings for text in ("--set", setting)]
    command += ["--push", "ada/pupil"]
    variables = environment(hub.endpoint, tmp_path / "home", HF_TOKEN=ADA)
    done = subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    provenance = json.loads((tmp_path / "chatdata.json").read_text())["dataset"]["provenance"]
    commit = repository(hub, "ada/taught").tags["v1.0.0"]
    assert (provenance["repo"], provenance["tag"], provenance["commit"]) == (
        "ada/taught",
        "v1.0.0",
        commit,
    )
    assert f"ada/taught v1.0.0, commit {commit}, {provenance['content_hash']}" in done.stderr
    pupil = hub.store.repository("model", "ada/pupil")
    assert pupil.private
    files = pupil.resolve("main").tree
    assert {"model.safetensors", "README.md", "chatdata.json", "loss.png"} <= set(files)
    assert not [path for path in files if path.startswith(("runs/", "checkpoint-"))]
    card = hub.store.text(pupil, "README.md")
    assert commit in card
    assert ADA not in card + done.stdout + done.stderr
