"""The page: a single HTML file that loads nothing and runs nothing of what it shows.

Every value passes `texts.shown` and is escaped, whatever the template does with it; style and
script are in the file, and a content security policy allows no others.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jinja2

import chatdata
from chatdata.core.errors import ConfigError
from chatdata.core.files import place_file
from chatdata.core.hashing import sha256_file
from chatdata.dataset import report
from trainer.evaluation.reporting import (
    answered,
    benchmarked,
    charts,
    coded,
    examples,
    folders,
    glance,
    judged,
    people,
    texts,
)
from trainer.evaluation.reporting.coded import Coded
from trainer.evaluation.reporting.folders import ANSWERS, Run
from trainer.evaluation.reporting.judged import Judged

FILE = "report.html"
_HERE = Path(__file__).parent

Price = tuple[float, float]  # of a million tokens that are read, and written


def write(runs: Sequence[Run], path: Path, price: Price | None = None) -> None:
    """Writes the page of these runs.

    Raises ConfigError for a folder that cannot be read.
    """
    text = html(runs, price)
    with place_file(path) as new:
        new.write_text(text, encoding="utf-8")


def html(runs: Sequence[Run], price: Price | None = None) -> str:
    """The page, which depends on the files of the runs and the price alone."""
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    digest = hashlib.sha256(script.encode()).digest()
    return _render(
        script=script,
        script_hash=f"sha256-{base64.b64encode(digest).decode()}",
        style=report.style() + (_HERE / "page.css").read_text(encoding="utf-8"),
        chart={"width": charts.WIDTH, "height": charts.HEIGHT},
        chatdata=chatdata.__version__,
        **values(runs, price),
    )


def values(runs: Sequence[Run], price: Price | None = None) -> dict[str, Any]:
    """What the template shows."""
    judgements = [folders.whole(run, judged.read) for run in runs if run.kind == "judge"]
    codes = [folders.whole(run, coded.read) for run in runs if run.kind == "run-code"]
    codes = coded.ordered(codes, judgements)
    parts = [folders.whole(of.run, partial(_judge, of, codes)) for of in judgements]
    shown = {
        "title": _title(judgements, runs),
        "judgements": parts,
        "code": _code(codes, judgements) if codes else None,
        "arenas": [folders.whole(run, people.values) for run in runs if run.kind == "arena"],
        "benchmarks": [
            folders.whole(run, benchmarked.values) for run in runs if run.kind == "benchmark"
        ],
        "answered": [folders.whole(run, answered.values) for run in runs if run.kind == ANSWERS],
        "runs": [folders.whole(run, lambda run: _run(run, price)) for run in runs],
        "has_price": price is not None,
    }
    return {**shown, "glance": glance.cards(shown)}


def _judge(of: Judged, codes: Sequence[Coded], run: Run) -> dict[str, Any]:
    sides = coded.of_sides(of, codes)
    return {**judged.values(of), "examples": examples.values(of, sides)}


def _code(codes: Sequence[Coded], judgements: Sequence[Judged]) -> dict[str, Any]:
    return folders.whole(codes[0].run, lambda _: coded.values(codes, judgements))


def _title(judgements: Sequence[Judged], runs: Sequence[Run]) -> str:
    compared = {(names["A"], names["B"]) for names in map(judged.labels, judgements)}
    if len(compared) == 1:
        return " beside ".join(*compared)
    return f"Evaluation: {', '.join(run.name for run in runs)}"


def _run(run: Run, price: Price | None) -> dict[str, Any]:
    """The settings, files, versions and costs of a run."""
    summary = _summary(run)
    usage = summary.get("usage") or {}
    cost = None
    if price and usage:
        cost = (usage["tokens_read"] * price[0] + usage["tokens_written"] * price[1]) / 1e6
    return {
        "kind": run.kind,
        "name": run.name,
        "files": run.files(),
        "settings": list(_flat(summary.get("settings") or {})),
        "versions": summary.get("versions") or {},
        "usage": usage,
        "cost": cost,
    }


def _summary(run: Run) -> dict[str, Any]:
    """What a run says of itself in its last file, or beside its answers."""
    if run.kind != ANSWERS:
        return dict(folders.read(run.path / folders.read_of(run.kind)[-1]))
    path = run.path.with_name(f"{run.path.stem}.summary.json")
    summary = dict(folders.read(path)) if path.exists() else {}
    return summary if summary.get("sha256") == sha256_file(run.path) else {}


def _flat(settings: Any, name: str = "") -> Any:
    """Yields each setting with its name, those inside others by a dotted name."""
    if isinstance(settings, dict) and settings:
        for key, value in settings.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
        return
    listed = settings if isinstance(settings, list) else [settings]
    yield name, ", ".join(texts.setting(value) for value in listed) or "–"


def _render(**shown: Any) -> str:
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_neutral,
    )
    names = ("share", "between", "points", "decimals", "number", "p_value", "counted")
    environment.filters |= {name: getattr(texts, name) for name in names}
    template = (_HERE / "page.html.jinja").read_text(encoding="utf-8")
    try:
        return environment.from_string(template).render(shown)
    except (jinja2.UndefinedError, TypeError, ValueError) as error:
        raise ConfigError(
            f"a folder is not what this version writes ({error}); run its command again."
        ) from None


def _neutral(value: Any) -> Any:
    """A value without characters that act; what is HTML of ours stays."""
    return value if hasattr(value, "__html__") else texts.shown(str(value))
