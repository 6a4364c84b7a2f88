"""Low-rank adapters by peft: a few weights beside those of the model, and the rows that are new.

A template's control tokens are rows of the embeddings, and of the head, that the model has hardly
seen or not at all. An adapter that leaves these rows as they are cannot learn to end a turn, so the
rows are trained and saved with the adapter: these rows alone, not the whole matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import (
    BitsAndBytesConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from chatdata.core.errors import ConfigError, OutputError
from trainer.config import Adapter, Model
from trainer.model import pretrained
from trainer.model.load import end_turns, fit_embeddings

FILE = "adapter_config.json"
_DROPOUT = 0.05
_EXPERTS = (
    "num_local_experts",
    "num_experts",
    "n_routed_experts",
    "moe_num_experts",
)  # their number


_MAMBA = {"mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h"}


def quantization(adapter: Adapter | None) -> BitsAndBytesConfig | None:
    """The quantization of the weights below an adapter: QLoRA's NF4, double (Dettmers et al.,
    2023). None for an adapter over weights that are not quantized."""
    if adapter is None or adapter.kind != "qlora":
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def add(
    network: PreTrainedModel, adapter: Adapter, model: Model, control_ids: Sequence[int], seed: int
) -> PeftModel:
    """The model with an adapter that is trained in place of the weights, the same on all ranks.

    `control_ids` are the rows of the embeddings and of the head that are trained as well. Raises
    ConfigError for `target_modules` that the model does not have, and for a dropout that peft does
    not have for the model.
    """
    if adapter.kind == "qlora":
        network = prepare_model_for_kbit_training(network, use_gradient_checkpointing=False)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        revision=model.revision,
        trainable_token_indices=token_rows(network, control_ids),
        **adapter.model_dump(exclude={"kind", "lora_dropout"}),
        exclude_modules=_left_out(network.config, adapter),
        lora_dropout=dropout(network.config, adapter),
    )
    set_seed(seed)
    try:
        adapted = get_peft_model(network, config)
    except ValueError as error:
        raise ConfigError(f"adapter: {_way_out(str(error).splitlines()[0])}") from None
    # Without this the whole matrices are saved as well, because they have new rows.
    adapted.save_pretrained = partial(  # type: ignore[method-assign]
        adapted.save_pretrained, save_embedding_layers=False
    )
    return adapted


def dropout(config: PretrainedConfig, adapter: Adapter) -> float:
    """The dropout of an adapter: the recipe's, or else that which peft has for the model.

    The experts of many mixtures are parameters of one module, and peft drops nothing before these.
    """
    if adapter.lora_dropout is not None:
        return adapter.lora_dropout
    text = config.get_text_config()
    is_mixture = any(getattr(text, name, None) for name in _EXPERTS)
    return 0.0 if is_mixture else _DROPOUT


def _left_out(config: PretrainedConfig, adapter: Adapter) -> list[str] | None:
    """The modules of Mamba that peft does not adapt, where the recipe asks for all modules."""
    is_mamba = config.get_text_config().model_type in _MAMBA
    return ["out_proj", "conv1d"] if is_mamba and adapter.target_modules == "all-linear" else None


def _way_out(reason: str) -> str:
    if "lora_dropout" in reason:
        return f"{reason} This model has experts in parameters; set adapter.lora_dropout to 0."
    return reason


def token_rows(network: PreTrainedModel, ids: Sequence[int]) -> dict[str, list[int]]:
    """The rows of control tokens, by the name of the module that holds the rows: the embeddings,
    and a head that is not the same matrix."""
    modules = {id(module): name for name, module in network.named_modules()}
    embeddings, head = network.get_input_embeddings(), network.get_output_embeddings()
    holders = [embeddings]
    if head is not None and head.weight is not embeddings.weight:
        holders.append(head)
    return {modules[id(module)].rpartition(".")[2]: sorted(ids) for module in holders}


# --------------------------------------------------------------------------------------- reading


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter rather than a model."""
    return (folder / FILE).is_file()


def load(
    folder: Path,
    base: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[PeftModel, PreTrainedTokenizerBase]:
    """A saved adapter on its model (or on `base`), and the tokenizer that was saved with both.

    Raises OutputError for a folder without an adapter, ConfigError for a model that is missing.
    """
    if not is_adapter(folder):
        raise OutputError(
            f"'{folder}' holds no adapter (the file {FILE} is missing); name the folder of a run "
            "with `adapter`."
        )
    config = LoraConfig.from_pretrained(str(folder))
    path = base or config.base_model_name_or_path
    if not path:
        raise ConfigError(f"the adapter in '{folder}' names no model; name it with --base.")
    tokenizer = pretrained.load_tokenizer(str(folder))
    network = _base(str(path), None if base else config.revision, dtype)
    fit_embeddings(network, tokenizer)
    end_turns(network, tokenizer)
    return PeftModel.from_pretrained(network, str(folder)), tokenizer


def _base(path: str, revision: str | None, dtype: torch.dtype) -> PreTrainedModel:
    try:
        return pretrained.load_network(path, revision=revision, dtype=dtype)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the adapter's model '{path}' cannot be loaded ({pretrained.reason(error)}); name it "
            "with --base."
        ) from None


def merged(adapted: PeftModel) -> Any:
    """The model with its adapter merged into the weights."""
    network = adapted.merge_and_unload()
    network.config.use_cache = True
    return network
