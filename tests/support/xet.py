"""The share of files that the Hub's storage client would upload: its code, a local store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_UPLOAD = """
import json, sys, hf_xet
shares = []
for paths in json.loads(sys.argv[2]):
    commit = hf_xet.XetSession().new_upload_commit(endpoint=f"local://{sys.argv[1]}")
    for path in paths:
        commit.start_upload_file(path, sha256=hf_xet.SKIP_SHA256)
    metrics = commit.wait_to_finish().dedup_metrics
    shares.append(metrics.new_bytes / metrics.total_bytes)
print(json.dumps(shares))
"""


def new_shares(work: Path, uploads: Sequence[Sequence[Path]]) -> list[float]:
    """The share of the bytes of each upload that no upload before it had. Writes into `work`."""
    names = json.dumps([[str(path) for path in paths] for paths in uploads])
    command = [sys.executable, "-c", _UPLOAD, str(work / "store"), names]
    environment = {**os.environ, "HF_XET_CACHE": str(work / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    shares: list[float] = json.loads(done.stdout)
    return shares
