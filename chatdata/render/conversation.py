"""What templates are given, and how they refuse it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Messages = Sequence[Mapping[str, str]]  # role, content


class UnrenderableError(Exception):
    """A conversation that a template cannot write, or not exactly; the message says why."""
