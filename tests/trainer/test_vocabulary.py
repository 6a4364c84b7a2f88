"""A model is trained on rows of its own tokenizer, or somebody has said that it need not be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GemmaTokenizer, PreTrainedTokenizerFast

from chatdata.core.errors import ChatdataError
from chatdata.render.probe_texts import PROBE_TEXTS
from tests.support import bases
from trainer import config, evaluate
from trainer.data import dataset
from trainer.model import load, vocabulary
from trainer.run import preflight, run, strategy

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # other people's deprecations


@pytest.fixture(scope="module")
def ours(sample: Path) -> Any:
    return load.load_tokenizer(sample, dataset.find(str(sample)).rendering)


def control(sample: Path) -> list[str]:
    return list(dataset.find(str(sample)).rendering.entry.tokenizer.control_ids)


def words(*vocabulary_: str) -> Any:
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(vocabulary_)}, "?"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="?")


def test_the_same_tokenizer_fits(sample: Path, ours: Any) -> None:
    assert vocabulary.first_difference(ours, ours, control(sample)) is None


def test_control_tokens_may_be_new_to_the_model() -> None:
    base, tuned = words("?", "a", "b"), words("?", "a", "b", "<|end|>")
    assert vocabulary.first_difference(base, tuned, ["<|end|>"]) is None
    assert "1 tokens more" in str(vocabulary.first_difference(base, tuned, []))


def test_control_tokens_that_a_text_quotes_may_be_new_too() -> None:
    """Those of ChatML, which the texts that are compared quote."""
    base, tuned = words("?", "a"), words("?", "a")
    tuned.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
    assert any("<|im_start|>" in text for text in PROBE_TEXTS)
    assert vocabulary.first_difference(base, tuned, ["<|im_start|>", "<|im_end|>"]) is None


def test_a_token_with_another_id_is_named() -> None:
    difference = vocabulary.first_difference(words("?", "a", "b"), words("?", "b", "a"), [])
    assert difference is not None
    assert difference.startswith("2 of 3 tokens have another id, the first of them 'a' (1 there, 2")


def test_another_cut_of_the_same_vocabulary_is_seen() -> None:
    base, cut = words("?", "Hello,"), words("?", "Hello,")
    cut.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    assert "Hello, can you help" in str(vocabulary.first_difference(base, cut, []))


def recipe(sample: Path, base: Path, out: Path, **more: Any) -> config.TrainConfig:
    values = {"dataset": str(sample), "model": {"path": str(base)}, "output": str(out), **more}
    return config.config.parse(config.TrainConfig, values, "test")


@pytest.mark.slow
def test_a_run_and_a_measure_of_another_vocabulary_are_refused(
    sample: Path, tmp_path: Path
) -> None:
    base = bases.save(sample, tmp_path / "base")
    words("?", *(f"w{n}" for n in range(256))).save_pretrained(base)
    made = recipe(sample, base, tmp_path / "out")
    findings = preflight.check(run.prepare(made, strategy.place()))
    (problem,) = findings.problems
    assert "is not that of the rows" in problem
    assert "allow_new_tokenizer" in problem
    allowed = recipe(sample, base, tmp_path / "out", allow_new_tokenizer=True)
    assert preflight.check(run.prepare(allowed, strategy.place())).problems == []
    with pytest.raises(ChatdataError, match="is not that of the rows"):
        evaluate.evaluate(str(base), str(sample))


@pytest.mark.slow
def test_a_base_without_a_tokenizer_is_compared_by_size_alone(sample: Path, tmp_path: Path) -> None:
    base = bases.save(sample, tmp_path / "base")
    findings = preflight.check(run.prepare(recipe(sample, base, tmp_path / "o"), strategy.place()))
    assert "has no tokenizer" in dict(findings.lines)["tokenizer"]
    assert findings.problems == []


def test_a_tokenizer_of_special_tokens_alone_is_none(tmp_path: Path) -> None:
    """As transformers makes one for a folder of a Gemma 2 without the files of a tokenizer."""
    GemmaTokenizer().save_pretrained(tmp_path)
    assert "has no tokenizer" in vocabulary.check(str(tmp_path), None, words("?", "a"), [])
