"""How a saved model generates: settings that transformers will save, whatever the base brought.

transformers refuses to save settings that have no effect, such as a temperature without sampling,
and some published models have them. They are taken out; the model answers as before.
"""

from __future__ import annotations

import copy
import re

from transformers import GenerationConfig, PreTrainedTokenizerBase

_NAMED = re.compile(r"^- `(\w+)`:", re.MULTILINE)  # settings in the words of a refusal
_MOST = 20  # settings that are taken out one after the other


def savable(settings: GenerationConfig) -> tuple[GenerationConfig, list[str]]:
    """The settings without those for which transformers would not save them, and their names.

    Where settings contradict each other all go.
    """
    kept = copy.deepcopy(settings)
    dropped: list[str] = []
    for _ in range(_MOST):
        try:
            kept.validate(strict=True)
        except ValueError as error:
            names = [name for name in _NAMED.findall(str(error)) if getattr(kept, name, None)]
        else:
            return kept, dropped
        if not names:
            break
        for name in names:
            setattr(kept, name, None)
        dropped += names
    return GenerationConfig(), sorted(settings.to_diff_dict().keys() - {"transformers_version"})


def ended_by(
    settings: GenerationConfig | None, tokenizer: PreTrainedTokenizerBase
) -> tuple[GenerationConfig, list[str]]:
    """`savable` settings with which generation stops at the tokenizer's end token."""
    ended, dropped = savable(settings or GenerationConfig())
    ended.eos_token_id = tokenizer.eos_token_id
    ended.pad_token_id = tokenizer.pad_token_id
    ended.bos_token_id = tokenizer.bos_token_id
    return ended, dropped
