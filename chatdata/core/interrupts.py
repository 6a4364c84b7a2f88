"""Ctrl-C: one word, and the exit status that shells expect."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

INTERRUPTED = 130  # the exit status after Ctrl-C: 128 and the number of SIGINT


def run(command: Callable[[], object]) -> None:
    """Runs a command of click. Ctrl-C at any time, also while modules load, is one word.

    Raises SystemExit with status 130 after Ctrl-C.
    """
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _leave):
        signal.signal(signal.SIGINT, _interrupt)
    try:
        command()
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


def while_loading() -> None:
    """Makes Ctrl-C one word and status 130 from now on until `run`, while there is nothing that
    would have to be finished."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def answered() -> None:
    """Says that the last Ctrl-C has done what it was meant to do, and does not end the command."""
    _Interrupt.came = False


class _Interrupt:
    """Whether Ctrl-C came. Modules that load turn the exception into errors of many kinds."""

    came = False


def _leave(number: int, frame: Any) -> None:
    os.write(sys.stderr.fileno(), b"\nAborted!\n")
    os._exit(INTERRUPTED)


def _interrupt(number: int, frame: Any) -> None:
    _Interrupt.came = True
    raise KeyboardInterrupt
