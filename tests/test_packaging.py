"""The wheel: built, installed into an empty folder, run there."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from chatdata.pipeline import find

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_chatdata_and_its_recipes_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"chatdata"}
    recipes = {Path(name).stem for name in names if name.startswith("chatdata/_recipes/")}
    assert recipes == {path.stem for path in find.shipped()}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    data = {Path(name).name for name in names if name.startswith("chatdata/sources/sample/")}
    assert data == {path.name for path in (ROOT / "chatdata" / "sources" / "sample").iterdir()}


@pytest.mark.slow
def test_the_sample_builds_from_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", str(site), str(wheel)], check=True)
    empty.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site)}
    where = subprocess.run(
        [sys.executable, "-c", "import chatdata; print(chatdata.__file__)"],
        env=environment,
        cwd=empty,
        check=True,
        capture_output=True,
        text=True,
    )
    assert where.stdout.startswith(str(site))
    for arguments in (["build", "sample"], ["report", "out/sample-1.0.0"]):
        command = [str(site / "bin" / "chatdata"), *arguments]
        subprocess.run(command, env=environment, cwd=empty, check=True)
    assert (empty / "out" / "sample-1.0.0" / "report.html").is_file()
