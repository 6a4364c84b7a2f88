"""A program of a model runs, its test has the last word, and what it draws comes out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chatdata.core.errors import ConfigError
from tests.support.sandboxes import DOUBLE, sandbox_or_skip
from trainer.evaluation import bubblewrap
from trainer.evaluation.sandbox import STATUSES, Limits, Sandbox

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    return sandbox_or_skip()


@pytest.mark.parametrize(
    ("program", "test", "status", "error"),
    [
        (DOUBLE, "assert double(2) == 4", "passed", None),
        (DOUBLE, "assert double(2) == 5", "failed", "AssertionError"),
        (DOUBLE, "double()", "failed", "TypeError"),
        (DOUBLE, "import no_such_package", "failed", "ModuleNotFoundError"),
        (DOUBLE, None, "ran", None),
        (DOUBLE, "", "ran", None),
        ("def double(x:", "assert True", "does_not_compile", "SyntaxError"),
        ("1 / 0", "assert True", "raised", "ZeroDivisionError"),
        ("import no_such_package.part", "assert True", "missing_package", "no_such_package"),
        ("input()", None, "raised", "EOFError"),
        (DOUBLE, "assert (", "broken_test", "SyntaxError"),
        ("raise SystemExit(0)", None, "ran", None),
        ("raise SystemExit(3)", None, "exited", "SystemExit 3"),
    ],
)
def test_the_status_says_how_a_program_ended(
    sandbox: Sandbox, program: str, test: str | None, status: str, error: str | None
) -> None:
    ran = sandbox.run(program, test=test)
    assert (ran.status, ran.error, ran.passed) == (status, error, status == "passed"), ran
    assert status in STATUSES


def test_a_main_block_runs_alone_and_not_before_a_test(sandbox: Sandbox) -> None:
    program = "if __name__ == '__main__':\n    print(input())\n"
    assert sandbox.run(program).status == "raised"
    assert sandbox.run(program, test="assert __name__ != '__main__'").status == "passed"


def test_what_users_expect_of_a_module_holds(sandbox: Sandbox) -> None:
    """Dataclasses, pickles, processes, source by `inspect`, files in the home."""
    program = """
import dataclasses, inspect, multiprocessing, pathlib, pickle, tempfile

@dataclasses.dataclass
class Point:
    x: int

def double(number):
    return 2 * number
"""
    test = """
assert pickle.loads(pickle.dumps(Point(1))) == Point(1)
assert "2 * number" in inspect.getsource(double)
with multiprocessing.Pool(2) as pool:
    assert pool.map(double, [1, 2]) == [2, 4]
pathlib.Path("a.txt").write_text("a")
pathlib.Path(tempfile.mkdtemp(), "b").write_text("b")
"""
    ran = sandbox.run(program, test=test)
    assert ran.passed, ran


def test_the_end_of_both_outputs_is_kept(sandbox: Sandbox) -> None:
    ran = sandbox.run("import sys\nprint('x' * 10_000 + 'end')\nprint('é', file=sys.stderr)\n")
    assert ran.stdout.endswith("xend\n")
    assert len(ran.stdout) <= 8192
    assert ran.stderr == "é\n"


def test_a_traceback_shows_the_program_alone(sandbox: Sandbox) -> None:
    ran = sandbox.run("def f():\n    return 1 / 0\n", test="f()")
    assert ran.stderr.startswith(
        'Traceback (most recent call last):\n  File "test.py", line 1, in <module>\n    f()\n'
    )
    assert '  File "program.py", line 2, in f\n    return 1 / 0\n' in ran.stderr


def test_what_is_no_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="does not run as Python"):
        bubblewrap.python("/bin/true")
    monkeypatch.setenv("HOME", str(Path(sys.base_prefix) / "lib"))
    if sys.base_prefix != "/usr":
        with pytest.raises(ConfigError, match="with it all of your home"):
            bubblewrap.python()


def test_without_isolation_nothing_runs_unless_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match=r"not installed.*--no-sandbox"):
        Sandbox()
    monkeypatch.undo()
    unguarded = Sandbox(is_isolated=False)
    assert unguarded.run(DOUBLE, test="assert double(2) == 4").passed
    assert unguarded.run("while True: pass", limits=Limits(seconds=0.3)).status == "timed_out"


def test_an_answer_of_the_system_that_it_may_not_isolate_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'no permissions' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    with pytest.raises(ConfigError, match=r"cannot isolate .*\(no permissions\).*--no-sandbox"):
        Sandbox()
