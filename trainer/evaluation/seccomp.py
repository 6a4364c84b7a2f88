"""The system calls that a program in a sandbox is refused, as a filter for the kernel.

Namespaces hide the host; the filter takes away what a program needs for nothing but an attack on
the kernel, on other processes, or on limits: memory that no limit of a process counts (System V
shared memory, memfd), new namespaces, mounts, tracing. What is refused fails as if not permitted,
and clone3, whose flags no filter can see, as if unknown: C libraries then call clone.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Mapping

from chatdata.core.errors import ConfigError

# Numbers of linux/audit.h, and of the tables of system calls: of x86_64 and of aarch64.
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_REFUSED: Mapping[str, tuple[int, int]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_by_handle_at": (304, 265),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "kexec_load": (246, 104),
}
_CLONE, _CLONE3 = (56, 220), (435, 435)
_NEW_NAMESPACES = 0x7E020000  # flags of clone, all that are called CLONE_NEW...
_X32 = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _KILL, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000


def program() -> bytes:
    """The filter for this machine. Raises ConfigError for a processor without a table."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise ConfigError(
            f"the sandbox has no table of system calls for '{machine}'; run on x86_64 or aarch64."
        )
    column, audit = _ARCHITECTURES[machine]
    head = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, audit, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
        _step(_AT_LEAST, _X32, 0, 1),
        _step(_RETURN, _FAIL | errno.EPERM),
    ]
    refused = [_refuse(numbers[column], errno.EPERM) for numbers in _REFUSED.values()]
    tail = [
        _refuse(_CLONE3[column], errno.ENOSYS),
        _step(_EQUAL, _CLONE[column], 0, 3),
        _step(_LOAD, _FIRST_ARGUMENT),
        _step(_ANY_BIT, _NEW_NAMESPACES, 0, 1),
        _step(_RETURN, _FAIL | errno.EPERM),
        _step(_RETURN, _ALLOW),
    ]
    return b"".join([*head, *refused, *tail])


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """A struct sock_filter."""
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _refuse(number: int, error: int) -> bytes:
    return _step(_EQUAL, number, 0, 1) + _step(_RETURN, _FAIL | error)
