"""What `import chatdata` does with a dataset: the same for a folder, a published version, a URL."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from huggingface_hub import constants

import chatdata as cd
from chatdata.cli import main
from chatdata.core import cache_folder
from chatdata.dataset import remote_output
from tests.support.loopback import Hub
from tests.support.loopback.clients import Clients
from tests.support.publishing import ADA, pushed


def printed(*arguments: str | Path) -> Any:
    """What a command prints as JSON."""
    shown = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    return json.loads(shown.stdout)


@pytest.fixture(scope="module")
def places(served: tuple[Hub, Clients], sample: Path) -> dict[str, Any]:
    """The same dataset by every kind of name."""
    _, client = served
    pushed(client, sample, "ada/names", "1.0.0")
    url = "memory://names/sample"
    with remote_output.local(url) as new:
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(sample, new)
    return {"path": sample, "text": str(sample), "published": "ada/names@1.0.0", "url": url}


@pytest.fixture(params=["path", "text", "published", "url"])
def place(
    request: pytest.FixtureRequest,
    places: dict[str, Any],
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> str | Path:
    """The dataset by one kind of name."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)  # read once from the environment
    template = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_TOKEN", ADA)
    monkeypatch.setenv(cache_folder.VARIABLE, str(tmp_path / "cache"))
    named: str | Path = places[request.param]
    return named


@pytest.mark.slow
def test_a_name_means_the_dataset_however_it_is_written(place: str | Path, sample: Path) -> None:
    facts = cd.read_manifest(place)
    assert facts.as_json() == cd.read_manifest(sample).as_json()
    assert cd.dataset_stats(place) == printed("stats", sample)
    assert {verdict.outcome for verdict in cd.verify_dataset(place)} == {"ok"}
    rows = cd.read_rows(place).collect()
    assert rows.height == facts.splits.total("rows")
    outcomes = cd.explain(place, str(rows["id"][0]))
    shown = printed("explain", sample, rows["id"][0])  # and columns of words, which stay here
    assert outcomes.to_dicts() == [{key: row[key] for key in outcomes.columns} for row in shown]
    assert cd.diff_datasets(sample, place).rows["the_same"] == facts.splits.total("rows")
    assert cd.audit_data(place).as_json()["checks"] == printed("audit", sample)["checks"]
    assert printed("stats", place) == printed("stats", sample)
    id = str(rows["id"][0])
    assert [row["id"] for row in printed("explain", place, id)] == [row["id"] for row in shown]
    page = CliRunner().invoke(main, ["show", str(place), "--id", id])
    assert page.output == CliRunner().invoke(main, ["show", str(sample), "--id", id]).output


@pytest.mark.slow
@pytest.mark.parametrize("place", ["published"], indirect=True)
def test_a_published_version_is_rendered_but_never_changed(place: str, tmp_path: Path) -> None:
    again = cd.render_dataset(place, tmp_path / "again", tokenizer="bytes", template="chatml")
    added = cd.add_rendering(place, tmp_path / "added", tokenizer="bytes", template="chatml")
    assert again.render is not None
    assert len(added.renders) == 1
    for change in (cd.add_rendering, cd.pack_dataset, cd.remove_rendering):
        options: Any = {"tokenizer": "bytes"} if change is cd.add_rendering else {}
        given = {cd.add_rendering: (), cd.pack_dataset: (99,), cd.remove_rendering: ("x",)}
        with pytest.raises(cd.ChatdataError, match="cannot be changed; pull it into a folder"):
            change(place, *given[change], **options)
    page = CliRunner().invoke(main, ["report", place])
    assert "cannot be changed; say where the page goes with --page FILE" in page.output


@pytest.mark.parametrize("table", ["messages", "tokens", "ledger", "dropped"])
def test_rows_of_a_table(sample: Path, table: str) -> None:
    rows = cd.read_rows(str(sample), table).collect()
    assert rows.height > 0
    assert ("split" in rows.columns) == (table in ("messages", "tokens"))


def test_a_table_that_is_not_there_is_named(sample: Path) -> None:
    with pytest.raises(cd.ChatdataError, match="no table 'token'; the tables of a dataset are mes"):
        cd.read_rows(sample, "token")
    with pytest.raises(cd.ChatdataError, match="no splits; leave out split='train'"):
        cd.read_rows(sample, "ledger", split="train")
    with pytest.raises(cd.ChatdataError, match="no messages rows in validation"):
        cd.read_rows(sample, split="validation")


def test_verdicts_are_those_of_the_command(sample: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(sample, tmp_path / "broken")
    (broken / "recipe.yaml").write_text("name: another\n")
    verdicts = cd.verify_dataset(str(broken))
    assert "failed" in {verdict.outcome for verdict in verdicts}
    assert [asdict(verdict) for verdict in verdicts] == printed("verify", broken)


def test_what_is_written(sample: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sample, tmp_path / "copy")
    assert cd.write_report(str(folder)) == str(folder / "report.html")
    page = cd.write_report(str(folder), tmp_path / "page.html")
    assert Path(page).read_bytes() == (folder / "report.html").read_bytes()
    packed = cd.pack_dataset(str(folder), 1024)
    assert {entry.max_tokens for entry in packed} == {1024}
    assert [entry.as_json() for entry in packed] == printed("pack", folder, "--max-tokens", "1024")


def test_what_is_published_or_in_storage_is_not_changed() -> None:
    for name in ("ada/names@1.0.0", "memory://names/sample"):
        with pytest.raises(cd.ChatdataError, match="cannot be changed; pull it into a folder"):
            cd.pack_dataset(name, 1024)
    with pytest.raises(cd.ChatdataError, match="page=PATH"):
        cd.write_report("ada/names@1.0.0")
