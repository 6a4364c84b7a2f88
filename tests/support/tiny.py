"""Tiny random models, random conversations of tokens, and the losses and gradients of both."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

torch.set_num_threads(1)  # for models this small, threads only wait for each other

IGNORED = -100
VOCABULARY, STOP = 24, 23
OPENS = {"user": 1, "assistant": 2}  # the tokens that open a turn

KINDS: dict[str, dict[str, Any]] = {
    "gpt_bigcode": {
        "n_embd": 16,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 128,
        "attn_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
    },
    "llama": {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
    },
}

Row = dict[str, list[int]]
Gradients = dict[str, torch.Tensor]


def model(kind: str, seed: int, dtype: torch.dtype = torch.float64, **more: Any) -> PreTrainedModel:
    """A model with weights far from 0, so that its logits depend on every token that it sees."""
    torch.manual_seed(seed)
    kind_of_model = KINDS.get(kind, KINDS["llama"])
    ids = {"bos_token_id": 0, "eos_token_id": STOP, "pad_token_id": 0}
    options = {"vocab_size": VOCABULARY, "initializer_range": 0.2, **ids, **kind_of_model, **more}
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **options))
    return made.to(dtype).eval()


def loss_and_gradients(
    network: PreTrainedModel, batches: Sequence[Mapping[str, Any]], targets: int
) -> tuple[float, Gradients]:
    """The loss and gradients of all batches together; each trained token counts the same."""
    network.zero_grad()
    losses = [network(**batch, num_items_in_batch=torch.tensor(targets)).loss for batch in batches]
    sum(losses).backward()
    gradients = {
        name: parameter.grad.clone()
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }
    return float(sum(losses)), gradients


def one_by_one(rows: Sequence[Row]) -> list[dict[str, torch.Tensor]]:
    """The rows as batches of a single row: no padding, no neighbour, no mask."""
    return [{key: torch.tensor([row[key]]) for key in ("input_ids", "labels")} for row in rows]


def targets_of(rows: Sequence[Row]) -> int:
    """The number of trained tokens of rows, without the first tokens, which nothing predicts."""
    return sum(label != IGNORED for row in rows for label in row["labels"][1:])


def assert_same(first: tuple[float, Gradients], second: tuple[float, Gradients]) -> None:
    """Fails where two losses or two gradients differ by more than rounding."""
    assert abs(first[0] - second[0]) < 2e-6  # transformers takes the loss in 32 bits
    for name, gradient in first[1].items():
        torch.testing.assert_close(gradient, second[1][name], rtol=0, atol=2e-7)


# --------------------------------------------------------------------------- conversations


def turn(rng: random.Random, role: str) -> tuple[list[int], list[bool]]:
    """A turn: its opening token, words out of few, so that many turns begin alike, and the stop."""
    words = [rng.choice((3, 4, 5)), *(rng.randrange(3, 22) for _ in range(rng.randrange(5)))]
    learnt = role == "assistant"
    return [OPENS[role], *words, STOP], [False, *(learnt for _ in words), learnt]


def joined(lists: Iterable[list[Any]]) -> list[Any]:
    """Lists end to end."""
    return list(chain.from_iterable(lists))


def row(ids: Sequence[int], learnt: Sequence[bool]) -> Row:
    labels = [id if is_learnt else IGNORED for id, is_learnt in zip(ids, learnt, strict=True)]
    return {"input_ids": list(ids), "labels": labels}


def conversation(rng: random.Random, turns: int) -> Row:
    """A random conversation."""
    turns_of_ids = [turn(rng, ("user", "assistant")[at % 2]) for at in range(turns)]
    return row(joined(ids for ids, _ in turns_of_ids), joined(learnt for _, learnt in turns_of_ids))


def tree(rng: random.Random, fan: int = 3, depth: int = 4) -> tuple[list[Row], list[Row]]:
    """The paths of a random tree in random order, first with each answer trained in all paths that
    hold it, then in the first path alone. No two replies to a message are the same."""
    paths: list[list[tuple[int, str, list[int], list[bool]]]] = []
    numbers = iter(range(10_000))

    def grow(path: list[Any]) -> None:
        is_answered = len(path) and len(path) % 2 == 0
        if len(path) == depth or (is_answered and rng.random() < 0.3):
            return paths.append(path)
        role = ("user", "assistant")[len(path) % 2]
        replies = [turn(rng, role) for _ in range(1 if not path else rng.randrange(1, fan + 1))]
        for reply in {tuple(ids): (ids, learnt) for ids, learnt in replies}.values():
            grow([*path, (next(numbers), *reply)])

    grow([])
    rng.shuffle(paths)
    seen: set[int] = set()
    always, once = [], []
    for path in paths:
        ids = joined(turn_of_path[1] for turn_of_path in path)
        always.append(row(ids, joined(turn_of_path[2] for turn_of_path in path)))
        marks = [
            [mark and turn_of_path[0] not in seen for mark in turn_of_path[2]]
            for turn_of_path in path
        ]
        seen |= {turn_of_path[0] for turn_of_path in path}
        once.append(row(ids, joined(marks)))
    return always, once


def arrays(rows: Sequence[Row], key: str) -> list[np.ndarray]:
    return [np.asarray(row[key], np.int32) for row in rows]
