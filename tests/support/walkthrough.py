"""A reader who follows a page: writes its files, runs its commands, compares what they print."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.support.loopback.clients import Clients, Done

ROOT = Path(__file__).parents[2]  # a page is read in a checkout
_FENCE = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, the file that it is, if any, and its text."""

    language: str
    file: str
    text: str


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page."""
    return [Block(*match) for match in _FENCE.findall(page)]


def shows(block: str, printed: str) -> bool:
    """Whether a command printed the lines of a block; `...` stands for anything."""
    lines = "\n".join(line.rstrip() for line in printed.splitlines())
    parts = [re.escape(part.strip("\n")) for part in re.split(r"^ *\.\.\.$", block, flags=re.M)]
    pattern = ".*".join(part.replace(re.escape("..."), ".*") for part in parts)
    return re.search(pattern, lines, re.DOTALL) is not None


@dataclass(frozen=True)
class Reader:
    """Somebody in a folder, with the command `chatdata` and a token for the Hub.

    `sample` is the folder that `chatdata build sample` writes; it is built once for all pages.
    """

    folder: Path
    clients: Clients
    token: str
    sample: Path

    def follows(self, block: Block) -> None:
        """Does what a block says. Raises AssertionError where something else happens."""
        if block.file:
            path = self.folder / block.file
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            self._compares(block.text)
        elif block.language == "sh":
            for line in block.text.splitlines():
                self._runs(line)
        elif block.language == "python":
            done = self.clients.run(code=block.text, token=self.token, folder=str(self.folder))
            assert done.code == 0, done.stderr

    def _compares(self, block: str) -> None:
        prompt, _, expected = block.partition("\n")
        done = self._done(prompt.removeprefix("$ "))
        fails = re.search("^Error: ", expected, re.MULTILINE) is not None
        assert done.code == (1 if fails else 0), done.stderr
        printed = done.stdout + (done.stderr if fails else "")
        assert shows(expected, printed), f"{prompt}\n{printed}"

    def _done(self, line: str) -> Done:
        program, *arguments = shlex.split(line, comments=True)
        assert program == "chatdata", line
        return self.clients.run(*arguments, token=self.token, folder=str(self.folder))

    def _runs(self, line: str) -> None:
        if line == "chatdata build sample":
            shutil.copytree(self.sample, self.folder / "out" / "sample-1.0.0")
            return
        command, _, target = line.partition(" > ")
        words = shlex.split(command, comments=True)
        if words[0] == "cp":
            source = self.folder / words[-2]
            example = source if source.exists() else ROOT / words[-2]
            shutil.copytree(example, self.folder / words[-1])
            return
        done = self._done(command)
        assert done.code == 0, f"{line}: {done.stderr}"
        if target:
            (self.folder / target).write_text(done.stdout, encoding="utf-8")
