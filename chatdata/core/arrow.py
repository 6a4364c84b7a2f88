"""Arrays of Arrow from arrays of numpy and back, without a copy; tables in Arrow files.

`pa.array` and `to_numpy` would do the same, but they import pandas where pandas is installed,
which takes half a second and 50 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa


def int32(values: npt.NDArray[Any]) -> pa.Array:
    """Whole numbers, of any type, as an Arrow array of int32."""
    return _array(pa.int32(), np.ascontiguousarray(values, np.int32))


def int64(values: npt.NDArray[Any]) -> pa.Array:
    """Whole numbers, of any type, as an Arrow array of int64."""
    return _array(pa.int64(), np.ascontiguousarray(values, np.int64))


def uint32(values: npt.NDArray[Any]) -> pa.Array:
    """Whole numbers from 0, of any type, as an Arrow array of uint32."""
    return _array(pa.uint32(), np.ascontiguousarray(values, np.uint32))


def float32(values: npt.NDArray[Any]) -> pa.Array:
    """Numbers, of any type, as an Arrow array of float32."""
    return _array(pa.float32(), np.ascontiguousarray(values, np.float32))


def lists(offsets: npt.NDArray[Any], values: npt.NDArray[Any], type: pa.DataType) -> pa.Array:
    """Lists of int32, as an array of `type`: list `i` is `values[offsets[i] : offsets[i + 1]]`."""
    return pa.ListArray.from_arrays(int32(offsets), int32(values), type=type)


def numbers(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """A column of numbers without nulls, as a read-only array of the same type."""
    return pl.Series(column).to_numpy()


def no_rows(schema: pa.Schema) -> pa.Table:
    """A table without rows."""
    return pa.Table.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def _array(type: pa.DataType, values: npt.NDArray[Any]) -> pa.Array:
    return pa.Array.from_buffers(type, len(values), [None, pa.py_buffer(values)])


def height(path: Path) -> int:
    """The number of rows in an Arrow file."""
    with pa.memory_map(str(path)) as file:
        reader = pa.ipc.open_file(file)
        batches = map(reader.get_batch, range(reader.num_record_batches))
        return sum(batch.num_rows for batch in batches)


def read_table(path: Path, columns: Sequence[str] | pl.Expr | None = None) -> pl.DataFrame:
    """The table, or columns of the table, in an Arrow file. Its name is no pattern."""
    table = pl.scan_ipc(path, glob=False)
    return (table if columns is None else table.select(columns)).collect()
