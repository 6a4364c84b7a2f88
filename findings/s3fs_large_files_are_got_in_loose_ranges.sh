#!/bin/sh
# s3fs's get_file (and so fsspec's get, and every library that copies by it) takes a file that is larger than a block,
# 50 MiB if nobody says otherwise, in ranges at the same time. The ranges are not tied to one version of the object (no
# If-Match, though open() does so): where somebody replaces the object by one of the same size meanwhile, the local file
# is half the old and half the new one, and no word is said. And a range whose connection breaks in its body is not
# tried again, though a small file is, and though every range is with max_concurrency=1. So copy large files with
# max_concurrency=1, and compare info() of before and after.
# Seen with the versions below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet s3fs==2026.9.0 fsspec==2026.9.0
cat > "$work/finding.py" <<'PYTHON'
import re
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import s3fs

BLOCK = 2**20
state = {}


class Store(BaseHTTPRequestHandler):
    """An object of 4 blocks, of the letter of its version; the second range that is asked breaks or
    comes after the object was replaced."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET(has_body=False)

    def do_GET(self, has_body=True):
        asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "bytes=0-")
        start, end = int(asked[1]), int(asked[2] or 4 * BLOCK - 1)
        breaks = has_body and start >= state["from"] and state.pop("breaks", False)
        if has_body and start and state.pop("replaced", False):
            state["letter"] = b"n"
        body = state["letter"] * (end + 1 - start)
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{state["letter"].decode()}"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        try:
            if has_body:
                self.wfile.write(body[: len(body) // 2] if breaks else body)
        except OSError:
            pass
        self.close_connection = self.close_connection or bool(breaks)

    def log_message(self, *words):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
threading.Thread(target=server.serve_forever, daemon=True).start()
files = s3fs.S3FileSystem(
    anon=True, endpoint_url=f"http://127.0.0.1:{server.server_port}", default_block_size=BLOCK
)


def got(what, begin=1, **options):
    """What became of a copy where the first request for what is behind `begin` goes wrong."""
    state.clear()
    state.update({"letter": b"o", what: True, "from": begin})
    with tempfile.NamedTemporaryFile() as copy:
        try:
            files.get_file("bucket/key", copy.name, **options)
        except Exception as error:
            return type(error).__name__
        content = open(copy.name, "rb").read()
    return f"{content.count(b'o') // BLOCK} blocks of the old object, {content.count(b'n') // BLOCK} of the new"


print(*(f"{name} {version(name)}" for name in ("s3fs", "fsspec")))
mixture = re.fullmatch(r"[1-3] blocks of the old object, [1-3] of the new", got("replaced"))
print("replaced meanwhile:", "a mixture" if mixture else "no mixture")
print("a range breaks:", got("breaks"))
print("with max_concurrency=1 the connection breaks:", got("breaks", begin=0, max_concurrency=1))
PYTHON
cat > "$work/expected" <<'OUTPUT'
s3fs 2026.9.0 fsspec 2026.9.0
replaced meanwhile: a mixture
a range breaks: ClientPayloadError
with max_concurrency=1 the connection breaks: 4 blocks of the old object, 0 of the new
OUTPUT
"$work/venv/bin/python" "$work/finding.py" 2> "$work/errors" | tee "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
