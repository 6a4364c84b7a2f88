"""The command line: commands, and how results look in a terminal."""

from chatdata.cli.commands import main

__all__ = ["main"]
