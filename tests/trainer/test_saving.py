"""What a run saves: weights first, in any case, and named what could not be saved."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import AutoModelForCausalLM, GenerationConfig

from chatdata.core.errors import ChatdataError
from tests.support import bases
from trainer import config, train
from trainer.model import generation_settings, portable
from trainer.run import preflight, public_copy, run, strategy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # other people's deprecations
]

VICUNA = {"temperature": 0.9, "top_p": 0.6, "do_sample": False}  # as published


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def base(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose generation settings transformers refuses to save."""
    folder = bases.save(sample, tmp_path_factory.mktemp("base"))
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **VICUNA}))
    return folder


def recipe(sample: Path, base: Path, out: Path) -> config.TrainConfig:
    training = {"max_steps": 1, "per_device_train_batch_size": 2, "logging_steps": 1, "seed": 1}
    values = {"dataset": str(sample), "model": {"path": str(base)}, "output": str(out)}
    return config.config.parse(config.TrainConfig, {**values, "training": training}, "test")


@pytest.mark.parametrize(
    ("values", "dropped"),
    [
        (VICUNA, ["temperature", "top_p"]),
        ({"temperature": 0.6, "top_p": 0.9, "do_sample": True}, []),
        ({"length_penalty": 2.0, "early_stopping": True}, ["early_stopping", "length_penalty"]),
        ({"num_return_sequences": 2, "max_length": 9}, ["max_length", "num_return_sequences"]),
        ({}, []),
    ],
)
def test_settings_without_effect_are_taken_out_so_that_they_can_be_saved(
    values: dict[str, Any], dropped: list[str], tmp_path: Path
) -> None:
    settings = GenerationConfig()
    for name, value in values.items():
        setattr(settings, name, value)
    kept, names = generation_settings.savable(settings)
    kept.save_pretrained(tmp_path)
    assert sorted(names) == dropped
    for name in values.keys() - dropped:
        assert getattr(kept, name) == values[name]


def test_the_model_is_saved_whatever_its_base_says_of_generation(
    sample: Path, base: Path, tmp_path: Path
) -> None:
    made = recipe(sample, base, tmp_path / "out")
    findings = preflight.check(run.prepare(made, strategy.place()))
    assert "without 'temperature', 'top_p'" in dict(findings.lines)["saving"]
    train.train(made)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert loaded.generation_config.eos_token_id == loaded.config.eos_token_id
    assert loaded.generation_config.do_sample in (None, False)


def test_without_that_the_settings_would_be_refused(base: Path, tmp_path: Path) -> None:
    settings = GenerationConfig.from_pretrained(base)
    settings.eos_token_id = 3
    with pytest.raises(ValueError, match="temperature"):
        settings.save_pretrained(tmp_path)


def test_what_fails_behind_the_weights_is_named_and_stops_nothing(
    sample: Path, base: Path, tmp_path: Path
) -> None:
    """Folders stand where files are to be written."""
    out = tmp_path / "out"
    for name in ("tokenizer_config.json", "loss.png"):
        (out / name).mkdir(parents=True)
    with pytest.raises(ChatdataError) as caught:
        train.train(recipe(sample, base, out))
    words = str(caught.value)
    assert "the tokenizer could not be saved" in words
    assert "loss.png could not be saved" in words
    assert f"the model is in '{out}'" in words
    AutoModelForCausalLM.from_pretrained(out)
    assert json.loads((out / "chatdata.json").read_text())["run"]["steps"] == 1
    assert (out / "README.md").is_file()


def test_what_transformers_4_does_not_know_is_written_as_both_know_it(tmp_path: Path) -> None:
    """transformers 4.57 itself reads these files in `tests/bench/read_by_four.py`."""
    special = {"extra_special_tokens": ["<|end|>"], "tokenizer_class": "TokenizersBackend"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(special))
    rope = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0}
    config = {"rope_parameters": rope, "text_config": {"rope_parameters": {"rope_theta": 1e6}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    portable.write(tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text()) == {
        "additional_special_tokens": ["<|end|>"],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "rope_parameters": rope,
        "rope_theta": 5e5,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0},
        "text_config": {"rope_parameters": {"rope_theta": 1e6}, "rope_theta": 1e6},
    }
    of_layers = {"rope_parameters": {"full_attention": {"rope_theta": 1e6}}}
    assert portable._config(dict(of_layers)) == of_layers


def test_files_may_be_read_as_the_umask_says(sample: Path, base: Path, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        train.train(recipe(sample, base, tmp_path / "out"))
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert any(path.suffix == ".safetensors" for path in files)
    assert [path.name for path in files if path.stat().st_mode & 0o777 != 0o644] == []


def test_a_config_that_cannot_be_saved_is_found_before_the_first_step(
    sample: Path, base: Path, tmp_path: Path
) -> None:
    prepared = run.prepare(recipe(sample, base, tmp_path / "out"), strategy.place())
    prepared.meta_model.config.oddity = {1, 2}  # a set is no JSON
    findings = preflight.check(prepared)
    assert any("will not save this model" in problem for problem in findings.problems)


@pytest.mark.parametrize("adapter", [None, {"kind": "lora", "lora_dropout": 0}])
def test_what_is_published_names_no_path_of_this_machine(
    sample: Path, base: Path, tmp_path: Path, adapter: Any
) -> None:
    made = recipe(sample, base, tmp_path / "out").model_copy(
        update={"adapter": adapter and config.Adapter(**adapter)}
    )
    train.train(made)
    local = [str(path) for path in (sample, base, tmp_path)]
    kept = (tmp_path / "out" / "chatdata.json").read_text()
    assert all(path in kept for path in local)
    with public_copy.made(tmp_path / "out") as copy:
        files = [path for path in copy.rglob("*") if path.is_file()]
        names = {path.name for path in files}
        assert {"chatdata.json", "README.md", "tokenizer.json", "metrics.jsonl"} <= names
        contents = [path.read_bytes() for path in files]
        assert [path for path in local if any(path.encode() in text for text in contents)] == []
        assert f"`{base.name}`, fine-tuned" in (copy / "README.md").read_text()
        assert not names & {"run.json", "training_args.bin"}
    assert not copy.exists()
