#!/bin/sh
# MinHash signatures of rensa 0.4 and of 0.5 are not comparable: the same words with the same seed and the same
# number of permutations give other numbers, with no error, and signatures of equal sets that were made by both
# look as if the sets had nothing in common. So stored signatures, and clusters of near duplicates that are to be
# the same after an update, hold for one version. Within a version they are the same in every process.
# Seen with the versions below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
for version in 0.4.1 0.5.0; do
    "$work/venv/bin/pip" install --quiet --no-deps --target "$work/$version" "rensa==$version"
done
cat > "$work/sign.py" <<'PYTHON'
import json

import rensa

signature = rensa.RMinHash(num_perm=128, seed=42)
signature.update([f"word {number}" for number in range(1000)])
print(json.dumps(signature.digest()))
PYTHON
for version in 0.4.1 0.5.0; do
    for run in 1 2; do
        PYTHONPATH="$work/$version" PYTHONHASHSEED="$run" "$work/venv/bin/python" "$work/sign.py" > "$work/$version.$run"
    done
done
cat > "$work/compare.py" <<'PYTHON'
import json
import sys
from pathlib import Path


def equal(first, second):
    first, second = (json.loads((Path(sys.argv[1]) / name).read_text()) for name in (first, second))
    return f"{sum(a == b for a, b in zip(first, second, strict=True))} of {len(first)}"


print("0.4.1 in two processes:", equal("0.4.1.1", "0.4.1.2"))
print("0.5.0 in two processes:", equal("0.5.0.1", "0.5.0.2"))
print("0.4.1 and 0.5.0, the same set:", equal("0.4.1.1", "0.5.0.1"))
PYTHON
cat > "$work/expected" <<'OUTPUT'
0.4.1 in two processes: 128 of 128
0.5.0 in two processes: 128 of 128
0.4.1 and 0.5.0, the same set: 0 of 128
OUTPUT
"$work/venv/bin/python" "$work/compare.py" "$work" | tee "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
