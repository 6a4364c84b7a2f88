"""The protocol of templates: a third kind is added here, and nobody asks which kind there is."""

from __future__ import annotations

import ast
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from chatdata import build_dataset, load_recipe
from chatdata.cli import main
from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import ConfigError
from chatdata.dataset import reader
from chatdata.render import certificate
from chatdata.render.options import Render
from chatdata.render.templates import TEMPLATES, TemplateSource
from chatdata.verify.verification import verify_folder
from tests.support.transcripts import Transcript, TranscriptSource

ROOT = Path(__file__).parent.parent.parent


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
LIST = "chatdata/render/templates.py"


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
