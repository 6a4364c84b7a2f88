"""Help: whole sentences in the order of work, no line longer than a terminal of 80 columns."""

from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner

from chatdata.cli import main
from chatdata.cli.group import SECTIONS, Group


def help_of(*words: str, width: int = 80) -> str:
    result = CliRunner().invoke(main, [*words, "--help"], terminal_width=width)
    assert result.exit_code == 0
    return result.output


def test_commands_stand_in_the_order_of_work_under_titles() -> None:
    shown = help_of()
    places = [shown.index(f"\n{title}:\n") for title in SECTIONS]
    assert places == sorted(places)
    order = [shown.index(f"\n  {name} ") for name in ("build", "show", "verify", "push")]
    assert order == sorted(order)
    assert list(SECTIONS)[1] == "Build"


def test_every_command_is_in_a_section() -> None:
    assert set(main.commands) <= {name for names in SECTIONS.values() for name in names}
    assert "\nMore:" not in help_of()


def test_a_command_without_a_section_is_shown_all_the_same() -> None:
    group = Group("g", commands=[click.Command("odd", help="Do something odd.")])
    shown = CliRunner().invoke(group, ["--help"]).output
    assert re.search(r"^More:\n  odd +Do something odd\.$", shown, re.M)


@pytest.mark.parametrize("name", sorted(main.commands))
def test_summaries_are_whole_and_fit_a_line(name: str) -> None:
    summary = (main.commands[name].help or "").split("\n\n")[0]
    assert summary.endswith(".")
    assert re.search(rf"^  {name} +{re.escape(summary)}$", help_of(), re.M)


@pytest.mark.parametrize("name", [None, *sorted(main.commands)])
def test_no_line_of_help_is_longer_than_a_terminal(name: str | None) -> None:
    lines = help_of(*([name] if name else [])).splitlines()
    assert [line for line in lines if len(line) > 80] == []


def test_examples_in_help_are_commands() -> None:
    for name, command in main.commands.items():
        for example in re.findall(r"^ *chatdata (\S+)", command.help or "", re.M):
            assert example in main.commands, name
