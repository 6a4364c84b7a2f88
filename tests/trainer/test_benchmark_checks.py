"""What lm-eval is about to ask, and what of it is noticed, each on a model for which it is so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from tokenizers.processors import TemplateProcessing

from chatdata.core.errors import ConfigError
from tests.support import benchmarks
from tests.support.later import need
from trainer.evaluation.benchmarks import harness, tasks
from trainer.evaluation.benchmarks.checks import Warning
from trainer.evaluation.benchmarks.harness import Model

need("lm_eval")

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

UNSURE = {"prompt_scored"}  # of a random model, which is sure of nothing


@pytest.fixture(scope="module")
def folder(sample: Path) -> Path:
    """The tokenizer of the sample, which writes bytes, and adds no begin token."""
    return sample / "tokenizer"


@pytest.fixture(scope="module")
def healthy(folder: Path) -> Model:
    tokenizer = benchmarks.tokenizer(folder)
    return Model(benchmarks.network(tokenizer), tokenizer, 8)


def noticed(
    model: Model, data: Path, *, is_templated: bool = False, shots: int = 0
) -> dict[str, Warning]:
    """The warnings of a run, by the name of the check; each is told before the model is asked."""
    (path,) = data.glob("*.yaml")
    (loaded,) = tasks.load([path.stem], {path.stem: shots}, data, data / "out")
    told: list[Warning] = []
    ran = harness.run(
        model, loaded, is_templated=is_templated, limit=None, system=None, tell=told.append
    )
    assert ran.warnings == told
    assert len({warning.check for warning in told}) == len(told)
    return {warning.check: warning for warning in told}


def test_nothing_is_noticed_where_nothing_is_wrong(healthy: Model, tmp_path: Path) -> None:
    assert not noticed(healthy, benchmarks.task(tmp_path / "a"))
    assert not noticed(healthy, benchmarks.task(tmp_path / "b"), shots=2)
    assert set(noticed(healthy, benchmarks.task(tmp_path / "c"), is_templated=True)) == UNSURE
    assert not noticed(healthy, benchmarks.generating(tmp_path / "d"))
    assert not noticed(healthy, benchmarks.generating(tmp_path / "e"), is_templated=True)


def begun(folder: Path, *begins: str, **options: Any) -> Any:
    """A tokenizer that puts tokens in front, and a template that does so, too."""
    tokenizer = benchmarks.tokenizer(folder, **options)
    tokenizer.add_special_tokens({"additional_special_tokens": list(begins)})
    ids = tokenizer.convert_tokens_to_ids(list(begins))
    processor = TemplateProcessing(
        single=" ".join([*begins, "$A"]), special_tokens=list(zip(begins, ids, strict=True))
    )
    tokenizer.backend_tokenizer.post_processor = processor
    tokenizer.chat_template = "".join(begins) + tokenizer.chat_template
    return tokenizer


def test_two_begin_tokens_are_seen(folder: Path, tmp_path: Path) -> None:
    """lm-eval looks for tokenizer.bos_token, so it adds a second where that is not set."""
    tokenizer = begun(folder, "<s>")
    model = Model(benchmarks.network(tokenizer), tokenizer, 8)
    seen = noticed(model, benchmarks.task(tmp_path / "a"), is_templated=True)
    assert seen["two_begin_tokens"][1:3] == (16, 16)
    assert "the model reads '<s>' twice in front" in seen["two_begin_tokens"].words
    assert not noticed(model, benchmarks.task(tmp_path / "b"))
    seen = noticed(model, benchmarks.generating(tmp_path / "c"), is_templated=True)
    assert seen["two_begin_tokens"][1:3] == (8, 8)
    two = begun(folder, "[mask]", "<sop>")
    model = Model(benchmarks.network(two), two, 8)
    seen = noticed(model, benchmarks.task(tmp_path / "e"), is_templated=True)
    assert "the model reads '[mask]<sop>' twice in front" in seen["two_begin_tokens"].words
    known = begun(folder, "<s>", bos_token="<s>")
    model = Model(benchmarks.network(known), known, 8)
    assert set(noticed(model, benchmarks.task(tmp_path / "d"), is_templated=True)) == UNSURE


def test_a_space_before_the_answer_to_a_template_is_seen(healthy: Model, tmp_path: Path) -> None:
    data = benchmarks.task(tmp_path, doc_to_choice=[" A", " B"])
    seen = noticed(healthy, data, is_templated=True)
    assert seen["delimiter"][1:3] == (16, 16)
    assert "' A' is scored with the token 'Ġ', and the template writes this answer with 'A'" in (
        seen["delimiter"].words
    )
    assert not noticed(healthy, data)


def test_no_space_before_the_answer_to_a_plain_question_is_seen(
    healthy: Model, tmp_path: Path
) -> None:
    data = benchmarks.task(tmp_path, target_delimiter="")
    seen = noticed(healthy, data)
    assert seen["delimiter"][1:3] == (16, 16)
    assert "Answer:yes" in seen["delimiter"].words
    assert set(noticed(healthy, data, is_templated=True)) == UNSURE


def test_a_token_over_the_end_of_a_question_is_seen(folder: Path, tmp_path: Path) -> None:
    tokenizer = benchmarks.tokenizer(folder)
    tokenizer.add_tokens(["er: no"])
    model = Model(benchmarks.network(tokenizer), tokenizer, 8)
    seen = noticed(model, benchmarks.task(tmp_path / "a", doc_to_choice=["nothing", "yes"]))
    assert set(seen) == {"boundary"}
    assert seen["boundary"][1:3] == (8, 16)
    assert "(in 'nswer: nothi')" in seen["boundary"].words
    with pytest.raises(ConfigError, match="nothing is left to score of the answer ' no'"):
        noticed(model, benchmarks.task(tmp_path / "b"))


def test_a_cut_beginning_is_seen(folder: Path, tmp_path: Path) -> None:
    tokenizer = benchmarks.tokenizer(folder)
    model = Model(benchmarks.network(tokenizer, max_position_embeddings=96), tokenizer, 8)
    assert not noticed(model, benchmarks.task(tmp_path / "a"))
    seen = noticed(model, benchmarks.task(tmp_path / "b"), shots=1)
    assert seen["truncated"][1:3] == (16, 16)
    assert "and 97 fit" in seen["truncated"].words
    seen = noticed(model, benchmarks.generating(tmp_path / "c", max_gen_toks=60))
    assert seen["truncated"][1:3] == (8, 8)
    with pytest.raises(ConfigError, match="lets a model write 96 tokens, and this model has 96"):
        noticed(model, benchmarks.generating(tmp_path / "d", max_gen_toks=96))
    with pytest.raises(ConfigError, match="an answer of the task has 201 tokens"):
        noticed(model, benchmarks.task(tmp_path / "e", doc_to_choice=["a" * 200, "b"]))


def test_the_scored_end_of_a_prompt_is_seen(healthy: Model, tmp_path: Path) -> None:
    """The number is the model's own, computed here from its logits."""
    import torch

    seen = noticed(healthy, benchmarks.task(tmp_path / "a"), is_templated=True)["prompt_scored"]
    by_sum = [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]
    data = benchmarks.task(tmp_path / "b", metric_list=by_sum)  # every answer has the same more
    assert not noticed(healthy, data, is_templated=True)
    costs = []
    for text in benchmarks.QUESTIONS:
        asked = [{"role": "user", "content": f"{text}\nAnswer:"}]
        prompt = healthy.tokenizer.apply_chat_template(
            asked, tokenize=False, add_generation_prompt=True
        )
        ids = torch.tensor([healthy.tokenizer.encode(prompt)])
        with torch.no_grad():
            logits = healthy.model(ids).logits[0, -2]
        costs.append(-float(logits.log_softmax(-1)[ids[0, -1]]))
    assert seen[1:3] == (16, 16)
    assert f"gives it {sum(costs) / len(costs):.2f} nats" in seen.words


def test_a_template_that_the_model_never_learnt_is_seen(folder: Path, tmp_path: Path) -> None:
    tokenizer = benchmarks.tokenizer(folder)
    model = Model(benchmarks.network(tokenizer, end="<|endoftext|>"), tokenizer, 8)
    seen = noticed(model, benchmarks.task(tmp_path / "a"), is_templated=True)
    assert set(seen) == {"template_of_another", *UNSURE}
    assert "ends a turn with '<|end|>', which is no end token of the model" in (
        seen["template_of_another"].words
    )
    assert not noticed(model, benchmarks.task(tmp_path / "b"))
    seen = noticed(model, benchmarks.generating(tmp_path / "c"), is_templated=True)
    assert set(seen) == {"end_tokens"}
    stops = benchmarks.generating(tmp_path / "d", until=["<|end|>"])
    assert not noticed(model, stops, is_templated=True)


def test_answers_that_end_before_they_begin_are_seen(healthy: Model, tmp_path: Path) -> None:
    everything = [chr(code) for code in range(32, 127)] + ["\n", "\t"]
    seen = noticed(healthy, benchmarks.generating(tmp_path, until=everything))
    assert "empty_answers" in seen


def test_ids_that_the_model_does_not_have_are_refused(folder: Path, tmp_path: Path) -> None:
    tokenizer = benchmarks.tokenizer(folder)
    network = benchmarks.network(tokenizer)
    tokenizer.add_tokens(["Which"])
    with pytest.raises(ConfigError, match="writes 'Which' as 261, and the model has 261 embed"):
        noticed(Model(network, tokenizer, 8), benchmarks.task(tmp_path))
