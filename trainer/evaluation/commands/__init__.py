"""The sub-commands of `python -m trainer.evaluation`, a module each."""
