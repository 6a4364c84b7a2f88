"""Bases that see images: their visual weights stay as they are, or the base is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    CLIPVisionConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    LlamaConfig,
    LlavaConfig,
    Qwen2VLConfig,
    SiglipVisionConfig,
)

from chatdata.core.errors import ConfigError
from trainer import config, train
from trainer.model import families, load

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # other people's deprecations
]

TEXT = {
    "vocab_size": 300,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
}
SIGHT = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


def test_visual_weights_are_kept_under_their_names(sample: Path, tmp_path: Path) -> None:
    """The names are those of the base, so that what loads the base loads the model. Weights that no
    text reaches do not shrink by weight decay."""
    made = Gemma3Config(
        text_config=Gemma3TextConfig(**TEXT, head_dim=8),
        vision_config=SiglipVisionConfig(**SIGHT),
        mm_tokens_per_image=4,
        image_token_index=299,
    )
    Gemma3ForConditionalGeneration(made).save_pretrained(tmp_path / "base")
    values = {
        "dataset": str(sample),
        "model": {"path": str(tmp_path / "base")},
        "allow_new_tokenizer": True,
        "output": str(tmp_path / "out"),
        "report_to": [],
        "training": {"max_steps": 2, "learning_rate": 1e-2, "weight_decay": 0.5},
    }
    train.train(config.config.parse(config.TrainConfig, values, "test"))
    base = load_file(tmp_path / "base" / "model.safetensors")
    saved = load_file(tmp_path / "out" / "model.safetensors")
    assert saved.keys() == base.keys()
    visual = {name for name in base if "vision" in name or "projector" in name}
    assert len(visual) > 10
    assert {name for name in base if torch.equal(base[name], saved[name])} == visual
    whole = Gemma3ForConditionalGeneration.from_pretrained(tmp_path / "out")
    assert whole.config.vision_config.hidden_size == 16


@pytest.mark.parametrize(
    "made",
    [
        LlavaConfig(text_config=LlamaConfig(**TEXT), vision_config=CLIPVisionConfig(**SIGHT)),
        Qwen2VLConfig(text_config=TEXT, vision_config={"depth": 1, "embed_dim": 16}),
    ],
    ids=["llava", "qwen2_vl"],
)
def test_a_base_without_a_decoder_of_text_alone_is_refused(made: LlavaConfig) -> None:
    with pytest.raises(ConfigError, match=r"see images.*choose the text model"):
        load.meta_model(made, 300)


@pytest.mark.parametrize(
    ("kind", "parts"),
    [("qwen3_5", ["vision_config"]), ("llama4", ["vision_config"]), ("gemma3", [])],
)
def test_a_base_of_which_the_text_alone_is_loaded_says_so(kind: str, parts: list[str]) -> None:
    """The line of the checks names what is left out; of Gemma 3 nothing is."""
    made = AutoConfig.for_model(kind, text_config={"num_hidden_layers": 1, "vocab_size": 300})
    assert families.left_out(made, load.meta_model(made, 300)) == parts
