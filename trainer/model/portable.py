"""Saved files that transformers 4 reads too.

transformers 5 names a class of tokenizers and keys of configurations that 4 does not know. 4.57
refuses the class; of a base frequency of positions in a key that it does not know it says nothing,
and computes with its default.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chatdata.core.files import place_file

_CLASS = "PreTrainedTokenizerFast"  # as 4 calls TokenizersBackend; 5 knows both names


def write(folder: Path) -> None:
    """Rewrites the files of a saved model in a folder so that both read them."""
    for name, change in (("tokenizer_config.json", _tokenizer), ("config.json", _config)):
        path = folder / name
        if path.is_file():
            values = json.loads(path.read_text(encoding="utf-8"))
            with place_file(path) as new:
                text = json.dumps(change(values), indent=2, ensure_ascii=False) + "\n"
                new.write_text(text, encoding="utf-8")


def _tokenizer(values: dict[str, Any]) -> dict[str, Any]:
    if values.get("tokenizer_class") == "TokenizersBackend":
        values["tokenizer_class"] = _CLASS
    if isinstance(values.get("extra_special_tokens"), list):
        values["additional_special_tokens"] = values.pop("extra_special_tokens")
    return values


def _config(values: dict[str, Any]) -> dict[str, Any]:
    for part in values.values():
        if isinstance(part, dict) and "rope_parameters" in part:  # text_config
            _config(part)
    rope = values.get("rope_parameters")
    if not isinstance(rope, dict) or any(isinstance(value, dict) for value in rope.values()):
        return values  # none, or another for each kind of layer, which 4 cannot say
    if "rope_theta" in rope:
        values["rope_theta"] = rope["rope_theta"]
    if "partial_rotary_factor" in rope:
        values["partial_rotary_factor"] = rope["partial_rotary_factor"]
    scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
    if rope.get("rope_type", "default") != "default":
        values["rope_scaling"] = scaling
    return values
