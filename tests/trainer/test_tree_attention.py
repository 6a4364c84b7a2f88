"""Masks of trees: compared with PyTorch's pair by pair, in each attention implementation."""

from __future__ import annotations

import random
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import numpy as np
import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from chatdata.core.errors import ConfigError
from tests.support.tiny import KINDS, Row, model, tree
from trainer.data import tree_attention
from trainer.data.tree_packing import TreeCollator, concatenate, tree_of

pytestmark = pytest.mark.filterwarnings("ignore")  # other people's deprecations


def bounds(seed: int, tokens: int) -> torch.Tensor:
    """The bounds of two random forests; the second forest is padded."""
    rng = np.random.default_rng(seed)

    def rows(size: int) -> list[Row]:
        stem = rng.integers(0, 3, 4 * size).tolist()
        cuts = rng.integers(0, size, 5).tolist()
        rows = [stem[:at] + rng.integers(0, 3, size - at).tolist() for at in cuts]
        return [{"input_ids": row, "labels": row} for row in rows]

    trees = [concatenate([tree_of(rows(size)) for size in sizes]) for sizes in ([40, 90], [60, 20])]
    batch = TreeCollator(0)(trees)["attention_mask"][..., :tokens]
    return torch.cat([batch[:, :1].clamp(max=tokens), batch[:, 1:]], 1)


@pytest.mark.parametrize("tokens", [1, 7, 128, 129, 256, 300])
def test_blocks_are_those_that_pytorch_finds_pair_by_pair(tokens: int) -> None:
    batch = bounds(tokens, tokens)
    mine = tree_attention.blocks(batch)
    theirs = create_block_mask(tree_attention.sees(batch), 2, None, tokens, tokens, device="cpu")
    for name in ("kv_num_blocks", "full_kv_num_blocks", "q_num_blocks", "full_q_num_blocks"):
        assert torch.equal(getattr(mine, name), getattr(theirs, name)), name
    assert torch.equal(mine.to_dense(), theirs.to_dense())
    assert mine.shape == theirs.shape


@pytest.mark.slow
def test_flex_attention_sees_what_sdpa_sees() -> None:
    batch = bounds(0, 300)
    q, k, v = (
        torch.randn(2, 4, 300, 16, generator=torch.Generator().manual_seed(0)) for _ in "qkv"
    )
    sees = tree_attention.tree_sdpa_mask(
        batch_size=2,
        q_length=300,
        kv_length=300,
        mask_function=tree_attention.causal_mask_function,
        attention_mask=batch,
    )
    mask = tree_attention.tree_flex_mask(
        attention_mask=batch, mask_function=tree_attention.causal_mask_function
    )
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=sees)
    torch.testing.assert_close(flex_attention(q, k, v, block_mask=mask), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_has_the_same_logits_with_flex_attention_and_sdpa(kind: str) -> None:
    """On a CPU PyTorch's kernel has no backward pass, so only logits are compared."""
    rng = random.Random(0)
    batch = TreeCollator(0)([tree_of(tree(rng)[0]) for _ in range(2)])
    network = model(kind, 0)
    assert tree_attention.prepare(network) == tree_attention.SDPA
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        wanted = network(**batch).logits
        network.set_attn_implementation(tree_attention.FLEX)
        torch.testing.assert_close(network(**batch).logits, wanted)


def plain_and_packed(monkeypatch: pytest.MonkeyPatch, **more: Any) -> list[list[torch.dtype]]:
    """The dtypes with which FlexAttention is called for a plain row, and then for a tree."""
    dtypes: list[list[torch.dtype]] = []

    def flex(module: Any, *states: Any, **_: Any) -> Any:
        dtypes.append([state.dtype for state in states[:3]])
        return states[0].transpose(1, 2), None

    monkeypatch.setattr(tree_attention, "flex_attention_forward", flex)
    network = model("llama", 0, torch.float32, num_hidden_layers=1, **more)
    network.set_attn_implementation(tree_attention.FLEX)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        network(torch.tensor([[1, 2, 3]]))
        network(**TreeCollator(0)([tree_of(tree(random.Random(0))[0])]))
    return dtypes


@pytest.mark.slow
def test_flex_attention_computes_trees_in_16_bits_and_leaves_plain_rows_to_sdpa(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Positions leave queries and keys in 32 bits, and each new length would be compiled."""
    assert plain_and_packed(monkeypatch) == [[torch.bfloat16] * 3]
    capped = plain_and_packed(monkeypatch, attn_logit_softcapping=30.0)
    assert capped == [[torch.bfloat16] * 3] * 2


def test_transformers_that_cannot_take_several_trees_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(tree_attention.modeling_utils, "slice_logits_to_keep", raising=False)
    tree_attention.check_batch(1)
    with pytest.raises(ConfigError, match="one sequence of trees at a time; write per_device"):
        tree_attention.check_batch(2)
