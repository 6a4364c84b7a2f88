"""The wheel: built, installed into an empty folder, run there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

import chatdata
from chatdata.pipeline import shipped as shipped_recipes
from chatdata.pipeline.engines import ray
from chatdata.render import auto_tokenizer
from tests.support.made_tokenizers import write
from tests.support.templates import PLAIN
from trainer import shipped
from trainer.chat import server

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_chatdata_the_trainer_and_their_recipes_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"chatdata", "trainer"}
    recipes = {Path(name).stem for name in names if name.startswith("chatdata/_recipes/")}
    assert recipes == {path.stem for path in shipped_recipes.recipes()}
    for kind in ("train", "prompts", "benchmarks"):
        held = {Path(n).name for n in names if n.startswith(f"trainer/_recipes/{kind}/")}
        assert held == {path.name for path in shipped.files(kind)} != set()
    configurations = {Path(name).name for name in names if name.startswith("trainer/zero3_")}
    assert configurations == {path.name for path in (ROOT / "trainer").glob("zero3_*.json")}
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
    dry = [sys.executable, "-m", "trainer.train", "sample", "--dry-run", "--ranks", "2"]
    done = subprocess.run(
        dry, env=environment, cwd=empty, check=True, capture_output=True, text=True
    )
    assert "zero3, 2 ranks" in done.stdout


@pytest.mark.parametrize("command", ["train", "evaluate", "merge", "chat"])
def test_an_extra_that_is_missing_is_named(command: str) -> None:
    """`-S` leaves out all installed packages."""
    line = [sys.executable, "-S", "-m", f"trainer.{command}", "x"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: trainer.{command} needs the extra `train`, of which")
    assert len(done.stderr.splitlines()) == 1


def test_no_text_says_to_install_from_the_package_index() -> None:
    """The name `chatdata` is another project's there, and ours is not there."""
    tops = ("chatdata", "trainer", "docs", "recipes")
    files = [file for top in tops for file in sorted((ROOT / top).rglob("*"))]
    files += [
        ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
    ]
    suffixes = (".py", ".md", ".jinja", ".yaml")
    texts = [file.read_text() for file in files if file.suffix in suffixes]
    lines = [line for text in texts for line in text.splitlines() if "pip install" in line]
    assert len(lines) > 8
    named = re.compile(r"pip install[^`&|]* '?chatdata(-sft)?(['`\[]|$)")
    assert named.search("run `pip install 'chatdata[ray]'`")
    assert not [line for line in lines if named.search(line)]


@pytest.mark.parametrize(
    ("extra", "command"),
    [
        ("templates", auto_tokenizer.INSTALL),
        ("ray", ray.INSTALL),
        ("demo", server.INSTALL),
    ],
)
def test_messages_name_the_packages_of_an_extra(extra: str, command: str) -> None:
    _, _, packages = command.partition("pip install ")
    assert shlex.split(packages) == _project()["optional-dependencies"][extra]


def test_the_distribution_has_a_name_of_its_own(wheel: Path) -> None:
    """The import and the command keep the name `chatdata`."""
    assert wheel.name == f"chatdata_sft-{chatdata.__version__}-py3-none-any.whl"
    assert _project()["scripts"] == {"chatdata": "chatdata.__main__:main"}


def test_the_version_is_behind_the_last_of_the_changelog() -> None:
    """Between releases the version is that of the next, with `.dev0`."""
    released = re.search(r"^## \[(\d+)\.(\d+)\.(\d+)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert released
    ours = Version(chatdata.__version__)
    last = Version(".".join(released.groups()))
    assert ours == last or (ours.is_devrelease and ours > last)


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


def test_templates_need_transformers_alone() -> None:
    project = _project()
    (requirement,) = project["optional-dependencies"]["templates"]
    assert requirement.startswith("transformers>=")
    assert "torch" not in " ".join(project["dependencies"])


@pytest.mark.slow
def test_a_tokenizers_template_is_rendered_without_torch(tmp_path: Path) -> None:
    """As where only the extra `templates` is installed: to import torch is an error."""
    pytest.importorskip("transformers")
    write("byte level", tmp_path / "t", PLAIN, tokenizer_class="Qwen2Tokenizer")
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (tmp_path / "x.jsonl").write_text(json.dumps({"messages": turns}))
    (tmp_path / "r.yaml").write_text(
        "name: r\nversion: 1.0.0\nsource: {jsonl: {}}\n"
        f"render: {{template: tokenizer, tokenizer: {tmp_path / 't'}}}\n"
    )
    program = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from chatdata.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: assert sys.modules['torch'] is None, 'torch'\n"
        "assert not [name for name in sys.modules if name.startswith('torch.')]\n"
    )
    command = ["build", "r.yaml", "--input", "x.jsonl", "--out", "out", "--workers", "1"]
    done = subprocess.run(
        [sys.executable, "-c", program, *command],
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "PyTorch" not in done.stderr
    facts = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert facts["render"]["token_rows"] == 1
