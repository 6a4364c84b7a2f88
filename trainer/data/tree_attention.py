"""Attention in which a token sees its ancestors alone, for any model of transformers.

Tokens of a tree stand in the order of a walk that goes down before it goes on, so the tokens below
a token follow it without a gap, up to the end of its subtree: token `k` is an ancestor of `q`, or
`q` itself, where `k <= q < subtree_ends[k]`. Conversations end to end are the special case of trees
without forks.

The bounds of a batch travel as its `attention_mask`, int64 of shape (batch, 2, tokens): the ends of
the subtrees, and the depths, which are the positions of the tokens. Two attention implementations
are registered with transformers. They make masks of the bounds on the device, once a step:
`tree_sdpa`, a mask of all pairs, and `tree_flex`, FlexAttention with the blocks that hold a visible
pair. Given anything else both are transformers' `sdpa`, so a model may still be evaluated and may
generate: FlexAttention would compile its kernels again for the lengths of plain rows, and gain
nothing on them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel, modeling_utils
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import causal_mask_function, flex_attention_mask, sdpa_mask
from transformers.utils.import_utils import is_torch_flex_attn_available

from chatdata.core.errors import ConfigError

SDPA, FLEX = "tree_sdpa", "tree_flex"
_FLAT_MASKS = {"gpt2", "ctrl"}  # models that lay the mask of a batch out as a value a token
BLOCK = 128  # tokens; FlexAttention's own

MaskFunction = Callable[[Any, Any, Any, Any], Any]  # of batch, head, query and key


def sees(bounds: Tensor, seen: MaskFunction = causal_mask_function) -> MaskFunction:
    """The mask function of a batch, from its bounds, int64 of shape (batch, 2, tokens).

    `seen` is the mask function of the model's layer for a plain row, at most all earlier tokens. A
    sliding window slides over depths, as in the row of the path.
    """
    subtree_ends, depths = bounds[:, 0], bounds[:, 1]

    def ancestor(batch: Any, head: Any, query: Any, key: Any) -> Any:
        below = (key <= query) & (query < subtree_ends[batch, key])
        if seen is causal_mask_function:
            return below
        return below & seen(batch, head, depths[batch, query], depths[batch, key])

    return ancestor


def blocks(bounds: Tensor) -> BlockMask:
    """The mask of `sees` as FlexAttention's, whose blocks follow from the ends of subtrees alone.

    A block of keys before a block of queries holds a visible pair where the largest end lies after
    the first query, and only visible pairs where the smallest end lies after the last query.
    """
    tokens = bounds.shape[-1]
    starts = torch.arange(0, tokens, BLOCK, device=bounds.device)
    subtree_ends = bounds[:, 0]
    largest = _filled(subtree_ends, 0).amax(-1)
    smallest = _filled(subtree_ends, tokens).amin(-1)
    before = starts[:, None] > starts
    ends = starts + BLOCK  # the last block may end after the last token: it is never whole
    some = (before & (largest[:, None] > starts[:, None])) | (starts[:, None] == starts)
    whole = before & (smallest[:, None] >= ends[:, None])
    return BlockMask.from_kv_blocks(
        *_listed(some & ~whole),
        *_listed(whole),
        BLOCK_SIZE=BLOCK,
        mask_mod=sees(bounds),
        seq_lengths=(tokens, tokens),
    )


def _filled(values: Tensor, rest: int) -> Tensor:
    """The values of each block, the last block filled with `rest`."""
    filled = torch.nn.functional.pad(values, (0, -values.shape[1] % BLOCK), value=rest)
    return filled.view(len(values), -1, BLOCK)


def _listed(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of keys are chosen for each block of queries, and the numbers of all blocks,
    the chosen blocks first."""
    for_all_heads = chosen[:, None].to(torch.int32)
    order = for_all_heads.argsort(dim=-1, descending=True, stable=True)
    return for_all_heads.sum(-1, dtype=torch.int32), order.to(torch.int32).contiguous()


# ------------------------------------------------------------------- transformers' interface


def tree_sdpa_mask(*, attention_mask: Tensor | None = None, **options: Any) -> Tensor | None:
    """The mask of all pairs, bool of shape (batch, 1, tokens, tokens); True where the query sees
    the key. `options` are those of transformers' mask functions."""
    if attention_mask is None or attention_mask.ndim != 3:
        return sdpa_mask(attention_mask=attention_mask, **options)
    options["mask_function"] = sees(attention_mask, options["mask_function"])
    options["allow_is_causal_skip"] = False
    return sdpa_mask(**options)


def tree_flex_mask(
    *, attention_mask: Tensor | None = None, **options: Any
) -> BlockMask | Tensor | None:
    """The blocks that hold a visible pair, with the mask function inside them.

    For plain rows the mask of sdpa, unless the model caps its scores, which sdpa cannot do.
    """
    if attention_mask is None or attention_mask.ndim != 3:
        caps = getattr(options.get("config"), "attn_logit_softcapping", None)
        plain: Any = flex_attention_mask if caps else sdpa_mask
        return plain(attention_mask=attention_mask, **options)
    if options["mask_function"] is causal_mask_function:
        return blocks(attention_mask)
    options["mask_function"] = sees(attention_mask, options["mask_function"])
    return flex_attention_mask(**options)


def tree_flex_forward(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: BlockMask | Tensor | None,
    **options: Any,
) -> Any:
    """The output of FlexAttention where the mask has blocks, else of sdpa, in the same dtype.

    With bf16 over weights of 32 bits, rotary positions leave queries and keys wider than values.
    Autocast narrows queries and keys for sdpa; for FlexAttention only later versions of PyTorch do.
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


# -------------------------------------------------------------------------- a model's attention


def prepare(model: PreTrainedModel) -> str:
    """Makes a model see ancestors alone. Returns the name of the attention that the model now has:
    FlexAttention on a GPU that can run its kernels, else sdpa.

    Raises ConfigError for a model in which a token would see more than its ancestors.
    """
    _refuse(model)
    model.config.use_cache = False
    chosen = FLEX if _can_flex(model) else SDPA
    try:
        model.set_attn_implementation(chosen)
    except ValueError:
        raise ConfigError(
            f"tree_packing: {type(model).__name__} has no sdpa; train with --set "
            "tree_packing=false, or on a GPU that runs FlexAttention."
        ) from None
    return chosen


def check_batch(sequences: int) -> None:
    """Raises ConfigError for batches that this version of transformers cannot take.

    Versions before 5.24 keep the logits of the same tokens in all sequences of a batch.
    """
    if sequences > 1 and not hasattr(modeling_utils, "slice_logits_to_keep"):
        raise ConfigError(
            f"tree_packing: transformers {transformers.__version__} takes one sequence of trees at "
            "a time; write per_device_train_batch_size: 1 and raise gradient_accumulation_steps, "
            "which trains the same, or install transformers 5.24."
        )


def _refuse(model: PreTrainedModel) -> None:
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or [])
    unknown = sorted(kinds - {"full_attention", "sliding_attention"})
    name, way_out = type(model).__name__, "train with --set tree_packing=false."
    if unknown:
        raise ConfigError(
            f"tree_packing: {name} has layers of the type '{unknown[0]}', which cannot be limited "
            f"to ancestors; {way_out}"
        )
    if model.config.get_text_config().model_type in _FLAT_MASKS:
        raise ConfigError(
            f"tree_packing: {name} cannot train on trees, since it takes masks of one value a "
            f"token alone; {way_out}"
        )
    takes_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
    if not (
        takes_logits and model.is_backend_compatible() and model._can_set_attn_implementation()
    ):
        raise ConfigError(
            f"tree_packing: {name} computes attention or logits in a special way; {way_out}"
        )


def _can_flex(model: PreTrainedModel) -> bool:
    """Whether FlexAttention's kernels run here: from Ampere on, with heads of 16 or more, and
    without dropout in attention, which the kernels do not have."""
    if not torch.cuda.is_available():
        return False
    config = model.config.get_text_config()
    dropout = max(getattr(config, name, 0.0) or 0.0 for name in ("attention_dropout", "attn_pdrop"))
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    is_new = torch.cuda.get_device_capability() >= (8, 0)
    return is_new and is_torch_flex_attn_available() and head >= 16 and not dropout
