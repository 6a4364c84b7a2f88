"""The second step of spreading messages over many parts: each bucket over its parts.

What the first step has written can be removed when this step is done. The order of the messages in
a part is that in which they were read, as in one step.
"""

from __future__ import annotations

import functools
import itertools
import shutil

from chatdata.pipeline import partitions
from chatdata.pipeline.partitions import Batches, PartitionFiles, PartitionWriter
from chatdata.pipeline.runner import Runner


def spread_buckets(files: PartitionFiles, sources: int, runner: Runner) -> None:
    """Spreads what was read of so many sources over the parts of each bucket, where parts are in
    buckets."""
    if files.per_bucket == 1:
        return
    tasks = list(itertools.product(range(sources), range(files.buckets)))
    for _ in runner.map_here("spreading", functools.partial(_spread, files), tasks):
        pass
    for source in range(sources):
        shutil.rmtree(files.messages(source), ignore_errors=True)


def _spread(files: PartitionFiles, task: tuple[int, int]) -> None:
    """Spreads the messages of a source in a bucket over its parts."""
    source, bucket = task
    start = bucket * files.per_bucket
    within = range(start, start + files.per_bucket)
    writer = PartitionWriter(files.bucket(source, bucket), files.parts, within=within)
    for rows in partitions.read(Batches(files.messages(source), bucket)):
        writer.add(rows)
    writer.flush()
