"""Keys of a recipe that other libraries carry out: refused before the first step where they would
fail, do nothing, or train another thing than the recipe says."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import torch

from chatdata.core.errors import ConfigError
from trainer.config import TrainConfig
from trainer.model import families

_OPTIMIZERS = {
    "adamw_8bit": "bitsandbytes",
    "paged_adamw_8bit": "bitsandbytes",
    "adamw_torch_8bit": "torchao",
}
_ATTENTIONS = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_interface"}
_INSTALL = {
    "flash_attn": "run `pip install flash-attn`",
    "flash_attn_interface": "build it from the folder `hopper` of flash-attention",
    "liger_kernel": "run `pip install liger-kernel`",
}
_COPIES = ("single", "ddp")  # strategies in which each process has whole weights


def check(config: TrainConfig, strategy: str, network: Any) -> str:
    """A line with the keys that are set. Raises ConfigError for the first that cannot be."""
    _check_packages(config)
    _check_reporters(config)
    _check_optimizer(config, strategy)
    _check_noise(config, strategy)
    _check_compiler(config)
    if config.training.use_liger_kernel and torch.cuda.is_available():  # else refused already
        _check_liger(config, network)
    if config.training.ema_decay and strategy not in _COPIES:
        raise ConfigError(_only("training.ema_decay", strategy))
    return ", ".join(_set(config)) or "none beside those of the schedule"


def _set(config: TrainConfig) -> list[str]:
    training = config.training
    names = ("optim", "neftune_noise_alpha", "ema_decay", "early_stopping_patience")
    values = [f"{name} {value}" for name in names if (value := getattr(training, name)) is not None]
    switches = ("load_best_model_at_end", "torch_compile", "use_liger_kernel")
    values += [name for name in switches if getattr(training, name)]
    values += [f"{config.samples.rows} samples"] if config.samples else []
    return values + [f"reports to {name}" for name in config.report_to if name != "tensorboard"]


def _only(key: str, strategy: str) -> str:
    return (
        f"{key} needs whole weights in each process, which '{strategy}' spreads; set `strategy` to "
        "single or ddp, or leave it out."
    )


def _check_packages(config: TrainConfig) -> None:
    for key, package in _needed(config):
        if find_spec(package) is None:
            raise ConfigError(
                f"{key} needs the package '{package}', which is not installed; "
                f"{_INSTALL.get(package, f'run `pip install {package}`')}, or set another value."
            )


def _needed(config: TrainConfig) -> Iterator[tuple[str, str]]:
    """Yields keys with the packages that these need."""
    training, attention = config.training, config.model.attention
    if config.adapter is not None:
        yield "`adapter`", "peft"
    if config.quantized:
        yield "`adapter: qlora`", "bitsandbytes"
    if attention in _ATTENTIONS:
        yield "`model.attention`", _ATTENTIONS[attention]
    if training.use_liger_kernel:
        yield "`training.use_liger_kernel`", "liger_kernel"
    if training.optim in _OPTIMIZERS:
        yield "`training.optim`", _OPTIMIZERS[training.optim]
    yield from (("`report_to`", name) for name in config.report_to)


def _check_reporters(config: TrainConfig) -> None:
    names = {
        "run_name": {"wandb", "trackio", "mlflow"},
        "project": {"trackio"},
    }
    for key, users in names.items():
        if getattr(config.training, key) and not users & set(config.report_to):
            raise ConfigError(
                f"training.{key} is shown by {', '.join(sorted(users))} alone, and report_to has "
                f"none of them; add one, or leave out {key}."
            )
    if "mlflow" in config.report_to:
        _check_mlflow()
    if "wandb" in config.report_to and not _knows_wandb():
        raise ConfigError(
            "report_to: wandb has no login here and would ask for it in the middle of a run; run "
            "`wandb login`, or set WANDB_MODE=offline to keep the reports in ./wandb."
        )


def _check_mlflow() -> None:
    mlflow: Any = importlib.import_module("mlflow")
    try:
        mlflow.MlflowClient().search_experiments(max_results=1)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"report_to: mlflow cannot use '{mlflow.get_tracking_uri()}': {reason.rstrip('.')}; "
            "set MLFLOW_TRACKING_URI, for example to sqlite:///mlflow.db."
        ) from None


def _knows_wandb() -> bool:
    if os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return True
    wandb: Any = importlib.import_module("wandb")
    return bool(os.environ.get("WANDB_API_KEY") or wandb.api.api_key)


def _check_optimizer(config: TrainConfig, strategy: str) -> None:
    optimizer = config.training.optim
    if optimizer is None or optimizer in ("adamw_torch", "adamw_torch_fused"):
        return
    if strategy not in _COPIES:
        raise ConfigError(_only(f"training.optim: {optimizer}", strategy))
    if optimizer == "muon" and not hasattr(torch.optim, "Muon"):
        raise ConfigError(
            f"training.optim: muon needs torch 2.9, and this is {torch.__version__}; run "
            "`pip install -U torch`, or set another optimizer."
        )
    if optimizer.startswith("paged") and not torch.cuda.is_available():
        raise ConfigError(f"training.optim: {optimizer} needs a CUDA GPU; set another optimizer.")


def _check_noise(config: TrainConfig, strategy: str) -> None:
    """NEFTune's noise falls with the length of a sequence, which packing makes another's."""
    if config.training.neftune_noise_alpha is None:
        return
    if strategy not in _COPIES:
        raise ConfigError(_only("training.neftune_noise_alpha", strategy))
    if config.packing or config.tree_packing:
        raise ConfigError(
            "training.neftune_noise_alpha: the noise is smaller in a longer sequence, so that "
            "packed rows would have another than rows; set packing and tree_packing to false."
        )


def _check_compiler(config: TrainConfig) -> None:
    if not config.training.torch_compile:
        return
    if config.tree_packing:
        raise ConfigError(
            "training.torch_compile: the attention of trees is compiled by itself on GPUs, and "
            "not with the model; set tree_packing or torch_compile to false."
        )
    if not torch.cuda.is_available() and not (shutil.which("c++") or shutil.which("g++")):
        raise ConfigError(
            "training.torch_compile needs a C++ compiler on CPUs; install one (`apt-get install "
            "g++`), or set it to false."
        )


def _check_liger(config: TrainConfig, network: Any) -> None:
    """Liger does nothing, and says so only in a log, for families that it has no kernels for."""
    kind = network.config.model_type
    if config.adapter is not None:
        raise ConfigError(
            "training.use_liger_kernel makes the loss from the head's weights, past the rows of "
            "control tokens that an adapter trains; set it to false, or `adapter: none`."
        )
    if why := families.loss_to_replace(network):
        raise ConfigError(
            f"training.use_liger_kernel: {why}, so that the loss is computed from the logits, "
            "which Liger does not make; set it to false."
        )
    known = importlib.import_module("liger_kernel.transformers.monkey_patch")
    if kind not in known.MODEL_TYPE_TO_APPLY_LIGER_FN:
        raise ConfigError(
            f"training.use_liger_kernel: Liger has no kernels for models of type '{kind}', and "
            "would change nothing; set it to false."
        )
