#!/bin/sh
# Polars keeps 32 compiled regular expressions for each thread (polars-utils, regex_cache.rs). A program that looks for
# more than that, one after the other, batch after batch, compiles all of them again for each batch: 40 expressions cost
# several times as much each as 30 do, where batches are small. Filters of a text pipeline (languages, secrets, page
# words) are easily a hundred. In threads of their own, each with fewer than 33, they stay compiled.
# Seen with the version below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet polars==2.1.0
cat > "$work/finding.py" <<'PYTHON'
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import polars as pl

texts = pl.DataFrame({"text": ["what does this function return, and why is it slow"] * 20})
patterns = [rf"(?i)\b(?:word{n}|other{n}|some\s+thing{n}|[a-z]+{n}x)\b" for n in range(40)]
threads = [ThreadPoolExecutor(1) for _ in range(2)]


def look(some):
    for pattern in some:
        texts.select(pl.col("text").str.contains(pattern))


def apart(some):
    for number, thread in enumerate(threads):
        thread.submit(look, some[number::2]).result()


def each(function, some):
    """Seconds for a pattern, the least of 20 rounds after the first."""
    rounds = []
    for _ in range(21):
        began = time.perf_counter()
        function(some)
        rounds.append((time.perf_counter() - began) / len(some))
    return min(rounds[1:])


few = each(look, patterns[:30])
print("polars", version("polars"))
print("40 patterns, one after the other, take 2 times as long each as 30, or longer:", each(look, patterns) > 2 * few)
print("40 patterns in two threads do:", each(apart, patterns) > 2 * few)
PYTHON
cat > "$work/expected" <<'OUTPUT'
polars 2.1.0
40 patterns, one after the other, take 2 times as long each as 30, or longer: True
40 patterns in two threads do: False
OUTPUT
"$work/venv/bin/python" "$work/finding.py" | tee "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
