"""Counts how a checkout is built: entries, floors, importers, banned names, sizes of functions.

python tests/bench/structure.py BEFORE AFTER     (folders of two checkouts)
"""

from __future__ import annotations

import ast
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

BANNED = frozenset({"own", "one", "said", "found", "there", "laid", "gone", "other"})


@dataclass(frozen=True)
class Checkout:
    """The modules of a checkout, parsed: their trees by full name."""

    root: Path
    trees: dict[str, ast.Module]

    def imports(self, module: str) -> set[str]:
        """The modules of the checkout that a module imports, at its head or in a function."""
        names = set()
        for node in ast.walk(self.trees[module]):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    names.add(full if full in self.trees else node.module)
        return {name for name in names if name in self.trees} - {module}


def parse(root: Path) -> Checkout:
    """The checkout in a folder."""
    trees = {}
    for top in ("chatdata", "trainer"):
        for path in sorted((root / top).rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            trees[name.removesuffix(".__init__")] = ast.parse(path.read_text())
    return Checkout(root, trees)


def room(module: str) -> str:
    """The entry at the top of its package that a module is in."""
    return ".".join(module.split(".")[:2])


def floors(checkout: Checkout) -> int:
    """The longest chain of rooms of chatdata of which each imports the next; -1 for a circle."""
    above: dict[str, set[str]] = {}
    for module in checkout.trees:
        if module.startswith("chatdata."):
            targets = {room(name) for name in checkout.imports(module) if "." in name}
            above.setdefault(room(module), set()).update(targets - {room(module)})
    height: dict[str, int] = {}

    def visit(name: str, path: tuple[str, ...]) -> int:
        if name in path:
            return -(10**6)
        if name not in height:
            below = [visit(target, (*path, name)) for target in sorted(above.get(name, ()))]
            height[name] = 1 + max(below, default=0) if min(below, default=0) >= 0 else -(10**6)
        return height[name]

    return max((visit(name, ()) for name in sorted(above)), default=0) if above else 0


def importers(checkout: Checkout) -> Counter[str]:
    """How many modules import each module of chatdata."""
    counts: Counter[str] = Counter()
    for module in checkout.trees:
        counts.update(name for name in checkout.imports(module) if name.startswith("chatdata."))
    return counts


def bound_names(tree: ast.Module) -> Iterator[str]:
    """Yields every name that a module binds: variables, parameters, attributes of classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname


def functions(tree: ast.Module) -> Iterator[int]:
    """Yields the lines of each function, its docstring and signature left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body and body[-1].end_lineno:
                yield body[-1].end_lineno - body[0].lineno + 1


def measure(root: Path) -> dict[str, object]:
    """The figures of a checkout, by what they count."""
    checkout = parse(root)
    counts = importers(checkout)
    top = [path.name for path in (root / "chatdata").iterdir() if path.name != "__pycache__"]
    flat = [name for name in checkout.trees if name.startswith("chatdata.")]
    build = "chatdata.pipeline.build" if "chatdata.pipeline" in checkout.trees else "chatdata.build"
    sizes = sorted(size for tree in checkout.trees.values() for size in functions(tree))
    lines = {
        name: tree.body[-1].end_lineno or 0 for name, tree in checkout.trees.items() if tree.body
    }
    longest = max(lines, key=lines.__getitem__)
    banned = Counter(
        name for tree in checkout.trees.values() for name in bound_names(tree) if name in BANNED
    )
    return {
        "entries at the top of chatdata/": len(top),
        "floors of its rooms": floors(checkout),
        "modules of chatdata": len(flat),
        "modules with one importer, at the top": sum(
            counts[name] == 1 and name.count(".") == 1 for name in flat
        ),
        "importers of build": counts[build],
        "bindings of banned names": banned.total(),
        "lines of a function: median, p90, most": (
            f"{statistics.median(sizes):.0f}, {sizes[len(sizes) * 9 // 10]}, {sizes[-1]}"
        ),
        "lines of the longest module": f"{lines[longest]} ({longest})",
    }


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def main(folders: tuple[Path, ...]) -> None:
    """Prints the figures of the checkouts in FOLDERS as a table, one column each."""
    columns = [measure(folder) for folder in folders]
    print("| what | " + " | ".join(folder.resolve().name for folder in folders) + " |")
    print("|---|" + "--:|" * len(folders))
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(str(column[name]) for column in columns) + " |")


if __name__ == "__main__":
    main()
