"""What a script takes from the project's modules, held against them. Nothing is imported."""

from __future__ import annotations

import ast
import functools
import symtable
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
_KEEP_PARAMETERS = {"cache", "contextmanager", "lru_cache"}  # these decorators


class Module(NamedTuple):
    """The names that a module binds, and its functions by name."""

    names: frozenset[str]
    functions: dict[str, ast.FunctionDef]


def faults(script: Path) -> Iterator[str]:
    """Yields a line for each name that a script takes from a module of the project that binds no
    such name, and for each call of a function of the project that does not take the arguments."""
    tree = ast.parse(script.read_text())
    full = dict(_imported(tree))
    for name in sorted({*full.values(), *_attributes(tree, full)}):
        module, rest = _split(name, script.parent)
        if module and rest and rest[0] not in module.names:
            yield f"{script.name}: there is no {name}"
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and (name := _full_name(call.func, full)):
            module, rest = _split(name, script.parent)
            function = module.functions.get(".".join(rest)) if module else None
            if function and not _takes(function.args, call):
                yield f"{script.name}:{call.lineno}: {name} does not take these arguments"


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yields each name that an import binds, at the head or in a function, with its full name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0], alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _attributes(tree: ast.Module, full: dict[str, str]) -> Iterator[str]:
    """Yields the full names of the attributes that are taken from what is imported."""
    for node in ast.walk(tree):
        name = _full_name(node, full) if isinstance(node, ast.Attribute) else None
        if name:
            yield name


def _full_name(node: ast.expr, full: dict[str, str]) -> str | None:
    """The full name of an expression of names and dots that begins with an imported name."""
    match node:
        case ast.Name(id=name):
            return full.get(name)
        case ast.Attribute(value=value, attr=attribute):
            before = _full_name(value, full)
            return f"{before}.{attribute}" if before else None
    return None


def _split(name: str, folder: Path) -> tuple[Module | None, list[str]]:
    """The module of the project that a full name begins with, and the rest of the name. A module
    may stand beside the script, in `folder`."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        for top in (ROOT, folder):
            path = top.joinpath(*parts[:length])
            for file in (path.with_suffix(".py"), path / "__init__.py"):
                if file.is_file():
                    return _module(file), parts[length:]
    return None, parts


@functools.cache
def _module(path: Path) -> Module:
    """A module, read from its source."""
    source = path.read_text()
    symbols = symtable.symtable(source, str(path), "exec").get_symbols()
    names = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}
    listed = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    functions = {node.name: node for node in listed if _has_plain_call(node)}
    return Module(frozenset(names | {"__doc__", "__file__", "__name__"}), functions)


def _has_plain_call(function: ast.FunctionDef) -> bool:
    """Whether a function is called with the parameters that its definition shows."""
    decorators = {ast.unparse(each).partition("(")[0] for each in function.decorator_list}
    return {name.rpartition(".")[2] for name in decorators} <= _KEEP_PARAMETERS


def _takes(parameters: ast.arguments, call: ast.Call) -> bool:
    """Whether a call's arguments fit, as far as the source tells: `*` and `**` may bring any."""
    keywords = {keyword.arg for keyword in call.keywords}
    if None in keywords or any(isinstance(each, ast.Starred) for each in call.args):
        return True
    positional = [each.arg for each in (*parameters.posonlyargs, *parameters.args)]
    by_name = {each.arg for each in (*parameters.args, *parameters.kwonlyargs)}
    required = positional[: len(positional) - len(parameters.defaults)]
    pairs = zip(parameters.kwonlyargs, parameters.kw_defaults, strict=True)
    required += [each.arg for each, default in pairs if default is None]
    return (
        (len(call.args) <= len(positional) or parameters.vararg is not None)
        and (keywords <= by_name or parameters.kwarg is not None)
        and set(required) <= {*positional[: len(call.args)], *keywords}
    )
