"""Filters of this dataset. The name of a function is the reason that ledger and card give."""


def shouting(message: dict, *, share: float = 0.7) -> bool:
    """Messages mostly in capitals."""
    letters = [letter for letter in message["content"] or "" if letter.isalpha()]
    return len(letters) > 20 and sum(map(str.isupper, letters)) > share * len(letters)
