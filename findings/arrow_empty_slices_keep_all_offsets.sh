#!/bin/sh
# Arrow's IPC writer cuts the buffers of a sliced record batch to the slice, but not where the slice has no rows:
# then the offsets of all rows of the batch are written, for each column of texts. A batch that is spread over
# 1,024 partitions, one batch each, of which some are empty, takes many times its size: 20 MB of conversations
# with 18 columns of texts took 726 MB, and 12 GB of them more than 46 GB of a disk. An array made of no values
# takes what a row takes.
# Seen with the version below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pyarrow==26.0.1
cat > "$work/finding.py" <<'PYTHON'
import pyarrow as pa


def written(batch):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().size


def told(batch):
    size = written(batch)
    return f"{batch.num_rows} rows: {'about a kB' if size < 2000 else f'{size // 1000} kB'}"


print("pyarrow", pa.__version__)
for kind in (pa.string(), pa.large_string(), pa.int64()):
    values = pa.array(range(100_000)).cast(kind)
    batch = pa.record_batch([values], names=["values"])
    print(f"{kind}: slices of {told(batch.slice(500, 1))}, {told(batch.slice(500, 0))}", end="")
    print(f"; made of {told(pa.record_batch([pa.array([], kind)], names=['values']))}")
PYTHON
cat > "$work/expected" <<'OUTPUT'
pyarrow 26.0.1
string: slices of 1 rows: about a kB, 0 rows: 400 kB; made of 0 rows: about a kB
large_string: slices of 1 rows: about a kB, 0 rows: 800 kB; made of 0 rows: about a kB
int64: slices of 1 rows: about a kB, 0 rows: about a kB; made of 0 rows: about a kB
OUTPUT
"$work/venv/bin/python" "$work/finding.py" 2> "$work/errors" | tee "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
