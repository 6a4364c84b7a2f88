"""The messages of a ShareGPT file, and a clock that counts the seconds of this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import polars as pl

from chatdata.sources import File, sharegpt

Result = TypeVar("Result")


def messages(path: Path) -> pl.DataFrame:
    """All messages of a file that have text."""
    batches = sharegpt.read([File(path, path.name)], "sharegpt", "sharegpt")
    whole = pl.concat([batch.rows for batch in batches])
    return whole.filter(pl.col("content").is_not_null())


def timed(run: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds of CPU in this process, and what came out."""
    begin = time.process_time()
    result = run()
    return time.process_time() - begin, result
