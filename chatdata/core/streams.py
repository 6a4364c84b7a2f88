"""The standard streams of a command: usable, whoever closed them, and whatever they can encode."""

from __future__ import annotations

import codecs
import io
import os
import select
import sys

_ESCAPES = "chatdata-escapes"
_NAMES = ("stdin", "stdout", "stderr")
_CLOSED = select.POLLERR | select.POLLHUP


def prepare() -> None:
    """Opens standard streams that are closed, to nothing, before a file takes their number. Makes
    those for output write `\\uXXXX`, as JSON does, for what their encoding does not have."""
    for number, name in enumerate(_NAMES):
        if not _is_open(number):
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115
    codecs.register_error(_ESCAPES, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors=_ESCAPES)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def is_deserted() -> bool:
    """Whether nobody reads standard output, or standard error, any more."""
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, select.POLLOUT)
    return any(events & _CLOSED for _, events in poll.poll(0))


def silence() -> None:
    """Lets what is still to be written go nowhere."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nothing, number)
    os.close(nothing)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """The characters that cannot be encoded as JSON writes them in ASCII, and where they end."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end
