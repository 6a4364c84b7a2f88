"""Paths that come from files of others."""

from __future__ import annotations


def is_inside(path: str) -> bool:
    """Whether a relative POSIX path stays inside the folder to which it is joined.

    Backslashes and NULs are refused too: on some systems, they lead elsewhere.
    """
    parts = set(path.split("/"))  # PurePosixPath is slow for manifests with thousands of files
    is_relative = bool(parts - {"", "."}) and not path.startswith("/") and ".." not in parts
    return is_relative and "\\" not in path and "\0" not in path
