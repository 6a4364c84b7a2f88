"""Which package may import what: the rules of the design, as a table of one row a package."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.imports import MODULES, ROOT, imports, package, public_modules

# What the modules of a package may import, besides each other.
MAY_IMPORT = {
    "core": set(),
    "sources": {"core"},
    "render": {"core"},
    "hub": {"core"},
    "steps": {"core", "sources"},
    "dataset": {"core", "sources", "steps", "render"},
    "pipeline": {"core", "sources", "steps", "render", "hub", "dataset"},
    "verify": {"core", "sources", "steps", "render", "hub", "dataset", "pipeline"},
    "publish": {"core", "sources", "steps", "render", "hub", "dataset", "pipeline", "verify"},
    "cli": {
        "core",
        "sources",
        "steps",
        "render",
        "hub",
        "dataset",
        "pipeline",
        "verify",
        "publish",
    },
}
# What the trainer may import of chatdata, and its modules and packages of each other. A command
# may import all of them, and the commands that it needs.
TRAINER_MAY_IMPORT = {"core", "dataset", "render", "hub", "publish"}
# What a word is, which texts are alike and which hold a test question is decided once, for the data
# that a model learns from and for the prompts that it is measured by.
SIFTING = {
    "chatdata.sources.File",
    "chatdata.steps.contamination",
    "chatdata.steps.evaluation_sets",
    "chatdata.steps.ngrams",
}
TRAINER = {
    "zero3": set(),
    "shipped": set(),
    "training": set(),
    "config": {"zero3", "shipped", "training"},
    "data": {"config"},
    "model": {"config", "zero3"},
    "run": {"config", "training", "zero3", "data", "model"},
    "preference": {"config", "data", "model", "run"},
    "chat": {"model", "shipped"},
    "evaluation": {"shipped", "chat"},
}
TRAINER_COMMANDS = {
    "train": {"evaluate"},
    "evaluate": set(),
    "merge": set(),
    "push": set(),
    "export": set(),
}
# Heavy packages, and the only modules that may import them.
ONLY = {
    "torch": {"trainer."},
    "deepspeed": {"trainer."},
    "transformers": {"trainer.", "chatdata.render.auto_tokenizer"},
    "fastokens": {"chatdata.render.encoding"},
    "datasets": {"trainer."},
    "huggingface_hub": {"chatdata.hub"},
    "tenacity": {"chatdata.hub"},
    "fsspec": {"chatdata.core.storage"},
    "ray": {"chatdata.pipeline.engines.ray"},
    "click": {"chatdata.cli", "trainer."},
    "rich": {"chatdata.cli", "chatdata.pipeline.progress_line", "trainer."},
    "gradio": {"trainer.chat.web", "trainer.chat.local_page", "trainer.evaluation.arena.page"},
    "starlette": {"trainer.chat.local_page", "trainer.chat.endpoint"},
    "langdetect": {
        "chatdata.steps.language.detectors",
        "chatdata.steps.language.langdetect_arrays",
    },
    "fasttext": {"chatdata.steps.language.detectors"},
    "detect_secrets": {"chatdata.steps.key_plugins"},
    "phonenumbers": {"chatdata.steps.phones"},
    "jinja2": {
        "trainer.evaluation.reporting.page",
        *("chatdata.dataset", "chatdata.render.chat_template", "chatdata.verify.audit.page"),
        "trainer.run.model_card",
    },
    "matplotlib": {"trainer.run.log", "trainer.evaluation.inside."},
    "PIL": {"chatdata.dataset.plots"},
    "peft": {"trainer.model.adapters"},
    "accelerate": {"trainer.run.preflight", "trainer.run.strategy"},
    "bs4": {"chatdata.steps.clean.markdown"},
    "markdownify": {"chatdata.steps.clean.markdown"},
    "ruamel": {"chatdata.core.config"},
    "gguf": {"trainer.export"},
    "lm_eval": {"trainer.evaluation.benchmarks"},
    "scipy": {"trainer.evaluation.benchmarks.estimates"},
}


def chatdata_imports(module: str) -> set[str]:
    """What a module imports of chatdata's packages."""
    names = {name for name in imports(MODULES[module]) if name.startswith("chatdata.")}
    return {name for name in names if package(name)}


def test_every_package_has_a_row() -> None:
    folders = {
        path.name for path in (ROOT / "chatdata").iterdir() if (path / "__init__.py").exists()
    }
    assert folders == set(MAY_IMPORT)
    entries = {path.name for path in (ROOT / "chatdata").iterdir()} - {"__pycache__"}
    assert len(entries) <= 13, entries


@pytest.mark.parametrize("module", [m for m in MODULES if package(m)])
def test_packages_import_those_below(module: str) -> None:
    home = package(module)
    for name in chatdata_imports(module):
        assert package(name) in MAY_IMPORT[home] | {home}, f"{module} imports {name}"


@pytest.mark.parametrize("module", MODULES)
def test_heavy_packages_stay_in_their_room(module: str) -> None:
    for name in imports(MODULES[module]):
        heavy = name.split(".")[0]
        allowed = ONLY.get(heavy, {module})
        assert any(module.startswith(home) for home in allowed), f"{module} imports {heavy}"


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("trainer")])
def test_the_trainer_does_without_the_pipeline(module: str) -> None:
    names = chatdata_imports(module)
    if module == "trainer.evaluation.sifting":
        names -= SIFTING
    assert {package(name) for name in names} <= TRAINER_MAY_IMPORT, module


def test_only_publish_pull_is_imported_of_publish_by_the_trainer() -> None:
    for module in MODULES:
        if module.startswith("trainer"):
            used = {name for name in chatdata_imports(module) if package(name) == "publish"}
            assert used <= {"chatdata.publish.pull"}, module


def test_every_module_of_the_trainer_has_a_row() -> None:
    entries = {module.split(".")[1] for module in MODULES if module.startswith("trainer.")}
    assert entries == {*TRAINER, *TRAINER_COMMANDS}


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("trainer.")])
def test_the_trainer_imports_in_one_direction(module: str) -> None:
    home = module.split(".")[1]
    allowed = TRAINER.get(home, {*TRAINER, *TRAINER_COMMANDS.get(home, set())}) | {home}
    for name in imports(MODULES[module]):
        if name.startswith("trainer."):
            assert name.split(".")[1] in allowed, f"{module} imports {name}"


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("trainer.")])
def test_packages_of_the_trainer_are_imported_by_their_public_modules(module: str) -> None:
    for name in imports(MODULES[module]):
        top, *parts = name.split(".")
        if top != "trainer" or not (ROOT / "trainer" / parts[0]).is_dir():
            continue
        if parts[0] != module.split(".")[1]:
            assert parts[1] in public_modules(parts[0], "trainer"), f"{module} imports {name}"


def test_chatdata_does_without_the_trainer() -> None:
    for module, path in MODULES.items():
        if module.startswith("chatdata"):
            assert not any(name.startswith("trainer") for name in imports(path)), module


def test_the_table_would_catch_a_wrong_import(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text("from chatdata.pipeline.build import build\ndef f():\n    import torch\n")
    assert {"chatdata.pipeline.build.build", "torch"} <= imports(path)
    assert package("chatdata.pipeline.build.build") not in MAY_IMPORT["render"]


@pytest.mark.slow
def test_no_test_imports_another() -> None:
    for path in sorted((ROOT / "tests").rglob("*.py")):
        names = {part for name in imports(path) for part in name.split(".")}
        assert not any(name.startswith("test_") for name in names), path


@pytest.mark.parametrize("module", MODULES)
def test_from_outside_a_package_only_its_public_modules_are_imported(module: str) -> None:
    for name in chatdata_imports(module):
        home, _, rest = name.removeprefix("chatdata.").partition(".")
        if rest and home != package(module):
            assert rest.split(".")[0] in public_modules(home), f"{module} imports {name}"
            assert not any(part.startswith("_") for part in rest.split(".")), f"{module}: {name}"
