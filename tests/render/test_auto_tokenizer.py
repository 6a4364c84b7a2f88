"""The tokenizer of a build is the one that transformers makes of the same files."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models

from chatdata.cli import main
from chatdata.core.errors import RenderError
from chatdata.render import auto_tokenizer, control_tokens
from chatdata.render import tokenizer as tokenizers
from chatdata.render.options import Render
from chatdata.render.probe_texts import PROBE_TEXTS
from chatdata.render.templates import TEMPLATES
from tests.support.made_tokenizers import made, write
from tests.support.templates import PLAIN

transformers = pytest.importorskip("transformers")

NUMBERS = "12345 + 67"  # some classes cut digits apart, whatever tokenizer.json says
# The class that tokenizer_config.json names, and the kind of model that config.json names.
CLASSES = [
    ("Qwen2Tokenizer", None),
    ("Qwen2TokenizerFast", "qwen3"),
    ("PreTrainedTokenizerFast", "qwen2"),
    ("PreTrainedTokenizerFast", "llama"),
    ("LlamaTokenizerFast", "llama"),
    ("LlamaTokenizerFast", None),
    ("GPT2Tokenizer", "gpt2"),
    (None, "gpt_neox"),
    (None, "olmo3"),
]


def load(folder: Path, work: Path, template: str = "chatml") -> tokenizers.Tokenizer:
    options = Render(tokenizer="t", template=template)
    source = TEMPLATES[template]
    return source.load(source.prepare(folder, folder.name, options, work), folder.name, options)


def written(folder: Path, tokenizer_class: str | None, model: str | None, **config: Any) -> Path:
    write("byte level", folder, PLAIN, tokenizer_class=tokenizer_class, **config)
    if model is not None:
        (folder / "config.json").write_text(json.dumps({"model_type": model}))
    return folder


def ids(tokenizer: tokenizers.Tokenizer, text: str) -> list[int]:
    return list(tokenizer.full.encode(text, add_special_tokens=False).ids)


@pytest.mark.slow
@pytest.mark.parametrize(("tokenizer_class", "model"), CLASSES)
def test_every_template_has_the_ids_of_transformers(
    tokenizer_class: str | None, model: str | None, tmp_path: Path
) -> None:
    folder = written(tmp_path / "t", tokenizer_class, model)
    reference = transformers.AutoTokenizer.from_pretrained(folder)
    for template in ("chatml", "tokenizer"):
        tokenizer = load(folder, tmp_path / template, template)
        for text in (*PROBE_TEXTS, NUMBERS):
            assert ids(tokenizer, text) == reference.encode(text, add_special_tokens=False)
        tokenizer.save(tmp_path / f"saved-{template}")
        saved = transformers.AutoTokenizer.from_pretrained(tmp_path / f"saved-{template}")
        assert saved.encode(NUMBERS) == reference.encode(NUMBERS, add_special_tokens=False)
        file = (folder / "tokenizer.json").read_bytes()
        assert tokenizer.sha256 == hashlib.sha256(file).hexdigest()


def test_a_class_makes_other_ids_than_its_file(tmp_path: Path) -> None:
    """What the tests above would not see if transformers took every file as it is."""
    plain = load(written(tmp_path / "a", "TokenizersBackend", None), tmp_path / "wa")
    qwen = load(written(tmp_path / "b", "Qwen2Tokenizer", None), tmp_path / "wb")
    assert ids(plain, "a\nb  c 12") != ids(qwen, "a\nb  c 12") or ids(plain, "12") != ids(
        qwen, "12"
    )


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"tokenizer_class": None},
        {"tokenizer_class": "TokenizersBackend", "chat_template": PLAIN},
        {"extra_special_tokens": ["<|im_start|>"], "pad_token": {"content": "</s>"}},
    ],
)
def test_a_file_that_is_all_of_its_tokenizer_needs_no_transformers(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write("byte level", tmp_path / "t", **config)
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert auto_tokenizer.prepare(folder, "t", tmp_path / "w") == folder
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("config", "model", "what"),
    [
        ({"tokenizer_class": "Qwen2Tokenizer"}, None, "its class Qwen2Tokenizer decides"),
        ({"tokenizer_class": None}, "llama", "its config.json decides"),
        ({"pad_token": "<pad>"}, None, "decides"),
        ({"split_special_tokens": True}, None, "decides"),
    ],
)
def test_without_transformers_what_it_decides_is_refused(
    config: dict[str, Any],
    model: str | None,
    what: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = write("byte level", tmp_path / "t", **config)
    if model is not None:
        (folder / "config.json").write_text(json.dumps({"model_type": model}))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(RenderError, match=r"pip install 'transformers>=") as error:
        auto_tokenizer.prepare(folder, "t", tmp_path / "w")
    assert what in str(error.value)
    (folder / "tokenizer.json").rename(folder / "vocab.json")
    with pytest.raises(RenderError, match=r"has no tokenizer.json.*pip install 'transformers>="):
        auto_tokenizer.prepare(folder, "t", tmp_path / "w")


def test_tokens_that_a_configuration_adds_are_added(tmp_path: Path) -> None:
    folder = write("byte level", tmp_path / "t", pad_token="<pad>")
    reference = transformers.AutoTokenizer.from_pretrained(folder)
    text = "a<pad>b"
    assert ids(load(folder, tmp_path / "w"), text) == reference.encode(text)


def test_vocabulary_and_merges_are_enough(tmp_path: Path) -> None:
    folder = written(tmp_path / "t", "GPT2Tokenizer", "gpt2", unk_token="</s>")
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    lines = ["#version: 0.2", *(" ".join(merge) for merge in model["merges"])]
    (folder / "merges.txt").write_text("\n".join(lines))
    reference = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer = load(folder, tmp_path / "w")
    for text in PROBE_TEXTS:
        if "<|im_start|>" not in text:  # which the template adds here
            assert ids(tokenizer, text) == reference.encode(text, add_special_tokens=False)


def test_a_difference_is_named_and_refused(tmp_path: Path) -> None:
    """A tokenizer for which no text is a control token: transformers cuts them to pieces."""
    folder = write("byte level", tmp_path / "t", split_special_tokens=True)
    with pytest.raises(RenderError, match=r"transformers makes \[.*\] of '<s> </s>.*tokenizers"):
        auto_tokenizer.prepare(folder, "t", tmp_path / "w")


def test_what_transformers_cannot_load_is_refused_with_its_reason(tmp_path: Path) -> None:
    folder = write("byte level", tmp_path / "t", extra_special_tokens=7)
    with pytest.raises(RenderError, match="transformers cannot load tokenizer 't': "):
        auto_tokenizer.prepare(folder, "t", tmp_path / "w")


@pytest.mark.parametrize("template", ["chatml", "tokenizer"])
def test_a_folder_without_a_tokenizer_is_named(template: str, tmp_path: Path) -> None:
    folder = written(tmp_path / "t", None, "qwen2")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(RenderError, match=rf"'{folder}' holds no tokenizer.json; save"):
        load(folder, tmp_path / "w", template)


def test_a_repository_is_known_by_its_name(tmp_path: Path) -> None:
    """transformers takes the file of some repositories as it is, whatever the class."""
    folder = written(tmp_path / "t", "LlamaTokenizer", "llama")
    name = "deepseek-ai/deepseek-coder-1b@main"
    assert type(auto_tokenizer.load(folder, name)).__name__ == "TokenizersBackend"


def test_thousands_of_added_tokens_cost_next_to_nothing() -> None:
    """Gemma has 6,400: one by one they took 24 s."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.add_tokens([AddedToken(f"<unused{n}>", special=n % 2 == 0) for n in range(6400)])
    start = time.process_time()
    twin = control_tokens.text_only(tokenizer, ())
    assert time.process_time() - start < 2
    assert twin.get_vocab() == tokenizer.get_vocab()
    assert len(control_tokens.ControlTokens(tokenizer).ids) == 3200


@given(st.sets(st.text("<ab|>.*", min_size=1, max_size=6)), st.text("<ab|>.*", max_size=30))
def test_the_pattern_finds_the_longest_token_at_each_place(tokens: set[str], text: str) -> None:
    longest_first = sorted(tokens, key=lambda token: (-len(token), token))
    simple = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
    matches = control_tokens.control_pattern(tokens).finditer(text)
    assert [match.span() for match in matches] == [match.span() for match in simple.finditer(text)]


def test_the_probe_texts_tell_tokenizers_apart() -> None:
    kinds = ["byte level", "byte level, prefix space", "NFC", "lower case", "WordPiece"]
    kinds += ["SentencePiece, space first", "SentencePiece, no space", "Unigram, NFKC"]
    encoded = [
        [
            Tokenizer.from_str(made(kind)).encode(t, add_special_tokens=False).ids
            for t in PROBE_TEXTS
        ]
        for kind in kinds
    ]
    assert all(first != second for i, first in enumerate(encoded) for second in encoded[:i])


@pytest.mark.slow
@pytest.mark.parametrize("template", ["chatml", "tokenizer"])
def test_a_build_with_such_a_tokenizer_is_verified(template: str, tmp_path: Path) -> None:
    """Also built again: the recipe names the folder, whose class decides again."""
    folder = written(tmp_path / "t", "Qwen2Tokenizer", "qwen2")
    turns = [{"role": "user", "content": NUMBERS}, {"role": "assistant", "content": "12345"}]
    data, recipe, out = tmp_path / "x.jsonl", tmp_path / "r.yaml", tmp_path / "out"
    data.write_text(json.dumps({"messages": turns}))
    recipe.write_text(
        "name: r\nversion: 1.0.0\nsource: {jsonl: {}}\n"
        f"render: {{template: {template}, tokenizer: {folder}}}\n"
    )
    setting = f"render.tokenizer={folder}"
    commands = [
        ["build", str(recipe), "--input", str(data), "--out", str(out), "--workers", "1"],
        ["verify", str(out), "--full"],
        ["verify", str(out), "--rebuild", "--input", str(data), "--set", setting],
    ]
    for command in commands:
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
