"""The companion trainer: fine-tunes on the token rows of a dataset that chatdata built.

    torchrun --nproc_per_node=N -m trainer.train recipes/train/sample.yaml

The trainer imports the manifest, the tables, the templates and the Hub client of chatdata, and
nothing of its pipeline.
"""

import importlib.util
import sys

_NEED_TORCH = ("trainer.train", "trainer.evaluate", "trainer.merge", "trainer.chat")
_PACKAGES = ("torch", "transformers", "accelerate", "datasets")


def _check_packages() -> None:
    """Ends the process in a sentence where a command lacks the packages of the extra `train`."""
    command = sys.orig_argv[sys.orig_argv.index("-m") + 1] if "-m" in sys.orig_argv else ""
    if not command.startswith(_NEED_TORCH):
        return
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(
            f"Error: {command} needs the extra `train`, of which {', '.join(missing)} cannot be "
            "imported; install chatdata again as 'chatdata-sft[train]' (README, from a checkout or "
            "a wheel)."
        )


if sys.argv[:1] == ["-m"]:  # the package is imported to run one of its modules
    _check_packages()
    from chatdata.core import interrupts

    interrupts.while_loading()  # PyTorch takes seconds

__all__ = ["chat", "config", "data", "evaluate", "merge", "model", "push", "run", "train", "zero3"]
