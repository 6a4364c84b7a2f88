"""The card says what an audit says, of the rows that were audited, and nothing else changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import chatdata as cd
from chatdata.cli import main
from chatdata.dataset import audited, card, manifest, report
from chatdata.publish import release
from chatdata.verify import checks, rebuild
from chatdata.verify.audit.auditing import Audit


@pytest.fixture(scope="module")
def kept(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Audit]:
    """A copy of the sample whose card says what an audit said; the audit."""
    folder = Path(shutil.copytree(sample, tmp_path_factory.mktemp("audited") / "sample"))
    return folder, cd.audit_data(folder, card=True)


@pytest.fixture
def folder(kept: tuple[Path, Audit], tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept[0], tmp_path / "sample"))


def test_the_card_says_what_the_audit_says(sample: Path, kept: tuple[Path, Audit]) -> None:
    folder, audit = kept
    page = (folder / "README.md").read_text()
    assert page == card.text(manifest.read(folder))
    for result in audit.results:
        assert f"`{result.check.name}` in {result.kind}" in page
        assert result.headline.replace("|", "\\|").replace("<", "&lt;") in page
    assert "no check found faults" in page
    assert "What an audit says" in report.page(folder)
    before, after = manifest.read(sample).as_json(), manifest.read(folder).as_json()
    assert {**before, "audit": after["audit"]} == after
    assert "no check found faults" not in (sample / "README.md").read_text()
    assert str(folder.parent) not in page


def test_a_second_audit_changes_no_byte(folder: Path) -> None:
    before = {name: (folder / name).read_bytes() for name in ("README.md", "manifest.json")}
    assert CliRunner().invoke(main, ["audit", str(folder), "--card"]).exit_code == 0
    assert before == {name: (folder / name).read_bytes() for name in before}


def test_what_users_wrote_on_the_card_stays(sample: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sample, tmp_path / "sample"))
    with (folder / "README.md").open("a") as page:
        page.write("\nOurs.\n")
    cd.audit_data(folder, card=True)
    text = (folder / "README.md").read_text()
    assert "no check found faults" in text
    assert text.endswith("\nOurs.\n")


def test_a_full_verification_audits_again(folder: Path) -> None:
    for is_full in (True, False):
        stages = checks.stages(checks.Folder(folder, is_full))
        assert is_full == any("audit" in stage for stage in stages)
    facts = manifest.read(folder).as_json()
    facts["audit"]["results"][0]["says"] = "all is well"
    (folder / "manifest.json").write_text(json.dumps(facts))
    (problem,) = checks.same_audit(checks.Folder(folder, True))
    assert problem.startswith("the audit's unreadable is kept as 'all is well', and is 'every rec")


def _drop_last(audit: dict[str, Any]) -> None:
    del audit["results"][-1]


def _say_twice(audit: dict[str, Any]) -> None:
    audit["results"].append(audit["results"][0])


def _read_more(audit: dict[str, Any]) -> None:
    audit["read"]["messages"] += 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_drop_last, "is kept as nothing"),
        (_say_twice, "in another order, or twice"),
        (_read_more, "'messages': 80"),
    ],
)
def test_nothing_can_be_left_out_of_what_an_audit_said(
    folder: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    facts = manifest.read(folder).as_json()
    change(facts["audit"])
    (folder / "manifest.json").write_text(json.dumps(facts))
    (problem,) = checks.same_audit(checks.Folder(folder, True))
    assert words in problem


def test_an_audit_by_another_version_is_not_said_to_be_checked(folder: Path) -> None:
    facts = manifest.read(folder).as_json()
    facts["audit"]["chatdata"] = "0.0.1"
    (folder / "manifest.json").write_text(json.dumps(facts))
    stages = checks.stages(checks.Folder(folder, True))
    assert not any("audit" in stage for stage in stages)


def test_an_audit_of_other_rows_is_not_told(folder: Path) -> None:
    facts = manifest.read(folder).as_json()
    facts["files"][0]["sha256"] = "0" * 64
    changed = manifest.parsed(facts)
    assert changed.audit is not None
    assert audited.current(changed) is None
    assert "found all right" not in card.text(changed)


def test_what_is_published_says_it(folder: Path) -> None:
    stamped, _ = release.stamp(manifest.read(folder), "2.0.0")
    assert "no check found faults" in card.text(stamped)
    assert stamped.audit == manifest.read(folder).audit


@pytest.mark.slow
def test_a_new_build_says_the_same(folder: Path) -> None:
    assert rebuild.verdict(folder).problems == []


@pytest.mark.parametrize(
    "arguments", [["--tokenizer", "bytes"], ["README.md"], ["--eval", "README.md"]]
)
def test_a_card_is_of_one_folder_as_it_is(folder: Path, arguments: list[str]) -> None:
    given = [str(folder / name) if name == "README.md" else name for name in arguments]
    done = CliRunner().invoke(main, ["audit", str(folder), "--card", *given])
    assert done.exit_code == 1
    assert "name the folder alone" in done.stderr


def test_what_is_no_build_of_ours_has_no_card(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"messages": []}\n')
    done = CliRunner().invoke(main, ["audit", str(tmp_path), "--card"])
    assert "is not a finished build" in done.stderr
    done = CliRunner().invoke(main, ["audit", str(tmp_path / "a.jsonl"), "--card"])
    assert "is a file, and not the folder of a build" in done.stderr
    assert not (tmp_path / "README.md").exists()


def test_rows_that_are_lost_are_not_audited_around(folder: Path, tmp_path: Path) -> None:
    lost = "messages/train-00000-of-00001.parquet"
    (folder / lost).unlink()
    for line in (
        ["audit", folder],
        ["render", folder, "--tokenizer", "bytes", "--out", tmp_path / "x"],
        ["render", folder, "--tokenizer", "bytes", "--add", "--name", "x"],
    ):
        done = CliRunner().invoke(main, [str(word) for word in line])
        assert f"has no '{lost}', which its manifest names" in done.stderr, line
