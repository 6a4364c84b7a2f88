"""Train recipes: what is trained on which dataset and how, as one strict YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from chatdata.core import config
from chatdata.core.config import Strict
from trainer import shipped, zero3

Attention = Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"]
Strategy = Literal["auto", "single", "ddp", "fsdp", "zero3"]


class Model(Strict):
    """A model to fine-tune (`path`), or a new model to train from scratch (`config`)."""

    path: str | None = None  # a folder, or a Hub repository
    revision: str | None = None
    config: dict[str, Any] | None = None  # `model_type` and the options of this type
    # null: float32, in which small steps are not lost; bfloat16 below an adapter with bf16
    dtype: Literal["float32", "bfloat16"] | None = None
    attention: Attention = "sdpa"

    @model_validator(mode="after")
    def _path_or_config(self) -> Model:
        if (self.path is None) == (self.config is None):
            raise ValueError("set `path`, a model to fine-tune, or `config`, a new model")
        if self.config is not None and "model_type" not in self.config:
            raise ValueError("config needs a `model_type`, for example gpt_bigcode or llama")
        return self


class Adapter(Strict):
    """A low-rank adapter in place of the weights, with peft's names of the options.

    The rows of the template's control tokens are always trained with the adapter.
    """

    kind: Literal["lora", "qlora"] = "lora"  # qlora: over weights of 4 bits
    r: int = Field(default=16, ge=1)
    lora_alpha: int = Field(default=32, ge=1)
    # null: 0.05; 0 for mixtures of experts, over whose parameters peft has no dropout
    lora_dropout: float | None = Field(default=None, ge=0, lt=1)
    target_modules: str | list[str] = "all-linear"


class Fsdp(Strict):
    """PyTorch's fully sharded data parallel, version 2."""

    cpu_offload: bool = False
    reshard_after_forward: bool = True  # false: as ZeRO-2, faster and larger


class Training(Strict):
    """The arguments of transformers' Trainer that a recipe may set, under the same names."""

    per_device_train_batch_size: int = Field(default=1, ge=1)
    per_device_eval_batch_size: int = Field(default=1, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    num_train_epochs: float = Field(default=1, gt=0)
    max_steps: int = -1  # -1: as many as the epochs have
    learning_rate: float = Field(default=2e-5, gt=0)
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "cosine"
    warmup_steps: float = Field(default=0, ge=0)  # below 1: a share of all steps
    weight_decay: float = Field(default=0, ge=0)
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    max_grad_norm: float = Field(default=1, gt=0)
    bf16: bool = False
    gradient_checkpointing: bool | None = None
    torch_compile: bool = False
    use_liger_kernel: bool = False
    dataloader_num_workers: int = Field(default=0, ge=0)
    dataloader_drop_last: bool = False  # true: leave out rows that fill no batch
    logging_steps: int = Field(default=1, ge=1)
    eval_strategy: Literal["no", "steps", "epoch"] = "no"  # always also before and after
    eval_steps: int | None = Field(default=None, ge=1)
    save_steps: int | None = Field(default=None, ge=1)  # null: no checkpoints, only the model
    save_total_limit: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _steps_for_steps(self) -> Training:
        if (self.eval_strategy == "steps") != (self.eval_steps is not None):
            raise ValueError("`eval_strategy: steps` and `eval_steps` go together")
        return self

    def for_deepspeed(self) -> dict[str, Any]:
        """What a configuration of DeepSpeed could overrule, under DeepSpeed's names."""
        return {
            "train_micro_batch_size_per_gpu": self.per_device_train_batch_size,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            "gradient_clipping": self.max_grad_norm,
            "bf16": self.bf16,
        }


class TrainConfig(Strict):
    """A train recipe, checked."""

    dataset: str  # a folder that `chatdata build` wrote, or org/name@1.2.0 on the Hub
    rendering: str | None = None  # of the dataset, that was added; null: the tokens of its build
    allow_moving_revision: bool = False  # true: `dataset` may name a branch
    model: Model
    allow_new_tokenizer: bool = False  # true: the model may have another tokenizer than the rows
    output: str
    license: str | None = None  # of the model; null: the card refers to its sources
    # auto: zero3 where `deepspeed` is set, else ddp with several processes, else single
    strategy: Strategy = "auto"
    deepspeed: str | None = None  # a DeepSpeed configuration; null: the trainer's, for zero3
    fsdp: Fsdp = Fsdp()
    adapter: Adapter | None = None  # or `lora`, `qlora`, `none`
    packing: bool | PositiveInt = False  # by the pack index, or by the index for N tokens
    tree_packing: bool | PositiveInt = False  # trees of the rows' max_tokens, or of N tokens
    training: Training = Training()
    report_to: list[Literal["tensorboard", "wandb"]] = Field(default=["tensorboard"])

    @field_validator("adapter", mode="before")
    @classmethod
    def _named_by_kind(cls, value: Any) -> Any:
        if value == "none":
            return None
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _keys_agree(self) -> TrainConfig:
        if self.deepspeed is not None and self.strategy not in ("auto", "zero3"):
            raise ValueError(
                f"`deepspeed` is set and `strategy` is {self.strategy}; set `deepspeed` to null or "
                "`strategy` to zero3"
            )
        if self.packing and self.tree_packing:
            raise ValueError("choose `packing` or `tree_packing`; trees are packed already")
        if self.quantized and (self.deepspeed or self.strategy in ("fsdp", "zero3")):
            raise ValueError("`adapter: qlora` needs `strategy: single` or `ddp`")
        return self

    @property
    def quantized(self) -> bool:
        """Whether the weights below the adapter are of 4 bits."""
        return self.adapter is not None and self.adapter.kind == "qlora"


def load(
    path: str | Path, settings: Sequence[str] = (), deepspeed: str | None = None
) -> TrainConfig:
    """The train recipe of a name or in a YAML file, with `a.b=VALUE` settings applied.

    `deepspeed` names a DeepSpeed configuration that replaces the recipe's, whatever its strategy.
    Raises ConfigError for an unknown key (with the nearest known key), a value of the wrong type,
    and a DeepSpeed configuration that would overrule the recipe.
    """
    path = shipped.find(path, "train")
    values = config.override(config.load_yaml(path), settings)
    if deepspeed is not None:
        values |= {"strategy": "zero3", "deepspeed": deepspeed}
    loaded = config.parse(TrainConfig, values, f"train recipe '{path.stem}'")
    if loaded.deepspeed is not None:
        zero3.check(zero3.config_file(loaded.deepspeed), loaded.training.for_deepspeed())
    return loaded
