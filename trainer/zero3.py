"""Configurations of DeepSpeed: reading them, and refusing what would overrule the recipe.

The recipe alone sets the learning rates and the batches. A scheduler in DeepSpeed's configuration
is how StarChat alpha came to be trained without the cosine that its recipe asks for. An optimizer
there has one group of weights, all of which decay, and DeepSpeed sets its learning rate, so that
the rate of the next step is logged. Without one the recipe's AdamW is taken, in DeepSpeed's own
form (`DeepSpeedCPUAdam`) where its states are offloaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chatdata.core.errors import ConfigError

DEFAULT = Path(__file__).with_name("zero3_bf16.json")
AUTO = "auto"
_STEP = ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping")
OFFLOADS = ("offload_optimizer", "offload_param")


def config_file(name: str | None) -> Path:
    """The file of a configuration; the trainer's default where a recipe names no file.

    A configuration of the trainer is found by its path in a checkout (`trainer/zero3_bf16.json`).
    """
    if name is None:
        return DEFAULT
    path = Path(name)
    ours = DEFAULT.with_name(path.name)
    return ours if path.parent == Path("trainer") and not path.exists() and ours.exists() else path


def read(path: Path) -> dict[str, Any]:
    """The configuration in a JSON file. Raises ConfigError where the file is missing or broken."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"deepspeed: '{path}' cannot be read ({error}).") from None
    if not isinstance(values, dict):
        raise ConfigError(f"deepspeed: '{path}' holds no JSON object.")
    return values


def stage(values: Mapping[str, Any]) -> int:
    """The ZeRO stage of a configuration, 0 to 3: how much is spread over the ranks."""
    return int(values.get("zero_optimization", {}).get("stage", 0))


def offload(values: Mapping[str, Any], what: str) -> str:
    """Where `offload_optimizer` or `offload_param` puts its part: `none`, `cpu` or `nvme`."""
    entry = values.get("zero_optimization", {}).get(what) or {}
    return str(entry.get("device", "none"))


def nvme_paths(values: Mapping[str, Any]) -> list[str | None]:
    """The folders on fast disks that a configuration offloads to; None for a missing path."""
    entries = [values.get("zero_optimization", {}).get(what) or {} for what in OFFLOADS]
    return [entry.get("nvme_path") for entry in entries if entry.get("device") == "nvme"]


def check(path: Path, recipe: Mapping[str, Any]) -> None:
    """Raises ConfigError for the first setting in a configuration that overrules the recipe, or
    that would save no model.

    `recipe` holds what the recipe sets, under DeepSpeed's names: `train_micro_batch_size_per_gpu`,
    `gradient_accumulation_steps`, `gradient_clipping` and `bf16`.
    """
    problem = next(_problems(read(path), recipe), None)
    if problem is not None:
        raise ConfigError(f"deepspeed: '{path}' {problem}")


def _problems(values: Mapping[str, Any], recipe: Mapping[str, Any]) -> Iterator[str]:
    if "scheduler" in values:
        yield (
            "has a `scheduler`, which would silently replace the recipe's; take it out of the JSON."
        )
    if "optimizer" in values:
        yield (
            "has an `optimizer`, which would silently replace the recipe's, and let weight decay "
            "fall on norms and biases too; take it out of the JSON."
        )
    zero = values.get("zero_optimization", {})
    if stage(values) == 3 and not zero.get("stage3_gather_16bit_weights_on_model_save"):
        yield "would save no model; set `stage3_gather_16bit_weights_on_model_save` to true."
    yield from _differences(values, recipe)


def _differences(values: Mapping[str, Any], recipe: Mapping[str, Any]) -> Iterator[str]:
    for key in _STEP:
        yield from _difference(key, values.get(key, AUTO), recipe[key])
    if values.get("train_batch_size", AUTO) != AUTO:
        yield "has a `train_batch_size`, which the recipe decides; write `auto`."
    yield from _difference("bf16", values.get("bf16", {}).get("enabled", False), recipe["bf16"])
    if values.get("fp16", {}).get("enabled", False) is True:
        yield "has `fp16`, which the recipe does not know; use bf16."


def _difference(key: str, value: Any, in_recipe: Any) -> Iterator[str]:
    if value not in (AUTO, in_recipe):
        yield f"has `{key}` {value} and the recipe {in_recipe}; write `auto`."
