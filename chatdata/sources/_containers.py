"""Rows of CSV, TSV and Arrow files, and the members of archives."""

from __future__ import annotations

import csv
import io
import itertools
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from chatdata.core.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
TABLES = tuple(f"{kind}{packed}" for kind in (".csv", ".tsv") for packed in ("", ".gz", ".zst"))
ARROW = ".arrow"
_LARGEST_CELL = 1 << 30  # characters
_COPIED = 1 << 20


# -------------------------------------------------------------------------------------- CSV and TSV


def csv_rows(file: io.BufferedReader, name: str) -> Iterator[dict[str, str] | str]:
    """Yields the rows of a CSV or TSV file by the names of its first row, and words for a row that
    is not as wide, or holds bytes that are no UTF-8.

    Raises SourceError where two columns have a name, or one has none.
    """
    csv.field_size_limit(_LARGEST_CELL)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        first = text.readline()
        lines = itertools.chain([first], text)
        rows = csv.reader(lines, delimiter=_delimiter(first, name), strict=True)
        header = next(_parsed(rows), [])
        if not header or isinstance(header, str) or "" in header or len({*header}) < len(header):
            raise SourceError(
                f"'{name}' has no first row with a name for each column, each another; write one."
            )
        for row in _parsed(rows):
            if isinstance(row, str):
                yield row
            elif row:
                yield _named(header, row)
    finally:
        text.detach()  # the file is closed by who opened it


def _delimiter(first: str, name: str) -> str:
    """What stands between cells; some programs write CSV with semicolons."""
    if ".tsv" in name:
        return "\t"
    return ";" if ";" in first and "," not in first else ","


def _parsed(rows: Iterator[list[str]]) -> Iterator[list[str] | str]:
    while True:
        try:
            yield next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"no row of a table: {error}"


def _named(header: list[str], row: list[str]) -> dict[str, str] | str:
    if len(row) != len(header):
        return f"a row of {len(row)} cells, and the first row has {len(header)}"
    if any(not cell.isascii() and _is_damaged(cell) for cell in row):
        return "a cell that is not UTF-8"
    return dict(zip(header, row, strict=True))


def _is_damaged(cell: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in cell)


# -------------------------------------------------------------------------------------------- Arrow


def arrow_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Yields the batches of an Arrow file: a stream, as `datasets` saves, or the file format.

    Raises SourceError where the file is neither.
    """
    import pyarrow as pa

    try:
        with pa.OSFile(str(path)) as opened:  # a map of a file that is cut ends the process
            try:
                reader = pa.ipc.open_stream(opened)
            except pa.ArrowInvalid:
                with pa.ipc.open_file(opened) as file:
                    yield from (file.get_batch(n) for n in range(file.num_record_batches))
                return
            yield from reader
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"'{path}' is not a readable Arrow file ({error}).") from None


# ----------------------------------------------------------------------------------------- archives


def members(path: Path, suffixes: tuple[str, ...], folder: Path) -> Iterator[tuple[Path, str]]:
    """Yields the files of an archive that have any of these suffixes, unpacked into a folder, each
    with its name in the archive, in the order of the names.

    Raises SourceError where the archive is damaged, or has a password.
    """
    try:
        with _archive(path) as archive:
            named = dict(sorted(_named_members(archive)))
            for number, name in enumerate(name for name in named if name.endswith(suffixes)):
                target = folder / f"{number}{_suffix(name)}"
                with _opened(archive, named[name]) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file, _COPIED)
                yield target, name
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError, OSError) as error:
        raise SourceError(f"'{path}' is not a readable archive ({error}).") from None


def _archive(path: Path) -> zipfile.ZipFile | tarfile.TarFile:
    return zipfile.ZipFile(path) if path.name.endswith(".zip") else tarfile.TarFile.open(path)


def _named_members(archive: zipfile.ZipFile | tarfile.TarFile) -> Iterator[tuple[str, object]]:
    """Yields the files of an archive by their names, without those that systems add."""
    if isinstance(archive, zipfile.ZipFile):
        listed = [(info.filename, info) for info in archive.infolist() if not info.is_dir()]
    else:
        listed = [(info.name, info) for info in archive.getmembers() if info.isfile()]  # type: ignore
    for name, info in listed:
        parts = PurePosixPath(name).parts
        if "__MACOSX" not in parts and not parts[-1].startswith("."):
            yield name, info


def _opened(archive: zipfile.ZipFile | tarfile.TarFile, info: object) -> IO[bytes]:
    if isinstance(archive, zipfile.ZipFile):
        assert isinstance(info, zipfile.ZipInfo)
        return archive.open(info)
    assert isinstance(info, tarfile.TarInfo)
    file = archive.extractfile(info)
    assert file is not None
    return file


def _suffix(name: str) -> str:
    return "".join(PurePosixPath(name).suffixes[-2:])
