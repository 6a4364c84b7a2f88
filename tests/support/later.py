"""Packages that some tests need, and that no process need import to collect all tests."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import pytest


def need(*names: str) -> None:
    """Skips the tests of a module where one of these packages is not installed.

    `pytest.importorskip` imports them, in each process that collects tests.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed", allow_module_level=True)


class Later:
    """A module that is imported when a public name of it is first read.

    pytest asks all that a test module holds for names with an underscore.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)
