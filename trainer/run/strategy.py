"""How the processes of a run train together, and whether this machine can do what a recipe asks.

    single   a single process: a GPU, or the CPU
    ddp      a copy of the model in each process
    fsdp     weights, gradients and optimizer spread over the processes, by PyTorch
    zero3    the same by DeepSpeed; its configuration may offload to memory or to disks

On a machine without GPUs every strategy runs on the CPU, with gloo between the processes, and
spreads there what it spreads on GPUs.
"""

from __future__ import annotations

import atexit
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

import torch

from chatdata.core.errors import ChatdataError, ConfigError
from trainer import zero3
from trainer.config import TrainConfig
from trainer.run import compiled

MODULE = "-m trainer.train"
# Keys of `training` that callbacks carry out.
NOT_OF_TRANSFORMERS = {"ema_decay", "early_stopping_patience", "early_stopping_threshold"}

# What the configuration of `accelerate launch` turns on, by the variables that it sets. Read when
# this module is imported: later accelerate sets the same variables for what the recipe chooses.
TURNED_ON = [
    title
    for name, title in (("DEEPSPEED", "DeepSpeed"), ("FSDP", "FSDP"))
    if os.environ.get(f"ACCELERATE_USE_{name}", "").lower() == "true"
]

# DeepSpeed 0.19 calls names that PyTorch 2.13 has renamed, at every step.
warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # read when deepspeed is imported


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a process among the processes that were launched together."""

    rank: int
    ranks: int
    is_launched: bool  # by torchrun or `accelerate launch`

    @property
    def is_first(self) -> bool:
        """Whether this process prints and saves for all."""
        return self.rank == 0


def place() -> Place:
    """The place of this process, by the launcher's variables."""
    rank, ranks = (int(os.environ.get(name, n)) for name, n in (("RANK", 0), ("WORLD_SIZE", 1)))
    return Place(rank, ranks, "RANK" in os.environ)


def chosen(config: TrainConfig, ranks: int) -> str:
    """The strategy of a run: `single`, `ddp`, `fsdp` or `zero3`."""
    if config.strategy != "auto":
        return config.strategy
    if config.deepspeed is not None:
        return "zero3"
    return "ddp" if ranks > 1 else "single"


def deepspeed_file(config: TrainConfig, ranks: int) -> Path | None:
    """The DeepSpeed configuration of a run; None for a run without DeepSpeed."""
    if chosen(config, ranks) != "zero3":
        return None
    return zero3.config_file(config.deepspeed)


def same_on_all_ranks(what: str, digest: str) -> None:
    """Raises ChatdataError where ranks would start from different data or weights.

    `what` names the data or weights, `digest` is their hash on this rank.
    """
    if not torch.distributed.is_initialized():
        return
    digests: list[str] = [""] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(digests, digest)
    if len(set(digests)) > 1:
        raise ChatdataError(
            f"the {what} of the ranks differ; start again, and pin the versions of the dataset and "
            "of the model."
        )


def run_to_the_end(command: Callable[[], None]) -> NoReturn:
    """Runs a command and ends the process with its exit status.

    The interpreter does not shut down: threads of PyTorch and DeepSpeed that need it meanwhile now
    and then end a rank by SIGABRT, after everything is saved ("terminate called without an active
    exception"). Functions registered with `atexit` are called.
    """
    try:
        command()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def leave() -> None:
    """Takes this process out of the process group, if there is a group."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


# ------------------------------------------------------------------------------------ checks


def check(config: TrainConfig, here: Place) -> str:
    """The strategy of a run. Raises ConfigError where the launcher or this machine cannot do what
    the recipe asks."""
    strategy = chosen(config, here.ranks)
    _check_launcher(strategy, here)
    _check_gpu(config)
    _check_adapter(config, strategy)
    _check_disks(deepspeed_file(config, here.ranks))
    return strategy


def _check_launcher(strategy: str, here: Place) -> None:
    if TURNED_ON:
        raise ConfigError(
            f"accelerate's configuration turns on {TURNED_ON[0]}, but the recipe's `strategy` "
            "decides how the processes train together; turn it off in that configuration, and use "
            f"`accelerate launch --multi_gpu --num_processes N {MODULE}`."
        )
    if strategy == "single" and here.ranks > 1:
        raise ConfigError(
            f"strategy 'single' is for one process and {here.ranks} were launched; choose ddp, "
            "fsdp or zero3."
        )
    if strategy != "single" and not here.is_launched:
        raise ConfigError(
            f"strategy '{strategy}' needs a launcher; start it with "
            f"`torchrun --nproc_per_node=N {MODULE} RECIPE`."
        )
    if strategy == "single" and torch.cuda.device_count() > 1:
        raise ConfigError(
            f"{torch.cuda.device_count()} GPUs are visible to one process; use "
            f"`torchrun --nproc_per_node={torch.cuda.device_count()} {MODULE} RECIPE`, or set "
            "CUDA_VISIBLE_DEVICES to one of them."
        )


def _check_gpu(config: TrainConfig) -> None:
    if torch.cuda.is_available():
        if config.training.bf16 and not torch.cuda.is_bf16_supported():
            raise ConfigError("this GPU has no bfloat16; set training.bf16 to false.")
        return
    needs = {
        f"`model.attention: {config.model.attention}`": "flash" in config.model.attention,
        "`training.use_liger_kernel`": config.training.use_liger_kernel,
        "`fsdp.cpu_offload`": config.strategy == "fsdp" and config.fsdp.cpu_offload,
    }
    for key, is_set in needs.items():
        if is_set:
            raise ConfigError(
                f"{key} needs a CUDA GPU, and this machine has none; set another value."
            )


def _check_adapter(config: TrainConfig, strategy: str) -> None:
    if config.adapter is not None and strategy == "zero3" and not torch.cuda.is_available():
        raise ConfigError(
            "`adapter` with ZeRO-3 needs a CUDA GPU (peft gathers the rows of tokens only there); "
            "choose ddp or fsdp."
        )


def check_tied(config: TrainConfig, network: Any) -> None:
    """Raises ConfigError for an adapter by FSDP on a model whose head is its embeddings: both have
    the trained rows of control tokens, and PyTorch spreads no weight that two of its parts have."""
    is_tied = network.config.get_text_config().tie_word_embeddings
    if config.adapter is not None and config.strategy == "fsdp" and is_tied:
        raise ConfigError(
            "`adapter` with `strategy: fsdp` needs a model whose head has weights of its own, and "
            "this model's are those of its embeddings; choose ddp."
        )


def _check_disks(path: Path | None) -> None:
    paths = zero3.nvme_paths(zero3.read(path)) if path is not None else []
    for folder in paths:
        if folder is None or not os.access(folder, os.W_OK):
            raise ConfigError(
                f"deepspeed: '{path}' offloads to '{folder}', which is not a folder that can be "
                "written; set `nvme_path` to a folder on a fast disk."
            )
    if paths and not _has_async_io():
        raise ConfigError(
            f"deepspeed: '{path}' offloads to a disk, for which DeepSpeed needs libaio "
            "(`apt-get install libaio-dev`)."
        )
    targets = os.environ.get("TORCH_CUDA_ARCH_LIST", "")
    if paths and any(character.isalpha() for character in targets.replace("+PTX", "")):
        raise ConfigError(
            f"TORCH_CUDA_ARCH_LIST is '{targets}', and DeepSpeed reads only numbers in it when it "
            "compiles its code for disks; unset it."
        )


def _has_async_io() -> bool:
    from deepspeed.ops.op_builder import AsyncIOBuilder

    return bool(AsyncIOBuilder().is_compatible(verbose=False))


# ------------------------------------------------------------------------ arguments of Trainer


def arguments(config: TrainConfig, here: Place) -> Any:
    """The TrainingArguments of a run. Joins the processes to a group.

    Must be called before the model is made, so that DeepSpeed spreads the model as it is loaded.
    """
    from transformers import TrainingArguments

    on_cpu = not torch.cuda.is_available()
    strategy = chosen(config, here.ranks)
    values = _common(config, on_cpu) | _checkpointing(config, strategy)
    if strategy == "zero3":
        values["deepspeed"] = str(deepspeed_file(config, here.ranks))
        _join_deepspeed(on_cpu)
    elif here.is_launched and on_cpu:
        values["ddp_backend"] = "gloo"
    if strategy == "fsdp":
        values |= _fsdp(config)
    made = TrainingArguments(output_dir=config.output, use_cpu=on_cpu, **values)
    if strategy == "fsdp" and config.training.bf16:
        made.fsdp_plugin_args["mixed_precision_policy"] = _exact_losses()
    if strategy == "fsdp" and on_cpu:
        _shard_on_cpus()
    return made


def _common(config: TrainConfig, on_cpu: bool) -> dict[str, Any]:
    training = config.training
    elsewhere = {"gradient_checkpointing", *NOT_OF_TRANSFORMERS}
    elsewhere |= {"optim"} if training.optim == "muon" else set()
    is_chosen = bool(training.load_best_model_at_end or training.early_stopping_patience)
    return {
        **training.model_dump(exclude_none=True, exclude=elsewhere),
        "metric_for_best_model": "loss" if is_chosen else None,
        "restore_callback_states_from_checkpoint": is_chosen,  # how long it has been no better
        "save_strategy": "no" if training.save_steps is None else "steps",
        "report_to": list(config.report_to),
        "dataloader_pin_memory": not on_cpu,
        "remove_unused_columns": False,  # the rows have only the columns of the collator
        "logging_first_step": True,
        "logging_nan_inf_filter": False,  # it logs 0 for a loss that is not a number
        "disable_tqdm": not sys.stderr.isatty(),
    }


def _checkpointing(config: TrainConfig, strategy: str) -> dict[str, Any]:
    """The argument for activation checkpointing; FSDP has an option of its own."""
    from transformers import TrainingArguments

    if config.training.gradient_checkpointing is None or strategy == "fsdp":
        return {}
    names = {field.name for field in fields(TrainingArguments)}
    new, old = "activation_checkpointing", "gradient_checkpointing"  # renamed in transformers 5
    return {new if new in names else old: config.training.gradient_checkpointing}


def _fsdp(config: TrainConfig) -> dict[str, Any]:
    options = {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "state_dict_type": "FULL_STATE_DICT",  # so that the model is saved whole
        "activation_checkpointing": bool(config.training.gradient_checkpointing),
        **config.fsdp.model_dump(),
    }
    return {"fsdp": True, "fsdp_config": options}


def _exact_losses() -> Any:
    """The bfloat16 of accelerate, but for the outputs of the model: it rounds them, and with them
    the loss, to a 32nd of a nat."""
    from torch.distributed.fsdp import MixedPrecisionPolicy

    return MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.bfloat16)


def _shard_on_cpus() -> None:
    """Lets accelerate shard a model over processes without GPUs.

    PyTorch shards there as it does on GPUs. But accelerate 1.15 turns to FSDP only from the kind of
    processes that GPUs have; on others it leaves a copy of the model in each, in silence.
    """
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    PartialState().distributed_type = DistributedType.MULTI_GPU


def check_sharded(config: TrainConfig, trainer: Any) -> None:
    """Raises ChatdataError where accelerate would train copies by `strategy: fsdp`."""
    kind = trainer.accelerator.distributed_type
    if config.strategy == "fsdp" and kind != "FSDP":
        raise ChatdataError(
            f"strategy 'fsdp' would train by {kind.value} here, with a copy of the model in each "
            "process; choose ddp or zero3."
        )


def _join_deepspeed(on_cpu: bool) -> None:
    import deepspeed

    compiled.guard()
    compiled.leave_muon()
    if on_cpu:
        # Or else DeepSpeed starts the program `numactl` for every gradient that it reduces.
        os.environ.setdefault("LOCAL_SIZE", os.environ.get("LOCAL_WORLD_SIZE", "1"))
        # Serves inference alone, and would be compiled for a minute.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        deepspeed.init_distributed(dist_backend="gloo")  # without it the world size is 1
