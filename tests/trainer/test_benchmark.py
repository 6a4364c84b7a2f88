"""Benchmarks of two small models: the numbers, the pairs, the folder, and runs that go on."""

from __future__ import annotations

import inspect
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("torch")

from huggingface_hub import ModelCard

from chatdata.core.errors import SourceError
from tests.support import benchmarks
from tests.support.later import Later, need
from trainer.evaluation import card
from trainer.evaluation.__main__ import main
from trainer.evaluation.benchmarks import checks, estimates, harness, plain_files, report, tasks

need("lm_eval")
yaml_loader = Later("lm_eval.tasks._yaml_loader")

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

TASKS = ["arc_challenge", "hellaswag", "mmlu", "truthfulqa_mc2"]
PAGE = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()
(COMMAND,) = re.findall(r"```sh\n(.+)\n```", PAGE)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["benchmark", *map(str, arguments)])


def of_page(models: tuple[Path, Path], data: Path, out: Path) -> list[str]:
    """The arguments of the page's command, with these in place of its names."""
    places = {
        "base": models[0],
        "out/tuned": models[1],
        "benchmarks": data,
        "out/benchmarked": out,
    }
    program, arguments = COMMAND.split(" benchmark ")
    assert program == "python -m trainer.evaluation"
    return [str(places.get(word, word)) for word in arguments.split()]


def read(out: Path) -> dict[str, Any]:
    return json.loads((out / "results.json").read_text())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def models(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A base model without a template, and one with a template and other weights."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("base", "tuned")):
        tokenizer = benchmarks.tokenizer(sample / "tokenizer")
        made = benchmarks.network(tokenizer, max_position_embeddings=1024)
        for weight in made.parameters():
            weight.data *= 1 + 0.3 * seed
        tokenizer.chat_template = tokenizer.chat_template if seed else None
        made.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder / "base", folder / "tuned"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return benchmarks.plain_files(tmp_path_factory.mktemp("data") / "plain")


@pytest.fixture(scope="module")
def ran(
    models: tuple[Path, Path], plain: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Result]:
    """A whole run of both models on all tasks, and what it printed."""
    out = tmp_path_factory.mktemp("runs") / "both"
    done = run(*of_page(models, plain, out))
    assert done.exit_code == 0, done.output
    return out, done


def test_both_models_are_measured_and_the_base_has_no_template(
    ran: tuple[Path, Result], models: tuple[Path, Path]
) -> None:
    out, done = ran
    results = read(out)
    asked = [(r["model"]["name"], r["template"], r["task"]) for r in results["runs"]]
    columns = [(models[0], False), (models[1], False), (models[1], True)]
    assert asked == [(str(model), how, task) for model, how in columns for task in TASKS]
    assert {r["n"] for r in results["runs"]} == {8}
    assert {(r["model"], r["template"]) for r in results["skipped"]} == {(str(models[0]), True)}
    assert "has no chat template: it is a base model" in done.output
    assert results["versions"]["lm_eval"] == results["settings"]["lm_eval"]
    by_task = {r["task"]: r for r in results["runs"]}
    assert [float(by_task[task]["version"]) for task in TASKS] == [1.0, 1.0, 2.0, 3.0]
    assert by_task["mmlu"]["identity"]["shots"] == {"mmlu_anatomy": 1, "mmlu_virology": 1}
    assert [by_task[task]["chance"] for task in TASKS] == [0.5, 0.25, 0.25, None]


def test_values_are_those_of_the_answers_in_the_folder(ran: tuple[Path, Result]) -> None:
    """Counted here from the log-likelihoods, and the standard error from its formula."""
    for result in read(ran[0])["runs"]:
        rows = lines(item_file(ran[0], result))
        scores: dict[str, list[float]] = {"acc": [], "acc_norm": []}
        for row in rows:
            sums = np.array([answer[0][0] for answer in row["answers"]], float)
            if result["task"] == "truthfulqa_mc2":
                right = np.array(row["doc"]["mc2_targets"]["labels"]) == 1
                scores["acc"].append(float(np.exp(sums)[right].sum() / np.exp(sums).sum()))
                continue
            texts = [answer.removeprefix(" ") for answer in row["asked"]]
            by_length = sums / np.array([len(text) for text in texts])
            target = int(row["target"])
            scores["acc"].append(float(sums.argmax() == target))
            scores["acc_norm"].append(float(by_length.argmax() == target))
        for name, value in result["metrics"].items():
            assert value["value"] == pytest.approx(np.mean(scores[name])), result["task"]
            assert value["mean_of_items"]
            error = np.std(scores[name], ddof=1) / np.sqrt(8)
            is_group = result["task"] == "mmlu"  # lm-eval pools the variances of the subjects
            assert value["standard_error"] == pytest.approx(error, rel=0.3 if is_group else 1e-6)


def item_file(out: Path, result: dict[str, Any]) -> Path:
    how = "template" if result["template"] else "plain"
    named = Path(result["model"]["name"]).name
    (path,) = out.glob(f"runs/*{named}-*/{result['task']}.{how}.jsonl")
    return path


def test_every_two_runs_are_compared_item_by_item(ran: tuple[Path, Result]) -> None:
    results = read(ran[0])
    runs = {(r["model"]["name"], r["template"], r["task"]): r for r in results["runs"]}
    assert len(results["comparisons"]) == 3 * 2 + 3 * 2 + 3 + 3  # pairs times metrics
    for compared in results["comparisons"]:
        values = []
        for side in (compared["first"], compared["second"]):
            key = (side["model"], side["template"], compared["task"])
            rows = lines(item_file(ran[0], runs[key]))
            values.append([row["metrics"][compared["metric"]] for row in rows])
        expected = estimates.compare(*values)
        assert compared["difference"] == pytest.approx(np.mean(values[1]) - np.mean(values[0]))
        assert compared["p"] == expected.p
        assert compared["n"] == 8


def test_the_table_of_differences_is_about_the_first_model(ran: tuple[Path, Result]) -> None:
    results = read(ran[0])
    shown = report.differences(results)
    assert shown.count("\n") == 1 + 3 * len(TASKS)
    for compared in results["comparisons"]:
        compared["first"]["model"] = "a third model"
    shown = report.differences(results)  # pairs of it with the tuned model are left out
    assert shown == ""
    for compared in results["comparisons"]:
        compared["second"]["model"] = results["runs"][0]["model"]["name"]
    assert report.differences(results).count("\n") == 1 + 3 * len(TASKS)


def test_the_template_writes_the_questions(ran: tuple[Path, Result]) -> None:
    for result in read(ran[0])["runs"]:
        first, *_ = lines(item_file(ran[0], result))
        prompt = first["prompt"]
        assert prompt.endswith("<|assistant|>\n") == result["template"]
        turns = prompt.count("<|assistant|>")
        shots = max(result["identity"]["shots"].values())
        assert turns == (shots + 1 if result["template"] else 0)
        assert first["asked"][0].startswith(" ") != result["template"]


def test_the_tables_and_the_card_say_the_same(ran: tuple[Path, Result]) -> None:
    out, done = ran
    text = (out / "results.md").read_text()
    for result in read(out)["runs"]:
        for value in result["metrics"].values():
            assert f"{value['value']:.4f} ± {value['standard_error']:.4f}" in text
    assert done.stdout.splitlines()[0] in text
    assert "`prompt_scored`" in text
    index = (out / "model-index.yaml").read_text()
    content = f"---\nlibrary_name: transformers\n{index}---\n{(out / 'card.md').read_text()}"
    listed = ModelCard(content).data.eval_results
    assert listed is not None
    assert {result.dataset_name for result in listed} == {
        f"{task} ({how})" for task in TASKS for how in ("plain", "chat template")
    }
    names = [path.name for path in out.iterdir()]
    assert str(Path.home()) not in text
    assert "settings.json" in names


def test_a_finished_run_is_not_run_again(
    ran: tuple[Path, Result],
    models: tuple[Path, Path],
    plain: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = ran[0]
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def never(*_: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(harness, "load", never)
    done = run(*of_page(models, plain, out))
    assert done.exit_code == 0, done.output
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_other_settings_data_and_models_are_refused(
    ran: tuple[Path, Result], models: tuple[Path, Path], plain: Path, tmp_path: Path
) -> None:
    whole = of_page(models, plain, ran[0])
    done = run(*whole, "--limit", 4)
    assert (done.exit_code, "limit was 50 and is 4; choose another --out" in done.output) == (
        1,
        True,
    )
    done = run(*whole, "--shots", 0)
    assert (done.exit_code, "other values of" in done.output, "shots was" in done.output) == (
        1,
        True,
        True,
    )
    shutil.copytree(plain, tmp_path / "plain")
    path = tmp_path / "plain" / "truthfulqa" / "TruthfulQA.csv"
    path.write_text(path.read_text().replace("Never", "Hardly"))
    out = tmp_path / "out"
    shutil.copytree(ran[0], out)
    chosen = ("--tasks", "truthfulqa_mc2")
    done = run(*of_page(models, tmp_path / "plain", out), *chosen)
    assert (done.exit_code, "data was" in done.output) == (1, True), done.output
    path = models[1] / "generation_config.json"
    before = path.read_bytes()
    path.write_text('{"eos_token_id": 0}')
    done = run(*of_page(models, plain, out), *chosen)
    assert (done.exit_code, "model was" in done.output) == (1, True), done.output
    path.write_bytes(before)


def test_a_run_that_was_killed_goes_on(
    models: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = benchmarks.task(tmp_path / "data")
    arguments = (models[0], models[1], "--data", data, "--tasks", "letters", "--shots", 2)
    assert run(*arguments, "--out", tmp_path / "whole").exit_code == 0
    real, asked = harness.run, []

    def killed(*given: Any, **options: Any) -> Any:
        asked.append(options["is_templated"])
        if len(asked) == 2:
            raise KeyboardInterrupt
        return real(*given, **options)

    monkeypatch.setattr(harness, "run", killed)
    run(*arguments, "--out", tmp_path / "cut")
    assert not (tmp_path / "cut" / "results.json").exists()
    done = run(*arguments, "--out", tmp_path / "cut")
    assert done.exit_code == 0, done.output
    assert asked == [False, False, False, True]
    whole, cut = ((tmp_path / name / "results.json").read_text() for name in ("whole", "cut"))
    assert whole == cut
    for path in (tmp_path / "whole").glob("runs/*/*.jsonl"):  # the examples are drawn by a seed
        again = tmp_path / "cut" / path.relative_to(tmp_path / "whole")
        assert path.read_bytes() == again.read_bytes()
    more = run(*arguments[1:], "--out", tmp_path / "cut")
    assert more.exit_code == 0
    assert len(asked) == 4
    assert len(read(tmp_path / "cut")["runs"]) == 3  # the folder still has the base model


def test_what_a_model_cannot_do_does_not_keep_the_rest(
    models: tuple[Path, Path], tmp_path: Path
) -> None:
    data = benchmarks.generating(tmp_path / "data", max_gen_toks=5000)
    benchmarks.task(data)
    arguments = (models[0], "--data", data, "--tasks", "writing,letters", "--out", tmp_path / "out")
    for _ in range(2):
        done = run(*arguments)
        assert done.exit_code == 1
        assert "1 runs failed: the task lets a model write 5000 tokens" in done.output
        results = read(tmp_path / "out")
        assert [r["task"] for r in results["runs"]] == ["letters"]
        (failure,) = results["failed"]
        assert failure["task"] == "writing"


def test_a_run_that_failed_at_once_leaves_no_settings(
    models: tuple[Path, Path], tmp_path: Path
) -> None:
    data, out = benchmarks.task(tmp_path / "data"), tmp_path / "out"
    done = run(models[0], "--data", data, "--tasks", "leters", "--limit", 3, "--out", out)
    assert done.exit_code == 1
    done = run(models[0], "--data", data, "--tasks", "letters", "--out", out)
    assert done.exit_code == 0, done.output


def test_a_generating_task_and_a_written_card(models: tuple[Path, Path], tmp_path: Path) -> None:
    data = benchmarks.generating(tmp_path / "data")
    done = run(models[1], "--data", data, "--tasks", "writing", "--out", tmp_path / "out", "--card")
    assert done.exit_code == 0, done.output
    (first, second) = read(tmp_path / "out")["runs"]
    assert list(first["metrics"]) == ["exact_match"]
    assert second["template"]
    text = (models[1] / card.FILE).read_text()
    assert (tmp_path / "out" / "card.md").read_text().strip() in text


@pytest.mark.parametrize("task", ["arc_challenge", "hellaswag", "truthfulqa_mc2", "mmlu_virology"])
def test_tasks_of_plain_files_ask_as_lm_eval_does(task: str, plain: Path, tmp_path: Path) -> None:
    """All but where the data is, is in the file as in lm-eval's own."""
    name = task if task in TASKS else "mmlu"
    plain_files.write(plain, [name], tmp_path / "tasks")
    made = yaml_loader.load_yaml(tmp_path / "tasks" / f"{task}.yaml")
    folder = tasks.LEADERBOARD[name].folder
    home = Path(tasks.lm_eval.__file__).parent / "tasks" / folder
    known = yaml_loader.load_yaml(home / f"{task}.yaml")
    about_data = ("dataset_path", "dataset_name", "dataset_kwargs", "fewshot_split")
    splits = ("training_split", "validation_split", "test_split")
    for values in (made, known):
        for key in (*about_data, *splits):
            values.pop(key, None)
        for key, value in values.items():
            values[key] = inspect.getsource(value) if callable(value) else value
    assert made == known


def test_plain_files_lose_nothing(plain: Path) -> None:
    assert plain_files.names(plain) == TASKS
    (arc, *_), (shots, *_) = plain_files._files(plain, "arc_challenge")
    items = list(plain_files._arc(arc))
    assert [item["question"] for item in items] == benchmarks.QUESTIONS
    right = [item["choices"]["label"].index(item["answerKey"]) for item in items]
    assert all(
        item["choices"]["text"][place] == "the next letter"
        for item, place in zip(items, right, strict=True)
    )
    assert 0 < sum(right) < 8  # in either place
    assert "Again?" in next(iter(plain_files._arc(shots)))["question"]
    (mmlu,) = plain.glob("mmlu/*")
    (question, *_) = plain_files._mmlu(mmlu)
    assert question["choices"] == ["one", "two", "three", "four"]
    assert question["question"] == benchmarks.QUESTIONS[0]


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("mmlu/a.jsonl", "{", "line 1: no JSON object"),
        ("mmlu/a.jsonl", '{"subject": "x", "input": "?", "output": "A"}', "answers A to D"),
        ("arc/arc_easy.jsonl", '{"a": 1}', "line 1 has not the keys query, choices, gold or"),
        ("truthfulqa/a.csv", "Question\nWhy?", "line 2: columns Question, Correct Answers"),
        (
            "mmlu/a.jsonl",
            '{"subject": "x", "input": "?\\nA. a\\nB. b\\nC. c\\nD. d\\nAnswer:", "output": "A"}',
            "lm-eval has no subject 'x'",
        ),
        ("hellaswag/a.jsonl", "", "has no items of hellaswag"),
    ],
)
def test_a_file_of_another_form_is_named(tmp_path: Path, path: str, text: str, words: str) -> None:
    (tmp_path / path).parent.mkdir()
    (tmp_path / path).write_text(text)
    with pytest.raises(SourceError, match=words):
        plain_files.write(tmp_path, plain_files.names(tmp_path), tmp_path / "out")


def test_without_a_network_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.settings, "endpoint", lambda: "http://127.0.0.1:9")
    done = run("model", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "the data of arc_challenge, hellaswag, mmlu, truthfulqa_mc2 is on the Hub" in done.output
    assert "--data DIR" in done.output


def test_without_a_number_the_usual_examples_are_taken_as_far_as_they_are_there(
    models: tuple[Path, Path], tmp_path: Path
) -> None:
    benchmarks.task(tmp_path / "a", "hellaswag")
    benchmarks.task(tmp_path / "a", "arc_challenge", num_fewshot=3)
    (tmp_path / "a" / "utils.py").write_text("")
    arguments = ("--data", tmp_path / "a", "--tasks", "hellaswag,arc_challenge")
    done = run(models[0], *arguments, "--chat-template", "no", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    by_task = {r["task"]: r for r in read(tmp_path / "out")["runs"]}
    assert by_task["hellaswag"]["identity"]["shots"] == {"hellaswag": 7}
    assert by_task["arc_challenge"]["identity"]["shots"] == {"arc_challenge": 3}
    assert "note: of the usual 10 examples fewer are there: hellaswag" in done.output
    assert done.output.count("may run its code: utils.py") == 2


def test_what_cannot_be_run_is_said(models: tuple[Path, Path], tmp_path: Path) -> None:
    data = benchmarks.task(tmp_path / "data")
    out = ("--out", tmp_path / "out")
    done = run(models[0], "--data", data, "--tasks", "leters", *out)
    assert "has no task 'leters'; there is letters" in done.output
    done = run(models[0], "--data", data, "--tasks", "letters", "--shots", 9, *out)
    assert "is to have 9 examples in front, and 7 are there; lower --shots" in done.output
    done = run(models[0], "--data", data, "--tasks", "letters", "--chat-template", "yes", *out)
    assert (done.exit_code, "nothing was measured" in done.output) == (1, True), done.output
    done = run(models[0], "--data", data, "--tasks", "letters", "--shots", "arc=1", *out)
    assert (done.exit_code, "is no TASK=N of a task in --tasks" in done.output) == (2, True)
    done = run(tmp_path / "none", "--data", data, "--tasks", "letters", *out)
    assert (done.exit_code, "cannot be loaded" in done.output) == (1, True), done.output


def test_the_page_has_a_task_that_runs_and_all_checks(
    models: tuple[Path, Path], tmp_path: Path
) -> None:
    (task,) = re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL)
    (tmp_path / "capitals.yaml").write_text(task)
    row = {"question": "The capital of France?", "choices": ["Rome", "Paris"], "right": 1}
    (tmp_path / "capitals.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    arguments = ("--data", tmp_path, "--tasks", "capitals", "--out", tmp_path / "out")
    done = run(models[0], *arguments)
    assert done.exit_code == 0, done.output
    assert read(tmp_path / "out")["runs"][0]["n"] == 2
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE.partition("## What is checked")[2], re.M))
    source = Path(str(checks.__file__)).read_text() + Path(str(harness.__file__)).read_text()
    assert named == set(re.findall(r'Warning\(\s*"(\w+)"', source))
