"""Low-rank adapters by peft: a few weights beside those of the model, and the rows that are new.

A template's control tokens are rows of the embeddings, and of the head, that the model has hardly
seen or not at all. An adapter that leaves them as they are cannot learn to end a turn, so they are
trained and saved with it: these rows alone, not the whole matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from chatdata.core.errors import ConfigError, OutputError
from trainer.config import Adapter, Model
from trainer.model.load import end_turns, fit_embeddings

FILE = "adapter_config.json"


def quantization(adapter: Adapter | None) -> BitsAndBytesConfig | None:
    """How the weights below an adapter are quantized: QLoRA's NF4, twice (Dettmers et al., 2023).

    None where they are not.
    """
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
    """The model with an adapter that is trained in place of its weights, the same on all ranks.

    `control_ids` are the rows of the embeddings and of the head that are trained as well. Raises
    ConfigError for `target_modules` that the model does not have.
    """
    if adapter.kind == "qlora":
        network = prepare_model_for_kbit_training(network, use_gradient_checkpointing=False)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        revision=model.revision,
        trainable_token_indices=token_rows(network, control_ids),
        **adapter.model_dump(exclude={"kind"}),
    )
    set_seed(seed)
    try:
        adapted = get_peft_model(network, config)
    except ValueError as error:
        raise ConfigError(f"adapter: {str(error).splitlines()[0]}") from None
    # Else the whole matrices are saved as well, because they have new rows.
    adapted.save_pretrained = partial(  # type: ignore[method-assign]
        adapted.save_pretrained, save_embedding_layers=False
    )
    return adapted


def token_rows(network: PreTrainedModel, ids: Sequence[int]) -> dict[str, list[int]]:
    """The rows of control tokens by the module that holds them: the embeddings, and the head
    where it is not the same matrix."""
    modules = {id(module): name for name, module in network.named_modules()}
    embeddings, head = network.get_input_embeddings(), network.get_output_embeddings()
    wanted = [embeddings]
    if head is not None and head.weight is not embeddings.weight:
        wanted.append(head)
    return {modules[id(module)].rpartition(".")[2]: sorted(ids) for module in wanted}


# --------------------------------------------------------------------------------------- reading


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter rather than a model."""
    return (folder / FILE).is_file()


def load(
    folder: Path,
    base: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[PeftModel, PreTrainedTokenizerBase]:
    """A saved adapter on the model that it was trained on (or on `base`), and its tokenizer.

    Raises OutputError for a folder without an adapter, ConfigError where its model is missing.
    """
    if not is_adapter(folder):
        raise OutputError(f"'{folder}' holds no adapter (it has no {FILE}).")
    config = LoraConfig.from_pretrained(str(folder))
    path = base or config.base_model_name_or_path
    if not path:
        raise ConfigError(f"the adapter in '{folder}' names no model; name it with --base.")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = _base(str(path), None if base else config.revision, dtype)
    fit_embeddings(network, tokenizer)
    end_turns(network, tokenizer)
    return PeftModel.from_pretrained(network, str(folder)), tokenizer


def _base(path: str, revision: str | None, dtype: torch.dtype) -> PreTrainedModel:
    try:
        return AutoModelForCausalLM.from_pretrained(path, revision=revision, dtype=dtype)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"the adapter's model '{path}' cannot be loaded ({reason}); name it with --base."
        ) from None


def merged(adapted: PeftModel) -> Any:
    """The model with its adapter worked into the weights, as if all had been trained."""
    network = adapted.merge_and_unload()
    network.config.use_cache = True
    return network
