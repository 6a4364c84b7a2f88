"""A section of a model card that is made again and again; all that stands around it stays."""

from __future__ import annotations

import re
from pathlib import Path

from chatdata.core.errors import ConfigError
from chatdata.core.files import place_file

FILE = "README.md"
_MODELS = ("config.json", "adapter_config.json", "chatdata.json")
_NEXT = re.compile(r"^## Limits", re.MULTILINE)  # the heading before which a new section stands


def put(folder: Path, name: str, section: str) -> Path:
    """Puts the section `name` into the card of a model's folder, in place of an earlier one.

    Returns the path of the card. Raises ConfigError for a folder without a model, and for a card
    in which a mark of the section is missing.
    """
    if not any((folder / file).exists() for file in _MODELS):
        raise ConfigError(f"'{folder}' is no folder of a model: it has no {' or '.join(_MODELS)}.")
    path = folder / FILE
    card = path.read_bytes().decode("utf-8") if path.exists() else f"# {folder.resolve().name}\n"
    text = merged(card, name, section, str(path))
    with place_file(path) as new:
        new.write_bytes(text.encode("utf-8"))
    return path


def merged(card: str, name: str, section: str, where: str = FILE) -> str:
    """The card with the section. A section without an earlier one stands before the limits of the
    model, or at the end."""
    begin, end = f"<!-- {name}: made by python -m trainer.evaluation -->", f"<!-- end of {name} -->"
    made = f"{begin}\n{section.strip().replace('<!--', '< !--')}\n{end}"
    marks = card.count(begin), card.count(end)
    if marks == (0, 0):
        match = _NEXT.search(card)
        place = match.start() if match else len(card)
        before, after = card[:place].rstrip(), card[place:]
        return f"{before}\n\n{made}\n" + (f"\n{after}" if after else "")
    before, _, rest = card.partition(begin)
    _, mark, after = rest.partition(end)
    if marks != (1, 1) or not mark:
        raise ConfigError(
            f"'{where}' has `{begin}` {marks[0]} times and `{end}` {marks[1]} times, but it should "
            "have each once, in this order; correct the card, or remove both."
        )
    return before + made + after


def words(text: object) -> str:
    """A text as words that cannot break out of a cell of a table in Markdown, nor be markup."""
    line = " ".join(str(text).split())
    return re.sub(r"([\\`*_\[\]<>|#~!&$])", r"\\\1", line)
