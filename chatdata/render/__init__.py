"""Messages to rows of token ids and labels, and the proof that the rows are right."""

__all__ = [
    "built_in",
    "carried_template",
    "certificate",
    "chat_template",
    "control_tokens",
    "conversation",
    "encoding",
    "entries",
    "fit",
    "options",
    "parity",
    "rows",
    "segments",
    "template",
    "template_spec",
    "templates",
    "token_spans",
    "tokenizer",
    "unknown",
    "windows",
]
