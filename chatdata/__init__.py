"""From raw conversations to a masked, versioned dataset, provably.

import chatdata

manifest = chatdata.build_dataset("sample", "out/sample")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.3.0.dev0"
__all__ = [
    "ChatdataError",
    "add_rendering",
    "audit_data",
    "build_dataset",
    "dataset_stats",
    "diff_datasets",
    "explain",
    "load_recipe",
    "pack_dataset",
    "preview_dataset",
    "pull_dataset",
    "push_dataset",
    "read_manifest",
    "read_rows",
    "remove_rendering",
    "render_dataset",
    "show_progress",
    "verify_dataset",
    "write_report",
]

if TYPE_CHECKING:
    from chatdata.core.errors import ChatdataError
    from chatdata.pipeline.build import build as build_dataset
    from chatdata.pipeline.find import load as load_recipe
    from chatdata.pipeline.preview import preview as preview_dataset
    from chatdata.pipeline.progress_line import show_progress
    from chatdata.publish.audited import audit_data
    from chatdata.publish.datasets import (
        dataset_stats,
        diff_datasets,
        explain,
        pack_dataset,
        read_manifest,
        read_rows,
        verify_dataset,
        write_report,
    )
    from chatdata.publish.pull import pull as pull_dataset
    from chatdata.publish.push import push as push_dataset
    from chatdata.publish.rendered import add_rendering, remove_rendering, render_dataset

_HOME = {
    "ChatdataError": ("chatdata.core.errors", "ChatdataError"),
    "add_rendering": ("chatdata.publish.rendered", "add_rendering"),
    "audit_data": ("chatdata.publish.audited", "audit_data"),
    "build_dataset": ("chatdata.pipeline.build", "build"),
    "dataset_stats": ("chatdata.publish.datasets", "dataset_stats"),
    "diff_datasets": ("chatdata.publish.datasets", "diff_datasets"),
    "explain": ("chatdata.publish.datasets", "explain"),
    "load_recipe": ("chatdata.pipeline.find", "load"),
    "pack_dataset": ("chatdata.publish.datasets", "pack_dataset"),
    "preview_dataset": ("chatdata.pipeline.preview", "preview"),
    "pull_dataset": ("chatdata.publish.pull", "pull"),
    "push_dataset": ("chatdata.publish.push", "push"),
    "read_manifest": ("chatdata.publish.datasets", "read_manifest"),
    "read_rows": ("chatdata.publish.datasets", "read_rows"),
    "remove_rendering": ("chatdata.publish.rendered", "remove_rendering"),
    "render_dataset": ("chatdata.publish.rendered", "render_dataset"),
    "show_progress": ("chatdata.pipeline.progress_line", "show_progress"),
    "verify_dataset": ("chatdata.publish.datasets", "verify_dataset"),
    "write_report": ("chatdata.publish.datasets", "write_report"),
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that `import chatdata` stays light."""
    if name not in _HOME:
        raise AttributeError(f"module 'chatdata' has no attribute {name!r}")
    module, attribute = _HOME[name]
    value = getattr(importlib.import_module(module), attribute)
    if not isinstance(value, type):
        value = importlib.import_module("chatdata.core.arguments").checked(value, __name__, name)
    return globals().setdefault(name, value)


def __dir__() -> list[str]:
    """The public names, imported or not, and what every module has."""
    return sorted({*globals(), *__all__})
