"""A conversation in the terminal: questions are read, answers appear as they are generated."""

from __future__ import annotations

import contextlib
import json
import readline  # gives `input` a history, editing, and pasted lines as one question
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text

from chatdata.core import interrupts
from chatdata.core.errors import ChatdataError
from chatdata.core.text import printable
from trainer.chat import status
from trainer.chat.generation import ChatModel, Sampling
from trainer.chat.prompt_window import Message, PromptWindow

_BLOCK = '"""'  # a line that begins and ends a question of several lines
_GREEN = "\x01\x1b[1;32m\x02{}\x01\x1b[0m\x02"  # marked, so that readline knows the width


@dataclass
class Session:
    """A conversation and its terminal."""

    chat_model: ChatModel
    sampling: Sampling
    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    messages: list[Message] = field(default_factory=list)
    left_out: int = 0  # messages and examples that no longer fit the context

    def say(self, text: str) -> None:
        """Prints a line that is not part of the conversation."""
        self.console.print(text, style="dim", markup=False)

    def reset(self, _: str) -> None:
        """begin a new conversation; the system turn stays"""
        self.messages, self.left_out = self.messages[: self._head()], 0
        self.say("a new conversation")

    def system(self, text: str) -> None:
        """set the system turn; without TEXT, remove the system turn"""
        system = [{"role": "system", "content": text}] if text else []
        self.messages = system + self.messages[self._head() :]
        self.say("the system turn is set" if text else "no system turn")

    def save(self, name: str) -> None:
        """append the conversation to FILE, as JSON Lines that chatdata reads"""
        if not name or len(self.messages) == self._head():
            self.say("nothing is saved: " + ("ask a question first" if name else "/save FILE"))
            return
        line = json.dumps({"messages": self.messages}, ensure_ascii=False)
        try:
            with Path(name).expanduser().open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            self.say(f"'{name}' cannot be written: {error.strerror}")
            return
        self.say(f"{len(self.messages)} messages appended to {name}")

    def help(self, _: str) -> None:
        """show this list"""
        for name, (argument, command) in COMMANDS.items():
            self.say(f"{name + ' ' + argument:<14} {command.__doc__}")
        self.say(f"{'/exit':<14} leave, as Ctrl-D does; Ctrl-C stops an answer")
        self.say(f"{_BLOCK:<14} begins and ends a question of several lines")

    def ask(self, question: str) -> None:
        """Answers a question. After an error the error is printed and the question removed."""
        self.messages.append({"role": "user", "content": question})
        try:
            text = self._answer()
        except ChatdataError as error:
            self.say(str(error))
            text = ""
        if text:
            self.messages.append({"role": "assistant", "content": text})
        else:
            self.messages.pop()

    def _answer(self) -> str:
        window = self.chat_model.prompt_window(self.messages, self.sampling)
        self._say_left_out(window)
        answer = self.chat_model.answer(window, self.sampling)
        text, is_stopped = "", False
        try:
            with contextlib.closing(iter(answer)) as pieces:
                for piece in pieces:
                    text += piece
                    self.console.print(Text(printable(piece)), end="")
        except KeyboardInterrupt:
            interrupts.answered()
            is_stopped = True
        self.console.print()
        line = status.status_line(self.chat_model, self.messages, window, answer, is_stopped)
        self.say(line)
        return text

    def _say_left_out(self, window: PromptWindow) -> None:
        if window.messages_out + window.examples_out > self.left_out:
            self.say(status.left_out(window))
        self.left_out = window.messages_out + window.examples_out

    def _head(self) -> int:
        return int(bool(self.messages) and self.messages[0]["role"] == "system")


COMMANDS: dict[str, tuple[str, Callable[[Session, str], None]]] = {
    "/reset": ("", Session.reset),
    "/system": ("TEXT", Session.system),
    "/save": ("FILE", Session.save),
    "/help": ("", Session.help),
}


def run(session: Session) -> None:
    """Reads questions and commands until the input ends."""
    readline.parse_and_bind("set enable-bracketed-paste on")
    session.say("type a question; /help lists the commands")
    for line in questions(session):
        command, _, rest = line.partition(" ")
        if command == "/exit":
            return
        if command in COMMANDS:
            COMMANDS[command][1](session, rest.strip())
        elif command.startswith("/") and "\n" not in line and command.count("/") == 1:
            session.say(f"'{command}' is not a command; /help lists the commands")
        elif line.strip():
            session.ask(line)


def questions(session: Session) -> Iterator[str]:
    """Yields the typed or piped questions: a line, or the lines between two lines of quotes."""
    while True:
        try:
            line = _line(session, "you> ")
            yield _block(session) if line.strip() == _BLOCK else line
        except KeyboardInterrupt:
            interrupts.answered()
            session.console.print()
            session.say("Ctrl-D or /exit leaves")
        except EOFError:
            session.console.print()
            return


def _line(session: Session, prompt: str) -> str:
    line = input(_GREEN.format(prompt) if sys.stdin.isatty() else "")
    return line.encode(errors="replace").decode()  # a terminal may send bytes that are not text


def _block(session: Session) -> str:
    lines: list[str] = []
    while (line := _line(session, "...> ")).strip() != _BLOCK:
        lines.append(line)
    return "\n".join(lines)
