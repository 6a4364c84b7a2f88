"""Ctrl-C, a request to end, and output that nobody reads: a word, and the status shells expect."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

from chatdata.core import streams

INTERRUPTED = 130  # the exit status after Ctrl-C: 128 and the number of SIGINT
UNREAD = 141  # where nobody reads the output any more: 128 and the number of SIGPIPE
_ABORTED = "Aborted!"
_REQUESTS = {signal.SIGTERM: "Terminated!", signal.SIGHUP: "Hung up!"}


def run(command: Callable[[], object], *, tidies: bool = False) -> None:
    """Runs a command of click. Ctrl-C at any time, also while modules load, is one word.

    With `tidies` SIGTERM and SIGHUP are so too: the command removes what it has not finished, as
    after Ctrl-C. Without, they end the process at once. Raises SystemExit with a status of 128 and
    the number of the signal.
    """
    output = sys.stdout
    with _listening(tidies):
        try:
            command()
        except BaseException as error:
            if sys.stdout is not output and streams.is_deserted():  # so click ends by EPIPE
                streams.silence()
                sys.exit(UNREAD)
            if _Interrupt.status is None:
                raise
            if not isinstance(error, SystemExit) or _Interrupt.word != _ABORTED:
                _tell(f"\n{_Interrupt.word}\n")  # else click has printed the word
            exec("")  # Python ends by SIGINT where the last text that ran as code was interrupted
            sys.exit(_Interrupt.status)


def while_loading() -> None:
    """Makes Ctrl-C one word and status 130 from now on until `run`, while there is nothing that
    would have to be finished."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def answered() -> None:
    """Says that the last Ctrl-C has done what it was meant to do, and does not end the command."""
    if _Interrupt.status == INTERRUPTED:
        _Interrupt.status = None


class _Interrupt:
    """What is to end the command. Modules that load turn the exception into errors of many
    kinds."""

    status: int | None = None
    word = _ABORTED


@contextlib.contextmanager
def _listening(tidies: bool) -> Iterator[None]:
    """Handles signals in the block, but for those that are ignored or handled already."""
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _leave):
        signal.signal(signal.SIGINT, _interrupt)
    for number in _REQUESTS if tidies else ():
        if signal.getsignal(number) is signal.SIG_DFL:  # `nohup` ignores one
            signal.signal(number, _end)
    try:
        yield
    finally:
        for number in (signal.SIGINT, *_REQUESTS):
            if signal.getsignal(number) in (_interrupt, _end):
                signal.signal(number, signal.SIG_DFL)  # Python may take a while to end


def _tell(words: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be closed
        sys.stderr.write(words)
        sys.stderr.flush()


def _leave(number: int, frame: Any) -> None:
    os.write(sys.stderr.fileno(), f"\n{_ABORTED}\n".encode())
    os._exit(INTERRUPTED)


def _interrupt(number: int, frame: Any) -> None:
    _Interrupt.status, _Interrupt.word = INTERRUPTED, _ABORTED
    raise KeyboardInterrupt


def _end(number: int, frame: Any) -> None:
    """Ends the command. What it tidies is not disturbed by a second request."""
    for request in _REQUESTS:
        signal.signal(request, signal.SIG_IGN)
    _Interrupt.status, _Interrupt.word = 128 + number, _REQUESTS[signal.Signals(number)]
    sys.exit(_Interrupt.status)
