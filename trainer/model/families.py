"""What families of models differ in: what a token sees, its attention, and how its loss is made.

The families are read off the classes of transformers, without weights. What is not one of the
families that are known is looked at once more before the first step, on the model itself
(`trainer.data.isolation`).
"""

from __future__ import annotations

import inspect
from typing import Any

from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, PretrainedConfig, PreTrainedModel

from chatdata.core.errors import ConfigError

# Configurations that say `is_decoder: false` of models that see no later token all the same.
_CAUSAL = {"gpt_neox", "gpt_neox_japanese"}
# Models that see later tokens, and whose configuration does not say so.
_BIDIRECTIONAL = {"xlnet", "xlm", "flaubert"}
# Layers of attention, which positions can keep to a row. All others pass a state along a sequence.
_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}
# Models whose mask does not look at the positions that they are given.
_OWN_POSITIONS = {"opt", "biogpt", "xglm"}
# Models whose first weights transformers draws by their shapes, which ZeRO-3 has emptied by then.
_DRAWN_BY_SHAPE = {"rwkv"}


def check_decoder(config: PretrainedConfig) -> None:
    """Raises ConfigError for a model that is no decoder: it has an encoder, or its tokens see later
    tokens, so that it cannot learn to write the next one."""
    kind, text = config.model_type, config.get_text_config()
    way_out = "choose a decoder, as Llama, Qwen or Mistral are."
    if getattr(config, "is_encoder_decoder", False):
        raise ConfigError(
            f"models of type '{kind}' have an encoder, and rows of chats train a decoder alone; "
            f"{way_out}"
        )
    is_open = getattr(text, "is_decoder", True) is False and text.model_type not in _CAUSAL
    if is_open or text.model_type in _BIDIRECTIONAL:
        raise ConfigError(
            f"in models of type '{kind}' a token sees the tokens after it, so that none can be "
            f"learnt from those before it; {way_out}"
        )


def attention(config: PretrainedConfig, wanted: str) -> str:
    """The attention that a model of a configuration is loaded with: `eager` where sdpa is wanted,
    and the model has none."""
    if wanted != "sdpa":
        return wanted
    made: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    kind = made[0] if isinstance(made, tuple | list) else made
    return wanted if getattr(kind, "_supports_sdpa", True) else "eager"


def cannot_pack(network: PreTrainedModel) -> str | None:
    """Why a model cannot keep rows apart that stand in one sequence; None where it can."""
    text = network.config.get_text_config()
    layers = sorted(set(getattr(text, "layer_types", None) or []) - _ATTENTION)
    if layers:
        return f"its layers of the type '{layers[0]}' pass a state from row to row"
    takes = inspect.signature(network.forward).parameters
    if "position_ids" not in takes or text.model_type in _OWN_POSITIONS:
        return "it does not look at the positions, which begin anew with each row"
    return None


def check_packing(network: PreTrainedModel) -> None:
    """Raises ConfigError for a model that cannot keep packed rows apart."""
    if reason := cannot_pack(network):
        raise ConfigError(
            f"packing: {type(network).__name__} would not keep rows apart: {reason}; train with "
            "--set packing=false."
        )


def adds_router_loss(config: PretrainedConfig) -> bool:
    """Whether a mixture of experts adds to its loss how unevenly its experts are chosen. That is no
    mean over tokens, and is added once for each batch of a step."""
    return bool(getattr(config.get_text_config(), "output_router_logits", False))


def leave_out_router_loss(config: PretrainedConfig) -> None:
    """Makes the loss of a mixture of experts that of its tokens alone."""
    if adds_router_loss(config):
        config.get_text_config().output_router_logits = False


def check_zero3(config: PretrainedConfig) -> None:
    """Raises ConfigError for a model that transformers cannot load where ZeRO-3 spreads it."""
    if config.model_type in _DRAWN_BY_SHAPE:
        raise ConfigError(
            f"transformers cannot load models of type '{config.model_type}' where ZeRO-3 spreads "
            "them; set `strategy` to fsdp or ddp."
        )


def keep_weights(config: PretrainedConfig) -> None:
    """Makes a model keep its weights where it is evaluated. RWKV's layers halve theirs there, and a
    model that is saved after an evaluation would be halved again where it is loaded."""
    if getattr(config, "rescale_every", 0):
        config.rescale_every = 0


def name_layers(network: PreTrainedModel) -> None:
    """Makes a model name as layers, by which FSDP spreads it, only those that it has. A model that
    sees images names those of its parts that it may have, too."""
    kinds = {type(module).__name__ for module in network.modules()}
    network._no_split_modules = kinds & set(network._no_split_modules or [])


def left_out(base: PretrainedConfig, network: PreTrainedModel) -> list[str]:
    """The parts of a base that transformers does not load beside its decoder: those that see images
    or hear."""
    parts = ("vision_config", "audio_config")
    has = lambda config, part: getattr(config, part, None) is not None  # noqa: E731
    return [part for part in parts if has(base, part) and not has(network.config, part)]


def loss_to_replace(network: Any) -> str | None:
    """Why the loss of a model is computed by the trainer, from its logits; None where the model's
    own is the mean over all trained tokens of a step, however these are batched."""
    model = network.get_base_model() if hasattr(network, "get_base_model") else network
    name = type(model).__name__
    if getattr(model, "accepts_loss_kwargs", None) is False:
        return f"{name} takes the mean of each batch"
    if "loss_function" not in inspect.unwrap(type(model).forward).__code__.co_names:
        return f"{name} has a loss of its own"
    return None
