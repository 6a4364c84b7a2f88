"""Fine-tunes a model on a dataset that chatdata built, with transformers and DeepSpeed.

    torchrun --nproc_per_node=2 -m trainer.train recipes/train/sample.yaml --set training.bf16=true

Reads the rows of tokens as they are, so no rank tokenises. Saves a model that loads with
`from_pretrained`, whose generation stops where its turns end.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import click
import torch

from chatdata.errors import ChatdataError, OutputError
from trainer.config import TrainConfig, load

# DeepSpeed 0.19 calls names that PyTorch 2.13 has renamed, at every step.
warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # read when deepspeed is imported


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("settings", "--set", multiple=True, metavar="KEY=VALUE", help="Change a key.")
def main(recipe: Path, settings: tuple[str, ...]) -> None:
    """Fine-tune the model that the train recipe RECIPE (a YAML file) describes."""
    try:
        train(load(recipe, settings))
    except ChatdataError as error:
        raise click.ClickException(str(error)) from None
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def train(config: TrainConfig) -> None:
    """Trains, evaluates on the test split before and after, and saves."""
    from transformers import Trainer

    from trainer import data, layout, model

    folder = Path(config.dataset)
    facts = data.read_manifest(folder)
    tokenizer = model.load_tokenizer(folder, facts)
    rows, test = (data.load_tokens(folder, facts, split) for split in ("train", "test"))
    if rows is None:
        raise OutputError(f"'{folder}' has no train rows; build it with a smaller test split.")
    arguments = _arguments(config)  # before the model: DeepSpeed partitions it as it is made
    arguments.eval_on_start = test is not None
    network = model.load_model(config.model, tokenizer, config.training.seed)
    _same_on_all_ranks(model.embedding_digest(network))
    model.check_lengths(network, max(rows[data.LENGTH]))
    laid = layout.lay_out(config, facts, rows, network, tokenizer)
    trainer = Trainer(
        model=network,
        args=arguments,
        train_dataset=laid.items,
        eval_dataset=test,
        processing_class=tokenizer,
        data_collator=laid.collator,
        callbacks=laid.callbacks,
    )
    if laid.summary and trainer.is_world_process_zero():
        click.echo(laid.summary)
    trainer.train()
    if test is not None:
        trainer.evaluate()
    _save(trainer, config, data.describe(facts))
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    if trainer.is_world_process_zero() and losses:
        click.echo(f"test loss {losses[0]:.4f} before, {losses[-1]:.4f} after")


def _arguments(config: TrainConfig) -> Any:
    from transformers import TrainingArguments

    on_cpu = not torch.cuda.is_available()
    if config.deepspeed is not None and on_cpu:
        import deepspeed

        deepspeed.init_distributed(dist_backend="gloo")  # else the world size is taken as 1
    own = config.training
    values: dict[str, Any] = own.model_dump(exclude_none=True)
    values["save_strategy"] = "no" if own.save_steps is None else "steps"
    return TrainingArguments(
        output_dir=config.output,
        use_cpu=on_cpu,
        deepspeed=config.deepspeed,
        report_to=list(config.report_to),
        dataloader_pin_memory=not on_cpu,
        logging_first_step=True,
        disable_tqdm=not sys.stderr.isatty(),
        **values,
    )


def _same_on_all_ranks(digest: str) -> None:
    """Raises ChatdataError where ranks would start from different embeddings."""
    if not torch.distributed.is_initialized():
        return
    digests: list[str] = [""] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(digests, digest)
    if len(set(digests)) > 1:
        raise ChatdataError("the embeddings differ between ranks; this is a bug, please report it.")


def _save(trainer: Any, config: TrainConfig, dataset: dict[str, Any]) -> None:
    """Saves model, tokenizer, the dataset's facts, the resolved recipe and the losses."""
    trainer.model.config.use_cache = True
    trainer.save_model()
    if not trainer.is_world_process_zero():
        return
    output = Path(config.output)
    plugin = trainer.accelerator.state.deepspeed_plugin
    run = {
        "steps": trainer.state.global_step,
        "ranks": trainer.accelerator.num_processes,
        "zero_stage": plugin.zero_stage if plugin is not None else 0,
    }
    facts = {"dataset": dataset, "run": run, "train_recipe": config.model_dump(mode="json")}
    (output / "chatdata.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    with (output / "metrics.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in trainer.state.log_history)


if __name__ == "__main__":
    main()
