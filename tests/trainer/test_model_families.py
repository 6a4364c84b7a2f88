"""Families of models, made small: the loss of a step is that of its tokens, or a model is refused.

The table in trainer/README.md is compared with what is seen here.
"""

from __future__ import annotations

import copy
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from chatdata.core.errors import ConfigError
from tests.support.model_families import SHAPES, config_of, model_of
from tests.support.steps import stepped, weights_of
from tests.support.tiny import conversation, targets_of, tree
from trainer import config
from trainer.config import Adapter, Model
from trainer.data import (
    batching,
    dataset,
    isolation,
    packing,
    tree_attention,
    tree_packing,
    weighting,
)
from trainer.model import adapters, families, load, memory
from trainer.run import preflight, run, strategy
from trainer.run.trainer import Trainer

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

README = Path(__file__).parent.parent.parent / "trainer" / "README.md"
WAYS = ("rows", "packing", "trees", "LoRA")
CONTROL = [1, 2, 23]  # ids


@cache
def rows() -> list[Any]:
    draw = random.Random(1)
    return [conversation(draw, turns) for turns in (2, 5, 3, 4)]


@cache
def rows_of_a_tree() -> list[Any]:
    return tree(random.Random(3))[1]


def padded(items: list[Any]) -> dict[str, torch.Tensor]:
    size = max(len(item["input_ids"]) for item in items)
    fill = {"input_ids": 0, "labels": -100, "attention_mask": 0}
    given = [{**item, "attention_mask": [1] * len(item["input_ids"])} for item in items]
    return {
        key: torch.tensor([item[key] + [value] * (size - len(item[key])) for item in given])
        for key, value in fill.items()
    }


def by_a_loop(network: Any, of: list[Any]) -> float:
    """The mean nats of the trained tokens of rows, one row at a time and from the logits."""
    network.eval()
    nats = 0.0
    with torch.no_grad():
        for row in of:
            logits = network(input_ids=torch.tensor([row["input_ids"]])).logits
            labels = {"labels": torch.tensor([row["labels"]])}
            nats += float(weighting.mean(logits, labels, torch.tensor(1)))
    return nats / targets_of(of)


def step(network: Any, items: Any, collator: Any, size: int, out: Path) -> Any:
    """The loss and the weights of a step over all items."""
    network = copy.deepcopy(network)
    made = stepped(Trainer, network, items, collator, size, out, remove_unused_columns=False)
    return made.state.log_history[-1]["train_loss"], weights_of(network)


def assert_same(first: Any, second: Any) -> None:
    assert first[0] == pytest.approx(second[0], abs=2e-5)
    for name, weight in first[1].items():
        torch.testing.assert_close(weight, second[1][name], rtol=0, atol=2e-5)


# ------------------------------------------------------------- what each way does with a family


def by_rows(network: Any, whole: Any, out: Path) -> None:
    isolation.CheckOrder().on_train_begin(None, None, None, model=network)
    assert whole[0] == pytest.approx(by_a_loop(network, rows()), abs=2e-5)
    assert_same(whole, step(network, rows(), padded, 1, out))


def by_packing(network: Any, whole: Any, out: Path) -> None:
    families.check_packing(network)
    network = copy.deepcopy(network)
    collator = packing.PackingCollator(packing.prepare(network, half=False))
    check = isolation.CheckIsolation("packing", lambda rows: collator([rows]))
    check.on_train_begin(None, None, None, model=network)
    assert_same(step(network, [rows()[:2], rows()[2:]], collator, 1, out), whole)


def by_trees(network: Any, whole: Any, out: Path) -> None:
    prepared = copy.deepcopy(network)
    tree_attention.prepare(prepared)
    collator = tree_packing.TreeCollator(0)
    pack = lambda rows: collator([tree_packing.tree_of(rows)])  # noqa: E731
    isolation.CheckIsolation("tree_packing", pack).on_train_begin(None, None, None, model=prepared)
    half = len(rows_of_a_tree()) // 2
    trees = [tree_packing.tree_of(of) for of in (rows_of_a_tree()[:half], rows_of_a_tree()[half:])]
    expected = step(network, rows_of_a_tree(), padded, 4, out)
    assert_same(step(prepared, trees, collator, 1, out), expected)


def by_lora(network: Any, whole: Any, out: Path) -> None:
    adapter = Adapter(kind="lora", r=2, lora_dropout=0)
    adapted = adapters.add(copy.deepcopy(network), adapter, Model(path="x"), CONTROL, seed=0)
    expected = by_a_loop(adapted, rows())
    at_once, accumulated = (step(adapted, rows(), padded, size, out) for size in (4, 1))
    assert at_once[0] == pytest.approx(expected, abs=2e-5)
    assert_same(at_once, accumulated)


def outcomes(family: str, out: Path) -> list[str]:
    """`yes` or `refused` for each way to train; an error of any kind but ConfigError is raised."""
    shape = config_of(family)
    try:
        families.check_decoder(shape)
    except ConfigError:
        return ["refused"] * len(WAYS)
    network = model_of(family, families.attention(shape, "sdpa"))
    assert memory.sizes(network).parameters
    whole = step(network, rows(), padded, 4, out)  # the loss and the weights of all rows at once
    seen = []
    for way in (by_rows, by_packing, by_trees, by_lora):
        try:
            way(network, whole, out)
            seen.append("yes")
        except ConfigError as error:
            seen.append("refused" if "train with --set" in str(error) else str(error))
    return seen


def table() -> dict[str, list[str]]:
    """The table of README, by family."""
    lines = [line for line in README.read_text().splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {
        name.strip("` "): row[1:6] for row in cells if len(row) == 7 for name in row[0].split(",")
    }


@pytest.mark.parametrize("family", SHAPES)
def test_a_family_trains_as_its_tokens_say_or_is_refused(family: str, tmp_path: Path) -> None:
    assert outcomes(family, tmp_path) == table()[family][:4]


def test_the_table_has_the_families_that_are_tried() -> None:
    assert set(table()) == set(SHAPES)
    assert len(SHAPES) >= 24


# --------------------------------------------------------------------------------- in words


@pytest.mark.parametrize(
    ("family", "words"),
    [
        ("bart", "models of type 'bart' have an encoder, .* choose a decoder"),
        ("t5", "models of type 't5' have an encoder"),
        ("bert", "in models of type 'bert' a token sees the tokens after it"),
        ("xlnet", "in models of type 'xlnet' a token sees the tokens after it"),
    ],
)
def test_what_is_no_decoder_is_refused_by_name(family: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load.meta_model(config_of(family), 24)


def test_a_model_that_sees_later_tokens_is_stopped_whatever_its_name() -> None:
    with pytest.raises(ConfigError, match="sees the tokens behind it"):
        isolation.CheckOrder().on_train_begin(None, None, None, model=model_of("xlnet", "eager"))


def checked(sample: Path, out: Path, shape: dict[str, Any], **more: Any) -> preflight.Findings:
    """The checks of a run of a new model."""
    values = {"dataset": str(sample), "model": {"config": shape}, "output": str(out), **more}
    recipe = config.config.parse(config.TrainConfig, values, "test")
    return preflight.check(run.prepare(recipe, strategy.place()))


def test_the_checks_say_attention_and_loss(sample: Path, tmp_path: Path) -> None:
    shapes: dict[str, dict[str, Any]] = {
        "gemma2": SHAPES["llama"],
        "mixtral": {**SHAPES["llama"], "output_router_logits": True},
        "rwkv": SHAPES["rwkv"],
    }
    seen = {
        family: dict(checked(sample, tmp_path, {"model_type": family, **shape}).lines)
        for family, shape in shapes.items()
    }
    for family, words in {
        "gemma2": "gemma2, attention: eager, since Gemma2ForCausalLM has no sdpa",
        "mixtral": "the balance of the experts (output_router_logits) is left out of the loss",
    }.items():
        assert words in seen[family]["family"]
    assert "GiB a rank" in seen["rwkv"]["memory"]  # which has no heads
    assert families.loss_to_replace(model_of("llama", "sdpa")) is None
    replaced = families.loss_to_replace(model_of("gemma4", "sdpa"))
    assert replaced == "Gemma4ForConditionalGeneration takes the mean of each batch"


def test_trees_of_a_model_that_takes_none_are_refused_by_name(sample: Path, tmp_path: Path) -> None:
    shape = {"model_type": "gpt2", **SHAPES["gpt2"]}
    with pytest.raises(ConfigError, match="GPT2LMHeadModel cannot train on trees"):
        checked(sample, tmp_path, shape, tree_packing=True)


def test_rows_are_padded_on_the_right_wherever_prompts_are(sample: Path) -> None:
    tokenizer = load.load_tokenizer(sample, dataset.find(str(sample)).rendering)
    tokenizer.padding_side = "left"
    batch = batching.padding(tokenizer)([{**row} for row in rows()])
    assert tokenizer.padding_side == "left"
    expected = padded(rows())
    assert batch["labels"].tolist() == expected["labels"].tolist()
    assert batch["attention_mask"].tolist() == expected["attention_mask"].tolist()


# ------------------------------------------------------------------------------- on two ranks


def by_zero3(family: str) -> str:
    """`yes` or `refused` for ZeRO-3, as the checks say before a run."""
    try:
        families.check_decoder(config_of(family))
        families.check_zero3(config_of(family))
    except ConfigError:
        return "refused"
    return "yes"


def test_the_table_says_what_zero3_refuses() -> None:
    """`python -m tests.bench.families_on_ranks` trains all the others by it."""
    assert {family: by_zero3(family) for family in SHAPES} == {
        family: row[4] for family, row in table().items()
    }


def loaded(sample: Path, family: str, **more: Any) -> Any:
    """A new model of a family, as a run loads it."""
    tokenizer = load.load_tokenizer(sample, dataset.find(str(sample)).rendering)
    return load.load_model(
        Model(config={"model_type": family, **SHAPES[family], **more}), tokenizer, 0
    )


@pytest.mark.parametrize("family", ["gemma3", "llama"])
def test_layers_that_fsdp_spreads_are_those_of_the_model(sample: Path, family: str) -> None:
    """accelerate raises for a name that no module has, and Gemma 3 names parts of other models."""
    network = loaded(sample, family)
    assert network._no_split_modules
    assert network._no_split_modules <= {type(module).__name__ for module in network.modules()}


def test_an_evaluation_leaves_the_weights_as_they_are(sample: Path) -> None:
    network = loaded(sample, "rwkv", rescale_every=1)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    with torch.no_grad():
        network.eval()(input_ids=torch.tensor([[1, 2, 3]]))
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())
