"""Variables for chat templates that a conversation brings along, such as `enable_thinking`."""

from __future__ import annotations

from collections.abc import Iterable

KEY = "chat_template_kwargs"  # of a record and of a published row; TRL reads the same key

# What `apply_chat_template` takes for itself, and what a template is always given.
_RESERVED = frozenset(
    [
        *("conversation", "messages", "tools", "documents", "chat_template", "tokenize"),
        *("add_generation_prompt", "continue_final_message", "sanitize_control_tokens"),
        *("padding", "truncation", "max_length", "return_tensors", "return_dict"),
        *("return_assistant_tokens_mask", "tokenizer_kwargs", "self"),
        *("raise_exception", "strftime_now"),
    ]
)
_SPECIAL = ("_token", "_tokens")  # ends of the names of special tokens


def reserved(names: Iterable[str]) -> str | None:
    """The first name that no variable may have; None where all of them may be variables."""
    return next((n for n in names if n in _RESERVED or n.endswith(_SPECIAL)), None)
