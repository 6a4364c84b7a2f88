"""What a chat template writes around an answer, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Structure:
    """What a chat template writes around an answer.

    `stop` ends an answer: the text after its last word, up to and with the last control token
    that the model has to write; `trailer` is what stands after that at the end of a conversation.
    `lead` stands before an answer without reasoning and is not supplied by `generation_prompt`;
    where `leads_with_thought`, the lead is a thought without words. `reasoning_key` is the key of
    a message under which the template looks for reasoning, None where it writes none. A template
    that `needs_reasoning` cannot write an answer without, and `hint` says which variables would
    let it. `null_content` stands for the words of a message that has none: None, or "" where the
    template cannot write None. `thought_end` closes a thought. A template that `takes_parts` takes
    content as a list of parts, as templates of models that see images do.
    """

    stop: str = ""
    trailer: str = ""
    lead: str = ""
    generation_prompt: str = ""  # after a user's turn
    leads_with_thought: bool = False
    reasoning_key: str | None = None
    needs_reasoning: bool = False
    hint: str = ""
    null_content: str | None = None
    thought_end: str = ""
    takes_parts: bool = False
