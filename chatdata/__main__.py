"""The command line, by `chatdata` or `python -m chatdata`."""

from __future__ import annotations

from chatdata.core import interrupts, streams


def main() -> None:
    """Runs the command line. Ctrl-C at any time, also while modules load, is one word, and so is
    a request to end."""
    streams.prepare()
    interrupts.run(_run, tidies=True)


def _run() -> None:
    from chatdata.cli import main as run

    run(prog_name="chatdata")


if __name__ == "__main__":
    main()
