"""The part `training` of a train recipe: arguments of transformers' Trainer, and what is asked for
beside them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from chatdata.core.config import Strict

Optimizer = Literal[
    "adamw_torch",
    "adamw_torch_fused",
    "adamw_torch_8bit",
    "adamw_8bit",
    "paged_adamw_8bit",
    "adafactor",
    "muon",
    "sgd",
]

# What people look for under `training` and what is refused by name, with the way out.
REFUSED = {
    "fp16": "16 bits are `bf16` here, in which no loss has to be scaled; set `bf16: true`",
    "label_smoothing_factor": "the loss is that of the labels as they are; leave it out",
    "parallelism_config": "a sequence is not split over ranks; for long rows set "
    "`gradient_checkpointing: true` or `tree_packing`, or build the dataset with a lower "
    "render.max_tokens",
    "group_by_length": "rows are drawn at random; set `packing`, which leaves no padding",
}
REFUSED |= dict.fromkeys(
    ("sequence_parallel_size", "context_parallel_size", "cp_size", "sp_size"),
    REFUSED["parallelism_config"],
)


class Training(Strict):
    """The arguments of transformers' Trainer that a recipe may set, under the same names."""

    per_device_train_batch_size: int = Field(
        default=1, ge=1, description="Rows, or bins, in a step on each device."
    )
    per_device_eval_batch_size: int = Field(
        default=1, ge=1, description="Rows in a step of evaluation on each device."
    )
    gradient_accumulation_steps: int = Field(
        default=1, ge=1, description="Steps whose gradients are added before the weights change."
    )
    num_train_epochs: float = Field(default=1, gt=0, description="How often the rows are seen.")
    max_steps: int = Field(
        default=-1,
        description="Steps after which training ends; -1 for as many as the epochs have.",
    )
    learning_rate: float = Field(default=2e-5, gt=0, description="The highest learning rate.")
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = Field(
        default="cosine", description="How the learning rate goes down."
    )
    warmup_steps: float = Field(
        default=0,
        ge=0,
        description="Steps in which the learning rate goes up; below 1 a share of all steps.",
    )
    weight_decay: float = Field(
        default=0, ge=0, description="How much weights shrink in each step."
    )
    adam_beta1: float = Field(
        default=0.9, ge=0, lt=1, description="How slowly Adam's mean of gradients follows."
    )
    adam_beta2: float = Field(
        default=0.999,
        ge=0,
        lt=1,
        description="How slowly Adam's mean of squared gradients follows.",
    )
    max_grad_norm: float = Field(
        default=1, gt=0, description="Longer gradients are shortened to this."
    )
    optim: Optimizer | None = Field(
        default=None, description="The optimizer; AdamW unless it is set.", examples=["muon"]
    )
    neftune_noise_alpha: float | None = Field(
        default=None,
        gt=0,
        description="The noise on embeddings while the model is trained (NEFTune).",
        examples=[5],
    )
    ema_decay: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="How slowly the average of the weights follows, which is then saved.",
        examples=[0.999],
    )
    bf16: bool = Field(default=False, description="Whether the model computes in bfloat16.")
    gradient_checkpointing: bool | None = Field(
        default=None,
        description=(
            "Whether activations are computed again to save memory; by the strategy unless it"
            " is set."
        ),
    )
    torch_compile: bool = Field(default=False, description="Whether the model is compiled.")
    use_liger_kernel: bool = Field(
        default=False, description="Whether the kernels of Liger are used."
    )
    dataloader_num_workers: int = Field(default=0, ge=0, description="Processes that read rows.")
    dataloader_drop_last: bool = Field(
        default=False, description="Whether rows that fill no batch are left out."
    )
    logging_steps: int = Field(default=1, ge=1, description="Steps between two lines of the log.")
    eval_strategy: Literal["no", "steps", "epoch"] = Field(
        default="no",
        description="When the test split is evaluated, beside before and after training.",
    )
    eval_steps: int | None = Field(
        default=None,
        ge=1,
        description="Steps between two evaluations, with `eval_strategy: steps`.",
        examples=[100],
    )
    save_steps: int | None = Field(
        default=None,
        ge=1,
        description="Steps between two checkpoints; without it there are none, only the model.",
        examples=[200],
    )
    save_total_limit: int | None = Field(
        default=None, ge=1, description="Checkpoints that are kept.", examples=[2]
    )
    load_best_model_at_end: bool = Field(
        default=False,
        description="Whether the checkpoint of the lowest test loss is the model, not the last.",
    )
    early_stopping_patience: int | None = Field(
        default=None,
        ge=1,
        description="Evaluations without progress after which training ends.",
        examples=[3],
    )
    early_stopping_threshold: float = Field(
        default=0, ge=0, description="Nats of the test loss that count as progress."
    )
    run_name: str | None = Field(
        default=None, description="The name of the run where it is reported.", examples=["first"]
    )
    project: str | None = Field(
        default=None, description="The project of the run in trackio.", examples=["starchat"]
    )
    seed: int = Field(
        default=0, ge=0, description="The seed of the order of rows and of new weights."
    )

    @model_validator(mode="before")
    @classmethod
    def _refused_by_name(cls, values: Any) -> Any:
        for key, why in REFUSED.items():
            if isinstance(values, dict) and values.get(key):
                raise ValueError(f"`{key}`: {why}")
        return values

    @model_validator(mode="after")
    def _steps_for_steps(self) -> Training:
        if (self.eval_strategy == "steps") != (self.eval_steps is not None):
            raise ValueError("`eval_strategy: steps` and `eval_steps` go together")
        return self

    @model_validator(mode="after")
    def _measured_before_chosen(self) -> Training:
        """Refuses to stop early without evaluations, and to load the best of checkpoints that were
        not measured."""
        if self.early_stopping_patience and self.eval_strategy == "no":
            raise ValueError("`early_stopping_patience` counts evaluations; set `eval_strategy`")
        if self.early_stopping_threshold and not self.early_stopping_patience:
            raise ValueError("`early_stopping_threshold` needs `early_stopping_patience`")
        if self.load_best_model_at_end and (
            not (self.save_steps and self.eval_steps) or self.save_steps % self.eval_steps
        ):
            raise ValueError(
                "`load_best_model_at_end` chooses a checkpoint that was measured; set "
                "`eval_strategy: steps`, and `save_steps` to a multiple of `eval_steps`"
            )
        if self.load_best_model_at_end and self.ema_decay:
            raise ValueError("choose `load_best_model_at_end` or `ema_decay`: each is the model")
        return self

    def for_deepspeed(self) -> dict[str, Any]:
        """What a configuration of DeepSpeed could overrule, under DeepSpeed's names."""
        return {
            "train_micro_batch_size_per_gpu": self.per_device_train_batch_size,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            "gradient_clipping": self.max_grad_norm,
            "bf16": self.bf16,
        }


class Samples(Strict):
    """Answers that the model writes at each evaluation, to prompts of the test split."""

    rows: int = Field(default=4, ge=1, description="Rows of the test split that give prompts.")
    max_new_tokens: int = Field(default=64, ge=1, description="Tokens of the longest answer.")
