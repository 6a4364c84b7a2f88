"""Train recipes: what is trained on which dataset and how, as one strict YAML file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from chatdata.core import config
from chatdata.core.config import Strict
from trainer import shipped, zero3
from trainer.training import Samples, Training

Attention = Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"]
Strategy = Literal["auto", "single", "ddp", "fsdp", "zero3"]
Reporter = Literal["tensorboard", "wandb", "trackio", "mlflow"]


class Model(Strict):
    """A model to fine-tune (`path`), or a new model to train from scratch (`config`)."""

    path: str | None = Field(
        default=None,
        description="A model to fine-tune: a folder, or a repository on the Hub.",
        examples=["Qwen/Qwen3-0.6B"],
    )
    revision: str | None = Field(
        default=None,
        description="The commit of the repository that is read.",
        examples=["c1899de289a04d12100db370d81485cdf75e47ca"],
    )
    config: dict[str, Any] | None = Field(
        default=None,
        description=(
            "A new model to train from scratch: its `model_type`, and the options of this type."
        ),
        examples=[{"model_type": "llama", "hidden_size": 64}],
    )
    dtype: Literal["float32", "bfloat16"] | None = Field(
        default=None,
        description=(
            "In what numbers weights are held: float32 unless it is set, in which small steps"
            " are not lost, and bfloat16 below an adapter with `bf16`."
        ),
    )
    attention: Attention = Field(
        default="sdpa", description="How attention is computed, by transformers' names."
    )

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

    kind: Literal["lora", "qlora"] = Field(
        default="lora", description="`qlora` is an adapter over weights of 4 bits."
    )
    r: int = Field(default=16, ge=1, description="The rank of the adapter.")
    lora_alpha: int = Field(
        default=32, ge=1, description="The scale of the adapter, relative to its rank."
    )
    lora_dropout: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description=(
            "The dropout of the adapter: 0.05 unless it is set, and 0 for mixtures of experts."
        ),
    )
    target_modules: str | list[str] = Field(
        default="all-linear",
        description="Which layers have an adapter.",
        examples=[["q_proj", "v_proj"]],
    )


Objective = Literal["sft", "dpo", "ipo", "kto", "orpo", "simpo", "reward"]


class Preference(Strict):
    """What an `objective` makes of pairs of answers."""

    beta: float | None = Field(
        default=None,
        gt=0,
        description="How close the model stays to the reference; 0.1 unless set, 2 for simpo.",
        examples=[0.1],
    )
    gamma: float = Field(
        default=1, ge=0, description="How much larger simpo wants the reward of the chosen answer."
    )
    desirable_weight: float = Field(
        default=1, gt=0, description="The weight that kto gives to chosen answers."
    )
    undesirable_weight: float = Field(
        default=1, gt=0, description="The weight that kto gives to rejected answers."
    )
    center: float = Field(
        default=0, ge=0, description="How strongly a reward model is drawn to rewards around 0."
    )
    max_length: PositiveInt | None = Field(
        default=None,
        description="Pairs with more tokens on a side are left out; none unless it is set.",
        examples=[2048],
    )
    share_prompt: bool | None = Field(
        default=None,
        description=(
            "Whether a prompt is computed once for all answers to it; where the model can, unless "
            "it is set."
        ),
        examples=[True],
    )
    reference: str | None = Field(
        default=None,
        description=(
            "The folder for what the reference says of the pairs; beside the dataset unless it is "
            "set."
        ),
        examples=["out/references"],
    )


class Fsdp(Strict):
    """PyTorch's fully sharded data parallel, version 2."""

    cpu_offload: bool = Field(
        default=False, description="Whether weights and optimizer rest in the memory of the CPU."
    )
    reshard_after_forward: bool = Field(
        default=True,
        description=(
            "Whether weights are gathered twice a step; false is faster and needs more "
            "memory, as ZeRO-2 does."
        ),
    )


class TrainConfig(Strict):
    """A train recipe, checked."""

    dataset: str = Field(
        description="A folder that `chatdata build` wrote, or a version on the Hub.",
        examples=["out/sample-1.0.0", "you/sample@1.0.0"],
    )
    rendering: str | None = Field(
        default=None,
        description=(
            "The name of a rendering that was added to the dataset; the tokens of its build "
            "unless it is set."
        ),
        examples=["chatml"],
    )
    allow_moving_revision: bool = Field(
        default=False, description="Whether `dataset` may name a branch, which moves."
    )
    model: Model = Field(description="The model that is trained.")
    allow_new_tokenizer: bool = Field(
        default=False,
        description=(
            "Whether the model may have been trained with another tokenizer than that of the rows."
        ),
    )
    objective: Objective = Field(
        default="sft",
        description=(
            "What is learnt: conversations (`sft`), or the pairs of the dataset by any other "
            "objective."
        ),
        examples=["dpo"],
    )
    preference: Preference = Field(
        default=Preference(), description="Options of the objectives for pairs."
    )
    output: str = Field(
        description="The folder in which the model and its checkpoints are written.",
        examples=["out/sample-model"],
    )
    license: str | None = Field(
        default=None,
        description=(
            "The licence of the model; its card refers to those of its sources unless it is set."
        ),
        examples=["apache-2.0"],
    )
    strategy: Strategy = Field(
        default="auto",
        description=(
            "How the model is spread over processes; `auto` takes zero3 with `deepspeed`, "
            "else ddp with several processes, else single."
        ),
    )
    deepspeed: str | None = Field(
        default=None,
        description="A configuration of DeepSpeed; the trainer's own unless it is set.",
        examples=["trainer/zero3_bf16.json"],
    )
    fsdp: Fsdp = Field(default=Fsdp(), description="Options of the strategy `fsdp`.")
    adapter: Adapter | None = Field(
        default=None,
        description=(
            "An adapter in place of the weights: its options, or `lora`, `qlora` or `none`."
        ),
        examples=["lora"],
    )
    packing: bool | PositiveInt = Field(
        default=False,
        description=(
            "Whether rows are trained in the bins of the pack index, or of the index for so "
            "many tokens."
        ),
        examples=[True],
    )
    tree_packing: bool | PositiveInt = Field(
        default=False,
        description=(
            "Whether rows that share turns are trained as trees, in sequences of the rows' "
            "`max_tokens` or of so many tokens."
        ),
        examples=[8192],
    )
    training: Training = Field(
        default=Training(),
        description="The arguments of transformers' Trainer that a recipe may set.",
    )
    samples: Samples | None = Field(
        default=None,
        description="Answers that the model writes at each evaluation, in `samples.jsonl`.",
        examples=[{"rows": 4}],
    )
    report_to: list[Reporter] = Field(
        default=["tensorboard"], description="Where losses are logged.", examples=[["tensorboard"]]
    )

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

    @model_validator(mode="after")
    def _pairs_agree(self) -> TrainConfig:
        if self.objective != "sft":
            for reason in self._against_pairs():
                raise ValueError(f"`objective: {self.objective}` {reason}")
        elif self.preference != Preference():
            raise ValueError("`preference` needs an `objective` other than sft, such as dpo")
        return self

    def _against_pairs(self) -> Iterator[str]:
        """Yields what of the recipe an objective for pairs cannot have, and what to set."""
        training, adapter = self.training, self.adapter
        is_reward, of_kto = self.objective == "reward", self.objective == "kto"
        reasons = {
            "trains on pairs, which are not packed; leave out `packing` and `tree_packing`": (
                self.packing or self.tree_packing
            ),
            "trains all weights; leave out `adapter`": is_reward and adapter is not None,
            "generates nothing; leave out `samples`": is_reward and self.samples is not None,
            "trains without dropout; set `adapter.lora_dropout` to 0 or leave it out": (
                adapter is not None and adapter.lora_dropout
            ),
            "trains without noise; leave out `training.neftune_noise_alpha`": (
                training.neftune_noise_alpha is not None
            ),
            "needs the logits, which Liger's kernels do not make; set "
            "`training.use_liger_kernel` to false": training.use_liger_kernel,
            "compiles the attention of pairs by itself; set `training.torch_compile` or "
            "`preference.share_prompt` to false": (
                training.torch_compile and self.preference.share_prompt is not False
            ),
            "compares each answer with that of another question of its batch; set "
            "`training.per_device_train_batch_size` to 2 or more": (
                of_kto and training.per_device_train_batch_size < 2
            ),
        }
        yield from (reason for reason, holds in reasons.items() if holds)

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
