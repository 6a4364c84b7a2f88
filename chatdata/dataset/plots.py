"""Plots of a dataset, as PNG files: the same bytes wherever Pillow is the same.

Their background is transparent, and their colours are seen on white and on black.
"""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from chatdata.dataset.histogram import Histogram
from chatdata.dataset.manifest import Manifest, hashes, versions

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

FOLDER = "plots"
PACKAGE = "pillow"  # its version affects bytes
_WIDTH, _HEIGHT = 1440, 540  # pixels: twice as many as a card shows, for screens that are fine
_TOP, _BOTTOM, _RIGHT = 84, 478, 1420  # where the axes end
_INK, _PALE, _BARS, _LOST = "#6e7781", "#8c959f66", "#2f81c7", "#c4593f"
_TITLE, _SMALL = 30, 24  # sizes of letters, in pixels
_COUNT = "{:,}".format
_MOST_REASONS = 8
_TITLES = {
    "tokens": "Rows by their tokens",
    "characters": "Conversations by their characters",
    "turns": "Conversations by their turns",
}

Reasons = tuple[tuple[str, int], ...]  # of dropped messages, with the number of messages
Drawn = dict[tuple[str, Histogram | Reasons], bytes]  # plots by their title and figures


def about(manifest: Manifest) -> list[dict[str, str]]:
    """The path of each plot of a dataset, and its title."""
    return [
        {"path": f"{FOLDER}/{name}.png", "alt": title} for name, title in _drawn(manifest).items()
    ]


def write(folder: Path, manifest: Manifest, drawn: Drawn | None = None) -> list[Path]:
    """Draws the plots of a dataset into its folder, but for those that are `drawn` already.

    Returns their paths.
    """
    (folder / FOLDER).mkdir()
    paths = []
    for name, title in _drawn(manifest).items():
        path, figures = folder / FOLDER / f"{name}.png", _figures(name, manifest)
        path.write_bytes((drawn or {}).get((title, figures)) or _png(title, figures))
        paths.append(path)
    return paths


def drawn_in(folder: Path, manifest: Manifest) -> Drawn:
    """The plots of a folder, by title and figures, that would be drawn again to the byte.

    None where another chatdata or Pillow has drawn them, and none that is not the file of the
    manifest.
    """
    written_by = versions([PACKAGE])
    if any(manifest.versions.get(name) != used for name, used in written_by.items()):
        return {}
    known, drawn = hashes(manifest), Drawn()
    for name, title in _drawn(manifest).items():
        path = folder / FOLDER / f"{name}.png"
        png = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(png).hexdigest() == known.get(f"{FOLDER}/{name}.png"):
            drawn[title, _figures(name, manifest)] = png
    return drawn


def _drawn(manifest: Manifest) -> dict[str, str]:
    """The plots and their titles: lengths in tokens, or else in characters, turns, reasons."""
    sizes = ("tokens" if manifest.render else "characters", "turns")
    drawn = {name: _TITLES[name] for name in sizes}
    return drawn | ({"dropped": "Dropped messages by reason"} if _reasons(manifest) else {})


def _figures(name: str, manifest: Manifest) -> Histogram | Reasons:
    """What a plot shows."""
    return _reasons(manifest) if name == "dropped" else manifest.lengths[name]


def _reasons(manifest: Manifest) -> Reasons:
    """The most frequent reasons of dropped messages."""
    return tuple(manifest.counts.messages.dropped.items())[:_MOST_REASONS]


@functools.lru_cache(maxsize=64)
def _png(title: str, figures: Histogram | Reasons) -> bytes:
    from PIL import Image, ImageDraw

    picture = Image.new("RGBA", (_WIDTH, _HEIGHT))
    draw = ImageDraw.Draw(picture)
    if isinstance(figures, Histogram):
        left = _draw_steps(draw, figures)
    else:
        left = _draw_reasons(draw, figures)
    _write(draw, (left, 40), title, "lm", _TITLE)
    png = io.BytesIO()
    picture.save(png, "PNG")
    return png.getvalue()


def _draw_steps(draw: ImageDraw, sizes: Histogram) -> int:
    """Draws a bar for each step of a histogram. Returns where the axes begin."""
    counts = sizes.steps or (0,)
    marks = ticks(max(counts), 3)
    left = 30 + max(_length(draw, _COUNT(mark)) for mark in marks)
    high = (_BOTTOM - _TOP) / max(*counts, marks[-1], 1)
    wide = (_RIGHT - left) / len(counts)
    for mark in marks:
        y = round(_BOTTOM - mark * high)
        draw.line((left, y, _RIGHT, y), _PALE, 2)
        _write(draw, (left - 12, y), _COUNT(mark), "rm")
    for step, count in enumerate(counts):
        if count:  # what is there is seen, however few
            top = min(round(_BOTTOM - count * high), _BOTTOM - 3)
            ends = round(left + step * wide), round(left + (step + 1) * wide) - 1
            draw.rectangle((ends[0], top, ends[1], _BOTTOM), _BARS)
    _write_steps(draw, sizes, left, wide)
    return left


def _write_steps(draw: ImageDraw, sizes: Histogram, left: int, wide: float) -> None:
    """Writes the numbers below the bars of a histogram, and what its last bar holds."""
    width, steps = sizes.width, len(sizes.steps)
    shift = wide / 2 if width == 1 else 0  # a bar of one value stands over it
    for mark in ticks(max(0, steps - 1) * width, 6):
        _write(draw, (round(left + mark / width * wide + shift), _BOTTOM + 30), _COUNT(mark), "mm")
    if steps and sizes.max >= steps * width:
        last = f"the last bar: {(steps - 1) * width:,} and more, up to {sizes.max:,}"
        _write(draw, (_RIGHT, 40), last, "rm")


def _draw_reasons(draw: ImageDraw, reasons: Reasons) -> int:
    """Draws a bar for each reason. Returns where the bars begin."""
    left = 30 + max(_length(draw, reason) for reason, _ in reasons)
    most = max(number for _, number in reasons)
    room = _RIGHT - left - max(_length(draw, _COUNT(number)) for _, number in reasons) - 12
    high = (_HEIGHT - _TOP) / len(reasons)
    for place, (reason, number) in enumerate(reasons):
        y = _TOP + (place + 0.5) * high
        end = left + max(3, round(number / most * room))
        half = min(0.35 * high, 30)
        draw.rectangle((left, round(y - half), end, round(y + half)), _LOST)
        _write(draw, (left - 12, round(y)), reason, "rm")
        _write(draw, (end + 12, round(y)), _COUNT(number), "lm")
    return left


def ticks(top: int, most: int) -> list[int]:
    """Whole numbers for an axis from 0 to `top`: at most `most` steps of 1, 2, 5, 10, 20, ..."""
    steps = (digit * 10**zeros for zeros in itertools.count() for digit in (1, 2, 5))
    step = next(step for step in steps if top // step <= most)
    return list(range(0, top + 1, step))


def _write(
    draw: ImageDraw, place: tuple[int, int], text: str, anchor: str, size: int = _SMALL
) -> None:
    draw.text(place, text, _INK, _font(size), anchor)


def _length(draw: ImageDraw, text: str) -> int:
    """The width of a text, in pixels."""
    return round(draw.textlength(text, _font(_SMALL)))


@functools.cache
def _font(size: int) -> ImageFont | FreeTypeFont:
    """The font that Pillow has with it."""
    from PIL import ImageFont

    return ImageFont.load_default(size)
