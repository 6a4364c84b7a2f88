"""What installed packages add to chatdata, found by name through their entry points.

A package that declares, say, `[project.entry-points."chatdata.filters"]` with `shouting =
"its_module:shouting"` adds a filter. Nothing is looked for before a name is used that chatdata
itself does not have, and nothing of a package is loaded before it is named. What chatdata has
cannot be replaced.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any, TypeVar

from chatdata.core.errors import ExtensionError

Thing = TypeVar("Thing")
_REGISTRIES: list[Registry[Any]] = []


class Registry(dict[str, Thing]):
    """Things by name: those of chatdata, over which the registry iterates, and by `registry[name]`
    those of packages.

    `kind` is what the things are called, `group` their group of entry points, and `adopt` makes a
    thing of a name, an object of a package, and the name of the package. `adopt` raises TypeError
    for an object of which nothing can be made.
    """

    def __init__(
        self,
        things: Mapping[str, Thing],
        kind: str,
        group: str,
        adopt: Callable[[str, Any, str], Thing],
    ) -> None:
        super().__init__(things)
        self._kind, self._group, self._adopt = kind, group, adopt
        self._adopted: dict[str, Thing] = {}
        _REGISTRIES.append(self)

    def __missing__(self, name: str) -> Thing:
        """The thing of a package. Raises ExtensionError where it cannot be loaded, and KeyError
        where no package has it."""
        if name not in self._adopted:
            self._adopted[name] = self._load(_found(self._group)[name])
        return self._adopted[name]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in _found(self._group)

    def added(self) -> dict[str, str]:
        """The names that packages add, sorted, with the package of each and its version."""
        ours = set(self)
        entries = _found(self._group).items()
        return {name: package(entry) for name, entry in entries if name not in ours}

    def package_of(self, name: str) -> str | None:
        """The package that adds a name; None for a name of chatdata."""
        return None if super().__contains__(name) else _package_name(_found(self._group)[name])

    def known(self) -> list[str]:
        """All names: those of chatdata, then those of packages."""
        return [*self, *self.added()]

    def forget(self) -> None:
        """Forgets what was loaded of packages."""
        self._adopted.clear()

    def _load(self, entry: metadata.EntryPoint) -> Thing:
        try:
            return self._adopt(entry.name, entry.load(), _package_name(entry))
        except Exception as error:
            raise ExtensionError(
                f"{self._kind} '{entry.name}' of package '{_package_name(entry)}' cannot be loaded "
                f"({type(error).__name__}: {error}); mend the package, or do not name it."
            ) from error


@functools.cache
def _found(group: str) -> dict[str, metadata.EntryPoint]:
    """The entry points of a group by name; of several of a name the first by package."""
    entries = sorted(metadata.entry_points(group=group), key=lambda e: (e.name, _package_name(e)))
    return {entry.name: entry for entry in reversed(entries)}


def package(entry: metadata.EntryPoint) -> str:
    """The package of an entry point, with its version."""
    return f"{_package_name(entry)} {entry.dist.version if entry.dist else ''}".strip()


def _package_name(entry: metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.module


def is_installed(name: str) -> bool:
    """Whether a package is installed."""
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def forget_found() -> None:
    """Makes the entry points be looked for again, as after a package was installed."""
    _found.cache_clear()
    for registry in _REGISTRIES:
        registry.forget()
