"""The page on storage: what it shows is what happens, and what it names exists."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from chatdata.cli import main
from chatdata.core import cache_folder, protocols
from chatdata.dataset import remote_output
from tests.support.loopback.clients import Clients
from tests.support.object_storage import ObjectStorage

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "storage.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_commands_print_what_is_shown(
    s3_storage: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`...` stands for what is left out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHATDATA_CACHE", str(tmp_path / "cache"))
    s3_storage.client.create_bucket("team")
    sample = ROOT / "chatdata" / "sources" / "sample" / "sharegpt.json"
    s3_storage.client.put("team", "dump/sharegpt.json", sample.read_bytes())
    commands = re.findall(r"^\$ chatdata (.*)\n((?:[^$].*\n)+)", "".join(blocks("console")), re.M)
    assert len(commands) == PAGE.count("\n$ ")
    for command, shown in commands:
        done = CliRunner().invoke(main, [*shlex.split(command)])
        assert done.exit_code == 0, done.output
        parts = [re.escape(part) for part in shown.rstrip().split("...")]
        assert re.fullmatch(".*".join(parts), done.stdout.rstrip(), re.DOTALL), done.stdout


@pytest.mark.parametrize("block", blocks("python"))
def test_the_python_runs(block: str, tmp_path: Path, client: Clients) -> None:
    done = client.run(code=block, folder=str(tmp_path))
    assert done.code == 0, done.stderr


def test_names_of_the_page_are_those_of_the_code() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in re.findall(r"pip install '\.\[(\w+)\]'", PAGE):
        assert extra in extras["optional-dependencies"]
    assert f"`{remote_output.MARKER}`" in PAGE
    assert f"parts of {protocols.PART // 2**20} MiB" in PAGE
    assert f"`{cache_folder.VARIABLE}`" in PAGE
