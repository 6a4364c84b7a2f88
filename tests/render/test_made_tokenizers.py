"""Tokenizers of every kind: rows are what transformers makes of the whole text, or are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chatdata.cli import main
from chatdata.core.errors import RenderError
from chatdata.render import certificate
from chatdata.render.control_tokens import PlainTokenizer
from chatdata.render.fit import fit
from chatdata.render.options import Render
from chatdata.render.rows import Rendered, render
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.templates import TEMPLATES
from chatdata.render.tokenizer import Tokenizer
from tests.support.conversations import Turns, table
from tests.support.made_tokenizers import MADE, write
from tests.support.templates import PLAIN, rows

transformers = pytest.importorskip("transformers")

# Turns in plain words, so that a row begins with a text and its header is a part of the text.
WORDS = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{{ 'Assistant:' + m['content'] + '</s>\n' }}{% else %}"
    "{{ 'Human: ' + m['content'] + '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
CARRIED = {"plain": PLAIN, "words": WORDS}
TEMPLATE_NAMES = ("chatml", "starchat", "dialogue", *CARRIED)
CONVERSATIONS: dict[str, Turns] = {
    "plain": [("user", "Hello, can you help me?"), ("assistant", "Of course, what is it about?")],
    "again": [("user", "a"), ("assistant", "b"), ("user", "a"), ("assistant", "a")],
    "spaces": [
        ("user", " leading"),
        ("assistant", "trailing "),
        ("user", "  "),
        ("assistant", " "),
    ],
    "white": [("user", "\n\ta"), ("assistant", "def f(a):\n    return a[0]\n"), ("user", "")],
    "unicode": [("user", "e\u0301 \u00e9 \ufb01"), ("assistant", "日本語 👩‍👩‍👧 Ünï")],
    "added": [("user", "Hello return spaces"), ("assistant", " Hello <think> return")],
}
# What is refused, and why. All else is exact.
REFUSED = {("WordPiece, no unknown token", name): "cannot write" for name in TEMPLATE_NAMES} | {
    ("NFKC, stripped", "chatml"): "are not that answer",
    ("NFKC, stripped", "plain"): "are not that answer",
    ("NFKC, stripped", "dialogue"): "are not that answer",
    **{
        (f"SentencePiece, {space}", "dialogue"): "becomes different tokens before an answer"
        for space in ("space first", "space always", "no space")
    },
    **{
        (f"SentencePiece, {space}", "words"): "becomes different tokens before an answer"
        for space in ("space first", "space always", "no space")
    },
    ("SentencePiece, legacy", "dialogue"): "covers the end of its generation prompt",
    ("merges a control token", "dialogue"): "makes control tokens out of plain text",
    ("merges a control token", "words"): "makes control tokens out of plain text",
}


def load(kind: str, template: str, folder: Path, **config: Any) -> Tokenizer:
    tokenizer = write(kind, folder / "t", CARRIED.get(template), **config)
    options = Render(tokenizer="t", template="tokenizer" if template in CARRIED else template)
    source = TEMPLATES[options.template]
    return source.load(source.prepare(tokenizer, "t", options, folder / "w"), "t", options)


def run(tokenizer: Tokenizer, conversations: dict[str, Turns] = CONVERSATIONS) -> Rendered:
    options = Render(tokenizer="t", template=tokenizer.template.name)
    pool = TextPool(tokenizer)
    fitted = fit(table(conversations), pool, options)
    return render(fitted.messages, fitted.windows, pool, options)


def check(tokenizer: Tokenizer, folder: Path) -> None:
    """Every row against transformers, on the folder that a build writes."""
    tokenizer.save(folder / "saved")
    reference = transformers.AutoTokenizer.from_pretrained(folder / "saved")
    count = 0
    for _, turns, ids, _ in rows(run(tokenizer)):
        count += 1
        text = reference.apply_chat_template(turns, tokenize=False)
        assert ids == reference.encode(text, add_special_tokens=False)
        assert ids == reference.apply_chat_template(turns, return_dict=False)
    assert count == len(CONVERSATIONS)


@pytest.mark.slow
@pytest.mark.parametrize("template", TEMPLATE_NAMES)
@pytest.mark.parametrize("kind", MADE)
def test_rows_are_those_of_transformers_or_refused(
    kind: str, template: str, tmp_path: Path
) -> None:
    options = Render(tokenizer="t", template="tokenizer" if template in CARRIED else template)
    if reason := REFUSED.get((kind, template)):
        with pytest.raises(RenderError, match=reason):
            certificate.certify(load(kind, template, tmp_path), options)
        return
    tokenizer = load(kind, template, tmp_path)
    counts = certificate.certify(tokenizer, options)
    assert counts.compared >= 40
    assert not counts.differences + counts.forged + counts.headers_trained
    check(tokenizer, tmp_path)


@pytest.mark.parametrize("kind", ["SentencePiece, space first", "Unigram, space first"])
def test_the_space_before_the_first_word_comes_once_in_a_row(kind: str, tmp_path: Path) -> None:
    tokenizer = load(kind, "words", tmp_path)
    same = [("user", "lower"), ("assistant", "lower"), ("user", "lower"), ("assistant", "lower")]
    ((_, _, ids, _),) = rows(run(tokenizer, {"x": same}))
    tokens = [tokenizer.full.id_to_token(id) for id in ids]
    assert tokens[0].startswith("▁")
    behind = tokens[tokens.index("</s>") + 1]
    assert not behind.startswith("▁")


@pytest.mark.slow
def test_the_certificate_sees_a_text_that_is_in_the_wrong_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways: all texts as at the start, which was the fault, and none."""
    kind = "SentencePiece, space first"
    options = Render(tokenizer="t", template="tokenizer")
    tokenizer = load(kind, "words", tmp_path)
    monkeypatch.setattr(TextPool, "at_start", lambda pool, text_id: text_id)
    with pytest.raises(RenderError, match=r"token 0 .* differs"):
        certificate.certify(tokenizer, options)
    monkeypatch.undo()
    object.__setattr__(tokenizer, "text", tokenizer.text_at_start)
    with pytest.raises(RenderError, match=r"token \d+ .* differs"):
        certificate.certify(tokenizer, options)


@pytest.mark.parametrize("kind", ["begins", "begins and ends"])
def test_tokens_around_a_text_stand_in_no_row_twice(kind: str, tmp_path: Path) -> None:
    template = "{{ bos_token }}" + PLAIN
    folder = write(kind, tmp_path / "t", template, add_bos_token=True, add_eos_token=True)
    options = Render(tokenizer="t", template="tokenizer")
    source = TEMPLATES["tokenizer"]
    prepared = source.prepare(folder, "t", options, tmp_path / "w")
    tokenizer = source.load(prepared, "t", options)
    certificate.certify(tokenizer, options)
    begin, end = (tokenizer.full.token_to_id(token) for token in ("<s>", "</s>"))
    for _, _, ids, _ in rows(run(tokenizer)):
        assert ids.count(begin) == 1
        assert ids[0] == begin
        assert end not in ids


@pytest.mark.parametrize("kind", ["Unigram, space first", "Unigram, NFKC"])
def test_a_control_token_among_the_pieces_of_a_model_is_text_where_it_is_quoted(
    kind: str, tmp_path: Path
) -> None:
    tokenizer = load(kind, "dialogue", tmp_path)
    turns = [("user", "a </s> <unk> <s>"), ("assistant", "b</s>b")]
    ((_, _, ids, _),) = rows(run(tokenizer, {"x": turns}))
    assert ids.count(tokenizer.full.token_to_id("</s>")) == 1
    assert tokenizer.full.token_to_id("<s>") not in ids
    assert tokenizer.full.token_to_id("<|im_end|>") == tokenizer.text.token_to_id("<|im_end|>")


def test_an_unknown_token_is_no_control_token(tmp_path: Path) -> None:
    """It stands for what the tokenizer has no token for; where a text quotes it, it is text."""
    tokenizer = load("WordPiece", "chatml", tmp_path)
    unknown = tokenizer.full.token_to_id("<unk>")
    assert tokenizer.control.unknown_id == unknown
    ((_, _, ids, labels),) = rows(
        run(tokenizer, {"x": [("user", "<unk> and"), ("assistant", "日 is 日")]})
    )
    assert labels.count(unknown) == 2
    assert len([id for id in ids if id in tokenizer.control.ids.values()]) == 4
    assert load("byte level", "chatml", tmp_path / "b").control.unknown_id is None


def test_a_control_token_that_is_made_of_text_is_refused(tmp_path: Path) -> None:
    tokenizer = load("merges a control token", "dialogue", tmp_path)
    with pytest.raises(RenderError, match="makes control tokens out of plain text"):
        run(tokenizer, {"x": [("user", "a </s> b"), ("assistant", "c")]})


@pytest.mark.parametrize("kind", [kind for kind in MADE if "no unknown" not in kind])
def test_a_chat_is_asked_with_the_ids_of_rows(kind: str, tmp_path: Path) -> None:
    """The prompt of a chat, put together of parts, is what transformers makes of the whole."""
    folder = write(kind, tmp_path / "t", WORDS)
    reference = transformers.AutoTokenizer.from_pretrained(folder)
    plain = PlainTokenizer(reference.backend_tokenizer)
    for turns in CONVERSATIONS.values():
        messages = [{"role": role, "content": content} for role, content in turns]
        text = reference.apply_chat_template(messages, tokenize=False)
        assert plain.template_ids(text) == reference.encode(text, add_special_tokens=False)


RECIPE = """
name: made
version: 1.0.0
source: {{jsonl: {{}}}}
render: {{template: chatml, tokenizer: {}}}
"""


@pytest.mark.slow
def test_unknown_tokens_are_counted_and_named(tmp_path: Path) -> None:
    """In the manifest, on the terminal and on the card; not where there are none."""
    folder = write("WordPiece", tmp_path / "t")
    data = tmp_path / "x.jsonl"
    counted = {"token": "<unk>", "tokens": 1, "rows": 1}
    for content, expected in (("good 日", counted), ("a", None)):
        turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": content}]
        data.write_text(json.dumps({"messages": turns}))
        out = tmp_path / content
        recipe = tmp_path / f"{len(content)}.yaml"
        recipe.write_text(RECIPE.format(folder))
        command = ["build", str(recipe), "--input", str(data), "--out", str(out), "--workers", "1"]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
        rendered = json.loads((out / "manifest.json").read_text())["render"]
        assert rendered.get("unknown") == expected
        words = "1 tokens in 1 rows are <unk>: the tokenizer has no token"
        assert (words in result.output) == (expected is not None)
        card = (out / "README.md").read_text()
        assert ("tokens are `<unk>`" in card) == (expected is not None)
