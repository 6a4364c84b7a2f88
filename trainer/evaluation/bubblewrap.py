"""How a process is started inside bubblewrap, and the Python that it gets.

A sandbox sees the libraries and programs of /usr, the folders of its Python, and a temporary home;
all but the home cannot be written. It has namespaces of its own for users, processes, the network,
mounts, IPC, the name of the machine and cgroups, and no capabilities.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from chatdata.core.errors import ConfigError
from trainer.evaluation import seccomp

INSIDE = Path(__file__).with_name("inside")
_INSIDE = "/run/sandbox"  # where a sandbox has that folder
HOME = "/tmp/home"
_USER = 1000
_FIRST_USER, _USERS = 1_879_048_192, 256  # of the host, where root makes sandboxes: nobody's
_FEWEST = 2**15  # users of a namespace of which some are nobody's
_SYSTEM = ("/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec")
_SHARED = ("/usr/share/fonts", "/usr/share/zoneinfo", "/usr/share/fontconfig")
_OLD = ("/bin", "/lib", "/lib32", "/lib64")  # links into /usr, or folders of older systems
_ETC = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime")
_KERNEL = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus")  # root's, as of a kernel
_HOSTS = b"127.0.0.1 localhost\n::1 localhost\n"
_PASSWD = b"user:x:%d:%d::%s:/bin/sh\n"
_FACTS = """
import json, os, sys
inside = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
folders = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, *inside]
names = [name for path in set(inside) if os.path.isdir(path) for name in os.listdir(path)]
print(json.dumps({"executable": sys.executable, "real": os.path.realpath(sys.executable),
    "folders": [path for path in folders if os.path.isdir(path)],
    "packages": sorted(name[:-10] for name in names if name.endswith(".dist-info")),
    "version": list(sys.version_info[:3])}))
"""


class Python(NamedTuple):
    """An interpreter, the folders that it needs to run, and what is installed in them."""

    executable: str
    folders: tuple[str, ...]
    version: str
    packages: tuple[str, ...]


def python(path: str | None = None) -> Python:
    """The interpreter at a path, or this one. Raises ConfigError for what is no Python."""
    path = path or sys.executable
    try:
        done = subprocess.run(
            [path, "-I", "-c", _FACTS], capture_output=True, check=True, timeout=60
        )
        facts = json.loads(done.stdout)
    except subprocess.CalledProcessError as error:
        raise _no_python(path, f"status {error.returncode}") from None
    except subprocess.TimeoutExpired:
        raise _no_python(path, "no answer in a minute") from None
    except (OSError, ValueError) as error:
        raise _no_python(path, str(error)) from None
    if facts["version"] < [3, 8]:
        raise ConfigError(f"'{path}' is Python {facts['version'][0]}; choose 3.8 or later.")
    folders = {*facts["folders"], os.path.dirname(os.path.dirname(facts["real"]))}
    version = ".".join(map(str, facts["version"]))
    places = tuple(sorted(folders - {"/", "/usr"}))
    home = Path(os.path.expanduser("~"))  # "~" where nobody knows it
    if held := [place for place in places if home.resolve().is_relative_to(place)]:
        raise ConfigError(
            f"'{path}' lives in '{held[0]}', and with it all of your home; choose a Python in a "
            "folder of its own with --python."
        )
    return Python(facts["executable"], places, version, tuple(facts["packages"]))


def _no_python(path: str, reason: str) -> ConfigError:
    return ConfigError(f"'{path}' does not run as Python ({reason}); correct --python.")


def find() -> str:
    """The path of bwrap. Raises ConfigError where it is not installed, or may not isolate."""
    path = shutil.which("bwrap")
    if path is None:
        raise ConfigError(
            "programs of a model run in bubblewrap, which is not installed; install it "
            "(`apt-get install bubblewrap`), or type --no-sandbox to run them unguarded."
        )
    done = subprocess.run(
        [path, "--unshare-user", "--unshare-all", "--ro-bind", "/", "/", "/usr/bin/env", "true"],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()
        raise ConfigError(
            f"bubblewrap cannot isolate a program here ({reason}); permit user namespaces, or "
            "type --no-sandbox to run programs unguarded."
        )
    return path


class Users:
    """Users that programs run as, where root starts them: each of them nobody's on the host.

    As root inside its namespace a program would still be the host's root to the kernel, for which
    no limit of processes holds. So a namespace maps 256 more users, and each sandbox takes one.
    """

    def __init__(self) -> None:
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(_USERS):
            self._free.put(_USER + number)
        self.namespace = _namespace()

    @contextmanager
    def taken(self) -> Iterator[int]:
        """A user, for the time of the block."""
        user = self._free.get()
        try:
            yield user
        finally:
            self._free.put(user)


def is_root() -> bool:
    """Whether this process may be root for the kernel, and has users that it can give away."""
    _, outside, number = map(int, Path("/proc/self/uid_map").read_text().split()[:3])
    return os.geteuid() == 0 and outside == 0 and number >= _FEWEST


def _first_user() -> int:
    """The first of many users that nobody is: of a namespace with few users, the last of them."""
    number = int(Path("/proc/self/uid_map").read_text().split()[2])
    return min(_FIRST_USER, number - 4 * _USERS)


def _namespace() -> int:
    """A user namespace with root and the users, as a file. Raises ConfigError where none can be."""
    code = "import ctypes, sys; print(ctypes.CDLL(None).unshare(0x10000000), flush=True)"
    with subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", f"{code}; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            for kind in ("uid", "gid"):
                users = f"0 0 1\n{_USER} {_first_user()} {_USERS}\n"
                Path(f"/proc/{process.pid}/{kind}_map").write_text(users)
            return os.open(f"/proc/{process.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigError(
                f"root cannot map users into a namespace here ({error}); run as another user, or "
                "type --no-sandbox to run programs unguarded."
            ) from None
        finally:
            process.communicate()


class Files:
    """Files that a process is started with, closed at the end of a block."""

    def __init__(self) -> None:
        self.descriptors: list[int] = []

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)

    def add(self, content: bytes) -> str:
        """The number of a new file with a content, as an option of bwrap."""
        descriptor = os.memfd_create("sandbox")
        self.descriptors.append(descriptor)
        os.write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return str(descriptor)


def command(
    bwrap: str,
    interpreter: Python,
    files: Files,
    disk: int,
    namespace: int | None,
    user: int | None,
) -> list[str]:
    """The beginning of a command line that runs a script of `INSIDE` in a sandbox.

    `disk` is the size of the home in bytes, `namespace` the file of a user namespace, and `user`
    the program's, where root starts it.
    """
    options = [*_namespaces(namespace), "--proc", "/proc", "--dev", "/dev"]
    for place in filter(os.path.exists, _KERNEL):
        options += ["--ro-bind", place, place]
    for place in ("/tmp", "/dev/shm"):
        options += ["--perms", "1777", "--size", str(disk), "--tmpfs", place]
    options += _system(interpreter)  # after /tmp, where a Python may be
    passwd = _PASSWD % (user or _USER, user or _USER, HOME.encode())
    for path, content in (("passwd", passwd), ("hosts", _HOSTS)):
        options += ["--perms", "0444", "--ro-bind-data", files.add(content), f"/etc/{path}"]
    options += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
    options += ["--seccomp", files.add(seccomp.program()), "--clearenv"]
    for name, value in environment(interpreter, HOME).items():
        options += ["--setenv", name, value]
    return [bwrap, *options, interpreter.executable, f"{_INSIDE}/supervisor.py"]


def _namespaces(namespace: int | None) -> Iterator[str]:
    yield from ("--die-with-parent", "--new-session", "--as-pid-1", "--hostname", "sandbox")
    yield from ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts")
    yield from ("--unshare-cgroup-try", "--cap-drop", "ALL")
    if namespace is None:
        yield from ("--unshare-user", "--uid", str(_USER), "--gid", str(_USER))
        return
    yield from ("--userns", str(namespace))
    for name in (
        "SETUID",
        "SETGID",
        "KILL",
        "SYS_PTRACE",
    ):  # to become the user, end and measure it
        yield from ("--cap-add", f"CAP_{name}")


def _system(interpreter: Python) -> Iterator[str]:
    """What a sandbox sees of the host, which it cannot write."""
    inside = {folder: folder for folder in interpreter.folders} | {_INSIDE: str(INSIDE)}
    optional = [path for path in (*_SYSTEM, *_SHARED, *_ETC) if os.path.exists(path)]
    parents = {parent for path in (*inside, *optional) for parent in Path(path).parents}
    for parent in sorted(map(str, parents - {Path("/"), Path("/tmp")})):
        yield from ("--perms", "0755", "--dir", parent)  # else the owner alone may enter it
    for path in _OLD:
        if os.path.islink(path):
            yield from ("--symlink", os.readlink(path), path)
        elif os.path.isdir(path):
            yield from ("--ro-bind", path, path)
    for path, source in ({path: path for path in optional} | inside).items():
        yield from ("--ro-bind", source, path)


def environment(interpreter: Python, home: str) -> dict[str, str]:
    """All variables that a program has."""
    folder = os.path.dirname(interpreter.executable)
    single = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB")
    return {
        **{f"{name}_NUM_THREADS": "1" for name in single},
        "HOME": home,
        "LANG": "C.UTF-8",
        "MALLOC_ARENA_MAX": "2",
        "MPLBACKEND": "module://matplotlib_to_png",
        "MPLCONFIGDIR": f"{home}/.matplotlib",
        "PATH": f"{folder}:/usr/bin:/bin",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "TZ": "UTC",
        "USER": "user",
    }
