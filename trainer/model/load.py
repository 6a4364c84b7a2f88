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
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from chatdata.core.errors import ConfigError
from chatdata.dataset.renderings import Rendering
from trainer.config import Model, TrainConfig
from trainer.model import families, generation_settings, pretrained


def load_tokenizer(folder: Path, rendering: Rendering) -> PreTrainedTokenizerBase:
    """The tokenizer that made the rows, with the template and its control tokens.

    The end-of-text token is the template's stop token, so that generation ends with the turn.
    Raises ConfigError where a control token has another id than in the rows.
    """
    saved, entry = folder / rendering.tokenizer, rendering.entry
    tokenizer = pretrained.load_tokenizer(str(saved))
    for token, id in entry.tokenizer.control_ids.items():
        loaded = tokenizer.convert_tokens_to_ids(token)
        if loaded != id:
            raise ConfigError(
                f"token '{token}' is {loaded} in '{saved}' and {id} in the rows; "
                "build the dataset again."
            )
    tokenizer.chat_template = entry.template.jinja
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    stop = entry.tokenizer.stop_ids[-1]
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(stop)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return tokenizer


# ------------------------------------------------------------------------------------ the model


def load_config(model: Model, tokenizer: PreTrainedTokenizerBase) -> PretrainedConfig:
    """The configuration of the model of a recipe, without its weights.

    Raises ConfigError for a model that cannot be loaded, or an option that it does not have.
    """
    if model.path is None:
        return _new_config(model, tokenizer)
    try:
        return pretrained.load_config(str(model.path), revision=model.revision)
    except (OSError, ValueError) as error:
        raise _not_loaded(model, error) from None


def _new_config(model: Model, tokenizer: PreTrainedTokenizerBase) -> PretrainedConfig:
    given = dict(model.config or {})
    kind = given.pop("model_type")
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    values = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **ids, **given}
    try:
        config = AutoConfig.for_model(kind, **values)
    except ValueError as error:
        raise ConfigError(f"model.config: {str(error).splitlines()[0]}") from None
    unknown = sorted(set(given) - set(type(config)().to_dict()) - set(config.attribute_map))
    if unknown:
        raise ConfigError(f"model.config: models of type '{kind}' have no option '{unknown[0]}'.")
    return config


def meta_model(config: PretrainedConfig, rows: int) -> PreTrainedModel:
    """The model of a configuration on PyTorch's `meta` device, with `rows` embeddings.

    The weights take no memory. Must be called before a run's arguments are made: from then on
    DeepSpeed spreads every new model over the ranks. Raises ConfigError for a model that is no
    decoder.
    """
    families.check_decoder(config)
    unset_hf_deepspeed_config()  # of an earlier run in this process
    with torch.device("meta"):
        network = _decoder(config)
        if rows > config.get_text_config().vocab_size:
            network.resize_token_embeddings(rows, mean_resizing=False)
    return network


def _decoder(config: PretrainedConfig) -> PreTrainedModel:
    try:
        return AutoModelForCausalLM.from_config(config)
    except ValueError as error:
        if getattr(config, "vision_config", None) is not None:
            raise ConfigError(
                f"models of type '{config.model_type}' see images, and transformers makes no "
                "decoder of text alone of them; choose the text model that this model is made of, "
                "or a family whose visual weights are kept, as Gemma 3."
            ) from None
        raise ConfigError(
            f"transformers makes no decoder of models of type '{config.model_type}': "
            f"{pretrained.reason(error)}"
        ) from None


def weights_dtype(config: TrainConfig) -> torch.dtype:
    """The dtype in which the weights of a recipe's model are loaded."""
    if config.model.dtype is not None:
        return torch.float32 if config.model.dtype == "float32" else torch.bfloat16
    is_frozen = config.adapter is not None
    return torch.bfloat16 if is_frozen and config.training.bf16 else torch.float32


def load_model(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
    dtype: torch.dtype = torch.float32,
    quantization: Any = None,
) -> PreTrainedModel:
    """The model with an embedding for each token of the tokenizer, the same on all ranks.

    A model with more embeddings than the tokenizer has tokens keeps all of them. Raises ConfigError
    for a model that cannot be loaded, or is no decoder.
    """
    set_seed(seed)
    config = load_config(model, tokenizer)
    families.check_decoder(config)
    attention = families.attention(config, model.attention)
    options: dict[str, Any] = {"dtype": dtype, "attn_implementation": attention}
    if model.path is None:
        loaded = AutoModelForCausalLM.from_config(config, **options)
    else:
        loaded = _pretrained(model, quantization_config=quantization, **options)
    set_seed(seed)  # the new rows are drawn at random, and must be the same on every rank
    fit_embeddings(loaded, tokenizer)
    loaded.config.use_cache = False
    families.leave_out_router_loss(loaded.config)
    families.keep_weights(loaded.config)
    families.name_layers(loaded)
    end_turns(loaded, tokenizer)
    return loaded


def _pretrained(model: Model, **options: Any) -> PreTrainedModel:
    try:
        return pretrained.load_network(str(model.path), revision=model.revision, **options)
    except (OSError, ValueError) as error:
        raise _not_loaded(model, error) from None


def _not_loaded(model: Model, error: Exception) -> ConfigError:
    return ConfigError(f"model.path '{model.path}' cannot be loaded: {pretrained.reason(error)}")


def fit_embeddings(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Adds embeddings to a model that has fewer than the tokenizer has tokens."""
    if len(tokenizer) > network.config.get_text_config().vocab_size:
        network.resize_token_embeddings(len(tokenizer))


def check_lengths(config: PretrainedConfig, longest: int) -> None:
    """Raises ConfigError where a row has more tokens than the model has positions."""
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    if positions is not None and longest > positions:
        raise ConfigError(
            f"the longest row has {longest} tokens and the model has {positions} positions; build "
            f"the dataset with --set render.max_tokens={positions}."
        )


def end_turns(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Sets the end token of the saved model, so that generation stops at the end of a turn."""
    model.config.eos_token_id = tokenizer.eos_token_id
    model.config.pad_token_id = tokenizer.pad_token_id
    model.generation_config, _ = generation_settings.ended_by(model.generation_config, tokenizer)


def embedding_digest(model: PreTrainedModel) -> str:
    """A hash of the input embeddings, gathered where DeepSpeed has partitioned them."""
    weight: Any = model.get_input_embeddings().weight
    with gathered(weight):
        values = weight.detach().to(torch.float32).cpu().contiguous().numpy()
        return hashlib.sha256(values.tobytes()).hexdigest()


def gathered(weight: Any) -> Any:
    """A context in which a weight is whole, also where DeepSpeed has spread it over the ranks."""
    if not hasattr(weight, "ds_id"):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters([weight])
