"""Writes what other programs serve a saved model with.

    python -m trainer.export out/my-model --out out/my-export

Modelfile    for `ollama create`: the template, the tokens that end a turn
vllm.sh      the command that serves the model by vLLM
model.gguf   with --llama-cpp, or where llama.cpp's converter is on PATH
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from chatdata.core import disk, interrupts
from chatdata.core.errors import ChatdataError, ConfigError, OutputError
from trainer.model import ollama, pretrained

CONVERTER = "convert_hf_to_gguf.py"
GGUF = "model.gguf"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder to write.")
@click.option(
    "--llama-cpp",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help=f"llama.cpp, whose {CONVERTER} makes {GGUF}; by default the one on PATH.",
)
def main(model: Path, out: Path, llama_cpp: Path | None) -> None:
    """Write to OUT what Ollama, vLLM and llama.cpp serve MODEL, a saved model, with."""
    try:
        with disk.in_words():
            for line in export(model, out, llama_cpp):
                click.echo(line)
    except ChatdataError as error:
        raise click.ClickException(str(error)) from None


def export(model: Path, out: Path, llama_cpp: Path | None = None) -> list[str]:
    """Writes the files. Returns a line for each, and for what was not made.

    Raises ConfigError for an adapter, for a folder without a model, and for a chat template that
    Ollama cannot have.
    """
    _check_model(model)
    script = _converter(llama_cpp)
    tokenizer = pretrained.load_tokenizer(str(model))
    config = pretrained.load_config(str(model))
    read = ollama.pieces(tokenizer)
    out.mkdir(parents=True, exist_ok=True)
    lines = [_write_gguf(script, model, out, tokenizer)] if script else [_without_converter()]
    source = f"./{GGUF}" if script else os.path.relpath(model, out)
    text = ollama.modelfile(source, read, _stops(model, tokenizer))
    (out / "Modelfile").write_text(text, encoding="utf-8")
    lines.append(f"{out / 'Modelfile'}: ollama create {model.name} -f {out / 'Modelfile'}")
    command = vllm(os.path.relpath(model, out), model.name, config)
    (out / "vllm.sh").write_text(f'#!/bin/sh\ncd "$(dirname "$0")" && exec {command}\n')
    return [*lines, f"{out / 'vllm.sh'}: {command}"]


def _check_model(model: Path) -> None:
    if (model / "adapter_config.json").is_file():
        raise ConfigError(
            f"'{model}' is an adapter; make a single model of it first: "
            f"`python -m trainer.merge {model} --out {model}-merged`."
        )
    if not (model / "config.json").is_file():
        raise ConfigError(
            f"'{model}' holds no saved model (no config.json); name the folder that a run wrote."
        )


def _stops(model: Path, tokenizer: Any) -> list[str]:
    """The tokens that end an answer, by the model's settings for generating."""
    settings = pretrained.load_generation(str(model))
    ids = settings.eos_token_id if settings else None
    ids = tokenizer.eos_token_id if ids is None else ids
    return [tokenizer.convert_ids_to_tokens(id) for id in (ids if isinstance(ids, list) else [ids])]


def vllm(path: str, name: str, config: Any) -> str:
    """The command that serves a model by vLLM, which takes the template and the end token from the
    model's files."""
    words = ["vllm", "serve", path, "--served-model-name", name]
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    words += ["--max-model-len", str(positions)] if positions else []
    return shlex.join([*words, "--generation-config", "auto"])


# --------------------------------------------------------------------------------------------- GGUF


def _converter(folder: Path | None) -> Path | None:
    """The program of llama.cpp that converts models; None where none is named and on PATH."""
    if folder is None:
        where = shutil.which(CONVERTER)
        return Path(where) if where else None
    script = folder / CONVERTER if folder.is_dir() else folder
    if not script.is_file():
        raise ConfigError(
            f"--llama-cpp: '{folder}' has no {CONVERTER}; name a checkout of llama.cpp."
        )
    return script


def _without_converter() -> str:
    return (
        f"no {GGUF}: {CONVERTER} of llama.cpp is not on PATH; name a checkout of llama.cpp with "
        "--llama-cpp"
    )


def _write_gguf(script: Path, model: Path, out: Path, tokenizer: Any) -> str:
    """Lets llama.cpp convert a model, and looks at what the file says of template and end token."""
    path = out / GGUF
    command = [sys.executable, str(script), str(model), "--outfile", str(path), "--outtype", "auto"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise OutputError(f"{CONVERTER} did not convert '{model}': {reason}")
    if find_spec("gguf") is None:
        return f"{path}: not looked at; `pip install gguf` reads it"
    _check_gguf(path, tokenizer)
    return f"{path}: has the model's chat template and end token"


def _check_gguf(path: Path, tokenizer: Any) -> None:
    """Raises OutputError for a file with another chat template or end token than the model."""
    import gguf

    reader = gguf.GGUFReader(path)
    expected = {
        "tokenizer.chat_template": tokenizer.chat_template,
        "tokenizer.ggml.eos_token_id": tokenizer.eos_token_id,
    }
    for key, value in expected.items():
        field = reader.get_field(key)
        if field is None or field.contents() != value:
            raise OutputError(f"'{path}' has another '{key}' than the model's tokenizer.")


if __name__ == "__main__":
    interrupts.run(main)
