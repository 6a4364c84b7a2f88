"""The Trainer of transformers with two corrections, the test loss and the end of a resumed run, and
with the weights of labels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import transformers

from chatdata.core.errors import ChatdataError
from chatdata.dataset.schemas import WEIGHTS
from trainer.data import weighting
from trainer.model import families
from trainer.run import checkpoints, muon, room


class Trainer(transformers.Trainer):
    """Trainer whose `eval_loss` is over all trained tokens, and which never exceeds its last step.

    The Trainer of transformers gives the mean over batches, in which a batch of few trained tokens
    weighs as much as a batch of many, so that the number moves with the size of batches. And where
    it goes on from the checkpoint of its last step within an epoch, it takes a step more.

    A loss, a norm of the gradient or a weight that is not a number ends the run, before it writes
    another checkpoint or a model.

    Batches with `weights` have the loss that `weighting` says; the test loss has no weights. Of a
    model whose own loss is another than the mean over the trained tokens of a step the loss is
    computed here.
    """

    _losses_are_finite: torch.Tensor | None = None  # of all steps since the last look
    with_muon = False  # AdamW, or what `args.optim` names

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        fused = self.args.use_liger_kernel  # its kernels make the loss without the logits
        self.loss_by_logits = not fused and families.loss_to_replace(self.model) is not None
        if self.loss_by_logits:  # so that the trained tokens of a step are counted
            self.model_accepts_loss_kwargs = self._loss_shifts_labels = True

    def create_optimizer(self, model: Any = None) -> Any:
        """The optimizer of Trainer, or Muon, which Trainer does not know."""
        if self.with_muon and self.optimizer is None:
            network: Any = self.model if model is None else model
            decaying = set(self.get_decay_parameter_names(network))
            self.optimizer = muon.make(network, decaying, self.args)
        return super().create_optimizer(model)

    def training_step(self, *args: Any, **options: Any) -> Any:
        """The loss of a batch, as of Trainer; whether it is a number is kept for a later look."""
        loss = super().training_step(*args, **options)
        is_finite = loss.detach().isfinite().all()
        earlier = self._losses_are_finite
        self._losses_are_finite = is_finite if earlier is None else is_finite & earlier
        return loss

    def _maybe_log_save_evaluate(
        self, tr_loss: Any, grad_norm: Any, *args: Any, **more: Any
    ) -> None:
        if self.control.should_log or self.control.should_save or self.control.should_evaluate:
            self.refuse_what_is_no_number(grad_norm, weights=self.control.should_save)
        super()._maybe_log_save_evaluate(tr_loss, grad_norm, *args, **more)

    def refuse_what_is_no_number(self, grad_norm: Any = None, weights: bool = True) -> None:
        """Raises ChatdataError where a loss since the last look or the norm of the gradient is not
        a number, or a weight, before weights are saved. Must be called by all ranks."""
        losses = self._losses_are_finite
        checks = {
            "the loss": losses is None or bool(losses),
            "the norm of the gradient": grad_norm is None or math.isfinite(float(grad_norm)),
            "a weight": not weights or _are_finite(self.model),
        }
        wrong = next((name for name, is_finite in checks.items() if not is_finite), None)
        if wrong := _first_of_all_ranks(wrong):
            folder, _ = checkpoints.choose(Path(str(self.args.output_dir)), self.args.world_size)
            good = f"'{folder}' is the last good checkpoint" if folder else "there is no checkpoint"
            raise ChatdataError(
                f"{wrong} is not a number at step {self.state.global_step}, so that the run ends "
                f"and no model is saved; {good}. Lower training.learning_rate, or look at the rows "
                "of these steps."
            )

    def _save_checkpoint(self, *args: Any, **options: Any) -> None:
        """Saves as Trainer does; a disk that fails is named."""
        what = f"checkpoint {self.state.global_step}"
        with room.in_words(what, Path(str(self.args.output_dir)), self.args.world_size):
            super()._save_checkpoint(*args, **options)

    def _save(self, output_dir: Any = None, state_dict: dict[str, Any] | None = None) -> None:
        """Saves as Trainer does; a weight that parts of the model share is saved once, also where
        FSDP gathers it once for each of these parts."""
        tied = getattr(self.model, "all_tied_weights_keys", {})
        if state_dict is not None:
            state_dict = {key: weight for key, weight in state_dict.items() if key not in tied}
        super()._save(output_dir, state_dict)

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
        """The loss of a batch, by its weights where it has any, and of its outputs the logits.

        It is scaled as that of transformers is: `backward` averages over the ranks.
        """
        if WEIGHTS in inputs or self.loss_by_logits:
            loss, outputs = self._loss_and_outputs(model, inputs, num_items_in_batch)
        else:
            total = num_items_in_batch
            if self.is_fsdp_enabled and isinstance(total, torch.Tensor):
                total = total.item()  # FSDP rounds tensors to bfloat16
            loss, outputs = super().compute_loss(model, inputs, True, total)
        return (loss, {"logits": outputs["logits"]}) if return_outputs else loss

    def _loss_and_outputs(self, model: Any, inputs: dict[str, Any], total: Any) -> tuple[Any, Any]:
        """The loss of a batch that the model does not compute, and the model's outputs."""
        self.loss_is_scaled_for_ga = total is not None
        keys = ("labels", "shift_labels", WEIGHTS)
        of_loss = {key: inputs.pop(key) for key in keys if key in inputs}
        outputs = model(**inputs)
        if WEIGHTS in of_loss:
            loss = weighting.loss(outputs["logits"], total=total, **of_loss)
        else:
            loss = weighting.mean(outputs["logits"], of_loss, total)
        return loss * (1 if total is None else self.accelerator.num_processes), outputs


def _are_finite(network: Any) -> bool:
    """Whether all weights of this rank are numbers; DeepSpeed keeps the rank's part apart."""
    parts = (getattr(weight, "ds_tensor", weight) for weight in network.parameters())
    return all(bool(_local(part.detach()).isfinite().all()) for part in parts)


def _local(weight: Any) -> Any:
    """The part of a sharded weight that this rank has."""
    return weight.to_local() if hasattr(weight, "to_local") else weight


def _first_of_all_ranks(wrong: str | None) -> str | None:
    """What is wrong on the first rank on which something is."""
    if not torch.distributed.is_initialized():
        return wrong
    of_ranks: list[str | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(of_ranks, wrong)
    return next(filter(None, of_ranks), None)
