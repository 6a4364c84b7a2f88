"""Losses and gradients of pairs are those of TRL's trainers, on the same rows."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("trl")

import numpy as np
import torch
from datasets import Dataset
from safetensors.torch import load_file
from torch.nn.utils.rnn import pad_sequence
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, RewardConfig, RewardTrainer
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from tests.support import preferences
from trainer import train
from trainer.model import pretrained
from trainer.preference.pairs import Answer, Item
from trainer.preference.preflight import rows_of

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

NEAR = 5e-5  # of the largest gradient of a weight


class AsTheyAre:
    """A trainer of TRL that takes rows of tokens as they are."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset


class Dpo(AsTheyAre, DPOTrainer):
    pass


class Kto(AsTheyAre, KTOTrainer):
    pass


class Place:
    """The pairs and the base of this file, and a folder for what runs write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pairs = preferences.build(folder / "pairs")
        self.base = preferences.save_base(self.pairs, folder / "base")

    def ours(self, objective: str, *settings: str) -> tuple[Any, Any]:
        """A run, and its Trainer with a model that is no longer its base."""
        output = self.folder / objective
        recipe = preferences.recipe(
            self.pairs, self.base, output, f"objective={objective}", *settings
        )
        run, trainer = preferences.prepared(recipe)
        preferences.disturb(trainer.model)
        return run, trainer

    def theirs(self, kind: Any, options: Any, network: Any, rows: list[Any], **more: Any) -> Any:
        """A trainer of TRL on rows."""
        usual = {"output_dir": str(self.folder / "trl"), "use_cpu": True, "report_to": []}
        arguments = options(**usual, bf16=False, max_length=None, **more)
        tokenizer = pretrained.load_tokenizer(str(self.base))
        return kind(
            model=network,
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    torch.set_num_threads(1)
    return Place(tmp_path_factory.mktemp("preferences"))


def items(run: Any, number: int = 3) -> list[Item]:
    return [run.train[n] for n in range(number)]


def our_loss(run: Any, trainer: Any, number: int = 3) -> tuple[float, dict[str, torch.Tensor]]:
    batch = trainer._prepare_inputs(run.layout.collator(items(run, number)))
    return preferences.loss_and_gradients(trainer.model, trainer.compute_loss(trainer.model, batch))


def learnt(answer: Answer) -> list[int]:
    """The ids of an answer up to the last that is learnt: TRL learns what follows a turn's end."""
    size = int(answer.is_trained.sum())
    assert answer.is_trained[:size].all()
    return answer.ids[:size].tolist()


def parts(item: Item) -> dict[str, list[int]]:
    """A pair as TRL's collator of preferences takes it."""
    chosen, rejected = (learnt(answer) for answer in item.answers[:2])
    return {"prompt_ids": item.prompt.tolist(), "chosen_ids": chosen, "rejected_ids": rejected}


def check_same(ours: tuple[float, Any], theirs: tuple[float, Any]) -> None:
    assert ours[0] == pytest.approx(theirs[0], rel=2e-5)
    assert ours[1].keys() == theirs[1].keys()
    for name, gradient in theirs[1].items():
        scale = gradient.abs().max() + 1e-6
        assert (ours[1][name] - gradient).abs().max() / scale < NEAR, name


@pytest.mark.parametrize("shared", ["true", "false"])
@pytest.mark.parametrize(("objective", "kind"), [("dpo", "sigmoid"), ("ipo", "ipo")])
def test_dpo_and_ipo_are_those_of_trl(place: Place, objective: str, kind: str, shared: str) -> None:
    run, trainer = place.ours(objective, f"preference.share_prompt={shared}")
    network = pretrained.load_network(str(place.base))
    preferences.disturb(network)
    rows = [parts(item) for item in items(run)]
    theirs = place.theirs(Dpo, DPOConfig, network, rows, loss_type=[kind], beta=0.1)
    batch = theirs._prepare_inputs(theirs.data_collator(rows))
    loss = theirs.compute_loss(theirs.model, batch)
    check_same(our_loss(run, trainer), preferences.loss_and_gradients(theirs.model, loss))


def test_kto_is_that_of_trl(place: Place) -> None:
    """Of the same answers to others, by which the divergence is estimated."""
    size = "training.per_device_train_batch_size=3"
    run, trainer = place.ours("kto", size, "preference.undesirable_weight=0.5")
    network = pretrained.load_network(str(place.base))
    preferences.disturb(network)
    rows = [
        {
            "prompt_ids": item.prompt.tolist(),
            "completion_ids": learnt(item.answers[side]),
            "KL_completion_ids": learnt(item.answers[2 + side]),
            "label": side == 0,
        }
        for side in (0, 1)
        for item in items(run)
    ]
    before = [rows[-1], *rows[:-1]]  # as TRL makes them, in a batch of all of them
    assert all(
        row["KL_completion_ids"] == last["completion_ids"]
        for row, last in zip(rows, before, strict=True)
    )
    theirs = place.theirs(Kto, KTOConfig, network, rows, beta=0.1, undesirable_weight=0.5)
    batch = theirs._prepare_inputs(theirs.data_collator(rows))
    loss = theirs.compute_loss(theirs.model, batch)
    check_same(our_loss(run, trainer), preferences.loss_and_gradients(theirs.model, loss))


def padded(rows: list[list[int]], value: int) -> torch.Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


def by_side(run: Any) -> dict[str, torch.Tensor]:
    """A batch as TRL's CPOTrainer and ORPOTrainer take it."""
    batch = {}
    for side, name in enumerate(("chosen", "rejected")):
        rows = [rows_of(item)[side] for item in items(run)]
        batch[f"{name}_input_ids"] = padded([row["input_ids"] for row in rows], 256)
        batch[f"{name}_labels"] = padded([row["labels"] for row in rows], -100)
        ones = [[1] * len(row["input_ids"]) for row in rows]
        batch[f"{name}_attention_mask"] = padded(ones, 0)
    return batch


TEXTS = [{"prompt": "a", "chosen": "b", "rejected": "c"}]  # these trainers read texts alone


def test_simpo_is_that_of_trl(place: Place) -> None:
    run, trainer = place.ours("simpo", "preference={beta: 2, gamma: 1}")
    more = {"loss_type": "simpo", "cpo_alpha": 0.0, "beta": 2.0, "simpo_gamma": 1.0}
    theirs = place.theirs(CPOTrainer, CPOConfig, copy.deepcopy(trainer.model), TEXTS, **more)
    theirs.model.set_attn_implementation("sdpa")
    loss, _ = theirs.get_batch_loss_metrics(theirs.model, by_side(run))
    check_same(our_loss(run, trainer), preferences.loss_and_gradients(theirs.model, loss))


def test_orpo_is_that_of_trl_with_the_loss_of_the_answer_alone(place: Place) -> None:
    """TRL adds the loss of the prompt too; labels decide here."""
    run, trainer = place.ours("orpo")
    theirs = place.theirs(ORPOTrainer, ORPOConfig, copy.deepcopy(trainer.model), TEXTS, beta=0.1)
    network = theirs.model
    network.set_attn_implementation("sdpa")
    batch = by_side(run)
    chosen, rejected, *_ = theirs.concatenated_forward(network, batch)
    odds = theirs.odds_ratio_loss(chosen, rejected)[0].mean()
    ids, mask, labels = (
        batch[f"chosen_{key}"] for key in ("input_ids", "attention_mask", "labels")
    )
    loss = network(input_ids=ids, attention_mask=mask, labels=labels).loss - odds
    check_same(our_loss(run, trainer), preferences.loss_and_gradients(network, loss))


def test_a_reward_model_is_that_of_trl(place: Place) -> None:
    run, trainer = place.ours("reward", "preference.center=0.01")
    network = copy.deepcopy(trainer.model)
    rows = [
        {f"{side}_ids": row["input_ids"] for side, row in zip(SIDES, rows_of(item), strict=True)}
        for item in items(run)
    ]
    more = {"center_rewards_coefficient": 0.01}
    theirs = place.theirs(RewardTrainer, RewardConfig, network, rows, **more)
    batch = theirs._prepare_inputs(theirs.data_collator(rows))
    loss = theirs.compute_loss(theirs.model, batch)
    check_same(our_loss(run, trainer), preferences.loss_and_gradients(theirs.model, loss))


SIDES = ("chosen", "rejected")


def test_the_weights_of_a_run_are_those_of_trl(place: Place) -> None:
    output = place.folder / "run"
    recipe = preferences.recipe(place.pairs, place.base, output)
    train.train(recipe)
    run, _ = preferences.prepared(recipe.model_copy(update={"output": str(place.folder / "again")}))
    rows = [parts(item) for item in items(run, 6)]
    network = pretrained.load_network(str(place.base))
    more = {
        "per_device_train_batch_size": 2,
        "max_steps": 3,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "seed": recipe.training.seed,
        "save_strategy": "no",
        "gradient_checkpointing": False,
        "beta": 0.1,
    }
    theirs = place.theirs(Dpo, DPOConfig, network, rows, **more)
    theirs.train()
    trained = load_file(output / "model.safetensors")
    weights = theirs.model.state_dict()
    moved = max(
        float((weights[key] - weight).abs().max())
        for key, weight in pretrained.load_network(str(place.base)).state_dict().items()
    )
    assert moved > 1e-2
    for key, weight in trained.items():
        assert torch.allclose(weight, weights[key], atol=2e-5), key


# --------------------------------------------------------------------------- at the edges


def edge(run: Any, name: str) -> list[Item]:
    """Items of a kind that few datasets have: each with a reference of its own."""
    first, second = items(run, 2)
    answers, reference = first.answers, np.array([-40.0, -50.0])
    shorter = Answer(answers[1].ids[-1:], answers[1].is_trained[-1:])
    made = {
        "an empty prompt": [Item(0, first.prompt[:0], answers, reference)],
        "the same answer twice": [Item(0, first.prompt, [answers[0]] * 2, reference)],
        "an answer that is its end": [Item(0, first.prompt, [answers[0], shorter], reference)],
        "long beside short": [
            Item(0, first.prompt, answers, reference),
            Item(1, second.prompt[-2:], [shorter, second.answers[0]], reference - 1),
        ],
    }
    return made[name]


@pytest.mark.parametrize(
    "name",
    ["an empty prompt", "the same answer twice", "an answer that is its end", "long beside short"],
)
def test_dpo_at_the_edges_is_that_of_trl(place: Place, dpo: Any, name: str) -> None:
    """Of prompts that are computed once and of rows; one pair alone is a batch too."""
    run, trainer, theirs = dpo
    given = edge(run, name)
    rows = [parts(item) for item in given]
    for row, item in zip(rows, given, strict=True):
        row |= {"ref_chosen_logps": item.reference[0], "ref_rejected_logps": item.reference[1]}
    batch = theirs._prepare_inputs(theirs.data_collator(rows))
    loss = theirs.compute_loss(theirs.model, batch)
    expected = preferences.loss_and_gradients(theirs.model, loss)
    for trees in (True, False):
        collator = dataclasses.replace(run.layout.collator, trees=trees)
        made = trainer.compute_loss(trainer.model, trainer._prepare_inputs(collator(given)))
        ours = preferences.loss_and_gradients(trainer.model, made)
        if name == "the same answer twice":  # of which nothing is learnt, up to rounding
            assert ours[0] == pytest.approx(expected[0])
            assert all(gradient.abs().max() < 1e-5 for gradient in ours[1].values())
        else:
            check_same(ours, expected)


@pytest.fixture(scope="module")
def dpo(place: Place) -> Any:
    """A run, its Trainer, and that of TRL, which is given the reference."""
    run, trainer = place.ours("edges", "objective=dpo")
    network = pretrained.load_network(str(place.base))
    preferences.disturb(network)
    rows = [parts(item) for item in items(run)]
    theirs = place.theirs(Dpo, DPOConfig, network, rows, beta=0.1)
    theirs.precompute_ref_logps = True  # they are in the rows
    return run, trainer, theirs
