"""The families of models that the trainer is tried with, made small."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PretrainedConfig,
    PreTrainedModel,
)

from tests.support.tiny import STOP, VOCABULARY
from trainer.model import families

BYTES = 257  # ids of a base whose vocabulary is that of bytes, the last of which ends a text
_ROOM = {"n_positions": 2048, "max_position_embeddings": 2048, "max_seq_len": 2048}
_PLAIN = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": 128,
}
_GPT = {
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 128,
    "attn_pdrop": 0,
    "resid_pdrop": 0,
    "embd_pdrop": 0,
}
_EXPERTS = {
    "num_local_experts": 4,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 8,
}
_STATE = {
    "mamba_n_heads": 4,
    "mamba_d_head": 8,
    "mamba_d_state": 4,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 16,
}
_GEMMA_4 = {
    **_PLAIN,
    "vocab_size_per_layer_input": VOCABULARY,
    "hidden_size_per_layer_input": 4,
    "num_kv_shared_layers": 0,
    "layer_types": ["sliding_attention", "full_attention"],
    "global_head_dim": 8,
    "num_global_key_value_heads": 2,
}
_MAMBA = {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4}
_SEEN = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}
_BART = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "dropout": 0,
}

SHAPES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        (
            "llama",
            "mistral",
            "qwen2",
            "qwen3",
            "gemma",
            "gemma2",
            "gemma3_text",
            "phi",
            "phi3",
            "olmo2",
            "cohere2",
            "granite",
            "starcoder2",
            "gpt_neox",
            "bert",
        ),
        _PLAIN,
    ),
    "gemma3": {"text_config": {**_PLAIN, "vocab_size": VOCABULARY}, "vision_config": _SEEN},
    "gemma3n_text": {
        **_GEMMA_4,
        "laurel_rank": 4,
        "altup_num_inputs": 2,
        "activation_sparsity_pattern": [0.0, 0.0],
        "intermediate_size": [24, 24],
    },
    "gemma4": {"text_config": {**_GEMMA_4, "vocab_size": VOCABULARY}},
    "gpt2": _GPT,
    "gpt_bigcode": _GPT,
    "falcon": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4},
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 4},
    "mpt": {"d_model": 16, "n_heads": 4, "n_layers": 2, "max_seq_len": 128},
    "opt": {
        "hidden_size": 16,
        "ffn_dim": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
        "word_embed_proj_dim": 16,
        "dropout": 0,
    },
    "mixtral": {**_PLAIN, **_EXPERTS, "output_router_logits": True},
    "qwen3_moe": {**_PLAIN, **_EXPERTS},
    "gpt_oss": {**_PLAIN, **_EXPERTS},
    "deepseek_v3": {
        **_PLAIN,
        "num_key_value_heads": 4,
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "moe_intermediate_size": 8,
        "first_k_dense_replace": 1,
        "q_lora_rank": 8,
        "kv_lora_rank": 8,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 4,
        "v_head_dim": 4,
    },
    "mamba": _MAMBA,
    "mamba2": {**_MAMBA, "num_heads": 4, "head_dim": 8, "n_groups": 1, "chunk_size": 16},
    "rwkv": {"hidden_size": 16, "num_hidden_layers": 2, "attention_hidden_size": 16},
    "jamba": {
        **_PLAIN,
        "num_experts": 2,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "mamba_d_state": 4,
        "mamba_dt_rank": 4,
        "use_mamba_kernels": False,
    },
    "bamba": {**_PLAIN, **_STATE, "attn_layer_indices": [1]},
    "falcon_h1": {**_PLAIN, **_STATE, "mamba_d_head": 4, "mamba_d_ssm": 16},
    "lfm2": {**_PLAIN, "layer_types": ["conv", "full_attention"]},
    "bart": _BART,
    "t5": {"d_model": 16, "d_ff": 24, "num_layers": 1, "num_heads": 4, "d_kv": 4},
    "xlnet": {"d_model": 16, "n_layer": 2, "n_head": 4, "d_inner": 24, "dropout": 0},
}


def config_of(family: str) -> PretrainedConfig:
    """The configuration of a small model of a family."""
    ids = {"bos_token_id": 0, "eos_token_id": STOP, "pad_token_id": 0}
    return AutoConfig.for_model(family, **{**ids, "vocab_size": VOCABULARY, **SHAPES[family]})


def model_of(family: str, attention: str) -> PreTrainedModel:
    """A small model of a family, with the same weights each time."""
    torch.manual_seed(0)
    config = config_of(family)
    made: PreTrainedModel = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    families.leave_out_router_loss(made.config)
    return made.float()


def save_base(family: str, folder: Path) -> Path:
    """The folder of a small model of a family, with room for the rows of the sample."""
    shape = copy.deepcopy(SHAPES[family])
    ids = {"eos_token_id": BYTES - 1, "bos_token_id": BYTES - 1, "pad_token_id": 0}
    shape = {"vocab_size": BYTES, **ids} | shape
    for part in (shape, shape.get("text_config", {})):
        part |= {key: value for key, value in _ROOM.items() if key in part}
        part |= {key: BYTES for key in part if key.startswith("vocab_size")}
    torch.manual_seed(7)
    config = AutoConfig.for_model(family, **shape)
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    kind.from_config(config).float().save_pretrained(folder)
    return folder
