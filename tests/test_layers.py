"""Which module may import what: the rules of the design, as a table."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for package in ("chatdata", "trainer")
    for path in sorted((ROOT / package).rglob("*.py"))
}

# A module may import from the rows below its own, and from nothing else of chatdata.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"cli_check", "cli_hub"},
    {"rebuild"},
    {"build", "publish", "pull"},
    {"folder", "reading", "plan", "corpus", "examine"},
    {"job", "release", "changes"},
    {"show_diff"},
    {"show", "verify", "report", "contents"},
    {"checks", "diff"},
    {"rerender"},
    {"recount", "card"},
    {"croissant", "pack", "certificate", "dataset", "inputs", "journal"},
    {"known", "comparison", "configs", "plots", "marks", "shape"},
    {"recipe", "trees", "rows", "lengths"},
    {"render", "ledger"},
    {"windows"},
    {
        "pieces",
        "clean",
        "filters",
        "threads",
        "split",
        "mixing",
        "language",
        "write",
        "parts",
        "engines",
    },
    {"redact", "duplicates", "contamination", "evalsets"},
    {"fast", "quality"},
    {"tokenizer", "sources", "hub"},
    {"decision"},
    {"chat_template", "battery", "novelty", "detectors", "prose", "neighbours", "codes"},
    {"ngrams", "sensitive"},
    {"templates", "records", "manifest", "schema", "hashing", "config", "arrow", "versions"},
    {"errors", "progress"},
]
# Heavy packages, and the only modules that may import them.
ONLY = {
    "torch": {"trainer."},
    "deepspeed": {"trainer."},
    "transformers": {"trainer.", "chatdata.render.tokenizer"},
    "fastokens": {"chatdata.render.encoding.fast"},
    "datasets": {"trainer."},
    "huggingface_hub": {"chatdata.hub", "trainer.push"},
    "tenacity": {"chatdata.hub"},
    "ray": {"chatdata.pipeline.engines.ray"},
    "click": {"chatdata.cli", "trainer."},
    "rich": {"chatdata.cli", "chatdata.cli.show", "chatdata.cli.progress", "trainer."},
    "gradio": {"trainer.chat.web"},
    "starlette": {"trainer.chat.web"},
    "langdetect": {"chatdata.steps.language.detectors"},
    "fasttext": {"chatdata.steps.language.detectors"},
    "datasketch": {"chatdata.steps.duplicates"},
    "detect_secrets": {"chatdata.steps.secrets"},
    "phonenumbers": {"chatdata.steps.secrets"},
    "jinja2": {
        "chatdata.dataset.card",
        "chatdata.render.chat_template",
        "chatdata.dataset.report",
        "trainer.run.model_card",
    },
    "matplotlib": {"chatdata.dataset.plots", "trainer.run.log"},
    "peft": {"trainer.model.adapters"},
    "accelerate": {"trainer.run.preflight"},
    "bs4": {"chatdata.steps.clean.markdown"},
    "markdownify": {"chatdata.steps.clean.markdown"},
    "ruamel": {"chatdata.core.config"},
}

# Steps do not know each other; only build.py composes.
STEPS = {"clean", "filters", "threads", "trees", "split", "render", "language", "write", "sources"}
STEPS |= {"redact", "duplicates", "contamination"}
MAY_USE = {("trees", "threads")}  # both lay conversations, by one recipe key

# Beyond the manifest: which rows share a sequence, and which conversation a row is of.
READS = {
    "trainer.data.dataset": {"dataset"},
    "trainer.data.packing": {"pack"},
    "trainer.data.tree_packing": {"pack"},
}


def imports(path: Path, everywhere: bool = True) -> set[str]:
    """The full names that a module imports, at its head or anywhere."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if everywhere else tree.body
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def room(name: str) -> str:
    """The room of a full name: `chatdata.sources.oasst` is in `sources`."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def rank(name: str) -> int | None:
    return next((i for i, layer in enumerate(LAYERS) if room(name) in layer), None)


def own_imports(module: str) -> set[str]:
    names = {name for name in imports(MODULES[module]) if name.split(".")[0] == "chatdata"}
    return {name for name in names if room(name) and rank(name) is not None}


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("chatdata.")])
def test_imports_point_one_way(module: str) -> None:
    if room(module) in ("__init__", ""):
        return
    own = rank(module)
    assert own is not None, f"give '{module}' a layer"
    for name in own_imports(module):
        if room(name) == room(module):
            continue
        below = rank(name)
        assert below is not None
        assert below > own, f"{module} imports {name}"


@pytest.mark.parametrize("module", MODULES)
def test_heavy_packages_stay_in_their_room(module: str) -> None:
    for name in imports(MODULES[module]):
        package = name.split(".")[0]
        allowed = ONLY.get(package, {module})
        assert any(module.startswith(own) for own in allowed), f"{module} imports {package}"


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) in STEPS])
def test_steps_do_not_know_each_other(module: str) -> None:
    for name in own_imports(module):
        pair = (room(module), room(name))
        if pair[0] != pair[1] and pair not in MAY_USE:
            assert room(name) not in STEPS, f"{module} imports {name}"


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("trainer")])
def test_the_trainer_knows_the_manifest_the_parser_and_published_versions(module: str) -> None:
    allowed = {"manifest", "config", "errors", "pull", ""}
    names = {name for name in imports(MODULES[module]) if name.startswith("chatdata")}
    assert {room(name) for name in names} <= allowed | READS.get(module, set())


def test_chatdata_does_without_the_trainer() -> None:
    for module, path in MODULES.items():
        if module.startswith("chatdata"):
            assert not any(name.startswith("trainer") for name in imports(path)), module


def test_the_table_would_catch_a_wrong_import(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text("from chatdata.build import build\ndef f():\n    import torch\n")
    names = imports(path)
    assert {"chatdata.pipeline.build", "torch"} <= names
    above, own = rank("chatdata.pipeline.build"), rank("chatdata.render.rows")
    assert above is not None
    assert own is not None
    assert not above > own
