"""Train recipes: what is trained on which dataset and how, as one strict YAML file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from chatdata import config
from chatdata.config import Strict
from chatdata.errors import ConfigError


class Model(Strict):
    """Which model: one to fine-tune (`path`), or a new one to train from scratch (`config`)."""

    path: str | None = None  # a folder, or a Hub repository
    revision: str | None = None
    config: dict[str, Any] | None = None  # `model_type` and its options; sizes are the user's

    @model_validator(mode="after")
    def _one_of_both(self) -> Model:
        if (self.path is None) == (self.config is None):
            raise ValueError("name either `path`, a model to fine-tune, or `config`, a new one")
        if self.config is not None and "model_type" not in self.config:
            raise ValueError("config needs a `model_type`, for example gpt_bigcode or llama")
        return self


class Training(Strict):
    """The arguments of transformers' Trainer that a recipe may set, under their own names."""

    per_device_train_batch_size: int = Field(default=1, ge=1)
    per_device_eval_batch_size: int = Field(default=1, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    num_train_epochs: float = Field(default=1, gt=0)
    max_steps: int = -1  # -1: as many as the epochs have
    learning_rate: float = Field(default=2e-5, gt=0)
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "cosine"
    warmup_steps: float = Field(default=0, ge=0)  # below 1: a share of all steps
    weight_decay: float = Field(default=0, ge=0)
    max_grad_norm: float = Field(default=1, gt=0)
    bf16: bool = False
    gradient_checkpointing: bool | None = None
    logging_steps: int = Field(default=1, ge=1)
    save_steps: int | None = None  # null: no checkpoints, the model is saved at the end
    seed: int = 0


class TrainConfig(Strict):
    """A train recipe, checked."""

    dataset: str  # a folder that `chatdata build` wrote
    model: Model
    output: str
    training: Training = Training()
    packing: bool | PositiveInt = False  # in the bins of the pack index, or of that for N tokens
    tree_packing: bool | PositiveInt = False  # in trees of max_tokens of the rows, or of N tokens
    deepspeed: str | None = None  # the JSON of a DeepSpeed configuration
    report_to: list[Literal["tensorboard", "wandb"]] = Field(default=[])

    @field_validator("dataset")
    @classmethod
    def _is_built(cls, value: str) -> str:
        if "@" in value and not Path(value).is_dir():
            raise ValueError(
                f"'{value}' is a version on the Hub; this trainer reads folders, so name one that "
                "`chatdata build` wrote"
            )
        return value

    @model_validator(mode="after")
    def _one_packing(self) -> TrainConfig:
        if self.packing and self.tree_packing:
            raise ValueError("choose `packing` or `tree_packing`; trees are packed already")
        return self


def load(path: str | Path, settings: Sequence[str] = ()) -> TrainConfig:
    """The train recipe in a YAML file, with `a.b=VALUE` settings applied.

    Raises ConfigError for a key that is not known (naming the nearest), a value of the wrong
    type, and a DeepSpeed file that would overrule the recipe.
    """
    values = config.override(config.load_yaml(Path(path)), settings)
    loaded = config.parse(TrainConfig, values, f"train recipe '{Path(path).stem}'")
    if loaded.deepspeed is not None:
        _check_deepspeed(Path(loaded.deepspeed))
    return loaded


def _check_deepspeed(path: Path) -> None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"deepspeed: '{path}' cannot be read ({error}).") from None
    for key in ("scheduler", "optimizer"):
        if key in values:
            raise ConfigError(
                f"deepspeed: '{path}' has a `{key}`, which would silently replace the recipe's; "
                "take it out of the JSON."
            )
