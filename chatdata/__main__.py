"""The command line, by `chatdata` or `python -m chatdata`."""

from __future__ import annotations

from chatdata.core import interrupts


def main() -> None:
    """Runs the command line. Ctrl-C at any time, also while modules load, is one word."""
    interrupts.run(_run)


def _run() -> None:
    from chatdata.cli import main as run

    run(prog_name="chatdata")


if __name__ == "__main__":
    main()
