#!/bin/sh
# A Parquet column of the logical type JSON comes out of each library as something else, and as something else
# again where the file also stores the Arrow schema: Polars reads bytes without the Arrow schema, and an
# extension type with it; pandas reads text both times, DuckDB JSON both times, datasets objects both times.
# So the type alone does not give a column of tool calls that is an object in datasets and text in Polars.
# Seen with the versions below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet \
    pyarrow==26.0.1 polars==2.1.0 duckdb==2.0.1 pandas==3.1.1 datasets==5.2.0
cat > "$work/finding.py" <<'PYTHON'
import sys
from importlib.metadata import version

import datasets
import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq

datasets.disable_progress_bars()
names = ("pyarrow", "polars", "duckdb", "pandas", "datasets")
print(*(f"{name} {version(name)}" for name in names))
column = pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array(['{"city": "Faro"}']))
for stored in (False, True):
    path = f"{sys.argv[1]}/{stored}.parquet"
    pq.write_table(pa.table({"made": column}), path, store_schema=stored)
    print("Arrow schema stored:", stored)
    print("  polars:", polars.read_parquet(path).schema["made"])
    print("  duckdb:", duckdb.sql(f"SELECT typeof(made) FROM '{path}'").fetchall()[0][0])
    print("  pandas:", type(pandas.read_parquet(path)["made"][0]).__name__)
    rows = datasets.load_dataset(
        "parquet", data_files=path, split="train", cache_dir=f"{sys.argv[1]}/cache-{stored}"
    )
    print("  datasets:", rows[0]["made"])
PYTHON
cat > "$work/expected" <<'OUTPUT'
pyarrow 26.0.1 polars 2.1.0 duckdb 2.0.1 pandas 3.1.1 datasets 5.2.0
Arrow schema stored: False
  polars: Binary
  duckdb: JSON
  pandas: str
  datasets: {'city': 'Faro'}
Arrow schema stored: True
  polars: Extension('arrow.json', String, '')
  duckdb: JSON
  pandas: str
  datasets: {'city': 'Faro'}
OUTPUT
"$work/venv/bin/python" "$work/finding.py" "$work" 2> "$work/errors" | tee "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
