"""Files of prompts: lines of `{"prompt": ...}`; an id, a reference and a test may stand beside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from chatdata.core.errors import ConfigError
from trainer.evaluation.answers import lines, objects, text

CARRIED = ("reference", "test")  # keys that go on to the answers


class Prompt(NamedTuple):
    """A prompt; `beside` are the keys of its line that go on to its answer."""

    id: str
    prompt: str
    beside: dict[str, Any]


def read(path: Path) -> list[Prompt]:
    """The prompts of a file, in order; a line without an id has its number for an id.

    Raises ConfigError for a file that cannot be read, a line that is no prompt, and an id that two
    lines have.
    """
    prompts: dict[str, Prompt] = {}
    for number, line in lines(path):
        where = f"'{path}', line {number}"
        values = objects(line, where)
        id = values.get("id", number)
        if isinstance(id, bool) or not isinstance(id, str | int) or id == "":
            raise ConfigError(f"{where}: 'id' is {json.dumps(id)}; write a text or a whole number.")
        if str(id) in prompts:
            raise ConfigError(
                f"{where}: the id '{id}' was there before; give each prompt an id of its own."
            )
        beside = {key: values[key] for key in CARRIED if values.get(key) is not None}
        words = text(values.get("prompt"), f"{where}: 'prompt'")
        prompts[str(id)] = Prompt(str(id), words, beside)
    if not prompts:
        raise ConfigError(f'\'{path}\' has no prompts; write lines such as {{"prompt": "..."}}.')
    return list(prompts.values())
