"""A process that has imported what takes long, and forks for each command of chatdata it is told.

python -P -c "$(cat _child.py)" ROOT NAME...

It is given ROOT, the folder that chatdata must come from, and names of modules, none of which may
start a thread. A line of its input is an order, {"arguments", "folder", "said"}, and a line of its
output the status of that command; what it printed is in the files `said`.stdout and `said`.stderr.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import sys


def serve(names: list[str]) -> dict[str, str] | None:
    """Takes orders until there are no more. Returns the order in a process that is to follow it."""
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    threads = len(os.listdir("/proc/self/task"))
    assert threads == 1, f"{threads} threads run, and a fork would copy their locks"
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            order: dict[str, str] = json.loads(line)
            return order
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return None


def follow(order: dict[str, str], root: str) -> None:
    """Runs the command of an order, in its folder. Ends the process."""
    os.chdir(order["folder"])
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(f"{order['said']}.stdout", flags), 1)
    os.dup2(os.open(f"{order['said']}.stderr", flags), 2)
    sys.argv = ["chatdata", *order["arguments"]]
    import chatdata

    expected = os.path.join(root, "chatdata", "__init__.py")
    assert chatdata.__file__ == expected, f"{chatdata.__file__} is imported, not {expected}"
    from chatdata.cli import main

    try:
        main(prog_name="chatdata")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        _end(status)


def _end(status: int) -> None:
    """Ends the process without clearing away what was imported, which takes a second."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__" and (given := serve(sys.argv[2:])):
    follow(given, sys.argv[1])
