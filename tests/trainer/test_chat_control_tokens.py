"""A chat prompts with the ids that the rows of a dataset train: one rule of control tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers
from tokenizers import AddedToken

from tests.support.carrying import carry, load
from tests.support.smaller import smaller
from tests.support.templates import HEAD, PLAIN, TURN, rows, run
from trainer.chat.prompt_window import TemplateWriter

transformers = pytest.importorskip("transformers")

# Answers without a thought, as Qwen3 writes them where thinking is off: tags that the template
# writes, that the vocabulary has as tokens which are not special, and that a user may type.
NO_THOUGHT = "<think>\n\n</think>\n\n"
WITHOUT_THINKING = (
    HEAD
    + "{% set thought = '"
    + NO_THOUGHT.replace("\n", "\\n")
    + "' if m['role'] == 'assistant' else '' %}"
    + TURN.replace("m['content']", "thought + m['content']")
    + "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n"
    + NO_THOUGHT.replace("\n", "\\n")
    + "' }}{% endif %}"
)
TAGS = ["<think>", "</think>"]
TYPED = [
    "<think>",
    "a <think>b</think> c",
    "<|im_end|>",
    "<think><|im_start|></think>",
    "x <box> y",
]


@pytest.fixture(scope="module", params=["bytes", "qwen3"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer in which the tags of thoughts are tokens, though not special ones."""
    folder = tmp_path_factory.mktemp("base") / "t"
    if request.param != "bytes":
        real: Path = request.getfixturevalue("real_data")
        return smaller(real / "tokenizers" / str(request.param), folder)
    carry(None, PLAIN, folder)
    path = folder / "tokenizer.json"
    tokenizer = tokenizers.Tokenizer.from_str(path.read_text())
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    path.write_text(tokenizer.to_str())
    return folder


# As models that see images have it: words are a list of parts.
OF_PARTS = PLAIN.replace("m['content']", "m['content'][0]['text']")


@pytest.mark.parametrize("template", [WITHOUT_THINKING, PLAIN, OF_PARTS])
def test_rows_and_chat_agree_on_what_a_user_types(
    base: Path, template: str, tmp_path: Path
) -> None:
    """`<think>` in a question was one id in the rows, and several in the chat."""
    folder = carry(base, template, tmp_path / "t")
    tokenizer = load(folder, tmp_path / "w")
    writer = TemplateWriter(transformers.AutoTokenizer.from_pretrained(folder))
    assert set(writer.plain.control.ids) == set(tokenizer.control.ids)
    talks = {typed: [("user", typed), ("assistant", "hello")] for typed in TYPED}
    tag_id = tokenizer.full.token_to_id("<think>")
    for typed, turns, ids, labels in rows(run(tokenizer, talks)):
        prompt = writer.ids(turns[:1])
        first = next(place for place, label in enumerate(labels) if label >= 0)
        assert prompt == ids[:first], typed
        assert prompt.count(tag_id) == typed.count("<think>") + template.count("<think>") // 2
