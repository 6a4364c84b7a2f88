"""The tokenizer and the model, fitted to the dataset's template."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from chatdata.errors import ConfigError
from chatdata.manifest import Manifest
from trainer.config import Model


def load_tokenizer(folder: Path, facts: Manifest) -> PreTrainedTokenizerBase:
    """The tokenizer that the rows were made with: template and control tokens are in it.

    Its end-of-text token is the template's stop token, so that generation ends with the turn.
    Raises ConfigError where a control token does not have the id that it has in the rows.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    for token, id in facts["render"]["tokenizer"]["control_ids"].items():
        own = tokenizer.convert_tokens_to_ids(token)
        if own != id:
            raise ConfigError(
                f"token '{token}' is {own} in '{folder}/tokenizer' and {id} in the rows; "
                "build the dataset again."
            )
    tokenizer.chat_template = facts["render"]["template"]["jinja"]
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    stop = facts["render"]["tokenizer"]["stop_ids"][-1]
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(stop)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return tokenizer


def load_model(model: Model, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    """The model with an embedding for each token of the tokenizer, the same on all ranks.

    A model that has more embeddings than the tokenizer has tokens keeps them.
    """
    set_seed(seed)
    loaded = _pretrained(model) if model.path else _from_scratch(model, tokenizer)
    set_seed(seed)  # the new rows are drawn at random, and must be the same on every rank
    if len(tokenizer) > loaded.config.get_text_config().vocab_size:
        loaded.resize_token_embeddings(len(tokenizer))
    loaded.config.use_cache = False
    _end_turns(loaded, tokenizer)
    return loaded


def _from_scratch(model: Model, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    values = dict(model.config or {})
    kind = values.pop("model_type")
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    values = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **ids, **values}
    try:
        config = AutoConfig.for_model(kind, **values)
    except ValueError as error:
        raise ConfigError(f"model.config: {str(error).splitlines()[0]}") from None
    unknown = sorted(set(values) - set(type(config)().to_dict()) - set(config.attribute_map))
    if unknown:
        raise ConfigError(f"model.config: a {kind} model has no option '{unknown[0]}'.")
    return AutoModelForCausalLM.from_config(config)


def _pretrained(model: Model) -> PreTrainedModel:
    path = str(model.path)
    try:
        return AutoModelForCausalLM.from_pretrained(path, revision=model.revision)
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"model.path '{path}' cannot be loaded: {reason}") from None


def check_lengths(model: PreTrainedModel, longest: int) -> None:
    """Raises ConfigError where a row has more tokens than the model has positions."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if positions is not None and longest > positions:
        raise ConfigError(
            f"the longest row has {longest} tokens and the model {positions} positions; build the "
            f"dataset with --set render.max_tokens={positions}."
        )


def _end_turns(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Makes generation stop at the end of a turn, for whoever loads the saved model."""
    model.config.eos_token_id = tokenizer.eos_token_id
    model.config.pad_token_id = tokenizer.pad_token_id
    own = model.generation_config or GenerationConfig()
    own.eos_token_id, own.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    own.bos_token_id = tokenizer.bos_token_id
    model.generation_config = own


def embedding_digest(model: PreTrainedModel) -> str:
    """A hash of the input embeddings, gathered where DeepSpeed has partitioned them."""
    weight: Any = model.get_input_embeddings().weight
    with _gathered(weight):
        values = weight.detach().to(torch.float32).cpu().contiguous().numpy()
        return hashlib.sha256(values.tobytes()).hexdigest()


def _gathered(weight: Any) -> Any:
    if not hasattr(weight, "ds_id"):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters([weight])
