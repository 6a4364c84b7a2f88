"""Configurations of DeepSpeed: what one says, and what in it would overrule the recipe.

The recipe alone says how fast is learnt and in which batches. A configuration with a scheduler of
its own is how StarChat alpha came to be trained without the cosine that its recipe asks for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatdata.core.errors import ConfigError

if TYPE_CHECKING:
    from trainer.config import Training

DEFAULT = Path(__file__).parent.with_name("zero3_bf16.json")
AUTO = "auto"
OFFLOADS = ("offload_optimizer", "offload_param")


def path(name: str | None) -> Path:
    """The file of a configuration; the trainer's own where a recipe names none."""
    return DEFAULT if name is None else Path(name)


def read(path: Path) -> dict[str, Any]:
    """The configuration in a JSON file. Raises ConfigError where there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"deepspeed: '{path}' cannot be read ({error}).") from None
    if not isinstance(values, dict):
        raise ConfigError(f"deepspeed: '{path}' holds no JSON object.")
    return values


def stage(values: dict[str, Any]) -> int:
    """The ZeRO stage of a configuration: what is spread over the ranks, 0 to 3."""
    return int(values.get("zero_optimization", {}).get("stage", 0))


def offload(values: dict[str, Any], what: str) -> str:
    """Where `offload_optimizer` or `offload_param` puts its part: `none`, `cpu` or `nvme`."""
    entry = values.get("zero_optimization", {}).get(what) or {}
    return str(entry.get("device", "none"))


def nvme_paths(values: dict[str, Any]) -> list[str | None]:
    """The folders on fast disks that a configuration offloads to."""
    entries = [values.get("zero_optimization", {}).get(what) or {} for what in OFFLOADS]
    return [entry.get("nvme_path") for entry in entries if entry.get("device") == "nvme"]


def check(path: Path, training: Training) -> None:
    """Raises ConfigError for the first thing in a configuration that overrules the recipe, or
    that would leave no model behind."""
    values = read(path)
    problem = next(_problems(values, training), None)
    if problem is not None:
        raise ConfigError(f"deepspeed: '{path}' {problem}")


def _problems(values: dict[str, Any], training: Training) -> Iterator[str]:
    if "scheduler" in values:
        yield (
            "has a `scheduler`, which would silently replace the recipe's; take it out of the JSON."
        )
    optimizer = values.get("optimizer")
    if optimizer and not _follows_the_recipe(optimizer):
        yield (
            "has an `optimizer`, which would silently replace the recipe's; take it out of the "
            "JSON, or write AdamW with every parameter `auto`."
        )
    zero = values.get("zero_optimization", {})
    if stage(values) == 3 and not zero.get("stage3_gather_16bit_weights_on_model_save"):
        yield "would save no model; set `stage3_gather_16bit_weights_on_model_save` to true."
    yield from _differences(values, training)


def _follows_the_recipe(optimizer: dict[str, Any]) -> bool:
    is_same = optimizer.get("type") == "AdamW"
    return is_same and all(value == AUTO for value in optimizer.get("params", {}).values())


def _differences(values: dict[str, Any], training: Training) -> Iterator[str]:
    said = {
        "train_micro_batch_size_per_gpu": training.per_device_train_batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "gradient_clipping": training.max_grad_norm,
    }
    for key, own in said.items():
        if values.get(key, AUTO) not in (AUTO, own):
            yield f"has `{key}` {values[key]} and the recipe {own}; write `auto`."
    if values.get("train_batch_size", AUTO) != AUTO:
        yield "has a `train_batch_size`, which is for the recipe to say; write `auto`."
    bf16 = values.get("bf16", {}).get("enabled", False)
    if bf16 not in (AUTO, training.bf16):
        yield f"has `bf16` {bf16} and the recipe {training.bf16}; write `auto`."
    if values.get("fp16", {}).get("enabled", False) is True:
        yield "has `fp16`, which the recipe does not know; use bf16."
