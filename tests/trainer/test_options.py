"""Keys that other libraries carry out: each does what it says, or is refused by name."""

from __future__ import annotations

import json
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from safetensors.torch import load_file

from chatdata.core.errors import ConfigError
from tests.support.bases import TINY
from trainer import config, train, training
from trainer.model import load
from trainer.run import averaging, muon, options, samples

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # other people's deprecations
]

LLAMA = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def recipe(sample: Path, out: Path, more: dict[str, Any] | None = None, **training: Any) -> Any:
    steps = {"max_steps": 4, "per_device_train_batch_size": 1, "seed": 1, "learning_rate": 1e-2}
    values = {
        "dataset": str(sample),
        "model": {"config": LLAMA},
        "output": str(out),
        "report_to": [],
        "training": steps | training,
    }
    return config.config.parse(config.TrainConfig, values | (more or {}), "test")


def losses(out: Path, key: str = "loss") -> list[float]:
    entries = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return [entry[key] for entry in entries if key in entry]


@pytest.fixture(scope="module")
def plain(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run without any of these keys."""
    out = tmp_path_factory.mktemp("plain")
    train.train(recipe(sample, out))
    return out


# ---------------------------------------------------------------------------------------- samples


def test_samples_are_written_at_each_evaluation_and_change_nothing(
    sample: Path, tmp_path: Path, plain: Path
) -> None:
    more = {"samples": {"rows": 2, "max_new_tokens": 4}, "report_to": ["tensorboard"]}
    train.train(recipe(sample, tmp_path, more))
    entries = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries] == [0, 0, 4, 4]
    assert all(entry["prompt"].endswith("<|assistant|>\n") for entry in entries)
    assert all(entry["expected"].endswith("<|end|>") for entry in entries)
    assert all(0 < len(entry["answer"]) <= 4 for entry in entries)
    events = b"".join(path.read_bytes() for path in tmp_path.rglob("events.out.tfevents.*"))
    assert b"samples/1" in events
    assert b"samples/2" in events
    saved = (tmp_path / "model.safetensors").read_bytes()
    assert saved == (plain / "model.safetensors").read_bytes()


def test_a_prompt_ends_where_the_first_answer_begins() -> None:
    row = {"input_ids": [5, 6, 7, 8, 9, 4], "labels": [-100, -100, 7, 8, -100, 4]}
    untrained = {"input_ids": [5, 6], "labels": [-100, -100]}
    wanted = training.Samples(rows=9, max_new_tokens=3)
    assert samples.prompts([untrained, row], wanted, 5) == [([5, 6], [7, 8])]
    with pytest.raises(ConfigError, match=r"lower samples\.max_new_tokens"):
        samples.prompts([untrained, row], wanted, 4)


# ---------------------------------------------------------------------- optimizers and averages


def test_muon_trains_the_matrices_inside_and_adamw_the_rest() -> None:
    model = {"model_type": "llama", "vocab_size": 32, **LLAMA}
    network = load.AutoModelForCausalLM.from_config(
        load.AutoConfig.for_model(**{**model, "hidden_size": 8})
    )
    names = {name for name, _ in network.named_parameters() if "norm" not in name}
    arguments: Any = training.Training(weight_decay=0.1)
    made = muon.make(network, names, arguments)
    sizes = [sum(len(group["params"]) for group in part.param_groups) for part in made.parts]
    assert sizes == [7, 5]  # four of attention, three of the MLP; two tables, three norms
    decays = {group["weight_decay"] for group in made.parts[1].param_groups}
    assert decays == {0.1, 0.0}


@pytest.mark.parametrize("key", [{"optim": "muon"}, {"ema_decay": 0.5}])
def test_a_run_that_goes_on_ends_as_the_straight_run(
    sample: Path, tmp_path: Path, key: dict[str, Any], plain: Path
) -> None:
    """The moments of Muon and the average are in the checkpoint."""
    made = recipe(sample, tmp_path, save_steps=2, **key)
    train.train(made)
    straight = (tmp_path / "model.safetensors").read_bytes()
    assert straight != (plain / "model.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "checkpoint-4")
    train.train(made, resume=True)
    assert (tmp_path / "model.safetensors").read_bytes() == straight


def test_the_average_is_that_of_the_weights_after_each_step(sample: Path, tmp_path: Path) -> None:
    train.train(recipe(sample, tmp_path, save_steps=1, ema_decay=0.5, learning_rate=0.1))
    after = [load_file(tmp_path / f"checkpoint-{step}" / "model.safetensors") for step in (1, 2)]
    averages = [load_file(tmp_path / f"checkpoint-{step}" / averaging.FILE) for step in (1, 2)]
    for name, average in averages[1].items():
        torch.testing.assert_close(average, (averages[0][name] + after[1][name]) / 2)
    saved = load_file(tmp_path / "model.safetensors")
    last = load_file(tmp_path / "checkpoint-4" / averaging.FILE)
    assert all(torch.equal(saved[name], last[name]) for name in last)


def test_noise_changes_the_training_and_not_the_measuring(
    sample: Path, tmp_path: Path, plain: Path
) -> None:
    train.train(recipe(sample, tmp_path, neftune_noise_alpha=5))
    assert losses(tmp_path, "eval_loss")[0] == losses(plain, "eval_loss")[0]
    assert losses(tmp_path)[0] != losses(plain)[0]


# -------------------------------------------------------------------------- which model is kept


def test_a_run_ends_early_and_the_best_model_is_saved(sample: Path, tmp_path: Path) -> None:
    training = {
        "eval_strategy": "steps",
        "eval_steps": 1,
        "save_steps": 1,
        "load_best_model_at_end": True,
        "early_stopping_patience": 2,
        "learning_rate": 1.0,
        "max_steps": 9,
    }
    train.train(recipe(sample, tmp_path, **training))
    tested = losses(tmp_path, "eval_loss")
    *measured, of_the_saved = tested[1:]
    best = min(measured)
    assert len(measured) < 9
    assert measured[-3] == best  # two evaluations without progress, and no more
    assert of_the_saved == pytest.approx(best, abs=1e-6)
    results = json.loads((tmp_path / "chatdata.json").read_text())["results"]
    assert results["after"]["loss"] == of_the_saved


# -------------------------------------------------------------------------------- refused by name


def checked(tmp_path: Path, strategy: str = "single", more: Any = None, **training: Any) -> str:
    made = recipe(tmp_path, tmp_path, more, **training)
    network = load.meta_model(load.AutoConfig.for_model(**TINY, vocab_size=32), 32)
    return options.check(made, strategy, network)


@pytest.mark.parametrize(
    ("strategy", "more", "training", "words"),
    [
        ("fsdp", {}, {"optim": "muon"}, "set `strategy` to single or ddp"),
        ("zero3", {}, {"ema_decay": 0.9}, "set `strategy` to single or ddp"),
        ("zero3", {}, {"neftune_noise_alpha": 5}, "set `strategy` to single or ddp"),
        ("single", {"packing": True}, {"neftune_noise_alpha": 5}, "set packing and tree_packing"),
        ("single", {"tree_packing": True}, {"torch_compile": True}, "set tree_packing or torch_c"),
        ("single", {}, {"run_name": "a"}, "report_to has none of them"),
        ("single", {"report_to": ["mlflow"]}, {}, "`pip install mlflow`"),
        ("single", {"report_to": ["trackio"]}, {}, "`pip install trackio`"),
        ("single", {"report_to": ["wandb"]}, {}, "`pip install wandb`"),
        ("single", {"adapter": "qlora"}, {}, "`pip install bitsandbytes`"),
        ("single", {}, {"optim": "adamw_8bit"}, "`pip install bitsandbytes`"),
        ("single", {}, {"optim": "adamw_torch_8bit"}, "`pip install torchao`"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(
    strategy: str, more: Any, training: Any, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(tmp_path, strategy, more, **training)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"fp16": True}, "set `bf16: true`"),
        ({"cp_size": 2}, "a sequence is not split over ranks"),
        ({"label_smoothing_factor": 0.1}, "the labels as they are"),
        ({"group_by_length": True}, "set `packing`"),
        ({"early_stopping_patience": 2}, "set `eval_strategy`"),
        ({"early_stopping_threshold": 0.1}, "needs `early_stopping_patience`"),
        ({"load_best_model_at_end": True, "save_steps": 2}, "a multiple of `eval_steps`"),
    ],
)
def test_keys_that_people_look_for_are_refused_by_name(
    training: Any, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        recipe(tmp_path, tmp_path, **training)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "no kernels for models of type 'gpt_bigcode'"),
        ({"adapter": "lora"}, "past the rows of"),
    ],
)
def test_liger_is_refused_where_it_does_nothing_or_another_thing(
    more: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Liger itself needs a GPU; its table of families stands in for it."""
    table: Any = types.ModuleType("liger_kernel.transformers.monkey_patch")
    table.MODEL_TYPE_TO_APPLY_LIGER_FN = {"llama": None}
    for name in ("liger_kernel", "liger_kernel.transformers", table.__name__):
        monkeypatch.setitem(sys.modules, name, table)
    made = recipe(tmp_path, tmp_path, more, use_liger_kernel=True)
    network = load.meta_model(load.AutoConfig.for_model(**TINY, vocab_size=32), 32)
    with pytest.raises(ConfigError, match=words):
        options._check_liger(made, network)


def test_what_is_set_is_a_line_of_the_checks(tmp_path: Path) -> None:
    assert checked(tmp_path, neftune_noise_alpha=5, ema_decay=0.9) == (
        "neftune_noise_alpha 5.0, ema_decay 0.9"
    )
    assert checked(tmp_path) == "none beside those of the schedule"
