"""How much memory a rank will need, estimated before anything is loaded.

The states that a rank keeps between steps follow from arithmetic. In bytes for each parameter (P in
all, T of them trained, N ranks, 4 G for the largest layer, which is gathered to compute):

    single, ddp, bf16 or not   4 weights + 4 gradient + 8 Adam                       16 T
    fsdp                       the same, spread over the ranks                       16 T / N + 4 G
    zero3 with bf16            2 weights + 2 gradient + 14 master, Adam, gradient    18 T / N + 4 G
    zero3 in float32           4 weights + 4 gradient + 12 master, Adam              20 T / N + 4 G
      optimizer offloaded      2 or 4 weights                                       2 T / N + 4 G
      weights as well                                                                4 G
    weights that are frozen    2 in bfloat16, 4 in float32, 0.52 in 4 bits, spread likewise

The first row of zero3 is DeepSpeed's estimate (`estimate_zero3_model_states_mem_needs`); 16 bytes
are those of the ZeRO paper (Rajbhandari et al., 2020, section 3.1).

Activations are an estimate, k s b h bytes a layer for b rows of s tokens. Korthikanti et al. (2022,
equation 2, without the square of s, which sdpa and flash attention do not keep) have k = 34 for
fused kernels in 16 bits. A Llama of transformers has more, measured on an H100
(tests/bench/RESULTS.md):

                                         a layer    with checkpointing
    zero3 and fsdp with bf16                  44             2
    single and ddp with bf16                  54             4       and 2 P of weights in 16 bits
    lora with bf16                            60             2
    qlora                                     78             4
    float32 (twice the first, not measured)   88             4

With checkpointing, layers are computed again and a single layer is kept whole. A logit takes 14
bytes.
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
    """Bytes that a step keeps for each token and unit of the hidden size: inside a layer, and
    between a layer and the next."""

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
    """The sizes of a model; `largest` is the parameters of the largest layer."""

    parameters: int
    trained: int
    largest: int
    layers: int
    hidden: int
    heads: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes of a rank: the states that its device keeps between steps, the activations that a step
    adds, and the states that are offloaded to memory or to a disk."""

    states: int
    activations: int
    offloaded: int


def sizes(network: PreTrainedModel) -> Sizes:
    """The sizes of a model that is trained as a whole; the model may be on the `meta` device."""
    text = network.config.get_text_config()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Sizes(
        parameters,
        parameters,
        _largest_layer(network),
        text.num_hidden_layers,
        text.hidden_size,
        getattr(text, "num_attention_heads", 0),  # Mamba and RWKV have none
        text.vocab_size,
    )


def trained(network: Any) -> int:
    """How many parameters of a model are trained."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def _largest_layer(network: PreTrainedModel) -> int:
    """The parameters of the largest module, without those of modules inside it, as DeepSpeed
    counts."""
    return max(
        sum(parameter.numel() for parameter in module.parameters(recurse=False))
        for module in network.modules()
    )


# ---------------------------------------------------------------------------------- the formulas


def states(
    sizes: Sizes,
    strategy: str,
    ranks: int,
    frozen_bytes: float = 4,
    bf16: bool = True,
    optimizer_offloaded: bool = False,
    weights_offloaded: bool = False,
) -> int:
    """The bytes that a rank's device keeps between steps.

    `frozen_bytes` is the bytes of each parameter that is not trained.
    """
    frozen = frozen_bytes * (sizes.parameters - sizes.trained)
    if strategy in ("single", "ddp"):
        return int(16 * sizes.trained + frozen)
    gathered = 4 * sizes.largest
    if weights_offloaded:
        return gathered
    if strategy == "fsdp":
        return int((16 * sizes.trained + frozen) / ranks) + gathered
    whole, weights = (18, 2) if bf16 else (20, 4)
    kept = weights if optimizer_offloaded else whole
    return int((kept * sizes.trained + frozen) / ranks) + gathered


def activations(
    sizes: Sizes,
    rows: int,
    tokens: int,
    checkpointing: bool,
    eager: bool = False,
    kept: Kept = BF16,
) -> int:
    """The bytes that a step adds for `rows` rows of `tokens` tokens."""
    units = tokens * rows * sizes.hidden
    scores = 5 * sizes.heads * tokens**2 * rows * (2 if kept is FLOAT32 else 1) if eager else 0
    layer = kept.layer * units + scores
    layers = kept.between * units * sizes.layers + layer if checkpointing else layer * sizes.layers
    return layers + 14 * tokens * rows * sizes.vocabulary


def estimate(config: TrainConfig, sizes: Sizes, strategy: str, ranks: int, tokens: int) -> Estimate:
    """The memory that a rank of a recipe needs for rows of up to `tokens` tokens."""
    training = config.training
    offloads = _offloads(config, strategy)
    whole = states(sizes, strategy, ranks, _frozen_bytes(config), training.bf16)
    on_device = states(sizes, strategy, ranks, _frozen_bytes(config), training.bf16, **offloads)
    eager = config.model.attention == "eager"
    kept = _kept(config, strategy)
    rows = training.per_device_train_batch_size
    step = activations(sizes, rows, tokens, bool(training.gradient_checkpointing), eager, kept)
    if kept is AUTOCAST:
        step += 2 * sizes.parameters
    return Estimate(on_device, step, whole - on_device)


def _kept(config: TrainConfig, strategy: str) -> Kept:
    if not config.training.bf16:
        return FLOAT32
    if config.adapter is not None:
        return QLORA if config.quantized else LORA
    by_autocast = strategy in ("single", "ddp") and weights_dtype(config) is torch.float32
    return AUTOCAST if by_autocast else BF16


def _frozen_bytes(config: TrainConfig) -> float:
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
