"""The Trainer of transformers with two corrections, the test loss and the end of a resumed run, and
with the weights of labels."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from chatdata.dataset.schemas import WEIGHTS
from trainer.data import weighting


class Trainer(transformers.Trainer):
    """Trainer whose `eval_loss` is over all trained tokens, and which never exceeds its last step.

    The Trainer of transformers gives the mean over batches, in which a batch of few trained tokens
    weighs as much as a batch of many, so that the number moves with the size of batches. And where
    it goes on from the checkpoint of its last step within an epoch, it takes a step more.

    Batches with `weights` have the loss that `weighting` says; the test loss has no weights.
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
        """The batches of the next step with what their losses are divided by; none after the last
        step."""
        if self.state.global_step >= self.state.max_steps:
            return [], None
        batches, targets = super().get_batch_samples(*args, **options)
        if batches and WEIGHTS in batches[0]:
            targets = self._total_weight(batches)
        return batches, targets

    def _total_weight(self, batches: list[Any]) -> torch.Tensor:
        """The weight of all labels of a step, on all ranks."""
        total = weighting.total(batches).to(self.args.device)
        return self.accelerator.gather(total).sum() if self.args.world_size > 1 else total

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The loss of a batch, by its weights where it has any.

        It is scaled as that of transformers is: `backward` averages over the ranks.
        """
        if WEIGHTS not in inputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        self.loss_is_scaled_for_ga = True
        of_loss = {key: inputs.pop(key) for key in ("labels", WEIGHTS)}
        outputs = model(**inputs)
        loss = weighting.loss(outputs.logits, total=num_items_in_batch, **of_loss)
        loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss
