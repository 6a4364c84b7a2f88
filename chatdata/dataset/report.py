"""The report on a built folder: a single HTML file that loads nothing.

Style and script are in the file, a content security policy allows no others, and every text of
the data is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import polars as pl
import tokenizers

from chatdata.core import config, ledger, row_id, tallies
from chatdata.core.constants import TOKENIZER_FOLDER
from chatdata.core.files import place_file
from chatdata.core.hashing import hash_column
from chatdata.dataset import audited, card, limitations, manifest, reader
from chatdata.dataset.histogram import Histogram
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.rows import words_of
from chatdata.render import token_spans
from chatdata.render.token_spans import TextSpan

FILE = "report.html"
COMPARISON = "comparison.html"  # with another folder; see `verify.comparison`
_CONVERSATIONS = 8
_DROPPED = 5  # examples of a reason
_MOST_CHARACTERS = 6000  # of a conversation that is shown
_LIMITS = (512, 1024, 2048, 4096, 8192, 16384, 32768)  # of tokens of a row
_HERE = Path(__file__).parent
SIZES = {
    "turns": "Turns of a conversation",
    "characters": "Characters of a conversation",
    "tokens": "Tokens of a row",
    "trained_tokens": "Trained tokens of a row",
}


def write(folder: Path, path: Path | None = None) -> Path:
    """Writes the page into a built folder, unless `path` says where. Returns the path of the page.

    Raises OutputError where the folder is not a finished build, and VerifyError where the manifest
    is not whole.
    """
    text, place = page(folder), path or folder / FILE
    with place_file(place) as new:
        new.write_text(text, encoding="utf-8")
    return place


def page(folder: Path) -> str:
    """The page, which depends on the folder alone."""
    described = manifest.read(folder)
    script = (_HERE / "report.js").read_text(encoding="utf-8")
    values = {
        **dict(described),
        "script": script,
        "script_hash": _csp_hash(script),
        "style": style(),
        "kept": list(_kept(described)),
        "reasons": _reasons(folder, described),
        "lengths": [_histogram(SIZES[name], sizes) for name, sizes in described.lengths.items()],
        "costs": costs(folder),
        "origins": list(card.origins(described)),
        "certificate": card.certificate(described),
        "audit": audited.current(described),
        "limits": limitations.limits(described),
        "conversations": list(_conversations(folder, described)),
        "recipe_yaml": config.dump_yaml(described.recipe.as_json()),
    }
    return rendered(_HERE / "report.html.jinja", values)


def rendered(template: Path, values: Mapping[str, Any]) -> str:
    """A page from a template, which may use the macro `table`; every value is escaped."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.ChainableUndefined
    )
    environment.filters |= {"number": card.number, "share": _share}
    texts = (path.read_text(encoding="utf-8") for path in (_HERE / "table.html.jinja", template))
    return environment.from_string("".join(texts)).render(values)


def style() -> str:
    """The style of the page, for pages that look like it."""
    return (_HERE / "report.css").read_text(encoding="utf-8")


def costs(folder: Path) -> list[dict[str, int]]:
    """What each of some values of `max_tokens` would cost: the rows of tokens that are longer, and
    the trained tokens of these rows. Without rows of tokens there is none."""
    if manifest.read(folder).render is None:
        return []
    rows = reader.scan(folder, "tokens").select("length", "trained").collect()
    over = [(limit, rows.filter(pl.col("length") > limit)) for limit in _LIMITS]
    return [
        {
            "limit": limit,
            "rows": longer.height,
            "trained": int(longer["trained"].sum()),
            "of_rows": rows.height,
            "of_trained": int(rows["trained"].sum()),
        }
        for limit, longer in over
    ]


def _csp_hash(script: str) -> str:
    """The name of a script in a content security policy that lets the script run."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _kept(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Yields each unit with its counts, and the share that was kept."""
    for unit, count in manifest.counts.items():
        yield {"unit": unit, **dict(count), "share": count.kept / max(1, count.read)}


def _histogram(title: str, sizes: Histogram) -> dict[str, Any]:
    """The steps of a histogram, each with a height from 0 to 1 and words."""
    steps, width = sizes.steps, sizes.width
    most = max([1, *steps])
    bars = []
    for step, number in enumerate(steps):
        low, high = step * width, (step + 1) * width - 1
        is_last = step == len(steps) - 1 and sizes.max > high
        where = (
            f"{low:,} and more" if is_last else f"{low:,}" if low == high else f"{low:,}–{high:,}"
        )
        bars.append({"height": number / most, "words": f"{where}: {number:,}"})
    end = (len(steps) - 1) * width
    middle = end // 2 if len(steps) % 2 and len(steps) > 2 else 0  # of the axis, where a bar begins
    about = {"title": title, "top": most, "middle": middle, "end": end}
    return {**dict(sizes), "bars": bars, **about}


# -------------------------------------------------------------------------------------- samples


def _reasons(folder: Path, manifest: Manifest) -> list[dict[str, Any]]:
    """Each reason with its meaning, its counts, and examples of what was dropped for the reason."""
    is_shown = (pl.col("outcome") == "dropped") & pl.col("unit").is_in(
        [ledger.ANSWER, ledger.REPEAT]
    ).not_()
    rows = reader.scan_ledger(folder).filter(is_shown).collect()
    rows = rows.with_columns(order=hash_column(rows["id"], "report")).sort("order", "unit", "id")
    reasons = card.reasons(manifest)
    sums = [sum(reason[unit] for unit in tallies.UNITS) for reason in reasons]
    most = max([1, *sums])
    shown = []
    for reason, number in zip(reasons, sums, strict=True):
        examples = rows.filter(pl.col("reason") == reason["name"]).head(_DROPPED)
        shown.append({**reason, "share": number / most, "examples": examples.to_dicts()})
    return sorted(shown, key=lambda reason: -reason["share"])


def _conversations(folder: Path, manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Yields some conversations as spans of text; a hash of their ids chooses them."""
    names = reader.scan(folder, "messages").select("id").collect()["id"]
    table = pl.DataFrame({"id": names, "order": hash_column(names, "report")})
    ids = table.sort("order")["id"].head(_CONVERSATIONS).to_list()
    messages = reader.scan(folder, "messages").filter(pl.col("id").is_in(ids)).collect()
    rows = _token_rows(folder, ids) if manifest.render else {}
    decode = token_spans.decoder(folder / TOKENIZER_FOLDER) if manifest.render else None
    for about in sorted(messages.to_dicts(), key=lambda row: ids.index(row["id"])):
        spans = _spans(about, rows.get(about["id"], []), decode)
        shown, left = _shortened(spans)
        yield {**about, "spans": shown, "left": left, "rows": rows.get(about["id"], [])}


def _token_rows(folder: Path, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The rows of tokens of conversations, by their ids."""
    name = pl.col("id")
    wanted = name.is_in(list(ids)) | row_id.conversations_of(name).is_in(list(ids))
    rows = reader.scan(folder, "tokens").filter(wanted).collect().to_dicts()
    return {id: [row for row in rows if row_id.is_row_of(row["id"], id)] for id in ids}


def _spans(
    about: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    decode: tokenizers.Tokenizer | None,
) -> list[TextSpan]:
    """The first row of tokens of a conversation, or else its messages."""
    if decode is None or not rows:
        return [
            TextSpan(f"{turn['role']}: {words_of(turn)}\n", turn["role"] == "assistant", False)
            for turn in about["messages"]
        ]
    return list(token_spans.text_spans(rows[0], decode))


def _shortened(spans: Sequence[TextSpan]) -> tuple[list[TextSpan], int]:
    """The first spans of text, and the number of characters that are left out."""
    shown, room = [], _MOST_CHARACTERS
    for span in spans:
        shown.append(span._replace(text=span.text[:room]))
        room -= len(shown[-1].text)
    characters = sum(len(span.text) for span in spans)
    return [span for span in shown if span.text], characters - (_MOST_CHARACTERS - room)
