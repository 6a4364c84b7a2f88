#!/bin/sh
# gcsfs sends a file of less than 5 MiB (put_file, pipe_file, open("wb")) as one part of a MIME message, and puts a bare
# line feed before the boundary that ends it. A file that ends with a carriage return loses it on a server that reads
# MIME by the book, since the two together are the end of a line. gcsfs reports success: it compares nothing unless
# asked. So write with consistency="md5", which raises ChecksumError.
# Seen with the versions below against an emulator; what Google's server does with such a message was not tried.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet gcsfs==2026.10.1 fsspec==2026.9.0 gcp-storage-emulator==2026.7.19
cat > "$work/finding.py" <<'PYTHON'
import os
from importlib.metadata import version

os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # asks an emulator for a minute, by gRPC

import gcsfs
from gcp_storage_emulator.server import create_server

print(*(f"{name} {version(name)}" for name in ("gcsfs", "fsspec", "gcp-storage-emulator")))
with create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket") as server:
    host, port = server._api._httpd.server_address
    files = gcsfs.GCSFileSystem(token="anon", endpoint_url=f"http://{host}:{port}")
    for content in (b"first\nsecond", b"ends with \r"):
        files.pipe_file("bucket/key", content)
        print(content, "is stored as", files.cat_file("bucket/key"))
    try:
        files.pipe_file("bucket/key", b"ends with \r", consistency="md5")
    except Exception as error:
        print("compared:", type(error).__name__)
PYTHON
cat > "$work/expected" <<'OUTPUT'
gcsfs 2026.10.1 fsspec 2026.9.0 gcp-storage-emulator 2026.7.19
b'first\nsecond' is stored as b'first\nsecond'
b'ends with \r' is stored as b'ends with '
compared: ChecksumError
OUTPUT
"$work/venv/bin/python" "$work/finding.py" 2> "$work/errors" | tee "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
