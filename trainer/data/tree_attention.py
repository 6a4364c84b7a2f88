"""Attention in which a token sees its ancestors alone, for any model of transformers.

Tokens of a tree stand in the order of a walk that goes down before it goes on, so those below a
token follow it without a gap, up to its `exit`: token `k` is an ancestor of `q`, or `q` itself,
where `k <= q < exits[k]`. Conversations that are laid end to end are the special case of trees
without forks.

The bounds of a batch travel as its `attention_mask`, int64 of shape (batch, 2, tokens): exits, and
depths, which are the positions of the tokens. Two attention implementations are registered with
transformers that make masks of them on the device, once a step: `tree_sdpa`, a mask of all pairs,
and `tree_flex`, FlexAttention with the blocks that hold a visible pair. Given anything else they
are transformers' own `sdpa`, so a model may still be evaluated and generate: FlexAttention would
compile its kernels again for the lengths of plain rows, and gain nothing on them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    PreTrainedModel,
    modeling_utils,
)
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import causal_mask_function, flex_attention_mask, sdpa_mask
from transformers.utils.import_utils import is_torch_flex_attn_available

from chatdata.core.errors import ConfigError

SDPA, FLEX = "tree_sdpa", "tree_flex"
BLOCK = 128  # tokens; FlexAttention's own

MaskFunction = Callable[[Any, Any, Any, Any], Any]  # of batch, head, query and key


def sees(bounds: Tensor, seen: MaskFunction = causal_mask_function) -> MaskFunction:
    """The mask function of a batch, from its bounds, int64 of shape (batch, 2, tokens).

    `seen` is what the model's layer sees of a plain row, at most all tokens before it; a sliding
    window slides over depths, as in the row of the path.
    """
    exits, depths = bounds[:, 0], bounds[:, 1]

    def ancestor(batch: Any, head: Any, query: Any, key: Any) -> Any:
        below = (key <= query) & (query < exits[batch, key])
        if seen is causal_mask_function:
            return below
        return below & seen(batch, head, depths[batch, query], depths[batch, key])

    return ancestor


def blocks(bounds: Tensor) -> BlockMask:
    """The same as FlexAttention's mask, whose blocks are found from the exits alone.

    A block of keys before a block of queries holds a visible pair where the largest exit lies
    behind the first query, and none but visible ones where the smallest lies behind the last.
    """
    tokens = bounds.shape[-1]
    starts = torch.arange(0, tokens, BLOCK, device=bounds.device)
    exits = bounds[:, 0]
    largest, smallest = _filled(exits, 0).amax(-1), _filled(exits, tokens).amin(-1)
    before = starts[:, None] > starts
    ends = starts + BLOCK  # of the last block perhaps behind the last token: it is never whole
    some = (before & (largest[:, None] > starts[:, None])) | (starts[:, None] == starts)
    whole = before & (smallest[:, None] >= ends[:, None])
    return BlockMask.from_kv_blocks(
        *_listed(some & ~whole),
        *_listed(whole),
        BLOCK_SIZE=BLOCK,
        mask_mod=sees(bounds),
        seq_lengths=(tokens, tokens),
    )


def _filled(exits: Tensor, rest: int) -> Tensor:
    """The exits of each block, the last of them filled with `rest`."""
    filled = torch.nn.functional.pad(exits, (0, -exits.shape[1] % BLOCK), value=rest)
    return filled.view(len(exits), -1, BLOCK)


def _listed(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of keys are chosen for each block of queries, and which, these first."""
    own = chosen[:, None].to(torch.int32)  # one for all heads
    order = own.argsort(dim=-1, descending=True, stable=True)
    return own.sum(-1, dtype=torch.int32), order.to(torch.int32).contiguous()


# ------------------------------------------------------------------- transformers' interface


def tree_sdpa_mask(*, attention_mask: Tensor | None = None, **own: Any) -> Tensor | None:
    """The mask of all pairs, bool of shape (batch, 1, tokens, tokens); True where one sees."""
    if attention_mask is None or attention_mask.ndim != 3:
        return sdpa_mask(attention_mask=attention_mask, **own)
    own["mask_function"] = sees(attention_mask, own["mask_function"])
    own["allow_is_causal_skip"] = False
    return sdpa_mask(**own)


def tree_flex_mask(
    *, attention_mask: Tensor | None = None, **own: Any
) -> BlockMask | Tensor | None:
    """The blocks that hold a visible pair, and what is visible in them; of plain rows sdpa's mask,
    unless the model caps its scores, which sdpa cannot."""
    if attention_mask is None or attention_mask.ndim != 3:
        caps = getattr(own.get("config"), "attn_logit_softcapping", None)
        plain: Any = flex_attention_mask if caps else sdpa_mask
        return plain(attention_mask=attention_mask, **own)
    if own["mask_function"] is causal_mask_function:
        return blocks(attention_mask)
    own["mask_function"] = sees(attention_mask, own["mask_function"])
    return flex_attention_mask(**own)


def tree_flex_forward(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: BlockMask | Tensor | None,
    **options: Any,
) -> Any:
    """FlexAttention where the mask is one of blocks, else sdpa, in the same numbers.

    With bf16 over weights of 32 bits, rotary positions leave queries and keys wider than values.
    Autocast narrows them for sdpa; of FlexAttention it knows in later versions of PyTorch alone.
    """
    if not isinstance(attention_mask, BlockMask):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    kind, device = value.dtype, query.device.type
    if torch.is_autocast_enabled(device):
        kind = torch.get_autocast_dtype(device)
    query, key, value = query.to(kind), key.to(kind), value.to(kind)
    return flex_attention_forward(module, query, key, value, attention_mask, **options)


AttentionInterface.register(SDPA, sdpa_attention_forward)
AttentionInterface.register(FLEX, tree_flex_forward)
AttentionMaskInterface.register(SDPA, tree_sdpa_mask)
AttentionMaskInterface.register(FLEX, tree_flex_mask)


# ----------------------------------------------------------------------------- at a given model


def prepare(model: PreTrainedModel) -> str:
    """Makes a model see ancestors alone. Returns the name of the attention that it now has.

    FlexAttention on a GPU that can, else sdpa. Raises ConfigError for a model that would see
    something else besides.
    """
    _refuse(model)
    model.config.use_cache = False
    chosen = FLEX if _can_flex(model) else SDPA
    model.set_attn_implementation(chosen)
    return chosen


def check_batch(sequences: int) -> None:
    """Raises ConfigError for batches that this version of transformers cannot take.

    Earlier ones keep the logits of the same tokens in all sequences of a batch.
    """
    if sequences > 1 and not hasattr(modeling_utils, "slice_logits_to_keep"):
        raise ConfigError(
            f"tree_packing: transformers {transformers.__version__} takes one sequence of trees at "
            "a time; write per_device_train_batch_size: 1 and more gradient_accumulation_steps, "
            "which trains the same, or use transformers 5.24."
        )


def _refuse(model: PreTrainedModel) -> None:
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or [])
    others = sorted(kinds - {"full_attention", "sliding_attention"})
    name, way_out = type(model).__name__, "train with --set tree_packing=false."
    if others:
        raise ConfigError(f"tree_packing: a {name} has layers of '{others[0]}'; {way_out}")
    takes_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
    if not (
        takes_logits and model.is_backend_compatible() and model._can_set_attn_implementation()
    ):
        raise ConfigError(
            f"tree_packing: a {name} computes attention or logits in a way of its own; {way_out}"
        )


def _can_flex(model: PreTrainedModel) -> bool:
    """Whether FlexAttention's kernels run here: from Ampere on, with heads of 16 or more, and
    without dropout in attention, which they do not have."""
    own = model.config.get_text_config()
    dropout = max(getattr(own, name, 0.0) or 0.0 for name in ("attention_dropout", "attn_pdrop"))
    head = getattr(own, "head_dim", None) or own.hidden_size // own.num_attention_heads
    is_new = torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)
    return is_new and is_torch_flex_attn_available() and head >= 16 and not dropout
