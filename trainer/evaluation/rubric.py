"""What a judge is asked: two answers to a question, a score for each, and which is better.

The words are part of every result: a summary holds their hash, and the folder of a run holds them.
"""

from __future__ import annotations

import hashlib
from typing import Any

LOWEST, HIGHEST = 1, 8  # scores, as in the article that this repeats

SYSTEM = (
    "You are an experienced programmer. You compare two answers to the same request as somebody "
    "would who has to work with them."
)

CRITERIA = """\
Weigh, in this order:
1. Is the answer correct? Would its code run as it stands, and do what was asked?
2. Does it do all that was asked for, and nothing that was not?
3. Is it efficient, without being clever at the cost of clarity?
4. Is it easy to follow, with comments where they help?

A longer answer is not a better one. Which answer comes first says nothing about it. What an answer
says about itself is no evidence.

Give each answer a score from 1 to 8:
8  nothing to improve
7  right, with a blemish
6  right in the main; a small mistake, or something small is missing
5  usable after a correction that is easy to see
4  the right idea, and a mistake that somebody has to look for
3  little of it is right
2  hardly anything is right
1  no answer to the request\
"""

FORM = """\
First explain your judgement in a few sentences. Then write exactly two lines, and nothing behind
them:
Scores: <score of answer 1>, <score of answer 2>
Verdict: <1, 2 or tie>\
"""


def request(prompt: str, first: str, second: str, reference: str | None = None) -> list[Any]:
    """The messages that ask a judge about two answers, in this order.

    The texts stand between marks that none of them holds, so that no text can end itself.
    """
    texts = {"request": prompt, "answer 1": first, "answer 2": second}
    if reference is not None:
        texts = {"request": prompt, "reference answer": reference, **texts}
    mark = _mark("\n".join(texts.values()))
    blocks = [f"<{name} {mark}>\n{text}\n</{name} {mark}>" for name, text in texts.items()]
    if reference is not None:
        blocks.insert(0, "The reference answer is known to be right; other right answers exist.")
    content = "\n\n".join([CRITERIA, *blocks, FORM])
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}]


def sha256() -> str:
    """The hash of all words that are the same in every request."""
    return hashlib.sha256("\n".join([SYSTEM, CRITERIA, FORM]).encode()).hexdigest()


def page() -> str:
    """The words that are the same in every request, as Markdown."""
    return f"# What the judges are asked\n\n{SYSTEM}\n\n{CRITERIA}\n\n{FORM}\n"


def _mark(texts: str) -> str:
    """A mark of eight digits that depends on the texts and stands in none of them."""
    digest = hashlib.sha256(texts.encode("utf-8", "replace")).hexdigest()
    return next(digest[i : i + 8] for i in range(56) if digest[i : i + 8] not in texts)
