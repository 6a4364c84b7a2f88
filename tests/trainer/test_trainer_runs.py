"""Real runs on two CPU ranks: the same result by every strategy, also after an interruption."""

from __future__ import annotations

import json
import os
import shlex
import signal
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import torch
import torch.distributed.run
from accelerate.commands import launch
from click.testing import CliRunner
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from chatdata.core.errors import ChatdataError
from tests.support.commands import free_port
from tests.support.forked_ranks import ForkedRanks
from tests.support.later import need
from trainer import config, evaluate, merge, train
from trainer.data import dataset
from trainer.model import adapters, load

need("deepspeed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # other people's deprecations
]

ROOT = Path(__file__).parent.parent.parent
ZERO3 = str(ROOT / "trainer" / "zero3_bf16.json")
TINY = {
    "model_type": "gpt_bigcode",
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 32,
    "n_positions": 2048,
    "attn_pdrop": 0,
    "resid_pdrop": 0,
    "embd_pdrop": 0,
}
ADAPTED = ("adapter={lora_dropout: 0}", "training.gradient_checkpointing=true")
WITH_DROPOUT = {**TINY, "attn_pdrop": 0.1, "resid_pdrop": 0.1, "embd_pdrop": 0.1}


def save_base(shape: dict[str, Any], sample: Path, folder: Path) -> Path:
    """The folder of a model without control tokens, whose weights all ranks start from."""
    tokenizer = load.load_tokenizer(sample, dataset.find(str(sample)).rendering)
    fitted = {**shape, "vocab_size": 257, "eos_token_id": 256, "bos_token_id": 256}
    network = load.load_model(config.Model(config=fitted), tokenizer, seed=7)
    network.resize_token_embeddings(257)
    network.config.eos_token_id = network.generation_config.eos_token_id = 256
    network.save_pretrained(folder)
    return folder


class Runs:
    """The folder, the recipes and the results of the runs of this file."""

    def __init__(self, folder: Path, sample: Path) -> None:
        self.folder = folder
        self.sample = sample
        self.base = save_base(TINY, sample, folder / "base")
        self.dropping = save_base(WITH_DROPOUT, sample, folder / "dropping")

    def settings(self, name: str, batch: int, accumulation: int, *more: str) -> list[str]:
        """A recipe of five steps of four rows."""
        return [
            f"dataset={self.sample}",
            f"model={{path: {self.base}}}",
            f"output={self.folder / name}",
            "deepspeed=null",
            "report_to=[]",
            "training.max_steps=5",
            "training.learning_rate=1e-2",
            f"training.per_device_train_batch_size={batch}",
            f"training.gradient_accumulation_steps={accumulation}",
            *more,
        ]

    def job(self, name: str, batch: int, accumulation: int, *more: str) -> dict[str, Any]:
        recipe = str(ROOT / "recipes" / "train" / "sample.yaml")
        return {"recipe": recipe, "settings": self.settings(name, batch, accumulation, *more)}

    def alone(self, name: str, batch: int, accumulation: int) -> None:
        """Trains in this process."""
        recipe = ROOT / "recipes" / "train" / "sample.yaml"
        train.train(config.load(recipe, self.settings(name, batch, accumulation)))

    def jobs(self) -> dict[str, Any]:
        """The runs on two ranks, in a single launch; the runs with DeepSpeed come last."""
        two = {
            "ddp": self.job("ddp", 2, 1),
            "fsdp": self.job("fsdp", 2, 1, "strategy=fsdp", "training.gradient_checkpointing=true"),
            "bf16": self.job("bf16", 2, 1, "strategy=fsdp", "training.bf16=true"),
            "odd": self.job("odd", 3, 2, "training.max_steps=-1", "training.num_train_epochs=2"),
            "lora": self.job("lora", 2, 1, *ADAPTED),
            "zero3": self.job("zero3", 2, 1, f"deepspeed={ZERO3}"),
            "lora-zero3": self.job("lora-zero3", 2, 1, *ADAPTED, f"deepspeed={ZERO3}"),
            "article": self.article(),
        }
        return two | {
            "straight": self.long("straight"),
            "resumed": {**self.cut_off(), "resume": True},
            "again": {**self.cut_off(), "resume": True},  # from its last step
        }

    def article(self) -> dict[str, Any]:
        """StarChat alpha's recipe, except for the model, the data and a step to save."""
        return {
            "recipe": str(ROOT / "recipes" / "train" / "starchat-alpha.yaml"),
            "deepspeed": ZERO3,
            "settings": [
                f"dataset={self.sample}",
                f"model.path={self.base}",
                f"output={self.folder / 'article'}",
                "training.save_steps=3",
            ],
        }

    def long(self, name: str, *more: str) -> dict[str, Any]:
        """Ten steps with dropout by ZeRO-3."""
        keys = [f"model={{path: {self.dropping}}}", f"deepspeed={ZERO3}", "training.max_steps=10"]
        return self.job(name, 2, 1, *keys, *more)

    def cut_off(self) -> dict[str, Any]:
        """The run `long` with checkpoints to go on from."""
        return self.long("cut-off", "training.save_steps=4")

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        return load_file(self.folder / name / "model.safetensors")

    def log(self, name: str) -> list[dict[str, Any]]:
        lines = (self.folder / name / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def losses(self, name: str) -> list[float]:
        return [entry["loss"] for entry in self.log(name) if "loss" in entry]

    def ranks(self) -> list[dict[str, Any]]:
        paths = sorted(self.folder.glob("rank-*.json"))
        return [json.loads(path.read_text()) for path in paths]


ACCELERATE = shlex.split(
    "--multi_gpu --num_processes=2 --num_machines=1 --mixed_precision=no --dynamo_backend=no "
    "ranks.py --main_process_port"
)


def variables(folder: Path) -> dict[str, str]:
    """The environment that `accelerate launch` gives to the ranks that it starts."""
    given: dict[str, str] = {}
    options = [*ACCELERATE, str(free_port())]
    parsed = launch.launch_command_parser().parse_args(options)

    def remember(_: object) -> None:
        given.update(os.environ)

    with mock.patch.object(torch.distributed.run, "run", remember):
        launch.launch_command(parsed)
    assert given["ACCELERATE_MIXED_PRECISION"] == "no"
    new = {name: value for name, value in given.items() if os.environ.get(name) != value}
    return {**new, "TORCH_EXTENSIONS_DIR": str(folder / "operations")}


@pytest.fixture(scope="module")
def runs(sample: Path, tmp_path_factory: pytest.TempPathFactory, two_ranks: ForkedRanks) -> Runs:
    """The finished runs. A run is killed and goes on with the remaining runs, in two processes."""
    started = Runs(tmp_path_factory.mktemp("runs"), sample)
    started.alone("four", 4, 1)
    started.alone("accumulated", 1, 4)
    killed = {"cut-off": {**started.cut_off(), "kill_after": 6}}
    codes = two_ranks.run(started.folder, killed).codes
    assert codes[0] == -signal.SIGKILL
    assert codes[1] != 0  # it is ended too, or loses its connection before
    assert {path.name for path in started.folder.glob("cut-off/checkpoint-*")} == {"checkpoint-4"}
    two_ranks.finish(started.folder, started.jobs(), variables=variables(started.folder))
    return started


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], within: float) -> None:
    assert first.keys() == second.keys()
    for name, weight in first.items():
        assert torch.allclose(weight, second[name], atol=within, rtol=0), name


# --------------------------------------------------------------------- the same, however computed


@pytest.mark.parametrize("name", ["accumulated", "ddp", "fsdp", "zero3"])
def test_a_step_is_the_same_however_its_rows_are_distributed(runs: Runs, name: str) -> None:
    """Four rows at once, row by row, or two on each of two ranks: the same loss and weights."""
    assert runs.losses(name) == pytest.approx(runs.losses("four"), abs=2e-5)
    same(runs.weights(name), runs.weights("four"), within=2e-5)


@pytest.mark.parametrize(("name", "share"), [("ddp", 1), ("fsdp", 0.5), ("zero3", 0.5)])
def test_each_rank_has_half_of_the_weights_where_they_are_spread(
    runs: Runs, name: str, share: float
) -> None:
    assert [rank[name]["share"] for rank in runs.ranks()] == [share, share]


def test_fsdp_is_ddp_in_loss_and_weights_and_saves_the_whole_model(runs: Runs) -> None:
    assert runs.losses("fsdp") == pytest.approx(runs.losses("ddp"), abs=1e-6)
    same(runs.weights("fsdp"), runs.weights("ddp"), within=2e-5)
    network = AutoModelForCausalLM.from_pretrained(runs.folder / "fsdp")
    assert network.num_parameters() == sum(w.numel() for w in runs.weights("ddp").values())


def test_a_loss_in_bfloat16_is_not_rounded(runs: Runs) -> None:
    """FSDP alone rounds the number of trained tokens (0.2 % of the loss) and the loss (0.03)."""
    assert runs.losses("bf16") == pytest.approx(runs.losses("ddp"), abs=2e-3)


def test_the_comparison_detects_a_loss_that_is_a_mean_of_means(runs: Runs) -> None:
    """Rows have different numbers of trained tokens, so weighing rows alike gives another loss."""
    sample = runs.sample
    rows = dataset.load_tokens(sample, dataset.find(str(sample)).rendering, "train")
    assert rows is not None
    counts = [sum(label != -100 for label in labels[1:]) for labels in rows["labels"]]
    assert max(counts) > 5 * min(counts)
    start = runs.weights("four")
    moved = {name: weight + 1e-4 for name, weight in start.items()}
    with pytest.raises(AssertionError):
        same(moved, start, within=2e-5)


def test_all_ranks_have_as_many_batches_and_steps(runs: Runs) -> None:
    first, second = runs.ranks()
    for run in (*first.values(), *second.values()):
        run.pop("seconds", None)  # which each rank takes for itself
    assert first == second
    counted = [first["odd"][key] for key in ("batches", "steps", "max_steps")]
    assert counted == [8, 4, 4]  # 22 rows: 4 batches of 3 on each rank, two to a step, twice


def test_deepspeed_starts_no_program_for_every_gradient(runs: Runs) -> None:
    assert [rank["programs"]["numactl"] for rank in runs.ranks()] == [0, 0]


# ---------------------------------------------------------------------------------- cut off


def test_a_killed_run_goes_on_as_if_it_had_not_been_killed(runs: Runs) -> None:
    """Killed in its seventh step, the run went on from its fourth; then, from its last, by none."""
    steps = [entry["step"] for entry in runs.log("cut-off") if "loss" in entry]
    assert steps == list(range(1, 11))
    assert runs.ranks()[0]["resumed"]["batches"] == 6
    assert runs.ranks()[0]["again"]["batches"] == 0
    assert runs.losses("cut-off") == pytest.approx(runs.losses("straight"), abs=1e-6)
    same(runs.weights("cut-off"), runs.weights("straight"), within=1e-6)


# ------------------------------------------------------------------------------- the article's


def test_the_articles_cosine_is_used_and_its_model_saved(runs: Runs) -> None:
    log = runs.log("article")
    rates = {entry["step"]: entry["learning_rate"] for entry in log if "loss" in entry}
    assert runs.ranks()[0]["article"]["scheduler"] == "LambdaLR"
    assert rates[1] == 0
    description = json.loads((runs.folder / "article" / "chatdata.json").read_text())
    assert description["run"] == {"steps": 3, "ranks": 2, "zero_stage": 3}
    assert description["train_recipe"]["training"]["bf16"] is True
    network = AutoModelForCausalLM.from_pretrained(runs.folder / "article")
    assert network.dtype == torch.bfloat16
    assert (runs.folder / "article" / "checkpoint-3" / "trainer_state.json").is_file()


def test_a_cosine_falls_as_a_cosine(runs: Runs) -> None:
    rates = [entry["learning_rate"] for entry in runs.log("straight") if "loss" in entry]
    assert rates[0] == 0
    assert max(rates) == 1e-2 == rates[3]
    falling = [0.5 * (1 + torch.cos(torch.tensor(torch.pi * i / 7)).item()) for i in range(7)]
    assert rates[3:] == pytest.approx([1e-2 * share for share in falling], rel=1e-5)


# ------------------------------------------------------------------------------------ adapters


def test_an_adapter_is_saved_with_the_rows_of_control_tokens(runs: Runs) -> None:
    saved = load_file(runs.folder / "lora" / "adapter_model.safetensors")
    rows = {name: weight for name, weight in saved.items() if "lora" not in name}
    assert {tuple(weight.shape) for weight in rows.values()} == {(4, 32)}
    assert all("trainable_tokens" in name for name in rows)
    assert len(saved) - len(rows) == 2 * 2 * 4  # A and B of four matrices in two layers
    description = json.loads((runs.folder / "lora" / "chatdata.json").read_text())
    assert description["train_recipe"]["adapter"]["kind"] == "lora"
    assert description["results"]["after"]["loss"] < description["results"]["before"]["loss"]


def test_an_adapter_is_the_same_by_zero_3(runs: Runs) -> None:
    assert runs.losses("lora-zero3") == pytest.approx(runs.losses("lora"), abs=2e-5)
    names = ("lora", "lora-zero3")
    first, second = (load_file(runs.folder / n / "adapter_model.safetensors") for n in names)
    same(first, second, within=2e-5)


def test_an_adapter_may_be_merged_into_its_model(runs: Runs, tmp_path: Path) -> None:
    folder = runs.folder / "lora"
    done = CliRunner().invoke(merge.main, [str(folder), "--out", str(tmp_path / "merged")])
    assert done.exit_code == 0, done.output
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    adapted, tokenizer = adapters.load(folder)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello?"}], add_generation_prompt=True, return_tensors="pt"
    )
    with torch.no_grad():
        assert torch.allclose(merged(**prompt).logits, adapted.eval()(**prompt).logits, atol=1e-5)
    assert merged.generation_config.eos_token_id == tokenizer.eos_token_id == 260
    saved = AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert saved.chat_template == tokenizer.chat_template
    card = (tmp_path / "merged" / "README.md").read_text()
    assert "library_name: transformers" in card
    assert "LoRA adapter of rank 16" in card
    with pytest.raises(ChatdataError, match="is not empty"):
        merge.merge(folder, tmp_path / "merged")


# ------------------------------------------------------------------------------------ evaluation


def test_no_operation_is_compiled_on_cpus(runs: Runs) -> None:
    """A C++ compiler is needed on GPUs alone, for what DeepSpeed offloads."""
    assert [path for path in (runs.folder / "operations").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["zero3", "lora-zero3"])
def test_a_saved_model_is_measured_as_at_the_end_of_its_run(runs: Runs, name: str) -> None:
    description = json.loads((runs.folder / name / "chatdata.json").read_text())
    folder, data = str(runs.folder / name), str(runs.sample)
    done = CliRunner().invoke(evaluate.main, [folder, data, "--batch-size", "5", "--json"])
    measured = json.loads(done.stdout)
    for key, value in description["results"]["after"].items():
        assert measured[key] == pytest.approx(value, abs=1e-4)
