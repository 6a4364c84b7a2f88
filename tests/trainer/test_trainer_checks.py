"""What the trainer checks before a run: steps, memory, machines, checkpoints, the first batch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from accelerate import Accelerator
from click.testing import CliRunner
from rich.console import Console
from transformers import AutoConfig, AutoModelForCausalLM

from chatdata import build_dataset, load_recipe
from chatdata.core.errors import ChatdataError
from chatdata.dataset.pack import repack
from trainer import config, zero3
from trainer.model import adapters, memory
from trainer.model.load import meta_model
from trainer.run import checkpoints, preflight, run, schedule, strategy, upload
from trainer.run.strategy import Place
from trainer.train import main, make_trainer, train
from trainer.training import Training

pytestmark = pytest.mark.filterwarnings("ignore")  # other people's deprecations

ROOT = Path(__file__).parent.parent.parent
RECIPE = ROOT / "recipes" / "train" / "sample.yaml"
TINY = {"model_type": "gpt_bigcode", "n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 2048}
ALONE = Place(rank=0, ranks=1, is_launched=False)
TWO = Place(rank=0, ranks=2, is_launched=True)
STARCODER = {
    "n_layer": 40,
    "n_head": 48,
    "n_embd": 6144,
    "n_inner": 24576,
    "n_positions": 8192,
    "vocab_size": 49152,
}


@pytest.fixture(autouse=True)
def _checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for name in ("RANK", "WORLD_SIZE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def recipe(sample: Path, tmp_path: Path, **values: Any) -> config.TrainConfig:
    """A recipe of a tiny model on the sample, with these keys."""
    defaults = {"dataset": str(sample), "model": {"config": TINY}, "output": str(tmp_path / "out")}
    return config.config.parse(config.TrainConfig, defaults | values, "test")


# ------------------------------------------------------------------------------------- recipes


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"strategy": "ddp", "deepspeed": "x.json"}, "`deepspeed` is set and `strategy` is ddp"),
        ({"packing": True, "tree_packing": True}, "trees are packed already"),
        ({"adapter": "qlora", "strategy": "zero3"}, "`adapter: qlora` needs `strategy: single`"),
        ({"adapter": "lorra"}, "'adapter.kind' is 'lorra'"),
        ({"adapter": {"kind": "lora", "rank": 8}}, "unknown key 'rank'"),
        ({"training": {"eval_steps": 5}}, "go together"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(
    values: dict[str, Any], words: str, sample: Path, tmp_path: Path
) -> None:
    with pytest.raises(ChatdataError) as caught:
        recipe(sample, tmp_path, **values)
    assert words in str(caught.value)


def test_an_adapter_may_be_named_by_its_kind(sample: Path, tmp_path: Path) -> None:
    assert recipe(sample, tmp_path, adapter="none").adapter is None
    adapter = recipe(sample, tmp_path, adapter="lora").adapter
    assert adapter is not None
    assert (adapter.kind, adapter.r) == ("lora", 16)


def test_the_option_deepspeed_overrides_the_recipe() -> None:
    loaded = config.load(RECIPE, ["strategy=fsdp"], "trainer/zero3_cpu_offload.json")
    assert strategy.chosen(loaded, 2) == "zero3"
    assert strategy.deepspeed_file(loaded, 2) == Path("trainer/zero3_cpu_offload.json")


@pytest.mark.parametrize(
    ("values", "ranks", "chosen"),
    [
        ({}, 1, "single"),
        ({}, 2, "ddp"),
        ({"deepspeed": "trainer/zero3_bf16.json"}, 2, "zero3"),
        ({"strategy": "fsdp"}, 2, "fsdp"),
    ],
)
def test_one_key_chooses_the_strategy(
    values: dict[str, Any], ranks: int, chosen: str, sample: Path, tmp_path: Path
) -> None:
    assert strategy.chosen(recipe(sample, tmp_path, **values), ranks) == chosen


# ------------------------------------------------------------------- configurations of DeepSpeed


@pytest.mark.parametrize("path", sorted((ROOT / "trainer").glob("*.json")), ids=lambda p: p.stem)
def test_our_configurations_leave_everything_to_the_recipe(path: Path) -> None:
    zero3.check(path, Training(bf16=True, gradient_accumulation_steps=8).for_deepspeed())
    assert zero3.stage(zero3.read(path)) == 3


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"scheduler": {"type": "WarmupLR"}}, "has a `scheduler`"),
        ({"optimizer": {"type": "Lamb"}}, "has an `optimizer`"),
        ({"optimizer": {"type": "AdamW", "params": {"lr": "auto"}}}, "has an `optimizer`"),
        ({"gradient_accumulation_steps": 4}, "`gradient_accumulation_steps` 4 and the recipe 1"),
        ({"train_micro_batch_size_per_gpu": 2}, "`train_micro_batch_size_per_gpu` 2"),
        ({"train_batch_size": 64}, "has a `train_batch_size`"),
        ({"gradient_clipping": 0.5}, "`gradient_clipping` 0.5 and the recipe 1"),
        ({"bf16": {"enabled": True}}, "has `bf16` True and the recipe False"),
        ({"fp16": {"enabled": True}}, "has `fp16`"),
        ({"zero_optimization": {"stage": 3}}, "would save no model"),
    ],
)
def test_a_configuration_that_would_overrule_the_recipe_is_refused(
    values: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ChatdataError) as caught:
        zero3.check(path, Training().for_deepspeed())
    assert words in str(caught.value)


# ---------------------------------------------------------------------------- what is possible


@pytest.mark.parametrize(
    ("values", "here", "words"),
    [
        ({"strategy": "zero3"}, ALONE, "needs a launcher"),
        ({"strategy": "single"}, TWO, "'single' is for one process and 2 were launched"),
        ({"model": {"config": TINY, "attention": "flash_attention_2"}}, ALONE, "`model.attention"),
        ({"adapter": "lora", "strategy": "zero3"}, TWO, "`adapter` with ZeRO-3 needs a CUDA GPU"),
        ({"training": {"use_liger_kernel": True}}, ALONE, "`training.use_liger_kernel` needs"),
        ({"strategy": "fsdp", "fsdp": {"cpu_offload": True}}, TWO, "`fsdp.cpu_offload` needs a"),
        ({"deepspeed": "trainer/zero3_nvme_offload.json"}, TWO, "offloads to '/local_nvme'"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_what_this_machine_cannot_do_is_named(
    values: dict[str, Any], here: Place, words: str, sample: Path, tmp_path: Path
) -> None:
    with pytest.raises(ChatdataError) as caught:
        strategy.check(recipe(sample, tmp_path, **values), here)
    assert words in str(caught.value)


@pytest.mark.parametrize("tied", [True, False])
def test_an_adapter_by_fsdp_needs_a_head_of_its_own(
    tied: bool, sample: Path, tmp_path: Path
) -> None:
    """PyTorch alone says: Invariant encountered, value was None when it should not be."""
    values = {"config": {**TINY, "tie_word_embeddings": tied}}
    given = recipe(sample, tmp_path, model=values, strategy="fsdp", adapter="lora")
    problems = preflight.check(run.prepare(given, TWO)).problems
    assert [words for words in problems if "choose ddp" in words] == problems
    assert len(problems) == tied


def test_fsdp_that_would_be_a_copy_in_each_process_is_refused(sample: Path, tmp_path: Path) -> None:
    unspread = SimpleNamespace(accelerator=Accelerator(cpu=True))
    with pytest.raises(ChatdataError, match="'fsdp' would train by NO here, with a copy"):
        strategy.check_sharded(recipe(sample, tmp_path, strategy="fsdp"), unspread)
    strategy.check_sharded(recipe(sample, tmp_path), unspread)


def test_targets_that_deepspeed_cannot_read_are_named(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DeepSpeed alone says: model.path cannot be loaded, invalid literal for int(): '0a'."""
    values = json.loads((ROOT / "trainer" / "zero3_nvme_offload.json").read_text())
    for what in zero3.OFFLOADS:
        values["zero_optimization"][what]["nvme_path"] = str(tmp_path)
    path = tmp_path / "nvme.json"
    path.write_text(json.dumps(values))
    given = recipe(sample, tmp_path, deepspeed=str(path))
    monkeypatch.setattr(strategy, "_has_async_io", lambda: True)
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "8.0 9.0a")
    with pytest.raises(ChatdataError, match=r"TORCH_CUDA_ARCH_LIST is '8.0 9.0a', and DeepSpeed"):
        strategy.check(given, TWO)
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "8.0;9.0+PTX")
    assert strategy.check(given, TWO) == "zero3"


def test_qlora_trains_over_4_bits(sample: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    base = recipe(sample, tmp_path, output=str(tmp_path / "base"), training={"max_steps": 1})
    train(base)
    values = {"model": {"path": base.output}, "training": {"max_steps": 2}, "adapter": "qlora"}
    prepared = run.prepare(recipe(sample, tmp_path, **values), ALONE)
    network = run.load_network(prepared)
    quantized = [parameter for parameter in network.parameters() if parameter.dtype == torch.uint8]
    assert len(quantized) == 4
    train(prepared.config)
    assert adapters.load(Path(prepared.config.output))


def test_a_configuration_of_accelerate_that_chooses_a_strategy_is_refused(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategy, "TURNED_ON", ["DeepSpeed"])
    with pytest.raises(ChatdataError, match="turns on DeepSpeed"):
        strategy.check(recipe(sample, tmp_path), TWO)


# -------------------------------------------------------------------------------------- schedule


@pytest.mark.parametrize("rows", [1, 7, 22, 64])
@pytest.mark.parametrize("ranks", [1, 2, 8])
@pytest.mark.parametrize(("batch", "accumulation"), [(1, 1), (4, 1), (3, 2), (4, 8)])
@pytest.mark.parametrize("drop_last", [False, True])
def test_steps_are_counted_as_accelerate_deals_batches(
    rows: int, ranks: int, batch: int, accumulation: int, drop_last: bool
) -> None:
    """The sampler gives all ranks the same number of batches, and Trainer counts steps by these."""
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler

    training = Training(
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        dataloader_drop_last=drop_last,
        num_train_epochs=3,
    )
    batches = BatchSampler(range(rows), batch, drop_last)
    dealt = [list(BatchSamplerShard(batches, ranks, rank)) for rank in range(ranks)]
    dealt = dealt if ranks > 1 else [list(batches)]
    assert len({len(batches_) for batches_ in dealt}) == 1
    if not dealt[0]:
        with pytest.raises(ChatdataError, match="do not fill a batch"):
            schedule.schedule(rows, training, ranks)
        return
    counted = schedule.schedule(rows, training, ranks)
    assert counted.steps == 3 * -(-len(dealt[0]) // accumulation)
    seen = sum(len(batch_) for batches_ in dealt for batch_ in batches_)
    assert seen == rows + counted.filled - counted.left_out


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"save_steps": 500}, "save_steps is 500 and the run has 90 steps"),
        ({"eval_strategy": "steps", "eval_steps": 91}, "eval_steps is 91"),
        ({"save_steps": 30}, None),
    ],
)
def test_a_step_that_is_never_reached_is_refused(keys: dict[str, Any], words: str | None) -> None:
    """StarChat alpha saved every 500 steps, in a run of 90."""
    training = Training(
        per_device_train_batch_size=4,
        gradient_accumulation_steps=8,
        num_train_epochs=3,
        **keys,
    )
    counted = schedule.schedule(7680, training, ranks=8)
    assert (counted.steps, counted.rows_per_step) == (90, 256)
    if words is None:
        assert "90 steps of 256 rows" in schedule.check(counted, training)
        return
    with pytest.raises(ChatdataError) as caught:
        schedule.check(counted, training)
    assert words in str(caught.value)


def test_the_warm_up_is_a_share_of_the_steps() -> None:
    training = Training(warmup_steps=0.03, max_steps=90)
    assert schedule.schedule(7680, training, 8).warmup == 3
    short = Training(warmup_steps=3, max_steps=2)
    words = schedule.check(schedule.schedule(7680, short, 8), short)
    assert "the run ends within its warm-up" in words


# ---------------------------------------------------------------------------------------- memory

GB = 10**9


def sized(parameters: float, trained: float | None = None, largest: float = 0) -> memory.Sizes:
    trained = parameters if trained is None else trained
    return memory.Sizes(int(parameters), int(trained), int(largest), 1, 1, 1, 1)


def test_memory_is_that_of_the_zero_paper() -> None:
    """7.5 billion parameters: 120 GB on one GPU (Rajbhandari et al., 2020, figure 1)."""
    assert memory.states(sized(7.5e9), "ddp", 64) == 120 * GB
    sharded = memory.states(sized(7.5e9), "fsdp", 64)
    assert sharded == pytest.approx(1.9 * GB, rel=0.02)


@pytest.mark.parametrize(("optimizer", "weights"), [(False, False), (True, False), (True, True)])
def test_memory_is_what_deepspeed_estimates(optimizer: bool, weights: bool) -> None:
    """T5-3B of DeepSpeed's documentation: 6.10 GB for each of 8 GPUs, 0.79, 0.12 with offload."""
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs

    states = memory.states(
        sized(2851e6, largest=32e6),
        "zero3",
        8,
        optimizer_offloaded=optimizer,
        weights_offloaded=weights,
    )
    _, expected, _ = estimate_zero3_model_states_mem_needs(
        2851_000_000, 32_000_000, 8, cpu_offload=optimizer, cpu_offload_params=weights
    )
    assert states == expected
    documented = {(False, False): 6.10, (True, False): 0.79, (True, True): 0.12}
    assert states / 2**30 == pytest.approx(documented[optimizer, weights], abs=0.01)


def test_starcoder_is_counted_without_being_loaded() -> None:
    """15.5 billion parameters: 8 GPUs of 80 GB train all, a single GPU trains an adapter."""
    whole = memory.sizes(meta_model(AutoConfig.for_model("gpt_bigcode", **STARCODER), 49156))
    assert whole.parameters == 15_517_480_960
    on_eight = memory.states(whole, "zero3", 8) + memory.activations(whole, 4, 1024, True)
    assert 35 < on_eight / 2**30 < 45
    assert memory.states(whole, "ddp", 8) / 2**30 > 200
    adapter = sized(whole.parameters, 55e6)
    assert memory.states(adapter, "single", 1, frozen_bytes=memory.FOUR_BIT) / 2**30 < 10


MEASURED = [  # GiB at the peak of 24 steps on an H100; the largest step had `tokens` tokens
    ("single", {}, 6528, 12.70),
    ("single", {"packing": 2048, "training": {"gradient_checkpointing": True}}, 4096, 5.34),
    ("fsdp", {}, 6528, 11.33),
    ("zero3", {}, 6528, 12.05),
    ("zero3", {"deepspeed": "trainer/zero3_cpu_offload.json"}, 6528, 8.73),
    ("single", {"adapter": "lora"}, 6528, 10.48),
    ("single", {"adapter": "qlora"}, 6528, 11.96),
]


@pytest.mark.parametrize(("strategy", "values", "tokens", "peak"), MEASURED)
def test_the_estimate_is_near_what_was_measured(
    strategy: str,
    values: dict[str, Any],
    tokens: int,
    peak: float,
    sample: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A Llama of 231 million parameters. Gradients come after the peak, so the peak is lower."""
    monkeypatch.chdir(ROOT)
    training = {"bf16": True, **values.get("training", {})}
    given = recipe(sample, tmp_path, **{"deepspeed": None, **values, "training": training})
    trained = 4_655_104 if "adapter" in values else 230_720_512
    sizes = memory.Sizes(230_720_512, trained, 50_331_648, 16, 1024, 16, 49152)
    estimate = memory.estimate(given, sizes, strategy, 1, tokens)
    assert peak < (estimate.states + estimate.activations) / 2**30 < 1.25 * peak + 0.5


def test_the_estimate_is_what_a_step_keeps() -> None:
    """A real model after a real step: the bytes of its weights, gradients and Adam's moments."""
    shape = AutoConfig.for_model("gpt_bigcode", n_layer=2, n_head=2, n_embd=64, vocab_size=300)
    network = AutoModelForCausalLM.from_config(shape)
    optimizer = torch.optim.AdamW(network.parameters())
    ids = torch.tensor([[1, 2, 3]])
    network(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    parameters = list(network.parameters())
    moments = [
        state[key] for state in optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")
    ]
    gradients = [weight.grad for weight in parameters if weight.grad is not None]
    tensors = [*parameters, *gradients, *moments]
    held = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert held == memory.states(memory.sizes(network), "single", 1)


def test_an_adapter_is_counted_as_it_will_be_made(sample: Path, tmp_path: Path) -> None:
    prepared = run.prepare(recipe(sample, tmp_path, adapter="lora"), ALONE)
    sizes = preflight._sizes(prepared)
    network = run.load_network(prepared)
    assert sizes.trained == memory.trained(network)
    added = sizes.trained
    assert sizes.parameters == sum(parameter.numel() for parameter in network.parameters()) - added


MIXTURE = {
    "model_type": "mixtral",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "num_local_experts": 2,
    "max_position_embeddings": 2048,
}


@pytest.mark.parametrize(
    ("model", "adapter", "words"),
    [
        (TINY, {}, "(dropout 0.05)"),
        (MIXTURE, {}, "(dropout 0)"),
        (MIXTURE, {"lora_dropout": 0.1}, "set adapter.lora_dropout to 0"),
    ],
)
def test_an_adapter_has_the_dropout_that_peft_has_for_the_model(
    sample: Path, tmp_path: Path, model: dict[str, Any], adapter: dict[str, Any], words: str
) -> None:
    made = recipe(sample, tmp_path, model={"config": model}, adapter={"kind": "lora", **adapter})
    assert words in lines(preflight.check(run.prepare(made, ALONE)))["model"]


def test_offloaded_states_leave_the_device(sample: Path, tmp_path: Path) -> None:
    sizes = sized(2851e6, largest=32e6)
    for path in ("trainer/zero3_bf16.json", "trainer/zero3_cpu_offload.json"):
        values = recipe(sample, tmp_path, deepspeed=path, training={"bf16": True})
        estimate = memory.estimate(values, sizes, "zero3", 8, 1024)
        assert estimate.states + estimate.offloaded == memory.states(sizes, "zero3", 8)
    assert estimate.states == 4 * sizes.largest


def test_checkpointing_and_eager_attention_are_in_the_estimate() -> None:
    sizes = memory.Sizes(1, 1, 1, layers=40, hidden=6144, heads=48, vocabulary=49156)
    assert memory.activations(sizes, 4, 1024, True) < memory.activations(sizes, 4, 1024, False) / 5
    kept = memory.activations(sizes, 4, 1024, False)
    assert memory.activations(sizes, 4, 1024, False, eager=True) > kept


# ----------------------------------------------------------------------------------- all checks


def lines(findings: preflight.Findings) -> dict[str, str]:
    return dict(findings.lines)


def test_a_run_without_problems_passes(sample: Path, tmp_path: Path) -> None:
    prepared = run.prepare(recipe(sample, tmp_path), ALONE)
    findings = preflight.check(prepared)
    preflight.refuse(findings)
    assert lines(findings)["strategy"] == "single, 1 rank"
    train = prepared.source.manifest.splits.train
    text = f"{train.tokens:,} in the train split, {train.trained_tokens:,} of them trained"
    assert text in lines(findings)["tokens"]
    assert lines(findings)["schedule"].startswith("22 steps of 1 rows")
    assert not (tmp_path / "out").exists()


def test_all_problems_are_reported_at_once(sample: Path, tmp_path: Path) -> None:
    values = {"strategy": "ddp", "training": {"save_steps": 500}}
    findings = preflight.check(run.prepare(recipe(sample, tmp_path, **values), ALONE))
    with pytest.raises(ChatdataError) as caught:
        preflight.refuse(findings)
    assert "needs a launcher" in str(caught.value)
    assert "save_steps is 500" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["tokens/train-00000-of-00001.parquet", "tokenizer/tokenizer.json"]
)
def test_files_that_are_not_those_of_the_manifest_are_refused(
    name: str, sample: Path, tmp_path: Path
) -> None:
    shutil.copytree(sample, tmp_path / "copy")
    prepared = run.prepare(recipe(tmp_path / "copy", tmp_path), ALONE)
    path = tmp_path / "copy" / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ChatdataError, match=f"{path.name}' is not the file that the manifest"):
        preflight.refuse(preflight.check(prepared))


def test_a_template_that_is_not_the_datasets_is_refused(sample: Path, tmp_path: Path) -> None:
    prepared = run.prepare(recipe(sample, tmp_path), ALONE)
    prepared.tokenizer.chat_template += " "
    with pytest.raises(ChatdataError, match="chat template is not that of the dataset"):
        preflight.refuse(preflight.check(prepared))
    prepared = run.prepare(recipe(sample, tmp_path), ALONE)
    prepared.tokenizer.eos_token = "<|user|>"
    with pytest.raises(ChatdataError, match="end token is not the token that ends turns"):
        preflight.refuse(preflight.check(prepared))


def test_a_model_that_is_too_short_for_the_rows_is_refused(sample: Path, tmp_path: Path) -> None:
    short = {"model": {"config": {**TINY, "n_positions": 512}}}
    findings = preflight.check(run.prepare(recipe(sample, tmp_path, **short), ALONE))
    with pytest.raises(ChatdataError, match=r"longest row has 677 tokens and the model has 512"):
        preflight.refuse(findings)


def test_a_name_that_cannot_be_pushed_to_is_refused(sample: Path, tmp_path: Path) -> None:
    prepared = run.prepare(recipe(sample, tmp_path), ALONE, repo="my-model")
    with pytest.raises(ChatdataError, match="write org/name"):
        preflight.refuse(preflight.check(prepared))


# ------------------------------------------------------------------------------ the first batch


def test_the_first_batch_is_the_one_that_trainer_takes(sample: Path, tmp_path: Path) -> None:
    training = {"per_device_train_batch_size": 3, "seed": 5}
    prepared = run.prepare(recipe(sample, tmp_path, training=training), ALONE)
    trainer = make_trainer(
        prepared, run.load_network(prepared), strategy.arguments(prepared.config, ALONE)
    )
    batch = next(iter(trainer.get_train_dataloader()))
    first = preflight.first_batch(prepared)
    for row, ids, labels in zip(first, batch["input_ids"], batch["labels"], strict=True):
        assert ids[: len(row["input_ids"])].tolist() == row["input_ids"]
        assert labels[: len(row["labels"])].tolist() == row["labels"]


def shown(prepared: run.Run, **options: Any) -> str:
    console = Console(width=200, highlight=False, **options)
    with console.capture() as captured:
        preflight.show_batch(prepared, console)
    return captured.get()


def test_the_first_batch_is_shown_with_what_is_trained(sample: Path, tmp_path: Path) -> None:
    prepared = run.prepare(recipe(sample, tmp_path, training={"seed": 1}), ALONE)
    (row,) = preflight.first_batch(prepared)
    trained = [label for label in row["labels"] if label != -100]
    answer = prepared.tokenizer.decode(trained)
    text = shown(prepared)
    assert f"<|assistant|>\n⟦{answer}⟧" in text
    assert f"{len(trained)} of {len(row['labels'])} tokens trained" in text
    coloured = shown(prepared, force_terminal=True, color_system="standard")
    for line in answer.splitlines():
        assert not line or f"\x1b[32m{line}" in coloured


def test_control_characters_are_not_printed(sample: Path, tmp_path: Path) -> None:
    prepared = run.prepare(recipe(sample, tmp_path), ALONE)
    ids = prepared.tokenizer("\x1b[2Jhi\x07").input_ids
    text = preflight._coloured({"input_ids": ids, "labels": ids}, prepared.tokenizer, plain=True)
    assert text.plain == "⟦�[2Jhi�⟧"


# --------------------------------------------------------------------------------------- dry run


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(main, [str(RECIPE), *arguments])


def test_a_dry_run_reports_everything_and_writes_nothing(sample: Path, tmp_path: Path) -> None:
    settings = ["--set", f"dataset={sample}", "--set", f"output={tmp_path / 'out'}"]
    done = invoke(*settings, "--dry-run", "--ranks", "8")
    assert done.exit_code == 0, done.output
    assert "zero3, 8 ranks" in done.output
    assert "⟦" in done.output
    assert not list(tmp_path.iterdir())


def test_a_dry_run_that_finds_a_problem_ends_with_1(sample: Path, tmp_path: Path) -> None:
    settings = ["--set", f"dataset={sample}", "--set", f"output={tmp_path / 'out'}"]
    done = invoke(*settings, "--set", "training.save_steps=500", "--dry-run", "--ranks", "2")
    assert done.exit_code == 1
    assert "save_steps is 500 and the run has 30 steps" in done.output


def test_options_that_need_another_option() -> None:
    assert invoke("--ranks", "2").exit_code == 2
    assert invoke("--public").exit_code == 2


# ----------------------------------------------------------------------------- earlier checkpoints


def checkpoint(output: Path, step: int, ranks: int = 1, whole: bool = True) -> None:
    folder = output / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    names = ["rng_state.pth"] if ranks == 1 else [f"rng_state_{i}.pth" for i in range(ranks)]
    for name in names:
        torch.save({}, folder / name)
    (folder / "optimizer.pt").write_bytes(b"")
    if whole:
        (folder / "trainer_state.json").write_text("{}")


def test_the_newest_complete_checkpoint_is_resumed_from(tmp_path: Path) -> None:
    for step in (5, 10, 100):
        checkpoint(tmp_path, step, ranks=2, whole=step < 100)
    assert checkpoints.choose(tmp_path, 2)[0] == tmp_path / "checkpoint-10"
    cut_off = tmp_path / "checkpoint-10" / "rng_state_1.pth"
    cut_off.write_bytes(cut_off.read_bytes()[:100])
    assert checkpoints.choose(tmp_path, 2)[0] == tmp_path / "checkpoint-5"
    (tmp_path / "checkpoint-5" / "rng_state_0.pth").unlink()
    assert checkpoints.choose(tmp_path, 2)[0] is None


@pytest.mark.parametrize(
    ("resume", "changes", "words"),
    [
        (False, {}, "continue from them with --resume"),
        (True, {"training": {"seed": 3}}, "of a run with another 'training.seed'"),
        (True, {"model": {"config": {**TINY, "n_embd": 32}}}, "with another 'model.config.n_embd'"),
        (True, {"training": {"save_steps": 2}, "report_to": []}, None),
    ],
)
def test_a_run_resumes_from_its_own_checkpoints_alone(
    resume: bool, changes: dict[str, Any], words: str | None, sample: Path, tmp_path: Path
) -> None:
    first = run.prepare(recipe(sample, tmp_path), ALONE)
    checkpoints.begin(first.output, first.started())
    checkpoint(first.output, 5)
    prepared = run.prepare(recipe(sample, tmp_path, **changes), ALONE, resume)
    if words is None:
        assert "continues from" in lines(preflight.check(prepared))["output"]
        assert prepared.checkpoint() == str(first.output / "checkpoint-5")
        return
    with pytest.raises(ChatdataError) as caught:
        preflight.refuse(preflight.check(prepared))
    assert words in str(caught.value)


def test_a_folder_without_a_model_is_not_pushed(tmp_path: Path) -> None:
    with pytest.raises(ChatdataError, match="holds no model that this trainer saved"):
        upload.upload(tmp_path, "org/name")


def test_a_folder_without_an_adapter_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(ChatdataError, match="holds no adapter"):
        adapters.load(tmp_path)


@pytest.mark.parametrize("key", ["packing", "tree_packing"])
def test_a_layout_is_checked_and_shown_as_it_will_be_trained(
    key: str, sample: Path, tmp_path: Path
) -> None:
    shutil.copytree(sample, tmp_path / "copy")
    repack(tmp_path / "copy", 2048)
    training = {"per_device_train_batch_size": 2, "seed": 1}
    values = {key: True, "training": training, "report_to": []}  # TensorBoard would write here
    prepared = run.prepare(recipe(tmp_path / "copy", tmp_path, **values), ALONE)
    shown_lines = lines(preflight.check(prepared))
    sequences = len(prepared.layout.items)  # type: ignore[arg-type]
    assert shown_lines["layout"] == prepared.layout.summary
    assert shown_lines["schedule"].startswith(f"{-(-sequences // 2)} steps of 2 sequences")
    trainer = make_trainer(
        prepared, run.load_network(prepared), strategy.arguments(prepared.config, ALONE)
    )
    batch = next(iter(trainer.get_train_dataloader()))
    for row, ids in zip(preflight.first_batch(prepared), batch["input_ids"], strict=True):
        assert ids[: len(row["input_ids"])].tolist() == row["input_ids"]
    assert "⟧" in shown(prepared)
    before = trainer.evaluate()["eval_loss"]
    assert before == pytest.approx(5.6, abs=0.1)  # of rows, padded: as without a layout


@pytest.mark.slow
def test_one_row_and_no_test_split_are_enough(tmp_path: Path) -> None:
    """StarChat alpha's code needs three rows, and a split with the name `train`."""
    messages = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4."}]
    (tmp_path / "own.jsonl").write_text(json.dumps({"messages": messages}))
    (tmp_path / "own.yaml").write_text(
        "name: own\nversion: 1.0.0\nsource: {jsonl: {files: [own.jsonl]}}\n"
        "split: {test_percent: 0}\nrender: {template: starchat, tokenizer: bytes}\n"
    )
    build_dataset(load_recipe(tmp_path / "own.yaml"), tmp_path / "data")
    train(recipe(tmp_path / "data", tmp_path))
    description = json.loads((tmp_path / "out" / "chatdata.json").read_text())
    assert (description["run"]["steps"], description["results"]) == (1, {})
    assert "On the test split" not in (tmp_path / "out" / "README.md").read_text()
