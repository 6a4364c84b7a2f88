"""The Trainer of transformers with two corrections: the test loss, and the end of a resumed run."""

from __future__ import annotations

from typing import Any

import transformers


class Trainer(transformers.Trainer):
    """Trainer whose `eval_loss` is over all trained tokens, and which never exceeds its last step.

    The Trainer of transformers gives the mean over batches, in which a batch of few trained tokens
    weighs as much as a batch of many, so that the number moves with the size of batches. And where
    it goes on from the checkpoint of its last step within an epoch, it takes a step more.
    """

    def evaluation_loop(self, *args: Any, **options: Any) -> Any:
        """The output of Trainer, with the loss that `compute_metrics` calls `token_loss`."""
        output: Any = super().evaluation_loop(*args, **options)
        prefix = options.get("metric_key_prefix", "eval")
        exact = output.metrics.pop(f"{prefix}_token_loss", None)
        if exact is not None:
            output.metrics[f"{prefix}_loss"] = exact
        return output

    def get_batch_samples(self, *args: Any, **options: Any) -> Any:
        """The batches of the next step; none after the last step."""
        if self.state.global_step >= self.state.max_steps:
            return [], None
        return super().get_batch_samples(*args, **options)
