"""Code in the folder of a model or a tokenizer is never run, and nobody is asked to run it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from chatdata.core.errors import ConfigError

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.support.carrying import carry
from tests.support.templates import PLAIN
from trainer.chat import generation
from trainer.config import Model
from trainer.model import adapters, load

MODEL = {"configuration_own.py": "OwnConfig", "modeling_own.py": "OwnModel"}


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose code would leave a mark; standard input says yes to whatever is asked."""
    folder = carry(None, PLAIN, tmp_path / "model")
    mark = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
    for file in (*MODEL, "tokenization_own.py"):
        (folder / file).write_text(mark)
    names = {
        "AutoConfig": "configuration_own.OwnConfig",
        "AutoModelForCausalLM": "modeling_own.OwnModel",
    }
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": names}))
    (folder / "model.safetensors").write_bytes(b"")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    return folder


WORDS = "code of its own folder, which is never run here"


def test_a_model_with_code_is_refused_by_name(foreign: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=WORDS):
        load.load_config(Model(path=str(foreign)), None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=WORDS):
        generation.load(str(foreign), None)
    with pytest.raises(ConfigError, match=WORDS):
        adapters._base(str(foreign), None, load.torch.float32)
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_with_code_is_refused_by_name(foreign: Path, tmp_path: Path) -> None:
    values = json.loads((foreign / "tokenizer_config.json").read_text())
    values |= {
        "tokenizer_class": "OwnTokenizer",
        "auto_map": {"AutoTokenizer": [None, "tokenization_own.OwnTokenizer"]},
    }
    (foreign / "tokenizer_config.json").write_text(json.dumps(values))
    (foreign / "config.json").unlink()
    with pytest.raises(ConfigError, match=WORDS):
        generation.load(str(foreign), None)
    assert not (tmp_path / "ran").exists()
