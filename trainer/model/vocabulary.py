"""Whether a model and the rows of a dataset have one tokenizer."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from transformers import PreTrainedTokenizerBase

from chatdata.core.errors import ConfigError
from chatdata.render.probe_texts import PROBE_TEXTS
from trainer.model import pretrained

ALLOW = "allow_new_tokenizer"


def check(
    path: str, revision: str | None, tokenizer: PreTrainedTokenizerBase, control: Collection[str]
) -> str:
    """A line that says how the tokenizer of a model fits that of the rows.

    `control` are the template's control tokens, which a model need not have yet. Raises ConfigError
    where a token has another id, or a text other tokens: the model would be trained on other words
    than those it knows, and be saved with a tokenizer that is not its own.
    """
    base = _tokenizer(path, revision)
    if base is None:
        return f"'{path}' has no tokenizer, so that only the number of its embeddings is compared"
    if (difference := first_difference(base, tokenizer, control)) is None:
        added = len(tokenizer) - len(base)
        more = f" but for {added} control tokens that are new to it" if added > 0 else ""
        return f"the model's is that of the rows{more}"
    raise ConfigError(
        f"the tokenizer of model '{path}' is not that of the rows: {difference}; build the dataset "
        f"with --set render.tokenizer={path}, or set {ALLOW} to true to teach the model another "
        "vocabulary."
    )


def first_difference(
    base: PreTrainedTokenizerBase, tokenizer: PreTrainedTokenizerBase, control: Collection[str]
) -> str | None:
    """What differs first between the tokenizer of a model and that of rows, in words."""
    theirs, ours = base.get_vocab(), tokenizer.get_vocab()
    moved = [token for token, id in theirs.items() if ours.get(token) != id]
    if moved:
        token = min(moved, key=lambda token: theirs[token])
        return (
            f"{len(moved):,} of {len(theirs):,} tokens have another id, the first of them "
            f"'{token}' ({theirs[token]} there, {ours.get(token, 'none')} here)"
        )
    more = sorted(ours.keys() - theirs.keys() - set(control))
    if more:
        return f"the rows have {len(more):,} tokens more, such as '{more[0]}'"
    new = [token for token in control if token not in theirs]
    texts = (piece for text in PROBE_TEXTS for piece in _without(new, text))
    return next(filter(None, (_unlike(base, tokenizer, text) for text in texts)), None)


def _without(tokens: Collection[str], text: str) -> list[str]:
    """The pieces of a text between tokens, which only one of two tokenizers knows."""
    return re.split("|".join(map(re.escape, tokens)), text) if tokens else [text]


def _unlike(base: Any, tokenizer: Any, text: str) -> str | None:
    theirs, ours = (each.encode(text, add_special_tokens=False) for each in (base, tokenizer))
    if theirs == ours:
        return None
    return f"{text[:40]!r} is {len(theirs)} tokens there and {len(ours)} here, or others"


def _tokenizer(path: str, revision: str | None) -> PreTrainedTokenizerBase | None:
    try:
        tokenizer = pretrained.load_tokenizer(path, revision=revision)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # a folder without the files of a tokenizer, in the words of many classes
    # For some model types transformers makes one of special tokens alone where there are no files.
    is_empty = tokenizer.get_vocab().keys() <= set(tokenizer.all_special_tokens)
    return None if is_empty else tokenizer
