"""Sandboxes for tests, where this machine has any."""

from __future__ import annotations

import functools

import pytest

from chatdata.core.errors import ConfigError
from trainer.evaluation.sandbox import Sandbox

DOUBLE = "def double(x):\n    return 2 * x\n"


@functools.cache
def _sandbox() -> Sandbox | str:
    try:
        return Sandbox()
    except ConfigError as error:
        return str(error)


def sandbox_or_skip() -> Sandbox:
    """A sandbox; the test is skipped, with the reason, where none can be had."""
    sandbox = _sandbox()
    if isinstance(sandbox, str):
        pytest.skip(sandbox)
    return sandbox
