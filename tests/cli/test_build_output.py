"""What a build prints: sums and a certificate that add up, what was made, what to do next."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from chatdata.cli import main, show_certificate, summary
from chatdata.dataset import manifest
from chatdata.render.entries import ParityEntry


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder that the sample's recipe built."""
    out = tmp_path_factory.mktemp("printed") / "o"
    assert run("build", "sample", "--out", out, "-q").exit_code == 0
    return out


@pytest.fixture(scope="module")
def printed(folder: Path) -> str:
    """What a build prints."""
    return run("build", "sample", "--out", folder).stdout


def test_sums_add_up(printed: str) -> None:
    sums = re.findall(r"^  ✓ (.* = .* [+] .*)$", printed, re.M)
    assert len(sums) >= 4
    for line in sums:
        whole, _, parts = re.sub(r".*: (?=\d+ = )|\(.*?\)|,(?=\d{3})", "", line).partition(" = ")
        numbers = [int(number) for number in re.findall(r"(?:^|\+ )(\d+)", parts)]
        assert int(whole.split()[0]) == sum(numbers), line


def test_what_was_built_and_what_to_do_next_come_last(printed: str, folder: Path) -> None:
    *_, built, first, second, third, content_hash, path = printed.splitlines()
    assert built == (
        "built sample 1.0.0: 29 conversations (22 train, 7 test), 8,874 tokens, 65% of them trained"
    )
    assert content_hash == manifest.read(folder).content_hash
    assert path == str(folder)
    assert second.endswith("--dropped wrong_language")
    for line in (first, second, third):
        assert re.match(r"  [a-z ]+: +chatdata ", line)


def test_the_commands_to_go_on_with_work(printed: str, folder: Path) -> None:
    for line in re.findall(r"^  [a-z ]+: +chatdata (show .*)$", printed, re.M):
        assert run(*shlex.split(line)).exit_code == 0


def test_quiet_prints_the_hash_and_the_folder_alone(folder: Path) -> None:
    done = run("build", "sample", "--out", folder, "--quiet")
    assert done.stdout == f"{manifest.read(folder).content_hash}\n{folder}\n"
    assert done.stderr == ""
    assert run("-q", "build", "sample", "--out", folder).stdout == done.stdout


def test_verbose_prints_examples_and_times(folder: Path, printed: str) -> None:
    done = run("build", "sample", "--out", folder, "-v")
    assert "bad_json, for example record" in done.stdout
    assert "for example" not in printed
    assert re.search(r"^reading: 58 records in [\d.]+ s$", done.stderr, re.M)


def test_without_tokens_the_next_step_makes_some(tmp_path: Path) -> None:
    out = tmp_path / "o"
    assert run("build", "sample", "--set", "render=null", "--out", out, "-q").exit_code == 0
    commands = dict(summary.next_steps(manifest.read(out), str(out), has_dropped=True))
    assert commands["tokens"].startswith(f"chatdata render {out} --tokenizer ")


def test_a_folder_with_a_blank_is_quoted(folder: Path) -> None:
    (_, command), *_ = summary.next_steps(manifest.read(folder), "my data", has_dropped=True)
    assert command == "chatdata show 'my data' -n 2"


COUNTS = {
    "compared": 5,
    "differences": 0,
    "quoting": 2,
    "forged": 0,
    "answers": 9,
    "stops_trained": 9,
    "headers_trained": 0,
    "prompts": 6,
    "thoughts": 1,
    "straddling": 0,
    "unasked": 0,
    "in_quoting": 2,
}


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({}, []),
        ({"differences": 1}, ["4 of 5 rows are, token by token"]),
        ({"forged": 1}, ["2 more rows quote control tokens as text, and forge 1"]),
        ({"stops_trained": 8}, ["8 of 9 answers end with a trained"]),
        ({"headers_trained": 1}, ["8 of 9 answers are trained from end to end"]),
        ({"prompts": 5}, ["6 of 9 answers begin right behind"]),
    ],
)
def test_a_check_that_does_not_come_out_right_is_marked(
    changed: dict[str, int], wrong: list[str], folder: Path
) -> None:
    render = manifest.read(folder).render
    assert render is not None
    counted = ParityEntry.model_validate(COUNTS | changed)
    certificate = render.certificate.model_copy(update={"probes": counted})
    console = Console(width=300, record=True)
    show_certificate.print_certificate(
        render.model_copy(update={"certificate": certificate}), console
    )
    lines = [line for line in console.export_text().splitlines() if line.startswith("  ✗")]
    assert len(lines) == len(wrong)
    for line, words in zip(lines, wrong, strict=True):
        assert words in line
