"""The command line, by `chatdata` or `python -m chatdata`."""

from __future__ import annotations

import signal
import sys
from typing import Any

INTERRUPTED = 130  # the exit status after Ctrl-C: 128 and the number of SIGINT


def main() -> None:
    """Runs the command line. Ctrl-C at any time, also while modules load, is one word."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        from chatdata.cli import main as run

        run(prog_name="chatdata")
    except BaseException as error:
        if not _Interrupt.came:
            raise
        if not isinstance(error, SystemExit):  # else click has printed the word
            sys.stderr.write("\nAborted!\n")
        exec("")  # Python ends by SIGINT where the last text that ran as code was interrupted
        sys.exit(INTERRUPTED)
    finally:
        if signal.getsignal(signal.SIGINT) is _interrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python may take a while to end


class _Interrupt:
    """Whether Ctrl-C came. Modules that load turn the exception into errors of many kinds."""

    came = False


def _interrupt(number: int, frame: Any) -> None:
    _Interrupt.came = True
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
