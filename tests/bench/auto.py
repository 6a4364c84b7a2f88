"""What recognising costs: the time in which `auto` reads a file, over that of the source by name.

    python tests/bench/auto.py FILE --source sharegpt [--times 5]

Both read in turn, and the fastest of each counts.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from chatdata import sources
from chatdata.sources import File


def seconds(name: str, file: File) -> float:
    """The time in which a source reads a file."""
    start = time.perf_counter()
    for _ in sources.get(name).read([file], "x", "x"):
        pass
    return time.perf_counter() - start


def main() -> None:
    """Prints both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--source", default="sharegpt")
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    file = File(options.path, options.path.name)
    taken = [(seconds(options.source, file), seconds("auto", file)) for _ in range(options.times)]
    by_name, auto = (min(times) for times in zip(*taken, strict=True))
    print(f"{options.source} {by_name:.2f} s, auto {auto:.2f} s, ratio {auto / by_name:.3f}")


if __name__ == "__main__":
    main()
