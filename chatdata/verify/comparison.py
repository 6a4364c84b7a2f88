"""Two built folders side by side: a page of both their numbers, and of the conversations that were
changed, added and removed, with both texts.

Which conversations these are says `row_changes`, as it does to `chatdata diff`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import polars as pl

from chatdata.core import row_id
from chatdata.core.constants import TOKENIZER_FOLDER
from chatdata.core.errors import OutputError
from chatdata.core.files import place_file
from chatdata.dataset import card, manifest, reader, report
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.rows import words_of
from chatdata.render import token_spans
from chatdata.verify import dataset_diff, row_changes
from chatdata.verify.dataset_diff import Word
from chatdata.verify.row_changes import KINDS

ABOUT = {  # of each kind of `row_changes.KINDS`, in words
    "changed": "say something else",
    "added": "are new",
    "removed": "are no longer there",
    "relabelled": "have the same tokens, and others are trained",
    "retokenised": "have the same messages and other tokens",
    "facts": "have another group, source or language",
    "moved": "are in the other split",
}
_SHOWN = 5  # conversations of a kind that the page shows
_MOST_WORDS = 1200  # of a turn that is compared word by word
_MOST_CHARACTERS = 6000  # of a turn that is shown
_MOST_OF_SAME = 1200  # of a turn that is the same in both
_AROUND = 240  # characters around a change that are shown
_HERE = Path(__file__).parent


class Both(NamedTuple):
    """A value of each of the folders: None where a folder lacks it."""

    before: Any
    after: Any


def write(before: Path, after: Path, path: Path | None = None) -> Path:
    """Writes the page, into the folder `after` unless `path` says where. Returns its path.

    Raises a ChatdataError as `dataset_diff.between` does.
    """
    text = page(before, after)
    place = path or after / report.COMPARISON
    with place_file(place) as new:
        new.write_text(text, encoding="utf-8")
    return place


def page(before: Path, after: Path) -> str:
    """The page, which depends on the two folders alone."""
    compared = Comparison(before, after)
    samples = {
        kind: [compared.pair(id) for id in compared.some(kind, _SHOWN)] for kind in compared.numbers
    }
    values = {
        "style": report.style() + style(),
        "about": ABOUT,
        "difference": compared.difference,
        "numbers": compared.numbers,
        "samples": samples,
        **compared.figures(),
    }
    return report.rendered(_HERE / "comparison.html.jinja", values)


def style() -> str:
    """The style of what is compared, which comes behind that of the report."""
    return (_HERE / "comparison.css").read_text(encoding="utf-8")


class Comparison:
    """Two folders side by side. Ids and digests are held in memory; words are read when asked for.

    Values are plain, ready for a template or to be JSON.
    """

    def __init__(self, before: Path, after: Path) -> None:
        """Joins the rows of both. Raises a ChatdataError as `dataset_diff.between` does."""
        self.folders = Both(before, after)
        self.difference, self.rows = dataset_diff.compared(before, after, 0)
        self.manifests = Both(manifest.read(before), manifest.read(after))
        heights = {kind: self.rows.filter(is_it).height for kind, is_it in KINDS.items()}
        self.numbers = {kind: number for kind, number in heights.items() if number}
        self._reasons = pl.concat(
            row_changes.reasons(self.rows.filter(KINDS[kind]), folder)
            for kind, folder in (("removed", after), ("added", before))
        )

    def some(self, kind: str, number: int) -> list[str]:
        """The ids of some conversations of a kind; a hash of the ids chooses them."""
        return dataset_diff.some(self.rows.filter(KINDS[kind]), number)

    def listed(self, kind: str) -> pl.DataFrame:
        """The ids of all conversations of a kind, sorted, with `reason` where a ledger says it."""
        ids = self.rows.filter(KINDS[kind]).select("id")
        return ids.join(self._reasons, on="id", how="left", maintain_order="left")

    def pair(self, id: str) -> dict[str, Any]:
        """A conversation in both folders: where it stands, its turns, and its rows of tokens.

        Raises OutputError where neither has it.
        """
        row = self.rows.filter(pl.col("id") == id)
        if row.is_empty():
            raise OutputError(f"no conversation has the id '{id}'.")
        sides = Both(*(_side(folder, id) for folder in self.folders))
        kinds = [kind for kind, is_it in KINDS.items() if row.filter(is_it).height]
        (why,) = self._reasons.filter(pl.col("id") == id).to_dicts() or [{}]
        has_tokens = {"relabelled", "retokenised"} & set(kinds)
        return {
            "id": id,
            "kinds": kinds,
            "reason": why.get("reason"),
            "detail": why.get("detail"),
            "places": Both(*(side and side["place"] for side in sides))._asdict(),
            "turns": list(_turns(*(side["turns"] if side else [] for side in sides))),
            "tokens": _tokens(self.folders, id)._asdict() if has_tokens else None,
        }

    def glance(self) -> list[tuple[str, Both]]:
        """What is counted in both, in words, with its numbers."""
        return list(_glance(*self.manifests))

    def figures(self) -> dict[str, Any]:
        """The numbers of both: at a glance, lengths, languages, and what was dropped."""
        old, new = self.manifests
        return {
            "glance": self.glance(),
            "lengths": list(_lengths(old, new)),
            "languages": _both(old.languages, new.languages),
            "reasons": list(_reasons(old, new)),
        }


# ---------------------------------------------------------------------------------- numbers


def _glance(old: Manifest, new: Manifest) -> Iterator[tuple[str, Both]]:
    """Yields what is counted in both, in words, with its numbers."""
    splits = Both(dict(old.splits.items()), dict(new.splits.items()))
    yield "conversations", Both(old.splits.total("rows"), new.splits.total("rows"))
    for name in splits.after:
        yield f"conversations in {name}", Both(*(side[name].rows for side in splits))
    yield "messages", Both(old.splits.total("messages"), new.splits.total("messages"))
    renders = (old.render, new.render)
    figures = {
        "rows of tokens": "token_rows",
        "tokens": "tokens",
        "trained tokens": "trained_tokens",
    }
    for words, key in figures.items() if any(renders) else ():
        yield words, Both(*(getattr(render, key) if render else None for render in renders))
    if all(renders):
        shares = (
            100 * render.trained_tokens / (render.tokens or 1) for render in renders if render
        )
        yield "% of the tokens trained", Both(*(round(share, 1) for share in shares))
    counts = Both(dict(old.counts.items()), dict(new.counts.items()))
    for unit in counts.after:
        yield f"{unit} read", Both(*(side[unit].read for side in counts))


def _lengths(old: Manifest, new: Manifest) -> Iterator[dict[str, Any]]:
    """Yields the quantiles of each length in both, and the scale on which they are drawn."""
    for name, title in report.SIZES.items():
        sides = Both(old.lengths.get(name), new.lengths.get(name))
        if any(sides):
            scale = max(side.p99 for side in sides if side) or 1
            yield {"title": title, "scale": scale, "sides": sides}


def _reasons(old: Manifest, new: Manifest) -> Iterator[dict[str, Any]]:
    """Yields each reason and unit with how many were dropped in both, those that differ first."""
    about = {
        reason["name"]: reason["about"] for side in (old, new) for reason in card.reasons(side)
    }
    counts = (dict(side.counts.items()) for side in (old, new))
    dropped = [
        {(u, r): n for u, c in side.items() for r, n in c.dropped.items()} for side in counts
    ]
    both = _both(*dropped).items()
    for (unit, name), numbers in sorted(both, key=lambda item: item[1].before == item[1].after):
        yield {"name": name, "unit": unit, "about": about[name], "numbers": numbers}


def _both(old: Mapping[Any, int], new: Mapping[Any, int]) -> dict[Any, Both]:
    """The numbers of both by their keys, the greatest of the second folder first."""
    keys = sorted(old.keys() | new.keys(), key=lambda key: (-new.get(key, 0), str(key)))
    return {key: Both(old.get(key, 0), new.get(key, 0)) for key in keys}


# ---------------------------------------------------------------------------- a conversation


def _side(folder: Path, id: str) -> dict[str, Any] | None:
    """A conversation in a folder: where it stands, and its turns; None where it is not there."""
    rows = reader.scan(folder, "messages").filter(pl.col("id") == id).collect()
    if rows.is_empty():
        return None
    (row,) = rows.to_dicts()
    place = [row["source"], row["lang"] or "language unknown", row["split"]]
    around = [("tools", row.get("tools")), ("variables", row.get("chat_template_kwargs"))]
    given = [{"role": role, "content": text} for role, text in around if text not in (None, "{}")]
    sizes = _sizes(folder, id)
    if sizes:
        place.append(f"{sizes['trained']:,} of {sizes['length']:,} tokens trained")
    return {"place": " · ".join(place), "turns": [*given, *row["messages"]]}


def _sizes(folder: Path, id: str) -> dict[str, int] | None:
    """The tokens and the trained tokens of a conversation; None where the folder has none."""
    if manifest.read(folder).render is None:
        return None
    sums = _token_rows(folder, id).select(pl.col("length", "trained").sum()).collect()
    return sums.row(0, named=True)


def _token_rows(folder: Path, id: str) -> pl.LazyFrame:
    """The rows of tokens of a conversation."""
    name = pl.col("id")
    wanted = (name == id) | (row_id.conversations_of(name) == id)
    return reader.scan(folder, "tokens").filter(wanted)


def _turns(
    old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yields the turns of both side by side: once where they are the same, else both."""
    before, after = ([orjson.dumps(row_changes.spoken(turn)) for turn in s] for s in (old, new))
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            yield from (_same(turn) for turn in old[a:b])
            continue
        for number in range(max(b - a, d - c)):
            yield _differing(
                old[a + number] if a + number < b else None,
                new[c + number] if c + number < d else None,
            )


def _same(turn: Mapping[str, Any]) -> dict[str, Any]:
    words, left = _cut([Word("=", words_of(turn))], _MOST_OF_SAME)
    return {"role": turn["role"], "is_same": True, "words": words, "left": left}


def _differing(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> dict[str, Any]:
    """A turn of which at least one folder has other words, marked where both have it."""
    texts = [_all_words(old), _all_words(new)]
    changes = dataset_diff.word_changes(texts[0], texts[1], len(texts[0]), _MOST_WORDS)
    sides = {}
    for name, turn, text, sign in zip(("before", "after"), (old, new), texts, "-+", strict=True):
        marked = [word for word in changes if word.sign in ("=", sign)]
        rest = len(text) - sum(len(word.text) for word in marked)  # is behind what is compared
        is_alone = old is None or new is None
        words, left = _cut([Word("=", text)] if is_alone else list(_shortened(marked)))
        sides[name] = turn and {"role": turn["role"], "words": words, "left": left or rest}
    return {"role": (new or old or {})["role"], "is_same": False, **sides}


def _shortened(words: Sequence[Word]) -> Iterator[Word]:
    """Yields the words with the middle of long stretches that are the same left out (`…`), and
    changes of white space as signs that can be seen."""
    for number, word in enumerate(words):
        if word.sign != "=":
            yield word._replace(text=_visible(word.text))
            continue
        before = 0 if number == 0 else _AROUND
        after = 0 if number == len(words) - 1 else _AROUND
        left = len(word.text) - before - after
        if left <= _AROUND:
            yield word
            continue
        yield Word("=", word.text[:before])
        yield Word("…", f"{left:,} characters, the same")
        yield Word("=", word.text[before + left :])


def _visible(text: str) -> str:
    """A text; one of white space alone as signs of it."""
    return text if text.strip() else text.replace(" ", "␣").replace("\n", "⏎\n")


def _all_words(turn: Mapping[str, Any] | None) -> str:
    """All that a turn says, and to which call it belongs."""
    if turn is None:
        return ""
    around = [f"{key}: {turn[key]}" for key in ("name", "tool_call_id") if turn.get(key)]
    return "\n".join([*around, words_of(turn)])


def _cut(words: Sequence[Word], most: int = _MOST_CHARACTERS) -> tuple[list[Word], int]:
    """The first words, and the number of characters that are left out."""
    all_of_it = sum(len(word.text) for word in words)
    shown, room = [], all_of_it if all_of_it < 1.2 * most else most
    for word in words:
        shown.append(word._replace(text=word.text[:room]))
        room -= len(shown[-1].text)
    left = all_of_it - sum(len(word.text) for word in shown)
    return [word for word in shown if word.text], left


def _tokens(folders: Both, id: str) -> Both:
    """The first rows of tokens of a conversation that differ, as spans of text, in both folders."""
    rows = [_token_rows(folder, id).collect().to_dicts() for folder in folders]
    keys = ("input_ids", "labels")
    pairs = list(zip(*rows, strict=False))
    differ = (pair for pair in pairs if any(pair[0][key] != pair[1][key] for key in keys))
    first = next(differ, None) or [side[0] if side else None for side in rows]
    return Both(*(_spans(folder, row) for folder, row in zip(folders, first, strict=True)))


def _spans(folder: Path, row: Mapping[str, Any] | None) -> list[dict[str, Any]] | None:
    """A row of tokens as spans of text, up to the most characters that are shown."""
    if row is None:
        return None
    shown, room = [], _MOST_CHARACTERS
    for span in token_spans.text_spans(row, token_spans.decoder(folder / TOKENIZER_FOLDER)):
        if room <= 0:
            break
        shown.append(span._replace(text=span.text[:room])._asdict())
        room -= len(span.text)
    return shown
