"""Fine-tunes a model on a dataset that chatdata built, with transformers, DeepSpeed and peft.

    torchrun --nproc_per_node=2 -m trainer.train recipes/train/sample.yaml --set training.bf16=true

The rows of tokens are read as they are, so no rank tokenises. The saved model loads with
`from_pretrained`, and its generation stops at the end of a turn.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chatdata.core import disk, interrupts
from chatdata.core.errors import ChatdataError, OutputError
from trainer.config import TrainConfig, load
from trainer.run import strategy

if TYPE_CHECKING:
    from trainer.run.run import Run


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "settings",
    "--set",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key of the recipe; VALUE is YAML.",
)
@click.option("--deepspeed", metavar="FILE", help="Train with ZeRO-3 and this configuration.")
@click.option("--resume", is_flag=True, help="Continue from the newest complete checkpoint.")
@click.option("--dry-run", is_flag=True, help="Check everything, show the first batch, and stop.")
@click.option(
    "--ranks", type=click.IntRange(1), metavar="N", help="With --dry-run: check as for N processes."
)
@click.option(
    "--push", "repo", metavar="REPO", help="Upload the model to a private repository on the Hub."
)
@click.option("--public", is_flag=True, help="With --push: make the repository public.")
def main(
    recipe: Path,
    settings: tuple[str, ...],
    deepspeed: str | None,
    resume: bool,
    dry_run: bool,
    ranks: int | None,
    repo: str | None,
    public: bool,
) -> None:
    """Fine-tune the model that the train recipe RECIPE (a YAML file) describes."""
    if (ranks and not dry_run) or (public and not repo):
        raise click.UsageError("--ranks goes with --dry-run, and --public with --push.")
    try:
        with disk.in_words():
            config = load(recipe, settings, deepspeed)
            if dry_run:
                check(config, resume, repo, ranks)
            else:
                train(config, resume, repo, private=not public)
    except ChatdataError as error:
        raise click.ClickException(str(error)) from None
    finally:
        strategy.leave()


def train(
    config: TrainConfig, resume: bool = False, repo: str | None = None, private: bool = True
) -> None:
    """Checks, trains, evaluates on the test split before and after, saves, and pushes."""
    from trainer.run import checkpoints, save, upload

    here, maker = strategy.place(), _maker(config)
    run = maker.prepare(config, here, resume, repo)
    if here.is_first:
        _show_checks(run, to_stderr=True)
        checkpoints.begin(run.output, run.started())
    arguments = strategy.arguments(config, here)  # before the model: DeepSpeed partitions it
    trainer = maker.make_trainer(run, maker.load_network(run), arguments)
    strategy.check_sharded(config, trainer)
    trainer.train(resume_from_checkpoint=run.checkpoint())
    trainer.refuse_what_is_no_number()
    _evaluate_again(trainer, config)
    remarks = save.save(trainer, run)
    if here.is_first:
        click.echo(save.summary(trainer.state.log_history))
    if remarks:
        unsaved = "; ".join(remarks)
        raise OutputError(f"the model is in '{run.output}', but {unsaved}. Nothing was pushed.")
    if here.is_first and repo is not None:
        click.echo(upload.upload(run.output, repo, private))


def check(
    config: TrainConfig, resume: bool = False, repo: str | None = None, ranks: int | None = None
) -> None:
    """Checks everything that can be checked before a run, and shows the first batch.

    `ranks` is the number of processes that will train, where that is not the number launched.
    """
    here = strategy.place()
    if ranks is not None:
        here = replace(here, ranks=ranks, is_launched=True)
    if here.is_first:
        _show_checks(_maker(config).prepare(config, here, resume, repo), to_stderr=False)


class _Conversations:
    """A run on conversations; `trainer.preference.run` has the same for pairs."""

    def prepare(self, *args: Any) -> Run:
        """The run of a recipe."""
        from trainer.run.run import prepare

        return prepare(*args)

    def load_network(self, run: Run) -> Any:
        """The model of a run."""
        from trainer.run.run import load_network

        return load_network(run)

    def make_trainer(self, run: Run, network: Any, arguments: Any) -> Any:
        """The Trainer of a run."""
        return make_trainer(run, network, arguments)


def _maker(config: TrainConfig) -> Any:
    """What prepares a run, loads its model and makes its Trainer, by the objective."""
    if config.objective == "sft":
        return _Conversations()
    from trainer.preference import run

    return run


def _show_checks(run: Any, to_stderr: bool) -> None:
    from rich.console import Console

    from trainer.run import preflight

    checks: Any = preflight
    if run.config.objective != "sft":
        from trainer.preference import preflight as checks
    console = Console(stderr=to_stderr, highlight=False)
    findings = checks.check(run)
    preflight.show(findings, console)
    preflight.refuse(findings)
    checks.show_batch(run, console)


def make_trainer(run: Run, network: Any, arguments: Any) -> Any:
    """The Trainer of a run."""
    from transformers import PrinterCallback

    from trainer import evaluate
    from trainer.data import dataset, isolation
    from trainer.run import callbacks, checkpoints, log
    from trainer.run.run import collator
    from trainer.run.trainer import Trainer

    test = dataset.test_rows(run.source)
    options: dict[str, Any] = {}
    if test is not None:
        arguments.eval_on_start = run.checkpoint() is None
        measure = evaluate.measure(test, run.tokenizer, run.stop_ids)
        options = {
            "compute_metrics": measure.metrics,
            "preprocess_logits_for_metrics": measure.reduce,
        }
    trainer = Trainer(
        model=network,
        args=arguments,
        train_dataset=run.layout.items,
        eval_dataset=test,
        processing_class=run.tokenizer,
        data_collator=collator(run),
        callbacks=[
            log.Report(run.output),
            *callbacks.asked_for(run),
            checkpoints.Listing(),
            isolation.CheckOrder(),
            *run.layout.callbacks,
        ],
        **options,
    )
    trainer.with_muon = run.config.training.optim == "muon"
    trainer.remove_callback(PrinterCallback)
    callbacks.introduce(trainer)
    return trainer


def _evaluate_again(trainer: Any, config: TrainConfig) -> None:
    """Evaluates the trained model, unless the last step has done so and the weights are its."""
    tested = [entry["step"] for entry in trainer.state.log_history if "eval_loss" in entry]
    training = config.training
    is_another = bool(training.ema_decay or training.load_best_model_at_end)
    if trainer.eval_dataset is not None and (
        is_another or tested[-1:] != [trainer.state.global_step]
    ):
        trainer.evaluate()


if __name__ == "__main__":
    strategy.run_to_the_end(lambda: interrupts.run(main))
