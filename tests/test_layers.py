"""Which package may import what: the rules of the design, as a table of one row a package."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

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
    "aiohttp": {"chatdata.core.protocols"},
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


TRAINER_MODULES = [module for module in MODULES if module.startswith("trainer")]


def test_every_package_has_a_row() -> None:
    folders = {
        path.name for path in (ROOT / "chatdata").iterdir() if (path / "__init__.py").exists()
    }
    assert folders == set(MAY_IMPORT)
    entries = {path.name for path in (ROOT / "chatdata").iterdir()} - {"__pycache__"}
    assert len(entries) <= 13, entries


def wrong(allows: Callable[[str, str], bool], modules: Iterable[str] = MODULES) -> list[str]:
    """What modules import and may not."""
    return [
        f"{module} imports {name}"
        for module in modules
        for name in sorted(imports(MODULES[module]))
        if not allows(module, name)
    ]


def test_packages_import_those_below() -> None:
    def allows(module: str, name: str) -> bool:
        home = package(module)
        return not package(name) or package(name) in MAY_IMPORT[home] | {home}

    assert wrong(allows, filter(package, MODULES)) == []


def test_heavy_packages_stay_in_their_room() -> None:
    def allows(module: str, name: str) -> bool:
        return module.startswith(tuple(ONLY.get(name.split(".")[0], {module})))

    assert wrong(allows) == []


def test_the_trainer_does_without_the_pipeline() -> None:
    def allows(module: str, name: str) -> bool:
        sifts = module == "trainer.evaluation.sifting" and name in SIFTING
        return sifts or not package(name) or package(name) in TRAINER_MAY_IMPORT

    assert wrong(allows, TRAINER_MODULES) == []


def test_only_publish_pull_is_imported_of_publish_by_the_trainer() -> None:
    def allows(module: str, name: str) -> bool:
        return package(name) != "publish" or name == "chatdata.publish.pull"

    assert wrong(allows, TRAINER_MODULES) == []


def test_every_module_of_the_trainer_has_a_row() -> None:
    entries = {module.split(".")[1] for module in MODULES if module.startswith("trainer.")}
    assert entries == {*TRAINER, *TRAINER_COMMANDS}


def test_the_trainer_imports_in_one_direction() -> None:
    def allows(module: str, name: str) -> bool:
        home = module.split(".")[1]
        allowed = TRAINER.get(home, {*TRAINER, *TRAINER_COMMANDS.get(home, set())}) | {home}
        return not name.startswith("trainer.") or name.split(".")[1] in allowed

    assert wrong(allows, TRAINER_MODULES[1:]) == []


def test_packages_of_the_trainer_are_imported_by_their_public_modules() -> None:
    def allows(module: str, name: str) -> bool:
        top, *parts = name.split(".")
        if top != "trainer" or not (ROOT / "trainer" / parts[0]).is_dir():
            return True
        return parts[0] == module.split(".")[1] or parts[1] in public_modules(parts[0], "trainer")

    assert wrong(allows, TRAINER_MODULES[1:]) == []


def test_chatdata_does_without_the_trainer() -> None:
    def allows(module: str, name: str) -> bool:
        return not name.startswith("trainer")

    assert wrong(allows, [module for module in MODULES if module.startswith("chatdata")]) == []


def test_the_table_would_catch_a_wrong_import(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text("from chatdata.pipeline.build import build\ndef f():\n    import torch\n")
    assert {"chatdata.pipeline.build.build", "torch"} <= imports(path)
    assert package("chatdata.pipeline.build.build") not in MAY_IMPORT["render"]


# Statements that import, in lines or in brackets, and text that looks like one.
IMPORTS = re.compile(r"\b(?:from|import)\s[^\n(]*(?:\([^)]*\))?")


def test_no_test_imports_another() -> None:
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if any("test_" in statement for statement in IMPORTS.findall(path.read_text())):
            names = {part for name in imports(path) for part in name.split(".")}
            assert not any(name.startswith("test_") for name in names), path


def test_from_outside_a_package_only_its_public_modules_are_imported() -> None:
    def allows(module: str, name: str) -> bool:
        home, _, rest = name.removeprefix("chatdata.").partition(".")
        if not package(name) or not rest or home == package(module):
            return True
        parts = rest.split(".")
        return parts[0] in public_modules(home) and not any(part[0] == "_" for part in parts)

    assert wrong(allows) == []
