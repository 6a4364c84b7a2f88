"""Messages to messages: what is cleaned, filtered, threaded, compared, mixed and split."""

__all__ = [
    "clean",
    "cleaning",
    "contamination",
    "duplicates",
    "evaluation_sets",
    "figures",
    "filtering",
    "filters",
    "language",
    "mixing",
    "ngrams",
    "phones",
    "quality_filters",
    "redact",
    "secrets",
    "split",
    "spoken",
    "structure",
    "threads",
    "trees",
]
