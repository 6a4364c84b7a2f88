"""The pages of the site: what they show happens, their links lead somewhere, they ask nobody."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.support import figures
from tests.support.loopback import Hub
from tests.support.loopback.clients import Clients
from tests.support.walkthrough import Block, Reader, blocks, shows

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Pages that a reader follows from the first block to the last, in a folder of its own. The blocks
# of the remaining pages are tried by the tests of what they are about.
FOLLOWED = sorted(
    [DOCS / "tutorial.md", *(DOCS / "howto").glob("*.md"), *(DOCS / "explanations").glob("*.md")]
)


def _install(block: Block) -> bool:
    return block.text.startswith("python3.11 -m venv")


@pytest.fixture(scope="module")
def hub_reader(
    served: tuple[Hub, Clients], tmp_path_factory: pytest.TempPathFactory, sample: Path
) -> Reader:
    """A reader, who is `you` on a Hub."""
    hub, clients = served
    hub.store.add_user("you", token="hf_you")
    return Reader(tmp_path_factory.mktemp("pages"), clients, "hf_you", sample)


@pytest.mark.slow
@pytest.mark.parametrize("page", FOLLOWED, ids=lambda page: page.stem)
def test_a_page_can_be_followed(page: Path, hub_reader: Reader) -> None:
    folder = hub_reader.folder / page.stem
    folder.mkdir()
    reader = replace(hub_reader, folder=folder)
    for block in blocks(page.read_text(encoding="utf-8")):
        if not _install(block):
            reader.follows(block)


def test_installation_is_that_of_the_readme() -> None:
    """`.ci/run` runs it in an empty folder."""
    (block,) = filter(_install, blocks((DOCS / "tutorial.md").read_text(encoding="utf-8")))
    assert block.text in (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_reader_sees_what_is_not_printed() -> None:
    assert shows("a\n...\nd\n", "x\na\nb\nc\nd\n")
    assert shows("a ... c\n", "a b c\n")
    assert not shows("a\nc\n", "a\nb\nc\n")


# ------------------------------------------------------------------------------------ the figures


@pytest.mark.parametrize("name", figures.FIGURES)
def test_a_figure_is_drawn_from_the_sample(name: str, sample: Path) -> None:
    """`python -m tests.support.figures` draws the figures again."""
    assert (figures.FOLDER / name).read_text(encoding="utf-8") == figures.FIGURES[name](sample)


# --------------------------------------------------------------------------------------- the site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a page outside the navigation, or a link or an anchor that leads
    nowhere, is an error."""
    pytest.importorskip("material")
    folder = tmp_path_factory.mktemp("site")
    command = ["mkdocs", "build", "--strict", "-f", str(ROOT / ".ci" / "mkdocs.yml")]
    done = subprocess.run(
        [sys.executable, "-m", *command, "--site-dir", str(folder)],
        env={"PATH": "", "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


_LOADS = re.compile(
    r"""<(?:script|img|source|iframe)[^>]*\ssrc=["']?(?:https?:)?//[^"'> ]+"""
    r"""|<link(?![^>]*rel=["']?canonical)[^>]*\shref=["']?(?:https?:)?//[^"'> ]+"""
    r"""|url\(["']?(?:https?:)?//[^)]+|@import\s+["']?(?:https?:)?//[^"';]+"""
)


def outside(text: str) -> list[str]:
    """What a file loads from elsewhere."""
    return _LOADS.findall(text)


@pytest.mark.slow
def test_the_site_asks_nobody_for_anything(site: Path) -> None:
    files = [path for kind in ("html", "css", "svg") for path in site.rglob(f"*.{kind}")]
    assert len(files) > 40
    urls_by_file = {path.name: outside(path.read_text(encoding="utf-8")) for path in files}
    assert not {name: urls for name, urls in urls_by_file.items() if urls}


def test_what_is_loaded_from_elsewhere_is_seen() -> None:
    for text in (
        '<script src="https://cdn.example/x.js">',
        '<link rel="stylesheet" href="//fonts.example/css">',
        "@font-face{src:url(https://fonts.example/x.woff2)}",
    ):
        assert outside(text)
    assert not outside('<a href="https://example.org">') + outside('<img src="figures/x.svg">')


@pytest.mark.slow
def test_a_link_out_of_the_pages_is_words_on_the_site(site: Path) -> None:
    """On GitHub the link leads to the file."""
    assert "[trainer/README.md](../trainer/README.md)" in (DOCS / "training.md").read_text("utf-8")
    assert " trainer/README.md explains" in " ".join((site / "training.html").read_text().split())


def _pages(entries: list[object]) -> Iterator[str]:
    for entry in entries:
        (value,) = entry.values() if isinstance(entry, dict) else (entry,)
        yield from _pages(value) if isinstance(value, list) else [str(value)]


def test_every_page_is_in_the_navigation() -> None:
    config = yaml.safe_load((ROOT / ".ci" / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = list(_pages(config["nav"]))
    files = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    pages = {file for file in files if not file.startswith("examples/")}  # folders to copy
    assert config["exclude_docs"] == "/examples/"
    assert pages < files
    assert sorted(listed) == sorted(pages)


# ------------------------------------------------------------------------------ links on GitHub

_LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\(([^)\s#]*)(?:#([^)\s]*))?\)")


def anchors(page: str) -> set[str]:
    """The anchors of the headings of a page, as GitHub makes them."""
    outside_code = re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.*)$", outside_code, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def faults(path: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    text = path.read_text(encoding="utf-8")
    wrong = []
    for target, anchor in _LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if re.match(r"\w+:", target):
            continue
        file = (path.parent / target) if target else path
        if not file.exists():
            wrong.append(target)
        elif anchor and anchor not in anchors(file.read_text(encoding="utf-8")):
            wrong.append(f"{target}#{anchor}")
    return wrong


PAGES = [*sorted(DOCS.rglob("*.md")), *ROOT.glob("*.md"), ROOT / "trainer" / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert not faults(page)


def test_a_link_that_leads_nowhere_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One\n[a](nothing.md) [b](#two) [c](#one)\n")
    assert faults(page) == ["nothing.md", "#two"]
