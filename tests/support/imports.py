"""What the modules of chatdata and of the trainer import, read from their source."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for top in ("chatdata", "trainer")
    for path in sorted((ROOT / top).rglob("*.py"))
}
PACKAGES = sorted(path.parent.name for path in (ROOT / "chatdata").glob("*/__init__.py"))


@functools.cache
def imports(path: Path) -> frozenset[str]:
    """The full names that a module imports, at its head or in a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def package(name: str) -> str:
    """The package of chatdata of a full name: `sources` of `chatdata.sources.oasst`; else ''."""
    first, _, rest = name.partition(".")
    inner = rest.partition(".")[0]
    return inner if first == "chatdata" and inner in PACKAGES else ""


def between_packages() -> dict[str, set[str]]:
    """For each package of chatdata, the other packages that its modules import."""
    edges: dict[str, set[str]] = {name: set() for name in PACKAGES}
    for module, path in MODULES.items():
        home = package(module)
        if home:
            edges[home] |= {package(name) for name in imports(path)} - {home, ""}
    return edges


@functools.cache
def public_modules(name: str, top: str = "chatdata") -> frozenset[str]:
    """The names in `__all__` of a package, read without importing the package."""
    source = (ROOT / top / name / "__init__.py").read_text()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return frozenset(ast.literal_eval(node.value))
    return frozenset()
