"""Small disks to fill, where this user may mount such disks."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(place: Path, size: int) -> Iterator[Path]:
    """A disk of `size` bytes at `place`. Skips the test where this user may not mount it."""
    place.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "none", str(place)]
    try:
        subprocess.run(["mount", *options], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> None:
    """Leaves no room on a disk."""
    with contextlib.suppress(OSError), (disk / "filling").open("wb", 0) as file:
        while file.write(b"x" * 4096):
            pass


def make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
