"""Training on pairs: what is checked, computed once, kept and saved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import get_args

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import numpy as np
import pyarrow.parquet as pq
import torch
from click.testing import CliRunner
from ruamel.yaml import YAML
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from chatdata.core.errors import ConfigError, OutputError
from tests.support import preferences
from trainer import config, evaluate, merge, train
from trainer.model import adapters, pretrained
from trainer.preference import run as pair_runs
from trainer.preference.batches import Collator, Items, in_blocks
from trainer.preference.pairs import Answer, Item
from trainer.preference.preflight import rows_of
from trainer.preference.trainer import without_dropout
from trainer.run import public_copy, strategy

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


class Place:
    """The pairs and the base of this file, and a run by DPO with checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pairs = preferences.build(folder / "pairs")
        self.base = preferences.save_base(self.pairs, folder / "base")
        self.run("dpo", "training.save_steps=2")

    def recipe(self, name: str, *settings: str) -> config.TrainConfig:
        return preferences.recipe(self.pairs, self.base, self.folder / name, *settings)

    def run(self, name: str, *settings: str) -> Path:
        train.train(self.recipe(name, *settings))
        return self.folder / name

    def prepare(self, *settings: str) -> pair_runs.PairRun:
        return pair_runs.prepare(self.recipe("never", *settings), strategy.place())

    def dry(self, *settings: str) -> str:
        recipe = str(preferences.RECIPE)
        values = [f"dataset={self.pairs}", f"output={self.folder / 'dry'}", *settings]
        options = [part for value in values for part in ("--set", value)]
        result = CliRunner().invoke(train.main, [recipe, *options, "--dry-run"])
        assert result.exit_code == 0, result.output
        return result.output

    def references(self) -> set[str]:
        return {path.name for path in (self.folder / "pairs.reference").iterdir()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    torch.set_num_threads(1)
    return Place(tmp_path_factory.mktemp("preferences"))


def item(number: int, prompt: list[int], *answers: list[int]) -> Item:
    made = [Answer(np.array(ids), np.array(ids) > 0) for ids in answers]
    return Item(number, np.array(prompt), made)


# ------------------------------------------------------------------------------------ batches


def test_a_tree_has_its_prompt_once() -> None:
    """A golden: the prompt 5 6 7, the answers 8 9 and 4 -1, of which -1 is not learnt."""
    batch = Collator(0, trees=True)([item(0, [5, 6, 7], [8, 9], [4, -1])])
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9, 4, -1]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 4, 3, 4]]
    assert batch["attention_mask"][:, 0].tolist() == [[7, 7, 7, 5, 5, 7, 7]]  # ends of subtrees
    assert batch["parents"].tolist() == [[2, 3, 2]]
    assert batch["targets"].tolist() == [[8, 9, 4]]
    assert batch["answers"].tolist() == [[0, 0, 1]]


def test_trees_say_what_rows_say(place: Place) -> None:
    """Of any items, whatever their lengths, the log-probability of each answer is the same."""
    _, trainer = preferences.prepared(place.recipe("trees"))
    random = np.random.default_rng(5)
    draw = lambda low, high: random.integers(1, 250, random.integers(low, high)).tolist()  # noqa: E731
    items = [item(number, draw(1, 9), draw(1, 30), draw(1, 5)) for number in range(8)]
    sayings = {}
    for trees in (True, False):
        if not trees:
            trainer.model.set_attn_implementation("sdpa")
        batch = trainer._prepare_inputs(Collator(0, trees)(items))
        sayings[trees] = trainer.scores(trainer.model.eval(), batch)
    assert torch.allclose(sayings[True].sums, sayings[False].sums, rtol=1e-5)
    assert torch.equal(sayings[True].counts, sayings[False].counts)
    assert sayings[True].counts.tolist() == [[len(a.ids) for a in it.answers] for it in items]


@pytest.mark.parametrize(("pairs", "block"), [(6, 3), (7, 3), (5, 4), (2, 2)])
def test_each_prompt_of_kto_is_given_answers_to_others(pairs: int, block: int) -> None:
    order, strangers = in_blocks(pairs, block, seed=1)
    assert sorted(order.tolist()) == list(range(pairs))
    for number, of_item in enumerate(strangers.tolist()):
        assert all(stranger != number for stranger, _ in of_item)
    whole = strangers[: pairs // block * block].reshape(-1, block * 2, 2)
    for of_block in whole:  # each answer of a block is given once
        assert len({tuple(of) for of in of_block.tolist()}) == 2 * block


# -------------------------------------------------------------------------------- what is checked


def test_answers_to_others_make_no_row_longer_than_the_pairs(place: Place) -> None:
    """Or else a long prompt and a long answer to another would pass the positions of a model."""
    pairs = place.prepare("objective=dpo").train.pairs
    answers = pairs.sizes() - pairs.prompt_sizes()[:, None]
    strangers = np.empty((len(pairs), 2, 2), np.int64)
    strangers[:] = np.unravel_index(answers.argmax(), answers.shape)  # the longest, for all
    items = Items(pairs, np.arange(len(pairs))[::-1], strangers)
    strangers[..., 0] = len(pairs) - 1 - strangers[..., 0]  # by its place in this order
    made = [items[number] for number in range(len(items))]
    rows = [[len(item.prompt) + len(answer.ids) for answer in item.answers] for item in made]
    assert max(map(max, rows)) == items.longest == pairs.sizes().max()
    assert sum(map(sum, rows)) == items.row_tokens()
    assert [item.tokens() for item in made] == items.item_tokens().tolist()
    assert {len(answer.ids) for item in made for answer in item.answers[2:]} > {answers.max()}


def test_the_checks_say_what_is_trained(place: Place) -> None:
    shown = place.dry()
    for text in (
        "6 pairs, 3,784 tokens on both sides, in the longest pair 654 and 483 in the train split",
        "1 pair, 653 tokens on both sides",
        "none is cut or left out",
        "a prompt once for all answers to it: 2,685 tokens in place of 3,784 (29.0% saved)",
        "dpo, beta 0.1; the reference is the model before its first step",
        "3 steps of 2 pairs" if "3 steps" in shown else "20 steps of 2 pairs",
        "⟦Yes, the model will see a new turn.<|end|>⟧",
    ):
        assert text in shown, shown
    assert not (place.folder / "dry").exists()


def test_a_pair_that_does_not_fit_is_counted_and_named(place: Place) -> None:
    run = place.prepare("preference.max_length=400")
    kept = {pair for items in (run.train, run.test) for pair in (items.ids() if items else [])}
    assert len(kept) + len(run.longer) == 7
    assert run.longest <= 400
    assert run.layout.counts["left_out"] == len(run.longer) > 0
    shown = place.dry("preference.max_length=400")
    assert f"left out: {len(run.longer)} longer than max_length 400 ({run.longer[0]}" in shown


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["objective=kto", "training.per_device_train_batch_size=1"], "set `training.per_device"),
        (["packing=true"], "which are not packed"),
        (["adapter={lora_dropout: 0.1}"], "trains without dropout"),
        (["objective=sft", "preference.beta=0.2"], "needs an `objective`"),
        (["training.neftune_noise_alpha=5"], "without noise"),
        (["training.torch_compile=true"], r"`preference\.share_prompt` to false"),
        (["objective=reward", "samples={rows: 1}"], "generates nothing"),
        (["objective=dop"], "dpo"),
        (["preference.bata=1"], "beta"),
        (["objective=reward", "adapter=lora"], "`adapter`"),
    ],
)
def test_what_does_not_go_together_is_refused(
    place: Place, settings: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        place.recipe("never", *settings)


def test_a_dataset_without_pairs_is_refused_with_the_way_out(place: Place, sample: Path) -> None:
    with pytest.raises(OutputError, match=r"threads\.pairs=best_worst"):
        place.prepare(f"dataset={sample}")


def test_pairs_that_are_not_those_of_the_manifest_are_refused(place: Place, tmp_path: Path) -> None:
    copy = preferences.build(tmp_path / "copy")
    file = next((copy / "pair-tokens").glob("train-*"))
    pq.write_table(pq.read_table(file).slice(1), file)
    run = place.prepare(f"dataset={copy}")
    with pytest.raises(OutputError, match="not the file that the manifest names"):
        pair_runs.pairs.check_files(run.source)


def test_a_model_that_cannot_share_is_trained_in_rows(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (
        "model={config: {model_type: gpt2, n_layer: 1, n_head: 2, n_embd: 16, n_positions: 2048}}"
    )
    run = place.prepare(shape)
    assert not run.trees
    assert "masks of one value a token" in str(run.not_shared)
    assert run.layout.counts["saved"] == 0
    with pytest.raises(ConfigError, match=r"preference\.share_prompt: GPT2LMHeadModel"):
        place.prepare(shape, "preference.share_prompt=true")


# ---------------------------------------------------------------------------------- the reference


@pytest.mark.parametrize("kind", ["gpt2", "gpt_bigcode"])
def test_nothing_is_dropped_while_it_trains(kind: str) -> None:
    """Or else a model would differ from its reference before its first step."""
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 8, "vocab_size": 16}
    shares = dict.fromkeys(("attn_pdrop", "resid_pdrop", "embd_pdrop"), 0.5)
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **shape, **shares))
    ids = torch.arange(8)[None]
    assert not torch.equal(*(network.train()(ids).logits for _ in range(2)))
    without_dropout(network)
    assert torch.equal(*(network.train()(ids).logits for _ in range(2)))


def test_the_base_is_asked_once(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    before = place.references()
    assert len(before) == 2
    place.run("ipo", "objective=ipo")
    shown = capsys.readouterr().err
    assert "reference of the train pairs: taken from" in shown
    assert place.references() == before


def test_an_adapter_has_the_reference_of_its_base_without_a_second_model(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same files, so the same numbers; and computed anew they are those of the base."""
    lora = ("adapter={kind: lora, r: 4, lora_alpha: 8}", "training.learning_rate=1e-3")
    folder = place.run("lora", *lora)
    assert "taken from" in capsys.readouterr().err
    elsewhere = f"preference={{reference: {place.folder / 'elsewhere'}}}"
    run, _ = preferences.prepared(place.recipe("lora-anew", *lora, elsewhere))
    known, _ = preferences.prepared(place.recipe("known"))
    assert np.allclose(run.train.reference, known.train.reference, rtol=1e-5)
    assert adapters.is_adapter(folder)
    merge.merge(folder, place.folder / "merged")
    moved = load_file(place.folder / "merged" / "model.safetensors")
    assert moved.keys() <= load_file(place.base / "model.safetensors").keys() | {"lm_head.weight"}


def test_what_another_model_says_is_never_taken(place: Place, tmp_path: Path) -> None:
    network = pretrained.load_network(str(place.base))
    with torch.no_grad():
        next(iter(network.parameters()))[0, 0] += 1e-3
    network.save_pretrained(tmp_path / "near")
    pretrained.load_tokenizer(str(place.base)).save_pretrained(tmp_path / "near")
    before = place.references()
    preferences.prepared(place.recipe("near", f"model={{path: {tmp_path / 'near'}}}"))
    assert len(place.references()) == len(before) + 2


def test_a_damaged_file_is_computed_again(place: Place) -> None:
    path = f"preference={{reference: {place.folder / 'damaged'}}}"
    run, _ = preferences.prepared(place.recipe("first", path))
    for file in (place.folder / "damaged").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    again, _ = preferences.prepared(place.recipe("second", path))
    assert np.array_equal(run.train.reference, again.train.reference)
    assert pq.read_table(next((place.folder / "damaged").iterdir())).num_rows


# ------------------------------------------------------------------------------------- the run


def same_weights(first: Path, second: Path, near: float = 1e-5) -> bool:
    before, after = (load_file(folder / "model.safetensors") for folder in (first, second))
    return all(torch.allclose(weight, after[key], atol=near) for key, weight in before.items())


def test_batches_and_prompts_may_be_shared_in_any_way(place: Place) -> None:
    whole = place.folder / "dpo"
    ways = {
        "accumulated": [
            "training.per_device_train_batch_size=1",
            "training.gradient_accumulation_steps=2",
        ],
        "rows": ["preference.share_prompt=false"],
    }
    for name, settings in ways.items():
        assert same_weights(whole, place.run(name, *settings)), name


def test_a_run_that_goes_on_ends_as_the_straight_run(place: Place) -> None:
    output = place.folder / "dpo"
    straight = load_file(output / "model.safetensors")
    (output / "model.safetensors").unlink()
    train.train(place.recipe("dpo", "training.save_steps=2"), resume=True)
    resumed = load_file(output / "model.safetensors")
    assert all(torch.equal(weight, resumed[key]) for key, weight in straight.items())


def test_the_card_says_what_was_learnt_and_how(place: Place) -> None:
    text = (place.folder / "dpo" / "README.md").read_text()
    for part in ("- dpo\n", "Objective: `dpo`, beta 0.1; the reference is", "29.0% of the tokens"):
        assert part in text
    described = json.loads((place.folder / "dpo" / "chatdata.json").read_text())
    assert described["layout"]["pairs"] == 6
    assert described["results"]["before"]["accuracy"] == 0.5  # the model is its base
    assert described["results"]["after"]["margin"] > 0
    entries = [json.loads(line) for line in (place.folder / "dpo" / "metrics.jsonl").open()]
    assert {"accuracy", "margin"} <= entries[-1].keys() | entries[1].keys()


def test_what_is_published_names_no_folder_of_the_reference(place: Place, tmp_path: Path) -> None:
    kept, published = str(tmp_path / "kept"), tmp_path / "dpo"
    shutil.copytree(place.folder / "dpo", published)
    described = json.loads((published / "chatdata.json").read_text())
    described["train_recipe"]["preference"]["reference"] = kept
    (published / "chatdata.json").write_text(json.dumps(described))
    with public_copy.made(published) as copy:
        assert kept not in (copy / "chatdata.json").read_text()


def test_a_reward_model_loads_and_scores_as_it_was_measured(place: Place) -> None:
    """By the classes and the lines of its card; its accuracy is that of its scores."""
    folder = place.run("reward", "objective=reward")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    run = place.prepare("objective=reward")
    assert run.test is not None
    rows = [rows_of(run.test[number]) for number in range(len(run.test))]
    scores = [
        [float(model(torch.tensor([row["input_ids"]])).logits[0, 0]) for row in pair]
        for pair in rows
    ]
    after = json.loads((folder / "chatdata.json").read_text())["results"]["after"]
    assert np.mean([chosen > rejected for chosen, rejected in scores]) == after["accuracy"]
    margin = np.mean([chosen - rejected for chosen, rejected in scores])
    assert margin == pytest.approx(after["margin"], abs=1e-5)
    assert not (folder / "generation_config.json").exists()
    messages = pq.read_table(next((place.pairs / "pairs").glob("test-*"))).to_pylist()[0]
    turns = [
        {"role": turn["role"], "content": turn["content"]}
        for turn in messages["prompt"] + messages["chosen"]
    ]
    row = tokenizer.apply_chat_template(turns, return_dict=True)["input_ids"]
    assert row == rows[0][0]["input_ids"]
    with pytest.raises(ConfigError, match=r"reward model \(LlamaForS"):
        evaluate.evaluate(str(folder), str(place.pairs))


# ------------------------------------------------------------------------------------ the page


PAGE = (Path(__file__).parent.parent.parent / "docs" / "preferences.md").read_text()


def blocks(language: str) -> list[str]:
    fenced = PAGE.split("\n```")[1::2]
    return [text.partition("\n")[2] for text in fenced if text.partition("\n")[0] == language]


def test_the_page_shows_what_a_dry_run_prints(place: Place) -> None:
    (block,) = blocks("console")
    prompt, *lines = block.splitlines()
    (commands,) = blocks("sh")
    assert prompt.removeprefix("$ ") in commands
    assert "--set threads.pairs=all --set split.test_percent=60" in commands  # as `place` has it
    shown = place.dry().splitlines()
    for line in lines:
        assert line == "..." or line in shown, line


def test_the_page_names_every_key_and_its_default() -> None:
    (block,) = blocks("yaml")
    named = YAML(typ="safe").load(block)
    keys = config.Preference().model_dump() | {"beta": 0.1}
    assert named == {"objective": "dpo", "preference": keys}
    for objective in get_args(config.Objective):
        assert f"| `{objective}` |" in PAGE or objective == "sft"
