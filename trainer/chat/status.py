"""What is said beside an answer: what it cost, how it ended, what the model could not see."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.chat.generation import Answer, Speaker
from trainer.chat.prompt_window import Message, PromptWindow


def left_out(seen: PromptWindow) -> str:
    """What the model is not shown for want of room; empty where it sees everything."""
    parts = [
        f"{number} {name}"
        for number, name in (
            (seen.messages_out, "of the oldest messages"),
            (seen.examples_out, "example dialogues"),
        )
        if number
    ]
    return f"the context is full: the model does not see {' and '.join(parts)}" if parts else ""


def cost(
    speaker: Speaker, messages: Sequence[Message], seen: PromptWindow, answer: Answer, stopped: bool
) -> str:
    """The tokens of prompt and answer, and how the answer ended where not by itself."""
    tuned = speaker.writer.tuned_tokens(messages)
    prompt = f"{len(seen.ids):,} tokens of prompt"
    return ", ".join(
        [
            prompt if tuned is None else f"{prompt} (a tuned model: {tuned:,})",
            "stopped" if stopped else f"{answer.tokens:,} of answer",
            *(["cut at max_new_tokens"] if answer.cut else []),
        ]
    )
