"""The companion trainer: fine-tunes on the token rows of a dataset that chatdata built.

    torchrun --nproc_per_node=N -m trainer.train recipes/train/sample.yaml

The trainer imports the manifest, the tables, the templates and the Hub client of chatdata, and
nothing of its pipeline.
"""

import sys

if sys.argv[:1] == ["-m"]:  # the package is imported to run one of its modules
    from chatdata.core import interrupts

    interrupts.while_loading()  # PyTorch takes seconds

__all__ = ["chat", "config", "data", "evaluate", "merge", "model", "push", "run", "train", "zero3"]
