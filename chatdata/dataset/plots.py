"""Plots of a dataset, as PNG files: the same bytes wherever matplotlib is the same."""

from __future__ import annotations

import functools
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatdata.dataset.histogram import Histogram
from chatdata.dataset.manifest import Manifest, hashes, versions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FOLDER = "plots"
PACKAGE = "matplotlib"  # its version affects bytes
_INCHES = (7.2, 2.7)
_DPI = 110
_INK, _PALE, _BARS, _LOST = "#24292f", "#d0d7de", "#2f6f9f", "#b5533c"
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

    None where another chatdata or matplotlib has drawn them, and none that is not the file of the
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
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    left = _left(figures)
    with matplotlib.rc_context(_settings(matplotlib.rcParamsDefault)):
        figure = Figure(figsize=_INCHES, dpi=_DPI)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((left, 0.11, 0.98 - left, 0.77))
        if isinstance(figures, Histogram):
            _draw_steps(axes, figures)
        else:
            _draw_reasons(axes, figures)
        figure.text(left, 0.93, title, fontsize=10, color=_INK)
        axes.spines[["top", "right", "left"]].set_visible(False)
        png = io.BytesIO()
        figure.savefig(png, metadata={"Software": None})
        return png.getvalue()


def _left(figures: Histogram | Reasons) -> float:
    """The left end of the axes, from 0 to 1: after the names of reasons.

    matplotlib can compute the place, but then the whole plot takes three times as long.
    """
    if isinstance(figures, Histogram):
        return 0.08
    return 0.02 + 0.0105 * max(len(reason) for reason, _ in figures)


def _settings(defaults: Any) -> Any:
    """The settings of matplotlib, whatever the user has changed."""
    unchanged = {key: value for key, value in defaults.items() if not key.startswith("backend")}
    small = {"font.size": 8, "axes.edgecolor": _PALE, "xtick.color": _INK, "ytick.color": _INK}
    return unchanged | small


def _draw_steps(axes: Axes, sizes: Histogram) -> None:
    width, steps = sizes.width, sizes.steps
    shift = 0.5 if width == 1 else 0  # a bar of one value stands over it
    edges = [step * width - shift for step in range(len(steps) + 1)]
    axes.stairs(steps, edges, fill=True, color=_BARS)
    axes.yaxis.grid(True, color=_PALE, linewidth=0.6)
    axes.locator_params(axis="y", integer=True, nbins=3)
    axes.locator_params(axis="x", integer=True, nbins=6)
    axes.set_axisbelow(True)
    axes.tick_params(left=False)
    if steps and sizes.max >= len(steps) * width:
        last = f"the last bar: {(len(steps) - 1) * width:,} and more, up to {sizes.max:,}"
        axes.text(1, 1.03, last, transform=axes.transAxes, ha="right", color=_INK)


def _draw_reasons(axes: Axes, reasons: Reasons) -> None:
    names, numbers = zip(*reasons, strict=True)
    bars = axes.barh(names, numbers, 0.7, color=_LOST)
    axes.invert_yaxis()
    axes.bar_label(bars, [f"{number:,}" for number in numbers], padding=3, color=_INK)
    axes.tick_params(left=False, bottom=False, labelbottom=False)
    axes.spines["bottom"].set_visible(False)
    axes.margins(x=0.1)
