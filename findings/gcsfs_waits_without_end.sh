#!/bin/sh
# gcsfs hands each request timeout=None to aiohttp, which means no limit at all: aiohttp's own limits (five minutes in
# all, half a minute to connect) do not hold, nor does a timeout in session_kwargs. Where a server takes a request and
# says nothing, the call never ends and nothing is tried again. So give requests_timeout=aiohttp.ClientTimeout(
# sock_connect=30, sock_read=60): silence is then an error that gcsfs tries again. (A number is the limit of a whole
# download.) And by default gcsfs asks for the kind of the bucket by gRPC first; where only HTTP is spoken (an emulator,
# a proxy) each call takes up to a minute more, since what it did not find out is not kept:
# GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=false, before gcsfs is imported, asks nothing.
# Seen with the versions below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet gcsfs==2026.10.1 fsspec==2026.9.0 gcp-storage-emulator==2026.7.19 aiohttp==3.14.5
cat > "$work/finding.py" <<'PYTHON'
import os
import socket
import sys
import time
from importlib.metadata import version

os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = sys.argv[1]

import aiohttp
import fsspec
import gcsfs
from gcp_storage_emulator.server import create_server


def seconds(endpoint, **options):
    """How long the reading of a file takes. It is given up after 8 seconds where options are given."""
    files = gcsfs.GCSFileSystem(token="anon", endpoint_url=endpoint, **options)
    start = time.monotonic()
    try:
        fsspec.asyn.sync(files.loop, files._cat_file, "bucket/key", timeout=8 if options else None)
    except (FileNotFoundError, fsspec.FSTimeoutError, aiohttp.ClientError):
        return time.monotonic() - start


if sys.argv[1] == "false":
    print(*(f"{name} {version(name)}" for name in ("gcsfs", "fsspec", "aiohttp")))
    silent = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{silent.getsockname()[1]}"
    second = aiohttp.ClientTimeout(total=1)
    is_long = seconds(address, session_kwargs={"timeout": second}) > 7
    print("silence, a second in session_kwargs:", "still waits" if is_long else "ends")
    is_long = seconds(address, requests_timeout=second) > 7
    print("silence, a second in requests_timeout:", "still waits" if is_long else "ends")
with create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket") as server:
    host, port = server._api._httpd.server_address
    is_long = seconds(f"http://{host}:{port}") > 7
    print("an emulator, gRPC", sys.argv[1], "takes long" if is_long else "takes a moment", sep=": ")
PYTHON
cat > "$work/expected" <<'OUTPUT'
gcsfs 2026.10.1 fsspec 2026.9.0 aiohttp 3.14.5
silence, a second in session_kwargs: still waits
silence, a second in requests_timeout: ends
an emulator, gRPC: false: takes a moment
an emulator, gRPC: true: takes long
OUTPUT
for grpc in false true; do "$work/venv/bin/python" "$work/finding.py" $grpc 2>> "$work/errors"; done | tee "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
