"""A reward model: a decoder whose head gives a row a score, read off its last token."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
    set_seed,
)
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from chatdata.core.errors import ConfigError
from trainer.model import families, load, pretrained
from trainer.run import strategy
from trainer.run.run import Run


def meta_model(config: PretrainedConfig, rows: int) -> PreTrainedModel:
    """The reward model of a configuration, whose weights take no memory, with `rows` embeddings.

    Raises ConfigError for a model that is no decoder, or has no head for sequences.
    """
    families.check_decoder(config)
    unset_hf_deepspeed_config()  # of an earlier run in this process
    config.num_labels = 1
    with torch.device("meta"):
        try:
            network: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
        except ValueError:
            raise ConfigError(
                f"transformers makes no reward model of models of type '{config.model_type}'; "
                "choose one that has a class for sequence classification, as Llama or Qwen have."
            ) from None
        if rows > config.get_text_config().vocab_size:
            network.resize_token_embeddings(rows, mean_resizing=False)
    return network


def load_network(run: Run) -> Any:
    """The reward model of a run, the same on all ranks: the weights of its base, and a new head."""
    model, seed = run.config.model, run.config.training.seed
    set_seed(seed)
    config = load.load_config(model, run.tokenizer)
    config.num_labels = 1
    config.pad_token_id = run.tokenizer.pad_token_id  # by which the last token is known
    attention = families.attention(config, model.attention)
    options = {"dtype": load.weights_dtype(run.config), "attn_implementation": attention}
    network = _made(model, config, options)
    set_seed(seed)  # for the new rows
    load.fit_embeddings(network, run.tokenizer)
    families.name_layers(network)
    network.config.use_cache = False
    network.config.eos_token_id = run.tokenizer.eos_token_id
    strategy.same_on_all_ranks("embeddings", load.embedding_digest(network))
    return network


def _made(model: Any, config: PretrainedConfig, options: dict[str, Any]) -> Any:
    kind = AutoModelForSequenceClassification
    if model.path is None:
        return kind.from_config(config, **options)
    where = {"revision": model.revision, "trust_remote_code": False}
    try:
        return kind.from_pretrained(str(model.path), config=config, **where, **options)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"model.path '{model.path}' cannot be loaded: {pretrained.reason(error)}"
        ) from None
