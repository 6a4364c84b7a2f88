"""A second witness where it is installed: mistral-common's own encoder, on the files it ships."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chatdata.render.options import Render
from chatdata.render.probe_texts import PROBE_TEXTS
from chatdata.render.templates import TEMPLATES

pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")
mistral_common = pytest.importorskip("mistral_common")

DATA = Path(mistral_common.__file__).parent / "data"
FILES = [  # as the package names them, and as a repository does
    ("tekken_240911.json", "tekken.json"),
    ("tokenizer.model.v1", "tokenizer.model"),
    ("mistral_instruct_tokenizer_240323.model.v3", "tokenizer.model"),
]


@pytest.mark.parametrize(("shipped", "name"), FILES)
def test_texts_have_the_ids_of_mistrals_encoder(shipped: str, name: str, tmp_path: Path) -> None:
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    folder = tmp_path / "t"
    folder.mkdir()
    (folder / name).write_bytes((DATA / shipped).read_bytes())
    (folder / "config.json").write_text(json.dumps({"model_type": "mistral"}))
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens))
    options = Render(tokenizer="t", template="dialogue")
    source = TEMPLATES["dialogue"]
    prepared = source.prepare(folder, "t", options, tmp_path / "w")
    tokenizer = source.load(prepared, "t", options)
    witness = MistralTokenizer.from_file(str(DATA / shipped)).instruct_tokenizer.tokenizer
    for text in PROBE_TEXTS:
        expected = witness.encode(text, bos=False, eos=False)
        assert tokenizer.text_at_start.encode(text, add_special_tokens=False).ids == expected
