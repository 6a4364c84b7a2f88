"""Programs that mean harm: each is stopped, and nothing of it is left on the host.

Each attack is plain, and against our guard alone; the limits are low, so that even where a guard
failed the host would not notice.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.sandboxes import DOUBLE, sandbox_or_skip
from trainer.evaluation import bubblewrap, png
from trainer.evaluation.sandbox import Limits, Ran, Sandbox

pytestmark = pytest.mark.slow
LOW = Limits(
    seconds=20,
    cpu_seconds=10,
    memory_mb=150,
    address_space_mb=512,
    processes=16,
    file_mb=4,
    disk_mb=8,
    output_kb=64,
    figure_kb=64,
)
TEST = "assert double(2) == 4"


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    return sandbox_or_skip()


@pytest.fixture(scope="module", params=["a user of its own", "the user who starts it"])
def either(request: pytest.FixtureRequest) -> Sandbox:
    """A sandbox as root makes them, and as others do: then program and supervisor are one user."""
    sandbox_or_skip()
    if request.param == "a user of its own":
        return Sandbox()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bubblewrap, "is_root", lambda: False)
        return Sandbox()


def attack(sandbox: Sandbox, program: str, test: str | None = None, limits: Limits = LOW) -> Ran:
    return sandbox.run(program, test=test, limits=limits)


@pytest.fixture
def mark() -> str:
    """A name by which the processes of an attack are seen from outside."""
    return f"m{secrets.token_hex(6)}"


def named(mark: str) -> str:
    """The beginning of a program whose processes have a name that the host can see."""
    return f"import ctypes\nctypes.CDLL(None).prctl(15, b'{mark}', 0, 0, 0)\n"


def alive(mark: str) -> list[str]:
    """The processes of this machine that have a name."""
    processes = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            processes += [path.parent.name] if path.read_text().strip() == mark else []
    return processes


def wait_until_gone(mark: str, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while alive(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(mark)


# ----------------------------------------------------------------------------------------- limits


def test_a_fork_bomb_ends(sandbox: Sandbox, mark: str) -> None:
    bomb = (
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass\n"
    )
    most, is_over = [], threading.Event()

    def count() -> None:
        while not is_over.wait(0.1):
            most.append(len(alive(mark)))

    watch = threading.Thread(target=count)
    watch.start()
    ran = attack(sandbox, named(mark) + bomb, limits=Limits(seconds=1, processes=16))
    is_over.set()
    watch.join()
    assert ran.status in ("timed_out", "out_of_memory")
    assert 0 < max(most) <= 16
    wait_until_gone(mark)


def test_threads_count_as_processes(sandbox: Sandbox) -> None:
    program = "import threading, time\nfor _ in range(99):\n"
    program += "    threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
    assert attack(sandbox, program).error == "RuntimeError"


def test_no_process_has_a_hundred_gigabytes(sandbox: Sandbox) -> None:
    ran = attack(sandbox, "block = bytearray(100 << 30)\n")
    assert (ran.status, ran.error) == ("out_of_memory", "MemoryError")


def test_processes_together_have_no_more_memory(sandbox: Sandbox, mark: str) -> None:
    program = """
import os, time
for _ in range(5):
    if os.fork() == 0:
        block = b"x" * (50 << 20)
        time.sleep(9)
time.sleep(9)
"""
    ran = attack(sandbox, named(mark) + program)
    assert (ran.status, ran.error) == ("out_of_memory", "all processes together")
    wait_until_gone(mark)


def test_memory_that_processes_share_counts_once(either: Sandbox) -> None:
    """While they live, and while they end."""
    program = "import os, time\nblock = b'x' * (90 << 20)\nfor number in range(6):\n"
    program += "    os.fork() or time.sleep(number / 20) or os._exit(0)\ntime.sleep(0.4)\n"
    assert attack(either, program).status == "ran"


@pytest.mark.parametrize("call", ["shmget(0, 4096, 0o1600)", "memfd_create(b'x', 0)"])
def test_memory_that_no_limit_counts_is_refused(sandbox: Sandbox, call: str) -> None:
    program = f"import ctypes\nprint(ctypes.CDLL(None, use_errno=True).{call})\n"
    program += "print(ctypes.get_errno())\n"
    assert attack(sandbox, program).stdout.split() == ["-1", "1"]


@pytest.mark.parametrize("write", ["print('x' * 1000)", "os.write(2, b'y' * 100_000)"])
def test_endless_output_ends(sandbox: Sandbox, write: str) -> None:
    ran = attack(sandbox, f"import os\nwhile True:\n    {write}\n")
    assert ran.status == "too_much_output"
    assert 0 < len(ran.stdout + ran.stderr) <= 8192


@pytest.mark.parametrize("folder", [".", "/tmp", "/dev/shm"])
def test_a_full_disk_is_full_early(sandbox: Sandbox, folder: str) -> None:
    program = f"""
import os
total = 0
try:
    for number in range(99):
        total += os.write(os.open(f"{folder}/{{number}}", os.O_CREAT | os.O_WRONLY), bytes(1 << 20))
except OSError as error:
    print(error.errno, total >> 20)
"""
    number, written = attack(sandbox, program).stdout.split()
    assert int(number) == 28  # ENOSPC
    assert int(written) <= 8


def test_a_file_has_a_size_that_it_may_have(sandbox: Sandbox) -> None:
    ran = attack(sandbox, "open('a', 'wb').truncate(5 << 20)\n")
    assert (ran.status, ran.error) == ("raised", "OSError")


@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "import time; time.sleep(99)",
        "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
        "import signal\nfor s in (2, 15, 24): signal.signal(s, signal.SIG_IGN)\nwhile True: pass",
        "import os\nos.closerange(0, 99)\nwhile True: pass",
    ],
)
def test_time_is_over_for_all(sandbox: Sandbox, program: str) -> None:
    assert attack(sandbox, program, limits=Limits(seconds=0.4)).status == "timed_out"


def test_the_time_of_a_processor_is_over(sandbox: Sandbox) -> None:
    ran = attack(sandbox, "while True: pass", limits=Limits(seconds=30, cpu_seconds=1))
    assert (ran.status, ran.error) == ("timed_out", "processor time")


# ------------------------------------------------------------------------------ what is to be seen


def test_the_home_and_the_environment_are_not_those_of_the_host(
    either: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("words")
    monkeypatch.setenv("A_TOKEN", "words")
    places = [str(secret), str(Path.home() / ".bashrc"), "/etc/shadow", str(Path(__file__))]
    program = f"""
import os
print("A_TOKEN" in os.environ, sorted(set(os.environ) - {{"PWD", "LC_CTYPE"}}), os.listdir("/home")
      if os.path.exists("/home") else [], os.getcwd(), os.path.expanduser("~"), os.listdir("."))
for path in {places} + ["/proc/1/environ", "/proc/1/mem", "/proc/1/fd/3", "/proc/1/cwd/x"]:
    try:
        print(path, open(path).read()[:10])
    except OSError:
        pass
print([int(name) > 2 and os.readlink("/proc/self/fd/" + name)[:5]
       for name in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + name)])
print(open("/etc/passwd").read(), os.uname().nodename)
"""
    lines = attack(either, program).stdout.splitlines()
    assert lines[0].startswith("False ")
    assert lines[0].endswith(" [] /tmp/home /tmp/home ['program.py']")
    assert len(lines) == 4
    assert set(eval(lines[1])) <= {False, "pipe:"}
    assert lines[2].startswith("user:x:1")
    assert lines[3] == " sandbox"


def test_nothing_is_written_but_in_the_home(either: Sandbox) -> None:
    program = """
import os, sys
places = ["/", "/etc", "/usr/lib", "/dev", "/run", "/run/sandbox", "/proc", "/root", "/bin",
          os.path.dirname(os.__file__), sys.prefix]
for place in places:
    try:
        open(place + "/x", "w")
        print("written", place)
    except OSError:
        pass
for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger",
             "/proc/self/uid_map", "/run/sandbox/supervisor.py", "/dev/kmsg"):
    try:
        os.close(os.open(path, os.O_WRONLY))
        print("open", path)
    except OSError:
        pass
"""
    ran = attack(either, program)
    assert (ran.status, ran.stdout.replace("open /proc/self/uid_map\n", "")) == ("ran", "")


def test_no_socket_reaches_the_host(sandbox: Sandbox, mark: str) -> None:
    with socket.socket() as server, socket.socket(socket.AF_UNIX) as local:
        server.bind(("127.0.0.1", 0))
        server.listen()
        local.bind(f"\0{mark}")
        local.listen()
        program = f"""
import socket
for family, address in ((socket.AF_INET, ("127.0.0.1", {server.getsockname()[1]})),
                        (socket.AF_UNIX, "\\0{mark}"), (socket.AF_INET, ("192.0.2.1", 80))):
    try:
        socket.socket(family).connect(address)
        print("connected", address)
    except OSError as error:
        print(type(error).__name__)
"""
        ran = attack(sandbox, program)
    assert ran.stdout.split() == ["ConnectionRefusedError", "ConnectionRefusedError", "OSError"]


# -------------------------------------------------------------------------------- other processes


def test_a_daemon_does_not_outlive_the_program(sandbox: Sandbox, mark: str) -> None:
    program = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    for number in range(1, 32):
        if number not in (9, 17, 19):
            signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        time.sleep(60)
    os._exit(0)
"""
    assert attack(sandbox, named(mark) + program).status == "ran"
    wait_until_gone(mark)


def test_a_program_does_not_outlive_who_started_it(sandbox: Sandbox, mark: str) -> None:
    """The runner is killed by a signal that it cannot see."""
    code = f"from trainer.evaluation import sandbox\nsandbox.run({named(mark)!r} + "
    code += "'import time\\ntime.sleep(60)', limits=sandbox.Limits(seconds=60))"
    with subprocess.Popen([sys.executable, "-c", code]) as runner:
        deadline = time.monotonic() + 30
        while not alive(mark) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert alive(mark)
        runner.kill()
    wait_until_gone(mark)


def test_signals_reach_nobody(either: Sandbox) -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as bystander:
        program = f"""
import os, signal
for process in (1, {os.getpid()}, {bystander.pid}):
    for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):
        try:
            os.kill(process, number)
        except OSError:
            pass
print("here")
"""
        assert attack(either, program).stdout == "here\n"
        assert bystander.poll() is None
        bystander.kill()


@pytest.mark.parametrize(
    "call",
    [
        "ptrace(16, 1, 0, 0)",
        "unshare(0x10000000)",
        "mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None)",
        "syscall(56, 0x10000011, 0, 0, 0, 0)",
        "setuid(0)",
        "setns(0, 0)",
        "syscall(425, 1, 0)",
        "chroot(b'/tmp')",
    ],
)
def test_calls_that_leave_the_sandbox_are_refused(sandbox: Sandbox, call: str) -> None:
    if "syscall(56" in call and os.uname().machine != "x86_64":
        call = call.replace("56", "220")
    program = (
        f"import ctypes, os\nmain = os.getpid()\nprint(ctypes.CDLL(None, use_errno=True).{call}"
    )
    program += (
        ") if os.getpid() == main else None\nprint(ctypes.get_errno(), os.getpid() == main)\n"
    )
    result, number, is_main = attack(sandbox, program).stdout.split()
    assert (result, is_main) == ("-1", "True")
    assert int(number) in (1, 22)  # EPERM; EINVAL of bubblewrap's namespaces


# ----------------------------------------------------------------------------------------- figures


def test_only_pictures_are_read_as_pictures(either: Sandbox) -> None:
    """Links, pipes, folders, files that are too large, damaged, or none at all."""
    signature = png.SIGNATURE
    program = f"""
import os, socket
os.symlink("/etc/passwd", "1.png")
os.mkfifo("2.png")
os.mkdir("3.png")
open("4.png", "wb").write({signature!r} + bytes(100_000))
open("5.png", "w").write("words")
open("6.png", "wb").write({signature!r} + b"damaged")
socket.socket(socket.AF_UNIX).bind("7.png")
os.symlink("/proc/1/environ", "8.png")
os.symlink(".", "folder")
os.chmod(os.open("9.png", os.O_CREAT | os.O_RDWR), 0)
"""
    ran = attack(either, program)
    assert ran.status == "ran"
    assert ran.figures == ()
    assert Counter(ran.refused) == {
        "a damaged PNG": 1,
        "a link, or not to be read": 4,
        "no PNG": 1,
        "no file": 1,
        "too large": 1,
    }


def test_very_many_files_end_a_program(sandbox: Sandbox) -> None:
    program = "number = 0\nwhile True:\n    open(f'/dev/shm/{number}', 'w')\n    number += 1\n"
    ran = attack(sandbox, program, limits=Limits(files=500))
    assert (ran.status, ran.error) == ("out_of_memory", "too many files")


def test_a_home_of_very_many_files_costs_little(sandbox: Sandbox) -> None:
    program = "import os\nfor number in range(5000):\n    open(f'{number}.png', 'w')\n"
    program += "for _ in range(200):\n    os.mkdir('d')\n    os.chdir('d')\n"
    ran = attack(sandbox, program)
    assert ran.status == "ran"
    assert len(ran.refused) <= 20


# ----------------------------------------------------------------------------------------- forging


FORGERIES = [
    "import os\nos._exit(0)",
    "import sys\nsys.exit(0)",
    'import sys, os\nprint(\'{"stage": "passed"}\')\nsys.stdout.flush()\nos._exit(0)',
    """
import os
for fd in range(3, 256):
    for line in (b'{"stage": "ran"}', b'{"stage": "passed", "word": ""}', b"passed", b"[]"):
        try:
            os.write(fd, line + b"\\n")
        except OSError:
            pass
""",
    "import atexit, os\natexit.register(os._exit, 0)\nraise SystemExit",
    "import builtins\nbuiltins.exec = builtins.compile = lambda *a, **k: None\nraise KeyError",
    DOUBLE + "import os, time\nif os.fork():\n    time.sleep(0.5)\n    os._exit(0)\n",
    "import os, threading, time\nthreading.Timer(0.2, os._exit, [0]).start()\ntime.sleep(9)",
    "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "def double(x):\n    import os\n    os._exit(0)",
    "def double(x):\n    raise SystemExit(0)",
    """
import gc, sys
for runner in gc.get_objects():
    if type(runner).__name__ == "Program":
        runner._end({"stage": "passed", "word": "x"})
""",
    """
import sys
frame = sys._getframe()
while frame:
    for value in list(frame.f_locals.values()):
        if hasattr(value, "has_test"):
            value.has_test = False
    frame = frame.f_back
""",
    """
import builtins, sys
real = builtins.__build_class__
def double(x): return 5
builtins.AssertionError = type("Nothing", (Warning,), {})
def skip(frame, event, argument):
    if frame.f_code.co_filename == "test.py" and event == "line":
        frame.f_lineno = 3
    return skip
sys.settrace(skip)
""",
]


@pytest.mark.parametrize("program", FORGERIES)
def test_no_program_passes_a_test_that_did_not_end_well(sandbox: Sandbox, program: str) -> None:
    ran = attack(sandbox, program, test="assert double(2) == 4\nx = 1\ny = 2\n")
    assert not ran.passed
    assert ran.status in ("exited", "tampered", "failed", "raised", "killed"), ran


def test_a_program_has_no_test_to_read_before_its_end(sandbox: Sandbox) -> None:
    """Neither the text of the test nor the word that passes it is in its memory; its source is."""
    program = """
import gc, re
words = [re.compile(b"mark-of[-]the[-]test"), re.compile(b"mark-of[-]the[-]program")]
seen = set()
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb") as memory:
    for line in maps:
        start, end = (int(number, 16) for number in line.split()[0].split("-"))
        if "rw" in line and end - start < 1 << 26:
            memory.seek(start)
            try:
                block = memory.read(end - start)
            except OSError:
                continue
            seen |= {number for number, word in enumerate(words) if word.search(block)}
print(seen, [o for o in gc.get_objects() if "word" in getattr(o, "__dict__", {})])
# mark-of-the-program
"""
    ran = attack(sandbox, program, test="# mark-of-the-test\n")
    assert (ran.status, ran.stdout) == ("passed", "{1} []\n"), ran


def test_who_does_not_read_holds_nobody_up(sandbox: Sandbox) -> None:
    """A program says by itself that it has ended, and then leaves a long test in the pipe."""
    program = "import os, time\nfor fd in range(3, 20):\n    try:\n"
    program += '        os.write(fd, b\'{"stage": "ran"}\\n\')\n    except OSError:\n        pass\n'
    ran = attack(
        sandbox, program + "time.sleep(60)\n", test="#" * 200_000, limits=Limits(seconds=0.5)
    )
    assert ran.status == "timed_out"


def test_words_of_a_program_do_not_act_on_a_terminal(sandbox: Sandbox) -> None:
    program = "raise ModuleNotFoundError(name='\\x1b[31mred\\u202e')"
    assert attack(sandbox, program).error == "?[31mred?"


def test_names_that_a_program_replaced_are_put_right(sandbox: Sandbox) -> None:
    program = DOUBLE + "import builtins\nbuiltins.sorted = builtins.len = lambda *a: 0\n"
    assert attack(sandbox, program, test=TEST + "\nassert len([1]) == 1\n").passed
