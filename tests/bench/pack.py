"""Packs the same lengths three ways, interleaved: fill and time.

python tests/bench/pack.py --folder out/sharegpt-2.0.0 --max-tokens 2048 --max-tokens 4096
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chatdata.dataset import manifest
from chatdata.dataset.pack import lengths, pack

Lengths = npt.NDArray[np.int64]
Result = tuple[int, float]  # bins, share of their places that hold a token


def ours(sizes: Lengths, max_tokens: int) -> Result:
    """Best-fit decreasing over all rows, as an index."""
    bins = pack(sizes, max_tokens)
    return len(bins), bins.fill


def trl(sizes: Lengths, max_tokens: int, batch: int | None = None) -> Result:
    """TRL's `bfd`, on a dataset of rows of these lengths; it packs each batch of `map` alone."""
    from datasets import Dataset, disable_progress_bars
    from trl.data_utils import pack_dataset

    disable_progress_bars()
    offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]), pa.int64())
    ids = pa.LargeListArray.from_arrays(offsets, pa.array(np.zeros(int(sizes.sum()), np.int32)))
    dataset = Dataset(pa.table({"input_ids": ids}))
    options = {"batch_size": batch} if batch else {}
    packed = pack_dataset(
        dataset, max_tokens, "bfd", map_kwargs={**options, "keep_in_memory": True}
    )
    return len(packed), float(sizes.sum()) / (len(packed) * max_tokens)


def trl_at_once(sizes: Lengths, max_tokens: int) -> Result:
    """The same with one batch that holds all rows."""
    return trl(sizes, max_tokens, len(sizes))


def multipack(sizes: Lengths, max_tokens: int) -> Result:
    """First-fit decreasing in groups of 100,000 rows, as axolotl's sampler packs, at most 200
    rows to a bin. Axolotl compiles its loop with numba; this one looks for the first bin in a
    tree of the largest rooms, so its time says nothing of axolotl's."""
    bins = 0
    for start in range(0, len(sizes), 100_000):
        bins += _first_fit(np.sort(sizes[start : start + 100_000])[::-1].tolist(), max_tokens)
    return bins, float(sizes.sum()) / (bins * max_tokens)


def _first_fit(sizes: list[int], room: int) -> int:
    leaves = 1 << max(1, (len(sizes) - 1).bit_length())
    largest = [room] * (2 * leaves)  # the largest room below each node
    held = [0] * leaves
    used = 0
    for size in sizes:
        node = 1
        while node < leaves:
            node = 2 * node if largest[2 * node] >= size else 2 * node + 1
        leaf = node - leaves
        used = max(used, leaf + 1)
        held[leaf] += 1
        largest[node] = 0 if held[leaf] == 200 else largest[node] - size
        while node > 1:
            node //= 2
            largest[node] = max(largest[2 * node], largest[2 * node + 1])
    return used


WAYS: dict[str, Callable[[Lengths, int], Result]] = {
    "chatdata": ours,
    "trl bfd": trl,
    "trl bfd, one batch": trl_at_once,
    "multipack": multipack,
}


def random_lengths(rows: int, seed: int, longest: int) -> Lengths:
    """Log-normal lengths, as those of chats nearly are."""
    drawn = np.random.default_rng(seed).lognormal(6, 1, rows)
    return np.clip(drawn, 8, longest).astype(np.int64)


@click.command()
@click.option("--folder", type=click.Path(exists=True, path_type=Path), help="A built dataset.")
@click.option("--rows", default=200_000, show_default=True, help="Rows, where no folder is given.")
@click.option("--seed", default=0, show_default=True)
@click.option("--max-tokens", multiple=True, type=int, default=[2048], show_default=True)
@click.option("--rounds", default=3, show_default=True)
def main(
    folder: Path | None, rows: int, seed: int, max_tokens: tuple[int, ...], rounds: int
) -> None:
    """Compares fill and time on the lengths of a dataset, or on random ones."""
    print({name: metadata.version(name) for name in ("trl", "datasets", "numpy")})
    for limit in max_tokens:
        sizes = random_lengths(rows, seed, limit)
        if folder is not None:
            row_lengths = lengths(folder, manifest.read(folder).files, "train")
            sizes = row_lengths[row_lengths <= limit]
        seconds: dict[str, list[float]] = {name: [] for name in WAYS}
        results: dict[str, Result] = {}
        for _ in range(rounds):
            for name, way in WAYS.items():
                begin = time.perf_counter()
                results[name] = way(sizes, limit)
                seconds[name].append(time.perf_counter() - begin)
        print(f"\n{len(sizes)} rows, {sizes.sum()} tokens, bins of {limit}")
        print("| way | bins | fill | seconds | times ours |\n|---|--:|--:|--:|--:|")
        base = statistics.median(seconds["chatdata"])
        for name, (bins, fill) in results.items():
            own_time = statistics.median(seconds[name])
            print(f"| {name} | {bins} | {fill:.2%} | {own_time:.3f} | {own_time / base:.1f} |")


if __name__ == "__main__":
    main()
