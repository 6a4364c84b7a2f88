"""A build from storage into storage beside the same build on a disk: bytes, CPU seconds, memory.

python -m tests.bench.storage FILE    (FILE is the ShareGPT dump; the server is moto's, on loopback,
or with `--protocol gs` an emulator of Google's)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SERVER = """
import json, sys
from tests.support import object_storage
serve = {"s3": object_storage.serve, "gs": object_storage.serve_google}[sys.argv[1]]
with serve() as server:
    server.client.create_bucket("bench")
    print(json.dumps(server.variables), flush=True)
    sys.stdin.read()
"""
SETTINGS = ("render=null", "drop=[empty, duplicate]", "clean=[]", "redact=null", "threads={}")


def measured(arguments: list[str], variables: Mapping[str, str]) -> tuple[float, int]:
    """The CPU seconds of a command and of its workers, and the MiB of the largest of them."""
    code = f"""
import resource, subprocess, sys
status = subprocess.call({[sys.executable, "-m", "chatdata", *arguments]!r})
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss // 1024, file=sys.stderr)
sys.exit(status)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    seconds, size = done.stderr.split()[-2:]
    return float(seconds), int(size)


def compare(file: Path, bench: str, folder: Path, rounds: int) -> None:
    """Prints what builds cost in turn, and whether their bytes are the same."""
    from chatdata.core import storage

    print(f"start: {_peak()} MiB")
    storage.at(f"{bench}/dump").put({file.name: file})
    print(f"put {file.stat().st_size:,} bytes: {_peak()} MiB")
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    settings += ["--set", "max_dropped=1", "--workers", "1"]
    ways = {"disk": (str(file), str(folder / "out"))}
    ways["storage"] = (f"{bench}/dump/{file.name}", f"{bench}/out")
    for _ in range(rounds):
        for way, (source, out) in ways.items():
            command = ["build", "sharegpt", "--input", source, "--out", out, *settings]
            seconds, size = measured(command, dict(os.environ))
            print(f"{way}: {seconds:.1f} CPU s, {size} MiB")
    place = storage.at(f"{bench}/out")
    names = {place.relative(file) for file in place.files()}
    stored = {name: _hash(place.read(name) or b"") for name in names}
    paths = [path for path in (folder / "out").rglob("*") if path.is_file()]
    here = {p.relative_to(folder / "out").as_posix(): _hash(p.read_bytes()) for p in paths}
    print(f"{len(here)} files, the same bytes: {here == stored}")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--protocol", choices=("s3", "gs"), default="s3")
    options = parser.parse_args()
    command = [sys.executable, "-c", SERVER, options.protocol]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server,
    ):
        assert server.stdout is not None
        os.environ.update(json.loads(server.stdout.readline()))
        bench = f"{options.protocol}://bench"
        compare(options.file.resolve(), bench, Path(folder), options.rounds)
        server.communicate("")


if __name__ == "__main__":
    main()
