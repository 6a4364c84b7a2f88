#!/bin/sh
# A card that declares a column as `dtype: json` over Parquet text: datasets 5.2 gives the objects, datasets
# 4.8 gives the text, though both print the same feature, Json(decode=True). A loader that was written with one
# meets dicts where the other meets strings.
# Seen with the versions below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/data"
cat > "$work/data/README.md" <<'CARD'
---
configs:
- config_name: calls
  data_files: calls.parquet
dataset_info:
- config_name: calls
  features:
  - name: call
    dtype: json
---
CARD
cat > "$work/finding.py" <<'PYTHON'
import sys
from importlib.metadata import version
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

datasets.disable_progress_bars()
work = Path(sys.argv[1])
pq.write_table(pa.table({"call": ['{"city": "Faro"}']}), work / "data" / "calls.parquet")
cache = str(work / f"cache-{version('datasets')}")
rows = datasets.load_dataset(str(work / "data"), "calls", split="train", cache_dir=cache)
print("datasets", version("datasets"), rows.features["call"], type(rows[0]["call"]).__name__)
PYTHON
for release in 4.8.5 5.2.0; do
    python3 -m venv "$work/venv-$release"
    "$work/venv-$release/bin/pip" install --quiet "datasets==$release" pyarrow==26.0.1
    "$work/venv-$release/bin/python" "$work/finding.py" "$work" 2> "$work/errors" | tee -a "$work/output"
done
cat > "$work/expected" <<'OUTPUT'
datasets 4.8.5 Json(decode=True) str
datasets 5.2.0 Json(decode=True) dict
OUTPUT
diff "$work/expected" "$work/output" && echo "as it was seen"
