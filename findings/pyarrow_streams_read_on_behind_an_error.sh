#!/bin/sh
# A compressed stream of PyArrow that has raised an error goes on when it is read again: it gives bytes that
# nobody packed, and never an end. Only a file that was cut off raises the same error again. So who
# takes an error for the end of a stream must not read again, and io.BufferedReader does so at each end.
# Seen with the version below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pyarrow==26.0.1
cat > "$work/finding.py" <<'PYTHON'
import pyarrow as pa

print("pyarrow", pa.__version__)


def read(stream: pa.NativeFile) -> str:
    try:
        read = stream.read(1 << 16)
    except OSError:
        return "an error"
    return f"{len(read)} bytes"


for codec in ("zstd", "gzip", "bz2"):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as file:
        file.write(b"line\n" * 10)
    packed = sink.getvalue().to_pybytes()
    for name, damaged in (("junk behind", packed + b"junk"), ("cut off", packed[:-3])):
        stream = pa.CompressedInputStream(pa.BufferReader(damaged), codec)
        first, _, *later = (read(stream) for _ in range(5))
        print(f"{codec}, {name}: {first}; third to fifth: {'; '.join(dict.fromkeys(later))}")
PYTHON
cat > "$work/expected" <<'OUTPUT'
pyarrow 26.0.1
zstd, junk behind: an error; third to fifth: 65536 bytes
zstd, cut off: an error; third to fifth: an error
gzip, junk behind: an error; third to fifth: 65536 bytes
gzip, cut off: an error; third to fifth: an error
bz2, junk behind: an error; third to fifth: 65536 bytes
bz2, cut off: an error; third to fifth: an error
OUTPUT
"$work/venv/bin/python" "$work/finding.py" | tee "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
