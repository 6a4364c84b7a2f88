"""Models and tokenizers that transformers loads, without code of their folders.

transformers asks on standard input whether to run such code where it is not told, and a run without
a terminal waits for the answer.
"""

from __future__ import annotations

from typing import Any

from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)


def load_config(path: str, **options: Any) -> PretrainedConfig:
    """The configuration of a model. Raises OSError or ValueError where it cannot be loaded."""
    return AutoConfig.from_pretrained(path, trust_remote_code=False, **options)


def load_generation(path: str, **options: Any) -> GenerationConfig | None:
    """How a model generates; None for a model that does not say."""
    try:
        return GenerationConfig.from_pretrained(path, **options)
    except (OSError, ValueError):
        return None


def load_network(path: str, **options: Any) -> PreTrainedModel:
    """A model with its weights. Raises OSError or ValueError where it cannot be loaded."""
    return AutoModelForCausalLM.from_pretrained(path, trust_remote_code=False, **options)


def load_tokenizer(path: str, **options: Any) -> PreTrainedTokenizerBase:
    """A tokenizer. Raises OSError or ValueError where it cannot be loaded."""
    return AutoTokenizer.from_pretrained(path, trust_remote_code=False, **options)


def reason(error: Exception) -> str:
    """Why transformers could not load something, in a sentence."""
    if "trust_remote_code" in str(error):
        return (
            "it needs code of its own folder, which is never run here; choose a model of an "
            "architecture that transformers has"
        )
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
