#!/bin/sh
# gcsfs asks for the kind of a bucket by gRPC before it reads or writes, also where it was given an endpoint that speaks
# HTTP alone (an emulator, a proxy). Each call takes up to a minute more there, since what was not found out is not
# kept. GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=false, set before gcsfs is imported, asks nothing.
# Seen with the versions below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet gcsfs==2026.10.1 fsspec==2026.9.0 gcp-storage-emulator==2026.7.19 aiohttp==3.14.5
cat > "$work/finding.py" <<'PYTHON'
import os
import sys
import time
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = sys.argv[1]

import gcsfs
from gcp_storage_emulator.server import create_server


def seconds(endpoint):
    """How long it takes to learn that a file is missing."""
    files = gcsfs.GCSFileSystem(token="anon", endpoint_url=endpoint)
    start = time.monotonic()
    try:
        files.cat_file("bucket/key")
    except FileNotFoundError:
        return time.monotonic() - start


with create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket") as server:
    host, port = server._api._httpd.server_address
    for call in ("first", "second"):
        is_long = seconds(f"http://{host}:{port}") > 7
        print(f"gRPC {sys.argv[1]}, {call} call:", "takes long" if is_long else "takes a moment")
PYTHON
cat > "$work/expected" <<'OUTPUT'
gRPC false, first call: takes a moment
gRPC false, second call: takes a moment
gRPC true, first call: takes long
gRPC true, second call: takes long
OUTPUT
"$work/venv/bin/pip" freeze | grep -E "gcsfs|fsspec|aiohttp=|gcp-storage"
for grpc in false true; do "$work/venv/bin/python" "$work/finding.py" $grpc 2>> "$work/errors"; done | tee "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
