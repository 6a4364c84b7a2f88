"""The companion trainer: fine-tunes on the token rows of a dataset that chatdata built.

    torchrun --nproc_per_node=N -m trainer.train recipes/train/sample.yaml

It imports `chatdata.dataset.manifest`, the parser of configurations, and what reads the ids and the pack
index of a built folder, and nothing else of chatdata.
"""
