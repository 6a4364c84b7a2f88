"""HumanEval: functions that a model writes, run in the sandbox."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("torch")

from chatdata.core.errors import ConfigError, OutputError, SourceError
from tests.support import assistant, benchmarks
from tests.support.later import need
from tests.support.sandboxes import sandbox_or_skip
from trainer.chat.generation import ChatModel
from trainer.chat.prompt_window import TemplateWriter
from trainer.evaluation import batches, sandbox
from trainer.evaluation.__main__ import main
from trainer.evaluation.benchmarks import harness, humaneval
from trainer.evaluation.benchmarks.harness import Model
from trainer.evaluation.benchmarks.humaneval import Completion, Problem, Run, Settings

need("lm_eval")

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

HELPER = "import math\n\n\ndef half(x):\n    return x / 2\n\n\n"
PROBLEMS = [
    Problem(
        "Test/0",
        f'{HELPER}def root(x):\n    """The root of half of x."""\n',
        "root",
        "def check(candidate):\n    assert candidate(8) == 2\n",
    ),
    Problem(
        "Test/1",
        'def nothing():\n    """Returns nothing."""\n',
        "nothing",
        "def check(candidate):\n    assert candidate() is None\n",
    ),
]
BODY = "    return math.sqrt(half(x))\n"
WHOLE = f"def root(x):\n{BODY}"


def passes(text: str, *, is_templated: bool, problem: Problem = PROBLEMS[0]) -> bool:
    sandbox_or_skip()
    code = humaneval.program(problem, text, is_templated)
    return sandbox.run(code, test=humaneval.check(problem)).passed


@pytest.mark.parametrize(
    ("text", "is_templated"),
    [
        (BODY, False),
        (f"Here:\n\n```python\n{WHOLE}```\nIt takes the root.", True),  # its helper was given
        (f"```\n{HELPER}{WHOLE}```", True),
        (f"```python\nroot(1)\n```\nBetter:\n```python\n{WHOLE}", True),  # the last, and never shut
        (f"```python\n{BODY}```", True),  # the body alone
        (WHOLE, True),  # no block
    ],
)
def test_right_functions_pass_however_they_are_written(text: str, is_templated: bool) -> None:
    assert passes(text, is_templated=is_templated)
    assert not passes(text.replace("half(x)", "x"), is_templated=is_templated)


def test_problems_are_read_from_both_kinds_of_file(tmp_path: Path) -> None:
    text = "".join(json.dumps(problem._asdict()) + "\n" for problem in PROBLEMS)
    (tmp_path / "a").mkdir()
    with gzip.open(tmp_path / "a" / "HumanEval.jsonl.gz", "wt") as file:
        file.write(text)
    plain = tmp_path / "b.jsonl"
    plain.write_text(text)
    assert humaneval.read(humaneval.find(tmp_path), None) == PROBLEMS
    assert humaneval.read(humaneval.find(plain), 1) == PROBLEMS[:1]
    plain.write_text(text + '{"task_id": 1}\n')
    with pytest.raises(SourceError, match="line 3: no task_id, prompt, entry_point and test"):
        humaneval.read(plain, None)
    with pytest.raises(ConfigError, match=r"has no HumanEval\.jsonl"):
        humaneval.find(tmp_path / "c")


def test_the_real_problems_pass_with_their_solutions(real_data: Path) -> None:
    path = humaneval.find(real_data / "eval")
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    problems = humaneval.read(path, None)
    assert len(problems) == 164
    helped = ["HumanEval/32", "HumanEval/38", "HumanEval/50"]  # their prompts have a helper
    for row, problem in zip(rows, problems, strict=True):
        if problem.task_id in ("HumanEval/0", *helped):
            solution = row["canonical_solution"]
            head = problem.prompt[problem.prompt.rindex(f"def {problem.entry_point}(") :]
            assert passes(solution, is_templated=False, problem=problem)
            fenced = f"```python\n{head}{solution}```"
            assert passes(fenced, is_templated=True, problem=problem)


def test_a_first_space_is_indentation(real_data: Path) -> None:
    """Decoded alone, the first word of a SentencePiece tokenizer loses its space."""
    network, tokenizer = harness.generation.load(str(real_data / "models" / "stories260K"), None)
    chat_model = ChatModel(network, tokenizer, Completion(tokenizer))
    prompt = tokenizer.encode("def f():\n")
    whole = tokenizer.encode("def f():\n    return 1\nprint(2)")
    assert whole[: len(prompt)] == prompt
    assert not tokenizer.decode(whole[len(prompt) :]).startswith("    return")
    text = humaneval._text(chat_model, prompt, whole[len(prompt) :])
    assert text == "    return 1"  # up to a string that ends functions


@pytest.fixture(scope="module")
def chat_model(sample: Path) -> ChatModel:
    tokenizer = benchmarks.tokenizer(sample / "tokenizer")
    model = Model(benchmarks.network(tokenizer), tokenizer, 8)
    return ChatModel(model.model, tokenizer, TemplateWriter(tokenizer))


def drawn(chat_model: ChatModel, journal: Path, samples: int = 3, seed: int = 0) -> Any:
    settings = Settings(samples, 1.0, 8, seed)
    return Run(chat_model, PROBLEMS, settings, is_templated=True, batch_size=2).answers(journal)


def test_samples_differ_and_are_drawn_again_by_their_seed(
    chat_model: ChatModel, tmp_path: Path
) -> None:
    made = drawn(chat_model, tmp_path / "a")
    assert sorted(made) == [(p.task_id, number) for p in PROBLEMS for number in range(3)]
    assert len(set(made.values())) == 6
    assert drawn(chat_model, tmp_path / "b") == made
    assert drawn(chat_model, tmp_path / "c", seed=1) != made
    few = drawn(chat_model, tmp_path / "d", samples=2)
    assert few == {key: text for key, text in made.items() if key[1] < 2}


def test_a_run_that_was_killed_draws_the_same(
    chat_model: ChatModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = drawn(chat_model, tmp_path / "a")
    generate, sizes = batches.generate, []

    def killed(*arguments: Any) -> Any:
        sizes.append(len(arguments[2]))
        if len(sizes) == 2:
            raise KeyboardInterrupt
        return generate(*arguments)

    monkeypatch.setattr(batches, "generate", killed)
    with pytest.raises(KeyboardInterrupt):
        drawn(chat_model, tmp_path / "b")
    assert drawn(chat_model, tmp_path / "b") == made
    assert len(sizes) == 1 + 1 + 2


def judged(journal: Path, texts: Sequence[str]) -> list[dict[str, Any]]:
    made = {(PROBLEMS[0].task_id, number): text for number, text in enumerate(texts)}
    settings = Settings(len(texts), 0.8, 8, 0)
    nobody: Any = None  # has answered already
    return Run(nobody, PROBLEMS[:1], settings, is_templated=False).judge(made, journal)


def test_what_could_not_be_run_is_not_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox_or_skip()
    (row,) = judged(tmp_path / "a", [BODY, "    return 1\n"])
    assert row["statuses"] == ["passed", "failed"]
    assert row["metrics"] == {"pass@1": 0.5}
    monkeypatch.setattr(sandbox, "run", lambda *_, **__: sandbox.Ran("not_run", error="busy"))
    assert judged(tmp_path / "a", [BODY, "    return 1\n"]) == [row]  # known, and not run again
    with pytest.raises(OutputError, match="could not be run"):
        judged(tmp_path / "b", [BODY])


def test_pass_at_k_stands_beside_the_tasks(sample: Path, tmp_path: Path) -> None:
    """A model that answers `print(6 * 7)` writes a function that returns nothing."""
    sandbox_or_skip()
    model = assistant.tuned(sample / "tokenizer", tmp_path / "model")
    data, out = benchmarks.task(tmp_path / "data"), tmp_path / "out"
    text = "".join(json.dumps(problem._asdict()) + "\n" for problem in PROBLEMS)
    (data / "HumanEval.jsonl").write_text(text)
    arguments = ["benchmark", model, "--data", data, "--tasks", "humaneval,letters", "--out", out]
    arguments += ["--samples", 10, "--max-new-tokens", 16, "--temperature", 0.1]
    done = CliRunner().invoke(main, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    results = json.loads((out / "results.json").read_text())
    runs = {(run["task"], run["template"]): run for run in results["runs"]}
    assert {task for task, _ in runs} == {"humaneval", "letters"}
    chat = runs["humaneval", True]
    assert {name: value["value"] for name, value in chat["metrics"].items()} == {
        "pass@1": 0.5,
        "pass@10": 0.5,
    }
    assert (chat["n"], chat["identity"]["drawing"]["samples"]) == (2, 10)
    (row,) = [row for row in results["comparisons"] if row["metric"] == "pass@1"]
    assert row["n"] == 2
    assert "pass@1" in (out / "results.md").read_text()
    (path,) = out.glob("runs/*/humaneval.template.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows[0]["responses"] == [assistant.ANSWER] * 10
    assert set(rows[1]["statuses"]) == {"passed"}
    assert not list(out.glob("runs/*/*.journal*"))


def test_a_base_model_goes_on_from_the_head_of_a_function(sample: Path, tmp_path: Path) -> None:
    """Its second problem does not fit its context, which is said."""
    sandbox_or_skip()
    tokenizer = benchmarks.tokenizer(sample / "tokenizer")
    tokenizer.chat_template = None
    made = benchmarks.network(tokenizer, end=None, max_position_embeddings=200)
    made.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    long = PROBLEMS[0]._replace(task_id="Test/9", prompt=HELPER * 9 + PROBLEMS[0].prompt)
    rows = [PROBLEMS[0]._asdict(), long._asdict()]
    file = tmp_path / "HumanEval.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["--tasks", "humaneval", "--data", file, "--max-new-tokens", 8]
    arguments = ["benchmark", tmp_path / "base", *arguments, "--out", tmp_path / "out"]
    done = CliRunner().invoke(main, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    assert "warning, empty_answers: 1 of 2 requests" in done.output
    (run,) = json.loads((tmp_path / "out" / "results.json").read_text())["runs"]
    assert (run["template"], run["metrics"]["pass@1"]["value"]) == (False, 0.0)
