"""From raw conversations to a masked, versioned dataset, provably.

import chatdata

manifest = chatdata.build_dataset("sample", "out/sample")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0.dev0"
__all__ = [
    "ChatdataError",
    "add_rendering",
    "build_dataset",
    "load_recipe",
    "preview_dataset",
    "pull_dataset",
    "push_dataset",
    "read_manifest",
    "remove_rendering",
    "render_dataset",
]

if TYPE_CHECKING:
    from chatdata.core.errors import ChatdataError
    from chatdata.dataset.manifest import read as read_manifest
    from chatdata.pipeline.add_rendering import add_rendering
    from chatdata.pipeline.build import build as build_dataset
    from chatdata.pipeline.build import preview as preview_dataset
    from chatdata.pipeline.find import load as load_recipe
    from chatdata.pipeline.remove_rendering import remove_rendering
    from chatdata.pipeline.render_again import render_again as render_dataset
    from chatdata.publish.pull import pull as pull_dataset
    from chatdata.publish.push import push as push_dataset

_HOME = {
    "ChatdataError": ("chatdata.core.errors", "ChatdataError"),
    "add_rendering": ("chatdata.pipeline.add_rendering", "add_rendering"),
    "build_dataset": ("chatdata.pipeline.build", "build"),
    "load_recipe": ("chatdata.pipeline.find", "load"),
    "preview_dataset": ("chatdata.pipeline.build", "preview"),
    "pull_dataset": ("chatdata.publish.pull", "pull"),
    "push_dataset": ("chatdata.publish.push", "push"),
    "read_manifest": ("chatdata.dataset.manifest", "read"),
    "remove_rendering": ("chatdata.pipeline.remove_rendering", "remove_rendering"),
    "render_dataset": ("chatdata.pipeline.render_again", "render_again"),
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that `import chatdata` stays light."""
    if name not in _HOME:
        raise AttributeError(f"module 'chatdata' has no attribute {name!r}")
    module, attribute = _HOME[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    """The public names, imported or not, and what every module has."""
    return sorted({*globals(), *__all__})
