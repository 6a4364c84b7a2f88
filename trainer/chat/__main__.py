"""Talks with a model in the terminal or in the browser, or serves the model as an endpoint.

    python -m trainer.chat out/sample-model
    python -m trainer.chat out/sample-model --web

A tuned model is prompted with its tokenizer's chat template, a base model with a few-shot prompt
(`--prompt`).
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chatdata.core import disk, interrupts
from chatdata.core.errors import ChatdataError, ConfigError
from trainer.chat import server

if TYPE_CHECKING:
    from trainer.chat.generation import ChatModel, Sampling

# As in transformers' generate, with the settings of StarChat's demo.
_SAMPLING: dict[str, tuple[Any, Any, str]] = {
    "temperature": (click.FloatRange(0), 0.2, "0: always the most likely token."),
    "top_p": (
        click.FloatRange(0, 1, min_open=True),
        0.95,
        "Draw from the most likely tokens with this total probability.",
    ),
    "top_k": (click.IntRange(0), 50, "Draw from this many of the most likely tokens; 0: from all."),
    "repetition_penalty": (click.FloatRange(0, min_open=True), 1.2, "1: no penalty."),
    "max_new_tokens": (
        click.IntRange(1),
        None,
        "The longest answer, in tokens. [512, or half of the model's context if that is less]",
    ),
}


def _sampling_options(command: Any) -> Any:
    for name, (kind, default, text) in reversed(_SAMPLING.items()):
        option = click.option(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=default,
            show_default=default is not None,
            help=text,
        )
        command = option(command)
    return command


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model")
@click.option("--revision", help="The revision of a model on the Hub.")
@click.option(
    "--prompt",
    type=click.Path(path_type=Path),
    help="A few-shot prompt that makes a base model an assistant: assistant, technical, a file.",
)
@click.option("--system", help="The system turn.")
@_sampling_options
@click.option("--seed", type=click.IntRange(0), help="Makes the answers repeatable.")
@click.option("--web", is_flag=True, help="A page in the browser.")
@click.option("--serve", is_flag=True, help="An OpenAI-compatible endpoint (transformers serve).")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen on, for --web and --serve.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="The port to listen on. [7860 for --web, 8000 for --serve]",
)
@click.pass_context
def main(ctx: click.Context, /, model: str, web: bool, serve: bool, **options: Any) -> None:
    """Talk with MODEL, a folder or a repository on the Hub.

    \b
    python -m trainer.chat out/sample-model --system "Answer in one sentence."
    python -m trainer.chat bigcode/starcoderbase --prompt recipes/prompts/technical.yaml
    python -m trainer.chat out/sample-model --serve --port 8000
    """
    try:
        with disk.in_words():
            if serve:
                _serve(ctx, model, web, options)
            elif web:
                _web(model, options)
            else:
                _terminal(model, options)
    except ChatdataError as error:
        raise click.ClickException(str(error)) from None


def _serve(ctx: click.Context, model: str, web: bool, options: dict[str, Any]) -> None:
    from trainer.chat import server

    given = [name for name in ("revision", "prompt", "system", *_SAMPLING) if _is_given(ctx, name)]
    if web or given:
        name = "web" if web else given[0].replace("_", "-")
        raise click.UsageError(
            f"--serve and --{name} do not go together: each request to the endpoint has its own "
            "messages and settings."
        )
    server.run(model, options["host"], options["port"] or 8000, options["seed"])


def _is_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _web(model: str, options: dict[str, Any]) -> None:
    if importlib.util.find_spec("gradio") is None:
        raise ConfigError(f"--web needs Gradio, which is not installed; run `{server.INSTALL}`.")
    from trainer.chat import web as chat_web

    chat_model, sampling = _load(model, options)
    chat_web.run(
        chat_model,
        sampling,
        title=Path(model).name,
        system=options["system"] or "",
        host=options["host"],
        port=options["port"] or 7860,
    )


def _terminal(model: str, options: dict[str, Any]) -> None:
    from trainer.chat import terminal

    chat_model, sampling = _load(model, options)
    session = terminal.Session(chat_model, sampling)
    if options["system"]:
        session.messages.append({"role": "system", "content": options["system"]})
    terminal.run(session)


def _load(model: str, options: dict[str, Any]) -> tuple[ChatModel, Sampling]:
    from transformers import set_seed
    from transformers.utils import logging

    from trainer import shipped
    from trainer.chat import few_shot, generation
    from trainer.chat.prompt_window import TemplateWriter, Writer

    file = options["prompt"]
    prompt = few_shot.load(shipped.find(file, "prompts")) if file else None
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    network, tokenizer = generation.load(model, options["revision"])
    writer: Writer = few_shot.FewShot(prompt, tokenizer) if prompt else TemplateWriter(tokenizer)
    chat_model = generation.ChatModel(network, tokenizer, writer)
    settings = {name: options[name] for name in _SAMPLING if options[name] is not None}
    if options["seed"] is not None:
        set_seed(options["seed"])
    return chat_model, chat_model.sampling(settings)


if __name__ == "__main__":
    interrupts.run(main)
