"""The command line, as a user meets it: real files, one sentence for what went wrong."""

from __future__ import annotations

import errno
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from chatdata import __version__
from chatdata.cli import main
from chatdata.cli.group import Group
from chatdata.cli.terminal import console
from chatdata.core.constants import SPLITS
from chatdata.pipeline import engines
from chatdata.render.encoding import audit


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def commands() -> list[str]:
    return sorted(main.commands)


@pytest.mark.parametrize("command", commands())
def test_every_command_has_help_with_a_first_sentence(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert (main.commands[command].help or "").split("\n")[0].endswith((".", ":"))


def test_version_and_help() -> None:
    assert run("--version").output == f"chatdata, version {__version__}\n"
    assert run("-h").output == run("--help").output


# What a command needs nothing of, which takes longer to import than all that the command does.
_RENDERS = {"jinja2", "transformers", "PIL", "scipy", "pyarrow.compute"}
_STEPS = {"chatdata.steps.filters", "chatdata.steps.clean", "chatdata.steps.contamination"}
_READS = {"chatdata.sources.records", "chatdata.sources.auto", "chatdata.pipeline.recipe"}
NOT_IMPORTED = {
    "--help": {
        *("polars", "pyarrow", "numpy", "tokenizers", "rich", "pydantic", "huggingface_hub"),
        *("chatdata.core.storage", "concurrent.futures", "logging", "click.shell_completion"),
    },
    "list": _RENDERS | _READS | {"pyarrow", "numpy", "tokenizers", "rich", "orjson"},
    "show OUT -n 2": _RENDERS | _READS | _STEPS | {"chatdata.render.template"},
    "show OUT --dropped": _RENDERS | _READS | {"chatdata.render.template", "tokenizers"},
    "explain OUT bibliotheque": _RENDERS | _READS | {"chatdata.render.template", "tokenizers"},
    "stats OUT": _RENDERS | _READS | _STEPS | {"chatdata.render.template", "tokenizers"},
}


@pytest.mark.parametrize("command", NOT_IMPORTED)
def test_a_command_imports_no_more_than_it_needs(command: str, sample: Path) -> None:
    code = (
        "import sys; from chatdata.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    arguments = command.replace("OUT", str(sample)).split()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    imported = set(done.stderr.splitlines()[-1].split())
    assert not imported & (NOT_IMPORTED[command] | {"torch", "datasets"})


def test_list_names_everything() -> None:
    words = run("list").output
    for name in ("oasst", "sharegpt", "jsonl", "wrong_language", "starchat", "dialogue", "sample"):
        assert f"  {name} " in words


def test_list_names_the_options_of_cleaners_and_filters_with_their_defaults() -> None:
    lines = [line.strip() for line in run("list").output.splitlines()]
    for options in (
        "{max_blank_lines: 2}",
        "{allow: [en], decide: declared}",
        "{against: ..., ngram: 13, min_words: 8, common: 3, fields: []}",
    ):
        assert options in lines


@pytest.mark.parametrize(
    ("command", "option", "choices"),
    [
        ("build", "--engine", engines.ENGINES),
        ("build", "--check-encoder", audit.AUDIT_MODES),
        ("build", "--verify", audit.AUDIT_MODES),
        ("show", "--split", SPLITS),
    ],
)
def test_choices_are_those_of_the_package_that_owns_them(
    command: str, option: str, choices: Iterable[str]
) -> None:
    (kind,) = (
        parameter.type for parameter in main.commands[command].params if option in parameter.opts
    )
    assert isinstance(kind, click.Choice)
    assert list(kind.choices) == list(choices)


# ------------------------------------------------------------------------------ what works


@pytest.mark.slow
def test_build_prints_counts_and_the_folder(tmp_path: Path) -> None:
    result = run("build", "sample", "--out", tmp_path / "o")
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == str(tmp_path / "o")
    assert "wrong_language" in result.output
    assert "rows are, token by token, what the template writes" in result.output
    assert "✗" not in result.output
    assert result.stderr == ""


@pytest.mark.slow
def test_the_old_name_of_an_option_works_and_says_the_new_name(tmp_path: Path) -> None:
    new = run("build", "sample", "--out", tmp_path / "new", "--check-encoder", "off")
    old = run("build", "sample", "--out", tmp_path / "old", "--verify", "off")
    assert new.stderr == ""
    assert old.stderr == "--verify of `chatdata build` is now called --check-encoder\n"
    texts = [(tmp_path / name / "manifest.json").read_text() for name in ("new", "old")]
    assert texts[0] == texts[1]
    assert "--verify" not in run("build", "--help").output
    assert "audit: compare a sample" in " ".join(run("build", "--help").output.split())


@pytest.mark.slow
def test_build_without_out_names_the_folder_for_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("build", "sample").exit_code == 0
    assert (tmp_path / "out" / "sample-1.0.0" / "manifest.json").is_file()


@pytest.mark.slow
def test_json_is_the_manifest_and_nothing_else(tmp_path: Path) -> None:
    built = run("build", "sample", "--out", tmp_path / "o", "--json")
    assert json.loads(built.stdout) == json.loads((tmp_path / "o" / "manifest.json").read_text())
    checked = json.loads(run("check", "sample", "--json").stdout)
    assert checked["content_hash"] == json.loads(built.stdout)["content_hash"]
    assert json.loads(run("stats", tmp_path / "o", "--json").stdout)["tokens"] > 0
    assert json.loads(run("explain", tmp_path / "o", "bread", "--json").stdout)[0]["id"] == "bread"


@pytest.mark.slow
def test_check_writes_nothing_and_ends_with_1_where_a_build_would_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("check", "sample").exit_code == 0
    stopped = run("check", "sample", "--set", "max_dropped=0.1")
    assert stopped.exit_code == 1
    assert "would be dropped" in stopped.stderr
    assert "kept" in stopped.stdout
    assert list(tmp_path.iterdir()) == []


def test_show_marks_what_is_trained(sample: Path) -> None:
    result = run("show", sample, "--id", "oasst1/bread/bread-b")
    assert "⟦Wait until it has doubled" in result.output
    assert "three.<|end|>⟧" in result.output
    assert "⟦How do I know" not in result.output
    assert run("show", sample, "-n", "2").output.count("tokens trained") == 2
    only = run("show", sample, "-n", "99", "--split", "test").output
    assert "  test, " in only
    assert "  train, " not in only


def test_show_without_tokens_marks_the_assistant(tmp_path: Path) -> None:
    run("build", "sample", "--set", "render=null", "--out", tmp_path / "o")
    result = run("show", tmp_path / "o", "-n", "1")
    assert "assistant: ⟦" in result.output


def test_show_prints_a_line_for_each_token(sample: Path) -> None:
    lines = run("show", sample, "--id", "oasst1/bread/bread-b", "--ids").output.splitlines()
    assert lines[1].split(maxsplit=3) == ["0", "259", "context", '"<|user|>"']
    assert lines[-2].endswith('context       "\\n"')
    assert lines[-3].split()[2:] == ["end", '"<|end|>"']
    assert sum("  answer  " in line for line in lines) > 100


def test_show_has_no_ids_of_a_folder_without_tokens(tmp_path: Path) -> None:
    run("build", "sample", "--set", "render=null", "--out", tmp_path / "o")
    assert "has no tokens, so no --ids" in refused("show", tmp_path / "o", "--ids")


def test_show_makes_control_characters_visible(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "a\x1b[31mred\x07"},
        {"role": "assistant", "content": "ok"},
    ]
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "x", "messages": turns}))
    (tmp_path / "r.yaml").write_text("name: r\nversion: 1.0.0\nsource: {jsonl: {files: [a.jsonl]}}")
    assert run("build", tmp_path / "r.yaml", "--out", tmp_path / "o").exit_code == 0
    shown = run("show", tmp_path / "o").output
    assert "\x1b" not in shown
    assert "␛[31mred␇" in shown


def test_stats_has_the_numbers(sample: Path) -> None:
    words = run("stats", sample).output
    for word in ("turns", "trained length", "rows by source: oasst", "median", "p99"):
        assert word in words


@pytest.mark.parametrize(
    ("id", "words"),
    [
        ("bread-a1a", ["message bread-a1a  kept", "in oasst1/bread/bread-a1a"]),
        ("sql-join-b1", ["dropped", "deleted: Messages that the source marks", "below sql-join-b"]),
        ("oasst1/bread/bread-a2", ["prefix_of_another", "up to bread-a"]),
        ("sharegpt/k3Qz9aB_4", ["leading_turn", "conversation sharegpt/k3Qz9aB_4  kept"]),
        ("k3Qz9aB_4", ["leading_turn", "conversation sharegpt/k3Qz9aB_4  kept"]),
        ("w4Cs7rI_0", ["w4Cs7rI_0~238a02f3", "w4Cs7rI_0~24a970f2"]),
        ("oasst.messages.jsonl:22", ["record", "bad_json", "at column"]),
        ("volcano-a1", ["rootless", "its parent volcano-a is not in the input"]),
        ("z6Mf5tJ_0", ["duplicate", "says the same as sharegpt/w4Cs7rI_0~24a970f2"]),
        ("oasst1/bread", ["bread-a2  dropped"]),
    ],
)
def test_explain(sample: Path, id: str, words: list[str]) -> None:
    result = run("explain", sample, id)
    assert result.exit_code == 0
    for word in words:
        assert word in result.output


# -------------------------------------------------------------------------- what goes wrong


def refused(*arguments: str | Path, status: int = 1) -> str:
    """The error of a command: one line on stderr, no traceback."""
    result = run(*arguments)
    assert result.exit_code == status
    assert "Traceback" not in result.output
    if status == 1:
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
    return result.stderr


def test_errors_are_one_line_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.json").write_text("")
    Path("bytes.json").write_bytes(os.urandom(200))
    Path("folder").mkdir()
    Path("mine").mkdir()
    Path("mine/file").write_text("x")
    before = sorted(Path().rglob("*"))
    share, out = ("build", "sharegpt"), ("--out", "new/out")
    assert "did you mean 'drop'?" in refused(*share, "--set", "drpo=[]", *out)
    assert "there is no file 'no.json'" in refused(*share, "--input", "no.json", *out)
    assert "is empty" in refused(*share, "--input", "empty.json", *out)
    assert "is not a text file" in refused(*share, "--input", "bytes.json", *out)
    assert "folder 'folder' holds no" in refused(*share, "--input", "folder", *out)
    assert "is a folder" in refused("build", "folder", *out)
    assert "did you mean 'sharegpt'?" in refused("build", "sharegtp", *out)
    assert "did not build" in refused("build", "sample", "--out", "mine")
    assert "cannot write" in refused("build", "sample", "--out", "empty.json/x")
    assert "cannot write" in refused("build", "sample", "--out", "/proc/nothing/x")
    tokenizer = ("--set", "render.tokenizer=nowhere")
    assert "there is no tokenizer 'nowhere'" in refused("build", "sample", *tokenizer, *out)
    assert "is not there" in refused("show", "nowhere")
    assert "is not a finished build" in refused("stats", "folder")
    assert [path for path in sorted(Path().rglob("*")) if path != Path("new")] == before


def test_an_unknown_id_is_an_error_with_the_way_out(sample: Path) -> None:
    assert "chatdata explain" in refused("show", sample, "--id", "nope")
    assert "ids look like" in refused("explain", sample, "nope")


def test_wrong_usage_is_status_2() -> None:
    refused("build", status=2)
    refused("bulid", status=2)
    refused("build", "sample", "--wrokers", "2", status=2)
    refused("build", "sample", "--workers", "0", status=2)


# ------------------------------------------------------------------------------- the terminal


@pytest.mark.slow
def test_colours_and_a_bar_on_a_terminal_only(sample: Path) -> None:
    """A real terminal: show is coloured, and stderr shows nothing for a short build."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    environment.pop("NO_COLOR", None)
    subprocess.run(
        [sys.executable, "-m", "chatdata", "show", str(sample), "-n", "1"],
        stdout=follower,
        env=environment,
        check=True,
    )
    os.close(follower)
    shown = os.read(leader, 100_000).decode()
    os.close(leader)
    assert "\x1b[1;32m" in shown
    assert "⟦" not in shown


def test_a_pipe_that_breaks_behind_a_command_is_no_silent_end() -> None:
    """click ends in silence, as where nobody reads the output."""

    @click.command()
    def breaks() -> None:
        raise BrokenPipeError(errno.EPIPE, "to a worker")

    result = CliRunner().invoke(Group("g", commands=[breaks]), ["breaks"])
    assert isinstance(result.exception, RuntimeError)
    assert str(result.exception.__cause__) == f"[Errno {errno.EPIPE}] to a worker"


def test_memory_that_is_used_up_is_a_sentence() -> None:
    @click.command()
    def takes_all() -> None:
        raise MemoryError

    result = CliRunner().invoke(Group("g", commands=[takes_all]), ["takes-all"])
    assert result.exit_code == 1
    assert result.stderr == "Error: the memory is used up; use fewer --workers, or more memory.\n"


def test_a_console_that_nobody_reads_is_no_named_error() -> None:
    """rich ends a program with status 1 there."""
    reader, writer = os.pipe()
    os.close(reader)
    shown = console()
    shown.file = os.fdopen(writer, "w")
    for ends in (lambda: shown.print("line"), shown.file.close):
        with pytest.raises(BrokenPipeError):
            ends()
