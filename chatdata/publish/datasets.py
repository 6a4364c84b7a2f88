"""What `import chatdata` does with a dataset, by its name: a built folder, a published version
(`org/name@1.0.0`), or the URL of a folder in storage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from chatdata.core import storage
from chatdata.core.constants import SPLITS
from chatdata.core.errors import OutputError
from chatdata.dataset import dropped, manifest, pack, reader, report, tables
from chatdata.dataset.entries import PackEntry
from chatdata.dataset.manifest import Manifest
from chatdata.pipeline.progress import Progress, silent
from chatdata.publish import pull
from chatdata.verify import comparison, dataset_diff, verification
from chatdata.verify import rebuild as rebuilding
from chatdata.verify.dataset_diff import Difference
from chatdata.verify.verification import Verdicts


def read_manifest(dataset: str | Path) -> Manifest:
    """The manifest of a finished build: counts, licences, files and their hashes, certificate.

    `dataset` is a folder, a published version (`org/name@1.0.0`) or a URL. Raises OutputError where
    there is no manifest that this chatdata can read, and VerifyError for the first key with a
    wrong value.
    """
    return manifest.read(pull.folder(dataset) if pull.is_published(dataset) else dataset)


def dataset_stats(dataset: str | Path) -> dict[str, Any]:
    """The numbers of a dataset: rows, turns, tokens, sources, languages, and what was dropped.

    `dataset` is a folder, a published version (`org/name@1.0.0`) or a URL. Returns plain values.
    Raises a ChatdataError where it is not a finished build.
    """
    return reader.stats(pull.folder(dataset))


def explain(dataset: str | Path, id: str) -> pl.DataFrame:
    """What became of a message or a conversation, and why: rows of the ledger.

    `dataset` is a folder, a published version (`org/name@1.0.0`) or a URL. `id` is an id of the
    ledger, its last part, or the place of a record that was dropped (`dump.jsonl:17`). The rows of
    what was dropped have its words too, where the folder keeps them. Raises OutputError where
    nothing has this id.
    """
    folder = pull.folder(dataset)
    return dropped.with_words(folder, reader.explain(folder, id))


def read_rows(
    dataset: str | Path, table: str = "messages", *, split: str | None = None
) -> pl.LazyFrame:
    """The rows of a table, in order, as a polars LazyFrame, which reads what is asked of it.

    `dataset` is a folder, a published version (`org/name@1.0.0`) or a URL. `table` is `messages`,
    `tokens`, `pairs`, `ranked`, `pair-tokens`, `ledger` or `dropped` (with the words of what was
    dropped, where the folder keeps them), or `tokens-NAME` or `ledger-NAME` of an added rendering.
    A column `split` says where a row is; `split` limits the rows to a split. Raises a ChatdataError
    where there are no such rows.
    """
    _check_table(table, split)
    folder = pull.folder(dataset)
    if table == tables.DROPPED.name:
        manifest.read(folder)  # says so of what is no dataset
        return dropped.scan(folder)
    if _is_ledger(table):
        _, _, rendering = table.partition("-")
        return reader.scan_left_out(folder, rendering) if rendering else reader.scan_ledger(folder)
    return reader.scan(folder, table, SPLITS if split is None else (split,))


def _is_ledger(table: str) -> bool:
    return table.partition("-")[0] == tables.LEDGER.name


def _check_table(table: str, split: str | None) -> None:
    """Raises OutputError for a table that no dataset has, and for a split of one without splits."""
    is_dropped = table == tables.DROPPED.name
    if not is_dropped and (tables.named(table) is None or "packs" in table):
        names = ", ".join(t.name for t in (*tables.TABLES, tables.DROPPED) if t != tables.PACKS)
        raise OutputError(f"there is no table '{table}'; the tables of a dataset are {names}.")
    if split is not None and (is_dropped or _is_ledger(table)):
        raise OutputError(f"the table '{table}' has no splits; leave out split={split!r}.")


def verify_dataset(
    dataset: str | Path,
    *,
    full: bool = False,
    rebuild: bool = False,
    inputs: Sequence[str] = (),
    settings: Sequence[str] = (),
    python: Sequence[str] = (),
    workers: int = 1,
    progress: Progress = silent,
) -> Verdicts:
    """Checks that a dataset is what its manifest says, and returns the verdict of each check.

    `dataset` is a folder, a published version (`org/name@1.0.0`) or a URL. A verdict has an
    `outcome` (ok, failed or skipped) and its `problems` in words. With `full` all rows are rendered
    again, else a sample. With `rebuild` it is also built again from its recipe, and the bytes are
    compared; `inputs`, `settings`, `python` and `workers` are for that, as in a build. Raises
    OutputError where there is no manifest that can be read.
    """
    folder = pull.folder(dataset, is_checked=False)
    verdicts = verification.verdicts_on(folder, everything=full, progress=progress)
    if rebuild:
        given = {"inputs": inputs, "settings": settings, "python": python}
        verdicts.append(rebuilding.verdict(folder, **given, workers=workers, progress=progress))
    return Verdicts(verdicts)


def diff_datasets(before: str | Path, after: str | Path, *, examples: int = 3) -> Difference:
    """The difference of two datasets: rows by id, counts, recipe, template, with a few examples.

    Each is a folder, a published version (`org/name@1.0.0`) or a URL. Returns the rows that were
    added, removed, changed or moved to the other split, with the reasons that the ledgers give.
    Raises a ChatdataError where one is not a finished build.
    """
    return dataset_diff.between(pull.folder(before), pull.folder(after), examples)


def write_report(
    dataset: str | Path, page: str | Path | None = None, *, against: str | Path | None = None
) -> str:
    """Writes a page about a dataset, for a browser, and returns its path or its URL.

    `dataset` is a folder, a published version (`org/name@1.0.0`) or a URL. The page stands in it
    as `report.html`, unless `page` says where; that of a published version needs a `page`.
    `against` is a dataset that came before: then the page, `comparison.html`, has both side by
    side. Raises a ChatdataError where one is not a finished build.
    """
    if page is None and pull.is_published(dataset):
        raise OutputError(f"'{dataset}' cannot be changed; say where the page goes with page=PATH.")
    folder, place = pull.folder(dataset), None if page is None else Path(page)
    if against is None:
        written = report.write(folder, place)
    else:
        written = comparison.write(pull.folder(against), folder, place)
    if page is not None or not storage.is_remote(str(dataset)):
        return str(page or written)
    storage.at(str(dataset)).put({written.name: written})
    return f"{storage.shown(str(dataset)).rstrip('/')}/{written.name}"


def pack_dataset(
    dataset: str | Path, max_tokens: int, *, rendering: str | None = None
) -> list[PackEntry]:
    """Adds an index to a built folder that packs its rows into bins of at most `max_tokens`.

    The rows are not changed and never cut. `rendering` is an added rendering of the folder.
    Returns the index of each split. Raises a ChatdataError for a row that is longer than a bin,
    and for a published version or a URL, which cannot be changed.
    """
    return pack.repack(pull.changeable(dataset), max_tokens, rendering)
