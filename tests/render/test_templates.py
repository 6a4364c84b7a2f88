"""The protocol of templates: a third kind is added here, and nobody asks which kind there is."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from chatdata import build_dataset, load_recipe
from chatdata.cli import main
from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import ConfigError
from chatdata.dataset import reader
from chatdata.render import certificate
from chatdata.render.conversation import Messages, Tools, UnrenderableError
from chatdata.render.options import Render
from chatdata.render.segments.from_text import Answer, WritesText
from chatdata.render.template import TemplateOptions
from chatdata.render.templates import TEMPLATES, TemplateSource
from chatdata.render.tokenizer import Tokenizer, parse, read, with_template
from chatdata.verify.verification import verify_folder

ROOT = Path(__file__).parent.parent.parent
STOP = "<|over|>"


@dataclass(frozen=True)
class Transcript(WritesText):
    """A renderer in Python: `q> ...` and `a> ...` lines, each turn closed by a control token."""

    name: str
    keeps_history: bool
    special_tokens = (STOP,)
    stop = STOP
    generation_prompt = "a> "

    def write(
        self, messages: Messages, wanted: Sequence[int], tools: Tools | None = None
    ) -> tuple[str, list[Answer]]:
        """The text, and its answers."""
        if tools or any(message.keys() > {"role", "content"} for message in messages):
            raise UnrenderableError("a transcript has no place for reasoning or tools")
        text, answers = "", []
        for place, message in enumerate(messages):
            text += self._head(message["role"])
            start = len(text)
            text += message["content"] + STOP
            answers += [Answer(place, start, len(text))] if place in wanted else []
            text += "\n"
        return text, answers

    def _head(self, role: str) -> str:
        if role not in ("user", "assistant"):
            raise UnrenderableError(f"a transcript has no turn for '{role}'")
        return "a> " if role == "assistant" else "q> "

    def text(
        self, messages: Messages, add_generation_prompt: bool = False, tools: Tools | None = None
    ) -> str:
        """The text, and what makes a model answer."""
        return self.write(messages, [], tools)[0] + "a> " * add_generation_prompt

    def jinja(self) -> str:
        """The same for transformers."""
        return (
            "{% for m in messages %}{{ ('a> ' if m['role'] == 'assistant' else 'q> ')"
            f" + m['content'] + '{STOP}\\n' }}}}{{% endfor %}}"
            "{% if add_generation_prompt %}{{ 'a> ' }}{% endif %}"
        )

    def facts(self) -> dict[str, Any]:
        """The template in full."""
        return {
            "name": self.name,
            "special_tokens": list(self.special_tokens),
            "stop": self.stop,
            "generation_prompt": self.generation_prompt,
            "jinja": self.jinja(),
        }


@dataclass(frozen=True)
class TranscriptSource:
    """The entry of the list."""

    template: Transcript
    about = "a transcript of questions and answers"

    def unused(self, options: TemplateOptions) -> str | None:
        """All options but none are for other templates."""
        return "a transcript takes no system text" if options.system else None

    def prepare(
        self, folder: Path | None, name: str, options: TemplateOptions, work: Path
    ) -> Path | None:
        """The tokenizer's folder."""
        return folder

    def load(self, folder: Path | None, name: str, options: TemplateOptions) -> Tokenizer:
        """The tokenizer with the template."""
        source = read(folder, name)
        return with_template(
            parse(source.text, name),
            self.template,
            name=name,
            sha256=source.sha256,
            config=source.config,
        )

    def label(self, tokenizer_name: str) -> str:
        """The name of the template."""
        return self.template.name


@pytest.fixture(params=["transcript", "transcript-by-answer"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> TemplateSource:
    """The third kind, in the list of templates."""
    added = TranscriptSource(Transcript(request.param, request.param == "transcript"))
    monkeypatch.setitem(TEMPLATES, request.param, added)
    return added


@pytest.mark.slow
def test_a_renderer_in_python_builds_rows_that_verify(
    source: TranscriptSource, tmp_path: Path
) -> None:
    """With the list of templates as the only thing that knows of it."""
    recipe = load_recipe("sample", [f"render.template={source.template.name}", "max_dropped=1"])
    build_dataset(recipe, tmp_path / "out", workers=1)
    verify_folder(tmp_path / "out", everything=True)
    ledger = reader.scan_ledger(tmp_path / "out").collect()
    refused = ledger.filter(pl.col("reason") == "unrenderable")["detail"].unique().to_list()
    assert refused in ([], ["a transcript has no turn for 'system'"])
    for row in reader.scan(tmp_path / "out", "tokens").collect().iter_rows(named=True):
        trained = sum(label != IGNORE_INDEX for label in row["labels"])
        assert 0 < trained == row["trained"] < row["length"]


@pytest.mark.slow
def test_a_renderer_in_python_is_certified_and_listed(source: TranscriptSource) -> None:
    options = Render(tokenizer="bytes", template=source.template.name)
    tokenizer = source.load(None, "bytes", options)
    counts = certificate.certify(tokenizer, options)
    assert (counts.differences, counts.forged, counts.headers_trained) == (0, 0, 0)
    assert counts.answers == counts.stops_trained > 40
    assert source.about in CliRunner().invoke(main, ["list"]).output
    with pytest.raises(ConfigError, match="a transcript takes no system text"):
        load_recipe("sample", [f"render.template={source.template.name}", "render.system=Hi"])


def test_an_unknown_template_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown template 'chatlm'.*chatml"):
        load_recipe("sample", ["render.template=chatlm"])


# ------------------------------------------------------------------------- nobody asks which kind

# Where templates are implemented and listed. Elsewhere they are what the protocol says.
KINDS = {"TemplateSpec", "BuiltInTemplate", "JinjaTemplate", "CompiledTemplate", "Template"}
IMPLEMENTATIONS = ("chatdata/render/chat_template/", "chatdata/render/built_in.py")
LIST = "chatdata/render/carried_template.py"


def questions(source: str) -> list[str]:
    """The places of a module that ask of which kind a template is."""
    asked = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "type"):
            names = {getattr(n, "id", getattr(n, "attr", "")) for n in ast.walk(node)}
            asked += [ast.unparse(node)] if names & KINDS else []
        if isinstance(node, ast.Compare):
            values = [node.left, *node.comparators]
            named = any(isinstance(v, ast.Constant) and v.value == "tokenizer" for v in values)
            equal = any(isinstance(op, (ast.Eq, ast.NotEq)) for op in node.ops)
            asked += [ast.unparse(node)] if named and equal else []
    return asked


@pytest.mark.slow
def test_no_module_asks_which_kind_a_template_is() -> None:
    modules = sorted(path for top in ("chatdata", "trainer") for path in (ROOT / top).rglob("*.py"))
    for path in modules:
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith((*IMPLEMENTATIONS, LIST)):
            assert questions(path.read_text(encoding="utf-8")) == [], name


def test_the_question_would_be_seen() -> None:
    for line in (
        "isinstance(t, JinjaTemplate)",
        "isinstance(t, (int, chat_template.JinjaTemplate))",
        "options.template == 'tokenizer'",
        "'tokenizer' != name",
    ):
        assert questions(line) == [line]
    assert questions("x = 'tokenizer'; isinstance(y, str); 'tokenizer' in names") == []
