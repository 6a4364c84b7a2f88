"""A backend of matplotlib that keeps each figure once, as a PNG file in the home of the program.

A figure that the program saves as PNG itself is kept by that; any other is, where it is shown, or
where it is open at the end.
"""

from __future__ import annotations

import os
from typing import Any

from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase, _Backend
from matplotlib.backends.backend_agg import FigureCanvasAgg

_FOLDER = os.path.join(os.environ.get("HOME", os.getcwd()), ".figures")


class FigureCanvas(FigureCanvasAgg):
    """A canvas that remembers whether its figure was saved as PNG."""

    def print_figure(self, filename: Any, *arguments: Any, **options: Any) -> Any:
        """What matplotlib returns for a figure that is saved."""
        saved = super().print_figure(filename, *arguments, **options)
        if isinstance(filename, (str, os.PathLike)):
            vars(self.figure)["is_kept"] = os.fspath(filename).lower().endswith(".png")
        return saved


@_Backend.export
class _BackendToPng(_Backend):
    FigureCanvas = FigureCanvas
    FigureManager = FigureManagerBase


def show(*arguments: Any, **options: Any) -> None:
    """Keeps all open figures that are not kept yet, and closes them, as a notebook does."""
    for manager in Gcf.get_all_fig_managers():
        figure = manager.canvas.figure
        if not getattr(figure, "is_kept", False):
            os.makedirs(_FOLDER, exist_ok=True)
            figure.savefig(os.path.join(_FOLDER, f"{len(os.listdir(_FOLDER)) + 1:04}.png"))
    Gcf.destroy_all()
