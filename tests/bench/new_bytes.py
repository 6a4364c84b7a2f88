"""What of a dataset is new where a row is taken out: python -m tests.bench.new_bytes FOLDER

Writes the rows of a built folder again without one of them, at several places, and prints for each
table how much of the bytes a content-defined chunker of 64 KiB does not find again, and how much
the client of the Hub's storage would upload, with a local store.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.dataset import manifest, tables
from chatdata.dataset.tables import Table
from tests.support import shard_files, xet

_LEAST, _MOST = 2**13, 2**17
_WINDOW = 64  # bytes that the rolling hash sees
_GEAR = np.random.default_rng(64).integers(0, 2**64, 256, dtype=np.uint64)


def new_share(before: Iterable[Path], after: Iterable[Path]) -> float:
    """The share of the bytes of files that stands in chunks that no file before had."""
    known = {digest for path in before for digest, _ in chunks(path.read_bytes())}
    made = [chunk for path in after for chunk in chunks(path.read_bytes())]
    return sum(size for digest, size in made if digest not in known) / sum(s for _, s in made)


def chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yields the digest and the size of each chunk."""
    cuts = np.flatnonzero(_hashes(data) >> np.uint64(48) == 0) + 1
    start = 0
    while start < len(data):
        later = cuts[np.searchsorted(cuts, start + _LEAST) :]
        end = min(len(data), start + _MOST, *later[:1].tolist())
        yield hashlib.blake2b(data[start:end]).digest(), end - start
        start = end


def _hashes(data: bytes) -> np.ndarray:
    """The rolling hash of the bytes up to each byte."""
    hashes = _GEAR[np.frombuffer(data, np.uint8)]
    width = 1
    while width < _WINDOW:
        before = np.zeros_like(hashes)
        before[width:] = hashes[:-width] << np.uint64(width)
        hashes, width = hashes + before, width * 2
    return hashes


def write(folder: Path, table: Table, rows: pa.Table) -> list[Path]:
    """The shards of rows of a table."""
    given = [(rows, table.row_bytes(rows))]
    return shard_files.write(folder / table.name, "train", rows.schema, given)


def measure(work: Path, table: Table, rows: pa.Table, at: int) -> tuple[float, float]:
    """The new shares, by the chunker and by the client, where a row is taken out."""
    work.mkdir()
    left = pa.concat_tables([rows.slice(0, at), rows.slice(at + 1)])
    whole, less = write(work / "whole", table, rows), write(work / "less", table, left)
    return new_share(whole, less), xet.new_shares(work, [whole, less])[1]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--places", default=10, show_default=True)
def main(folder: Path, places: int) -> None:
    """Prints what is new of each table of FOLDER where one row is taken out."""
    described = manifest.read(folder)
    draw = random.Random(1)
    for table in (tables.MESSAGES, tables.TOKENS):
        paths = [folder / file.path for file in table.shards(described.files, "train")]
        if not paths:
            continue
        rows = pa.concat_tables([pq.read_table(path) for path in paths])
        size = sum(path.stat().st_size for path in paths)
        with tempfile.TemporaryDirectory() as name:
            shares = [
                measure(Path(name) / str(number), table, rows, draw.randrange(rows.num_rows))
                for number in range(places)
            ]
        words = f"{table.name}: {rows.num_rows} rows, {size / 1e6:.1f} MB;"
        for tool, of_tool in zip(("64 KiB chunks", "Xet"), zip(*shares, strict=True), strict=True):
            words += f" {tool}: mean {np.mean(of_tool):.1%}, worst {max(of_tool):.1%};"
        click.echo(words)


if __name__ == "__main__":
    main()
