"""An index of evaluation texts, and a text that is long enough to be looked for."""

from __future__ import annotations

import polars as pl

from chatdata.steps import contamination, evaluation_sets
from chatdata.steps.contamination import Index, Rule

RULE = Rule(ngram=13, min_words=8, common=3)
LONG = (
    "A cyclist leaves the harbour at nine and rides north at eighteen kilometres an hour, while "
    "her brother sets out from the lighthouse an hour later; where do the two of them meet?"
)


def index(*texts: str, rule: Rule = RULE) -> Index:
    rows = [{"set": "s", "item": str(i), "text": text} for i, text in enumerate(texts)]
    return contamination.index(pl.DataFrame(rows, schema=evaluation_sets.SCHEMA), rule)
