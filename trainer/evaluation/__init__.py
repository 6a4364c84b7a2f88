"""Whether a model answers better than another: answers, judges, and what their words amount to."""

__all__ = [
    "answering",
    "answers",
    "arena",
    "card",
    "generating",
    "judging",
    "prompts",
    "replies",
    "rubric",
    "running",
    "sandbox",
    "statistics",
]
