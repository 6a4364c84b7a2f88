"""The chat template that a tokenizer carries, as transformers loads it, checked and read."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers

from chatdata.core.errors import RenderError
from chatdata.render import auto_tokenizer, chat_template, control_tokens
from chatdata.render.conversation import UnrenderableError
from chatdata.render.template import TemplateOptions
from chatdata.render.tokenizer import Tokenizer, parse, with_template

_RESOLVED = "resolved.json"


def prepare(folder: Path | None, name: str, options: TemplateOptions, work: Path) -> Path | None:
    """A new folder `work` with what transformers makes of the tokenizer.

    Raises RenderError where the tokenizer carries no chat template, or where transformers
    writes it in another way than `chat_template` does.
    """
    if folder is None:
        raise RenderError(
            f"tokenizer '{name}' carries no chat template; choose the template starchat, "
            "chatml or dialogue, or a model's tokenizer."
        )
    folder = folder.parent if folder.is_file() else folder
    loaded = auto_tokenizer.load(folder, name)
    template = _chat_template(loaded, name)
    source = auto_tokenizer.source_of(loaded, folder, name)
    tokens = {k: v for k, v in loaded.special_tokens_map.items() if isinstance(v, str)}
    variables = dict(options.variables)
    _compare(loaded, template, {**tokens, **variables}, variables, name)
    resolved = {
        "sha256": source.sha256,
        "config": {**source.config, **tokens},
        "tokens": tokens,
        "template": template,
    }
    work.mkdir()
    (work / "tokenizer.json").write_text(source.text, encoding="utf-8")
    (work / _RESOLVED).write_text(json.dumps(resolved), encoding="utf-8")
    return work


def load(folder: Path | None, name: str, options: TemplateOptions) -> Tokenizer:
    """The tokenizer with its chat template, from a folder that `prepare` made.

    Raises RenderError where the template cannot be rendered exactly.
    """
    assert folder is not None
    full = parse((folder / "tokenizer.json").read_text(encoding="utf-8"), name)
    resolved = json.loads((folder / _RESOLVED).read_text(encoding="utf-8"))
    source = resolved["template"]
    variables = {**resolved["tokens"], **options.variables}
    markers = marking_tokens(full, source, variables, options.date)
    control = control_tokens.ControlTokens(full, markers)
    bare = chat_template.JinjaTemplate(source, variables, options.date, control.pattern)
    bare = chat_template.with_added_end(bare) if options.add_end else bare
    template = chat_template.read(bare, compiles=control.stand_alone)
    return with_template(
        full,
        template,
        name=name,
        sha256=resolved["sha256"],
        config=resolved["config"],
        markers=markers,
    )


def marking_tokens(
    full: tokenizers.Tokenizer,
    source: str,
    variables: Mapping[str, Any],
    date: datetime.date | None,
) -> tuple[str, ...]:
    """The added tokens by which a chat template marks turns though they are not special.

    Rows and chats ask here, so that a token in a user's turn is the same ids in both. Raises
    RenderError where the template is not Jinja, or asks for a date and none is given.
    """
    return control_tokens.markers(full, chat_template.plain_texts(source, variables, date))


def _chat_template(loaded: Any, name: str) -> str:
    """The chat template of a tokenizer that transformers has loaded."""
    try:
        return str(loaded.get_chat_template())
    except Exception as error:  # transformers raises for several reasons
        reason = str(error).strip().splitlines()[0]
        raise RenderError(
            f"tokenizer '{name}' cannot be used with its own chat template: {reason} Choose the "
            "template starchat, chatml or dialogue, or put a chat_template.jinja beside it."
        ) from None


def _compare(
    tokenizer: Any, source: str, values: dict[str, Any], variables: dict[str, Any], name: str
) -> None:
    """Compares with transformers, today's date given to both."""
    today = datetime.date.today()
    for messages in chat_template.probes():
        with contextlib.suppress(UnrenderableError):
            text = chat_template.render(source, values, today, messages)
            expected = tokenizer.apply_chat_template(messages, tokenize=False, **variables)
            if text != expected and today == datetime.date.today():
                raise RenderError(
                    f"the chat template of tokenizer '{name}' gives another text in "
                    "transformers than in chatdata; choose the template starchat, chatml or "
                    "dialogue, and please report this template."
                )
