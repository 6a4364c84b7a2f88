"""The trainer: strict recipes, the rows as they are, and a real ZeRO-3 run on two CPU ranks."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq

from chatdata import build_dataset, load_recipe
from chatdata.core import constants
from chatdata.core.errors import ChatdataError
from chatdata.dataset import manifest, reader, renderings
from chatdata.dataset.renderings import Rendering
from tests.support.commands import run
from tests.support.forked_ranks import ForkedRanks
from tests.support.later import need
from trainer import config, train
from trainer.data import dataset
from trainer.model import load
from trainer.run import log, model_card

need("deepspeed")

pytestmark = pytest.mark.filterwarnings("ignore")  # other people's deprecations

ROOT = Path(__file__).parent.parent.parent
RECIPE = ROOT / "recipes" / "train" / "sample.yaml"
TINY = {"model_type": "gpt_bigcode", "n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 2048}


# ------------------------------------------------------------------------------------ recipes


@pytest.mark.parametrize("path", sorted((ROOT / "recipes" / "train").glob("*.yaml")), ids=str)
def test_every_train_recipe_parses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert config.load(path).output


def test_the_articles_settings_are_those_of_its_recipe() -> None:
    recipe = config.load(ROOT / "recipes" / "train" / "starchat-alpha.yaml")
    training = recipe.training
    assert (recipe.model.path, recipe.strategy) == ("bigcode/starcoderbase", "zero3")
    assert (training.per_device_train_batch_size, training.gradient_accumulation_steps) == (4, 8)
    assert (training.learning_rate, training.lr_scheduler_type) == (2e-5, "cosine")
    assert (training.warmup_steps, training.num_train_epochs) == (0.03, 3)
    assert training.bf16
    assert training.gradient_checkpointing


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("trainng.seed=1", "unknown key 'trainng'; did you mean 'training'?"),
        ("training.learing_rate=1e-3", "unknown key 'learing_rate'; did you mean 'learning_rate'?"),
        ("training.bf16='false'", "'training.bf16' is 'false'"),
        ("training.bf16=0", "'training.bf16' is 0"),
        ("training.max_steps=1.5", "'training.max_steps' is 1.5"),
        ("training.lr_scheduler_type=cosin", "'training.lr_scheduler_type' is 'cosin'"),
        ("model={}", "set `path`, a model to fine-tune, or `config`"),
        ("model={config: {n_layer: 1}}", "needs a `model_type`"),
        ("allow_moving_revision=1", "'allow_moving_revision' is 1"),
        ("deepspeed=none.json", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(setting: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ChatdataError) as caught:
        config.load(RECIPE, [setting])
    assert words in str(caught.value)


def test_false_is_false(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    loaded = config.load(RECIPE, ["training.bf16=false", "training.learning_rate=2e-5"])
    assert loaded.training.bf16 is False
    assert loaded.training.learning_rate == 2e-5


def test_a_deepspeed_file_may_not_replace_the_scheduler(tmp_path: Path, real_data: Path) -> None:
    """The configuration of StarChat alpha has one: its cosine was never used."""
    old = real_data / "zero3-configs" / "starcoder_chat_z3_bf16.json"
    with pytest.raises(ChatdataError, match="has a `scheduler`"):
        config.load(RECIPE, [f"deepspeed={old}"])


# ---------------------------------------------------------------------------- data and model


@pytest.fixture(scope="module")
def rendering(sample: Path) -> Rendering:
    return dataset.find(str(sample)).rendering


@pytest.fixture(scope="module")
def tokenizer(sample: Path, rendering: Rendering) -> Any:
    return load.load_tokenizer(sample, rendering)


def test_rows_are_taken_as_they_are(sample: Path, rendering: Rendering) -> None:
    rows = dataset.load_tokens(sample, rendering, "train")
    table = reader.scan(sample, "tokens", ["train"]).collect()
    assert rows is not None
    assert rows["input_ids"][:] == table["input_ids"].to_list()
    assert rows["labels"][:] == table["labels"].to_list()
    assert dataset.lengths(rows).tolist() == list(rows["length"]) == table["length"].to_list()


def test_a_dataset_without_tokens_is_refused(tmp_path: Path) -> None:
    build_dataset(load_recipe("sample", ["render=null"]), tmp_path / "o")
    with pytest.raises(ChatdataError, match="holds messages and no tokens"):
        dataset.find(str(tmp_path / "o"))


def test_padding_is_never_trained_nor_seen(
    sample: Path, rendering: Rendering, tokenizer: Any
) -> None:
    rows = dataset.load_tokens(sample, rendering, "train")
    assert rows is not None
    first_rows = [{key: rows[i][key] for key in dataset.COLUMNS} for i in range(4)]
    batch = DataCollatorForSeq2Seq(tokenizer)([dict(row) for row in first_rows])
    for row, ids, mask, labels in zip(
        first_rows, batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True
    ):
        size = len(row["input_ids"])
        assert ids[:size].tolist() == row["input_ids"]
        assert labels[:size].tolist() == row["labels"]
        assert set(mask[size:].tolist()) <= {0}
        assert set(labels[size:].tolist()) <= {constants.IGNORE_INDEX}


def test_the_loss_is_that_of_the_trained_tokens(
    sample: Path, rendering: Rendering, tokenizer: Any
) -> None:
    network = load.load_model(config.Model(config=TINY), tokenizer, seed=0).eval()
    rows = dataset.load_tokens(sample, rendering, "train")
    assert rows is not None
    first_rows = [{key: rows[i][key] for key in dataset.COLUMNS} for i in range(3)]
    batch = DataCollatorForSeq2Seq(tokenizer)(first_rows)
    with torch.no_grad():
        output = network(**batch)
    logits, labels = output.logits[:, :-1], batch["labels"][:, 1:]
    trained = labels != constants.IGNORE_INDEX
    loss = torch.nn.functional.cross_entropy(logits[trained].float(), labels[trained])
    assert torch.isclose(output.loss, loss, rtol=1e-4)
    assert int(trained.sum()) == sum(_trained(row) for row in first_rows)


def _trained(row: dict[str, list[int]]) -> int:
    return sum(label != constants.IGNORE_INDEX for label in row["labels"])


def test_the_tokenizer_ends_turns_and_carries_the_template(
    tokenizer: Any, rendering: Rendering, sample: Path
) -> None:
    assert tokenizer.eos_token == "<|end|>"
    assert tokenizer.pad_token == "<|endoftext|>"
    assert tokenizer.chat_template == rendering.entry.template.jinja
    message_rows = reader.scan(sample, "messages", ["train"]).collect().to_dicts()
    token_rows = reader.scan(sample, "tokens", ["train"]).collect().to_dicts()
    for message_row, token_row in zip(message_rows, token_rows, strict=True):
        if not any("<|" in message["content"] for message in message_row["messages"]):
            ids = tokenizer.apply_chat_template(message_row["messages"], return_dict=False)
            assert ids == token_row["input_ids"]


def test_a_tokenizer_that_does_not_fit_the_rows_is_refused(
    sample: Path,
) -> None:
    moved = manifest.read(sample).as_json()
    moved["render"]["tokenizer"]["control_ids"]["<|end|>"] += 1
    with pytest.raises(ChatdataError, match=r"'<\|end\|>' is 260"):
        load.load_tokenizer(sample, renderings.of(manifest.parsed(moved)))


def test_new_embeddings_do_not_depend_on_earlier_random_numbers(
    real_data: Path, tokenizer: Any
) -> None:
    stories = config.Model(path=str(real_data / "models" / "stories260K"))
    digests = set()
    for draws in (0, 1, 2):
        for _ in range(draws):
            torch.rand(1000)
        digests.add(load.embedding_digest(load.load_model(stories, _larger(tokenizer), seed=3)))
    assert len(digests) == 1


def _larger(tokenizer: Any) -> Any:
    tokenizer.add_tokens([f"extra-{i}" for i in range(300)])
    return tokenizer


def test_options_that_a_model_does_not_have_are_refused(tokenizer: Any) -> None:
    with pytest.raises(ChatdataError, match="no option 'n_layers'"):
        load.load_model(config.Model(config={**TINY, "n_layers": 3}), tokenizer, seed=0)
    with pytest.raises(ChatdataError, match=r"model\.config"):
        load.load_model(config.Model(config={"model_type": "gtp"}), tokenizer, seed=0)
    with pytest.raises(ChatdataError, match="cannot be loaded"):
        load.load_model(config.Model(path="/nowhere"), tokenizer, seed=0)


def test_rows_that_are_longer_than_the_model_are_refused(tokenizer: Any) -> None:
    network = load.load_model(config.Model(config=TINY), tokenizer, seed=0)
    load.check_lengths(network.config, 2048)
    with pytest.raises(ChatdataError, match=r"render\.max_tokens=2048"):
        load.check_lengths(network.config, 2049)


@pytest.mark.slow
def test_ranks_that_would_start_apart_are_stopped(two_ranks: ForkedRanks, tmp_path: Path) -> None:
    two_ranks.finish(tmp_path, {"compared": {"digests": [["a", "a"], ["a", "b"]]}})
    for rank in (0, 1):
        same, apart = json.loads((tmp_path / f"rank-{rank}.json").read_text())["compared"]
        assert same == "same"
        assert "differ" in apart


# ------------------------------------------------------------------------------- real ZeRO-3


def readme_lines(language: str = "sh") -> list[str]:
    """The commands of the guide to training."""
    section = (ROOT / "docs" / "training.md").read_text()
    return [
        line
        for block in section.split(f"```{language}\n")[1:]
        for line in block.split("```")[0].splitlines()
    ]


# Forks a process for each ending, which prints into files that are named by its number.
ENDING = """
import atexit, os, signal, sys
from chatdata.core import interrupts
from trainer.run import strategy
class Left:
    def __del__(self): print("taken apart")
def end(number, ending):
    for descriptor, name in (1, "out"), (2, "err"):
        os.dup2(os.open(f"{number}.{name}", os.O_WRONLY | os.O_CREAT), descriptor)
    def command(): print("done"); exec(ending)
    strategy.run_to_the_end(lambda: interrupts.run(command))
left = Left()
atexit.register(print, "closed")
for number, ending in enumerate(sys.argv[1:]):
    if not (process := os.fork()): end(number, ending)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
os._exit(0)
"""
ENDINGS = {
    "pass": 0,
    "raise SystemExit(3)": 3,
    "raise ValueError('why')": 1,
    "os.kill(os.getpid(), signal.SIGINT)": 130,
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, subprocess.CompletedProcess[str]]:
    """What became of a process by the way in which its command ends."""
    folder = tmp_path_factory.mktemp("ended")
    command = [sys.executable, "-c", ENDING, *ENDINGS]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    codes = subprocess.check_output(command, cwd=folder, env=environment, text=True).split()
    return {
        end: subprocess.CompletedProcess(
            end, int(code), *((folder / f"{number}.{name}").read_text() for name in ("out", "err"))
        )
        for number, (end, code) in enumerate(zip(ENDINGS, codes, strict=True))
    }


@pytest.mark.slow
@pytest.mark.parametrize(("end", "code"), ENDINGS.items())
def test_a_rank_ends_with_its_status_without_a_shutdown_of_the_interpreter(
    end: str, code: int, ended: dict[str, subprocess.CompletedProcess[str]]
) -> None:
    """Threads of PyTorch that outlived the interpreter now and then ended a rank by SIGABRT."""
    done = ended[end]
    assert (done.returncode, done.stdout) == (code, "done\nclosed\n")
    assert ("ValueError: why" in done.stderr) == (code == 1)
    assert ("Aborted!" in done.stderr) == (code == 130)
    assert ("Traceback" in done.stderr) == (code == 1)


def parsed(line: str) -> list[Any]:
    """The recipe of a launch, its settings, and its DeepSpeed file where it names one."""
    options = shlex.split(line.partition("-m trainer.train ")[2])
    parameters = train.main.make_context("train", options).params
    return [str(parameters["recipe"]), parameters["settings"], parameters["deepspeed"]]


@pytest.mark.parametrize("line", [line for line in readme_lines("bash") if "trainer.train" in line])
def test_commands_for_many_gpus_are_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    loaded = config.load(*parsed(line))
    assert loaded.model.path == "bigcode/starcoderbase"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a checkout and can be written to."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("trainer", "recipes"):
        (folder / name).symlink_to(ROOT / name)
    return folder


# A third of the recipe's steps, of half as many rows, which go three times as far.
FEW_STEPS = (
    " --set training.max_steps=10 --set training.per_device_train_batch_size=2"
    " --set training.learning_rate=3e-3"
)


@pytest.fixture(scope="module")
def trained(checkout: Path) -> Path:
    """The model that the README's first commands train, and measure."""
    build, launch, measure = readme_lines()[:3]
    for line in (build, launch + FEW_STEPS, measure):
        run(line, checkout)
    return checkout / "out" / "sample-model"


SHORT = 400  # characters of a message: rows are short, and steps are quick


def write_short_messages(validation: Path, folder: Path) -> None:
    """Writes 200 real messages as `en.jsonl`: they are short, as are all before them."""
    kept: dict[str, str] = {}
    for line in validation.read_text().splitlines():  # a message stands behind its parent
        message = json.loads(line)
        is_reached = message["parent_id"] is None or message["parent_id"] in kept
        if is_reached and len(message["text"]) <= SHORT:
            kept[message["message_id"]] = line
    lines = list(kept.values())[:200]
    assert len(lines) == 200
    (folder / "en.jsonl").write_text("\n".join(lines) + "\n")


@pytest.mark.slow
def test_a_real_model_is_tuned_as_the_readme_says(
    checkout: Path, real_data: Path, two_ranks: ForkedRanks, tmp_path: Path
) -> None:
    write_short_messages(real_data / "oasst1-validation-en" / "en-validation.jsonl", checkout)
    (checkout / "MODEL").symlink_to(real_data / "models" / "stories260K")
    *prepare, launch = readme_lines()[3:]
    for line in prepare:
        run(line, checkout)
    recipe, settings, deepspeed = parsed(launch)
    quick = ["training.max_steps=4", "training.learning_rate=1e-3"]
    job = {"recipe": recipe, "settings": [*settings, *quick], "deepspeed": deepspeed}
    two_ranks.finish(tmp_path, {"tuned": job}, cwd=checkout)
    log = (checkout / "out" / "own-model" / "metrics.jsonl").read_text().splitlines()
    losses = [entry["eval_loss"] for entry in map(json.loads, log) if "eval_loss" in entry]
    assert losses[-1] < losses[0]
    network = AutoModelForCausalLM.from_pretrained(checkout / "out" / "own-model")
    tuned = AutoTokenizer.from_pretrained(checkout / "out" / "own-model")
    assert network.get_input_embeddings().num_embeddings == len(tuned) == 516


def test_zero_3_on_two_ranks_and_the_loss_falls(trained: Path) -> None:
    description = json.loads((trained / "chatdata.json").read_text())
    assert description["run"] == {"steps": 10, "ranks": 2, "zero_stage": 3}
    log = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    tests = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    assert losses[-1] < 0.7 * losses[0]
    assert tests[-1] < 0.7 * tests[0]


def test_the_saved_model_loads_generates_and_stops(
    trained: Path, sample: Path, rendering: Rendering
) -> None:
    network = AutoModelForCausalLM.from_pretrained(trained)
    saved = AutoTokenizer.from_pretrained(trained)
    stop = rendering.entry.tokenizer.control_ids["<|end|>"]
    assert saved.chat_template == rendering.entry.template.jinja
    assert saved.eos_token_id == stop == network.generation_config.eos_token_id
    assert network.config.use_cache
    assert network.get_input_embeddings().num_embeddings == len(saved)
    prompt = saved.apply_chat_template(
        [{"role": "user", "content": "Hello?"}], add_generation_prompt=True, return_tensors="pt"
    )
    answer = network.generate(**prompt, max_new_tokens=5, do_sample=False)
    assert answer.shape[1] > prompt["input_ids"].shape[1]


def test_generation_ends_at_the_stop_token(trained: Path, rendering: Rendering) -> None:
    """A model that can only generate the stop token generates a single token."""
    network = AutoModelForCausalLM.from_pretrained(trained)
    stop = rendering.entry.tokenizer.control_ids["<|end|>"]
    with torch.no_grad():
        head = torch.nn.Linear(network.config.hidden_size, network.config.vocab_size)
        head.weight.zero_()
        head.bias.copy_(torch.nn.functional.one_hot(torch.tensor(stop), len(head.bias)).float())
    network.lm_head = head
    answer = network.generate(torch.tensor([[1, 2, 3]]), max_new_tokens=9, do_sample=False)
    assert answer[0, 3:].tolist() == [stop]


def test_the_saved_model_names_its_data(trained: Path, rendering: Rendering) -> None:
    description = json.loads((trained / "chatdata.json").read_text())
    data = description["dataset"]
    assert data["content_hash"] == rendering.content_hash
    assert data["stop_ids"] == [260]
    assert data["chat_template"] == rendering.entry.template.jinja
    assert (
        description["results"]["after"]["bits_per_byte"]
        < description["results"]["before"]["bits_per_byte"]
    )
    assert (data["name"], data["version"], data["stop"]) == ("sample", "1.0.0", "<|end|>")


def test_the_card_of_a_model_is_made_of_its_description(
    trained: Path, request: pytest.FixtureRequest
) -> None:
    """A golden file that a human can read, without versions and numbers of the run."""
    text = (trained / "README.md").read_text()
    plain = re.sub(r"(?<=## Versions\n\n).*?(?=\. The recipe)", "VERSIONS", text)
    plain = re.sub(r"sha256:[0-9a-f]{64}", "HASH", plain)
    plain = re.sub(r"\b\d\.\d{4}\b", "N", plain)
    golden = Path(__file__).parent.parent / "golden" / "model_card.md"
    if request.config.getoption("--update-golden"):
        golden.write_text(plain)
    assert plain == golden.read_text()


def test_the_card_says_whether_the_loss_is_weighed(trained: Path) -> None:
    description = json.loads((trained / "chatdata.json").read_text())
    assert "is weighed" not in model_card.text(description, "x")
    description["dataset"]["weighted_messages"] = 12
    assert "12 messages weigh anything but 1" in model_card.text(description, "x")


@pytest.mark.parametrize(("loss", "lines"), [(0.0, 0), (2.5, 1)])
def test_a_run_that_is_resumed_behind_its_end_reports_no_loss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], loss: float, lines: int
) -> None:
    entry = {"train_loss": loss, "step": 14}
    state = SimpleNamespace(is_world_process_zero=True, log_history=[entry], max_steps=14)
    log.Report(tmp_path).on_log(SimpleNamespace(disable_tqdm=True), state, None)
    assert len(capsys.readouterr().err.splitlines()) == lines


def test_a_run_saves_its_metrics(trained: Path) -> None:
    assert (trained / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert list((trained / "runs").rglob("events.out.tfevents.*"))
    steps = [json.loads(line)["step"] for line in (trained / "metrics.jsonl").open()]
    assert steps == sorted(steps)


def test_errors_of_the_trainer_are_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(train.main, [str(RECIPE), "--set", f"dataset={tmp_path}"])
    assert (done.exit_code, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "is not a finished build" in line
