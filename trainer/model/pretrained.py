"""Models and tokenizers that transformers loads, without code of their folders.

transformers asks on standard input whether to run such code where it is not told, and a run without
a terminal waits for the answer.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
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

_FILES = ("config.json", "*.safetensors", "*.bin")
_END = 2**20  # bytes


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
    """A model with its weights. Raises OSError or ValueError where it cannot be loaded, and for a
    reward model, whose head transformers would replace by a new one."""
    config = load_config(path, revision=options.get("revision"))
    kinds = getattr(config, "architectures", None) or []
    if any(kind.endswith("ForSequenceClassification") for kind in kinds):
        raise ValueError(f"it is a reward model ({kinds[0]}), which scores answers and writes none")
    return AutoModelForCausalLM.from_pretrained(path, trust_remote_code=False, **options)


def load_tokenizer(path: str, **options: Any) -> PreTrainedTokenizerBase:
    """A tokenizer. Raises OSError or ValueError where it cannot be loaded."""
    return AutoTokenizer.from_pretrained(path, trust_remote_code=False, **options)


def identity(path: str, config: PretrainedConfig) -> str | None:
    """What tells a model from another under the same path: its commit on the Hub, or a hash of its
    configuration and of both ends of its files of weights; None where there is neither."""
    folder = Path(path)
    if not folder.is_dir():
        return getattr(config, "_commit_hash", None)
    digest = hashlib.sha256()
    for file in sorted(path for pattern in _FILES for path in folder.glob(pattern)):
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as content:
            digest.update(content.read(_END))
            content.seek(max(size - _END, 0))
            digest.update(content.read(_END))
    return digest.hexdigest()


def reason(error: Exception) -> str:
    """Why transformers could not load something, in a sentence."""
    if "trust_remote_code" in str(error):
        return (
            "it needs code of its own folder, which is never run here; choose a model of an "
            "architecture that transformers has"
        )
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
