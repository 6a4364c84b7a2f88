"""The lines beside an answer: its tokens, how the answer ended, and messages that were left out."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.chat.generation import Answer, ChatModel
from trainer.chat.prompt_window import Message, PromptWindow


def left_out(window: PromptWindow) -> str:
    """A line with the messages and examples that do not fit the context; empty where all fit."""
    parts = [
        f"{number} {name}"
        for number, name in (
            (window.messages_out, "of the oldest messages"),
            (window.examples_out, "example dialogues"),
        )
        if number
    ]
    return f"the context is full: the model does not see {' and '.join(parts)}" if parts else ""


def status_line(
    chat_model: ChatModel,
    messages: Sequence[Message],
    window: PromptWindow,
    answer: Answer,
    is_stopped: bool,
) -> str:
    """A line with the tokens of prompt and answer, and why an unfinished answer ended."""
    tuned = chat_model.writer.tuned_tokens(messages)
    prompt = f"{len(window.ids):,} tokens of prompt"
    return ", ".join(
        [
            prompt if tuned is None else f"{prompt} (a tuned model: {tuned:,})",
            "stopped" if is_stopped else f"{answer.tokens:,} of answer",
            *(["cut at max_new_tokens"] if answer.is_truncated else []),
        ]
    )
