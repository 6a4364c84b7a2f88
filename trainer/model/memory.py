"""How much memory a rank will need, before anything is loaded.

What is kept between steps is arithmetic. In bytes for each parameter (P in all, T of them trained,
N ranks, 4 G for the largest layer, which is gathered to compute):

    single, ddp, bf16 or not   4 weights + 4 gradient + 8 Adam                       16 T
    fsdp                       the same, spread over the ranks                       16 T / N + 4 G
    zero3 with bf16            2 weights + 2 gradient + 14 master, Adam, gradient    18 T / N + 4 G
    zero3 in float32           4 weights + 4 gradient + 12 master, Adam              20 T / N + 4 G
      optimizer offloaded      2 or 4 weights                                       2 T / N + 4 G
      weights as well                                                                4 G
    weights that are frozen    2 in bfloat16, 4 in float32, 0.52 in 4 bits, spread likewise

The first row of zero3 is DeepSpeed's own estimate (`estimate_zero3_model_states_mem_needs`); 16
bytes are those of the ZeRO paper (Rajbhandari et al., 2020, section 3.1).

Activations are an estimate, k s b h bytes a layer for b rows of s tokens. Korthikanti et al. (2022,
equation 2, without the square of s, which sdpa and flash attention do not keep) have k = 34 for
fused kernels in 16 bits. A Llama of transformers has more, measured on an H100
(tests/bench/RESULTS.md):

                                         a layer    where it is computed again
    zero3 and fsdp with bf16                  44             2
    single and ddp with bf16                  54             4       and 2 P of weights in 16 bits
    lora with bf16                            60             2
    qlora                                     78             4
    float32 (twice the first, not measured)   88             4

Where layers are computed again, one is kept whole. A logit takes 14 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from trainer import zero3
from trainer.config import TrainConfig
from trainer.model.load import weights_dtype

FOUR_BIT = 4.127 / 8  # bytes; NF4 with its constants quantized again
GIB = 2**30


class Kept(NamedTuple):
    """Bytes that a step keeps for each token and unit of the hidden size: of a layer, and of what
    goes from one layer to the next."""

    layer: int
    between: int


BF16, AUTOCAST, LORA, QLORA, FLOAT32 = (
    Kept(44, 2),
    Kept(54, 4),
    Kept(60, 2),
    Kept(78, 4),
    Kept(88, 4),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a model is: parameters, those that are trained, those of its largest layer."""

    parameters: int
    trained: int
    largest: int
    layers: int
    hidden: int
    heads: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes of a rank: what its device keeps between steps, what a step adds, and what is kept
    elsewhere, in memory or on a disk."""

    states: int
    activations: int
    offloaded: int


def sizes(network: PreTrainedModel) -> Sizes:
    """The sizes of a model that is trained as a whole; it needs no memory behind its weights."""
    text = network.config.get_text_config()
    parameters = sum(own.numel() for own in network.parameters())
    return Sizes(
        parameters,
        parameters,
        _largest_layer(network),
        text.num_hidden_layers,
        text.hidden_size,
        text.num_attention_heads,
        text.vocab_size,
    )


def trained(network: Any) -> int:
    """How many parameters of a model are trained."""
    return sum(own.numel() for own in network.parameters() if own.requires_grad)


def _largest_layer(network: PreTrainedModel) -> int:
    """The parameters of the largest module that holds some of its own, as DeepSpeed counts."""
    return max(
        sum(own.numel() for own in module.parameters(recurse=False)) for module in network.modules()
    )


# ---------------------------------------------------------------------------------- the formulas


def states(
    own: Sizes,
    strategy: str,
    ranks: int,
    frozen: float = 4,
    bf16: bool = True,
    optimizer_offloaded: bool = False,
    weights_offloaded: bool = False,
) -> int:
    """Bytes that a rank's device keeps between steps; `frozen` is those of a frozen parameter."""
    rest = frozen * (own.parameters - own.trained)
    if strategy in ("single", "ddp"):
        return int(16 * own.trained + rest)
    gathered = 4 * own.largest
    if weights_offloaded:
        return gathered
    if strategy == "fsdp":
        return int((16 * own.trained + rest) / ranks) + gathered
    whole, weights = (18, 2) if bf16 else (20, 4)
    kept = weights if optimizer_offloaded else whole
    return int((kept * own.trained + rest) / ranks) + gathered


def activations(
    own: Sizes,
    rows: int,
    tokens: int,
    checkpointing: bool,
    eager: bool = False,
    kept: Kept = BF16,
) -> int:
    """Bytes that a step adds for `rows` of `tokens`."""
    units = tokens * rows * own.hidden
    scores = 5 * own.heads * tokens**2 * rows * (2 if kept is FLOAT32 else 1) if eager else 0
    layer = kept.layer * units + scores
    layers = kept.between * units * own.layers + layer if checkpointing else layer * own.layers
    return layers + 14 * tokens * rows * own.vocabulary


def estimate(config: TrainConfig, own: Sizes, strategy: str, ranks: int, tokens: int) -> Estimate:
    """What a rank of a recipe needs for batches whose rows have up to `tokens` tokens."""
    training = config.training
    offloads = _offloads(config, strategy)
    whole = states(own, strategy, ranks, _frozen(config), training.bf16)
    left = states(own, strategy, ranks, _frozen(config), training.bf16, **offloads)
    eager = config.model.attention == "eager"
    kept = _kept(config, strategy)
    rows = training.per_device_train_batch_size
    step = activations(own, rows, tokens, bool(training.gradient_checkpointing), eager, kept)
    if kept is AUTOCAST:
        step += 2 * own.parameters
    return Estimate(left, step, whole - left)


def _kept(config: TrainConfig, strategy: str) -> Kept:
    if not config.training.bf16:
        return FLOAT32
    if config.adapter is not None:
        return QLORA if config.quantized else LORA
    by_autocast = strategy in ("single", "ddp") and weights_dtype(config) is torch.float32
    return AUTOCAST if by_autocast else BF16


def _frozen(config: TrainConfig) -> float:
    if config.quantized:
        return FOUR_BIT
    return 2 if weights_dtype(config) is torch.bfloat16 else 4


def _offloads(config: TrainConfig, strategy: str) -> dict[str, bool]:
    if strategy == "fsdp":
        return dict.fromkeys(("optimizer_offloaded", "weights_offloaded"), config.fsdp.cpu_offload)
    if strategy != "zero3":
        return {}
    values = zero3.read(zero3.config_file(config.deepspeed))
    places = [zero3.offload(values, what) != "none" for what in zero3.OFFLOADS]
    return dict(zip(("optimizer_offloaded", "weights_offloaded"), places, strict=True))
