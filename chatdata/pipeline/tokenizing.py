"""Rows of tokens of a part of a dataset, with the figures of what was made and compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import polars as pl

from chatdata.core import ledger, schema
from chatdata.core.hashing import fraction_column
from chatdata.dataset.rows import Rows
from chatdata.dataset.tables import Table
from chatdata.pipeline import encoders, shard_rows
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.digests import Digests
from chatdata.pipeline.stage import Stage
from chatdata.pipeline.stats import PartStats, Totals, lengths_of
from chatdata.render import certificate
from chatdata.render import unknown as unknown_tokens
from chatdata.render.encoding.audit import Audit
from chatdata.render.fit import fit
from chatdata.render.parity import ParityCounts, Row
from chatdata.render.rows import Rendered, render
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.segments.unencoded import TrainOn
from chatdata.render.unknown import Unknown


@dataclass(frozen=True, slots=True)
class RenderedPart:
    """The messages of a part that stay, their rows of tokens, and outcomes of the rest."""

    messages: pl.DataFrame
    tokens: Rendered | None = None
    outcomes: pl.DataFrame = field(default_factory=lambda: schema.empty(ledger.OUTCOMES))
    parity: ParityCounts = field(default_factory=ParityCounts)
    audit: Audit = field(default_factory=Audit)
    unknown: Unknown = field(default_factory=Unknown)

    def figures(self, rows: Rows, digests: Digests) -> PartStats:
        """The figures of the part, of which `rows` are published, whose digests are written."""
        return PartStats(
            totals=Totals(rows.totals()),
            lengths=lengths_of(rows.sizes()),
            digests=digests,
            languages=Counter(lang or "unknown" for lang in rows.messages["lang"].to_pylist()),
            variables=rows.variables(),
            weighted_messages=rows.weighted_messages(),
            messages_in_parts=rows.messages_in_parts(),
            parity=self.parity,
            audit=self.audit,
            unknown=self.unknown,
        )


def tokenize(
    context: BuildContext,
    part: str,
    messages: pl.DataFrame,
    learnt: Callable[[pl.DataFrame], pl.DataFrame],
) -> RenderedPart:
    """The rows of tokens of ordered rows of MESSAGES, a sample of which the certificate looks at.

    `part` names the part among those of the context. `learnt` gives the messages that fit with what
    of them may be learnt. The sample is chosen by a hash of the ids of the rows. Raises RenderError
    where a row is not what the template writes.
    """
    source = context.tokenizer
    assert source is not None
    tokenizer = encoders.load_tokenizer(source)
    with encoders.encoder(context, f"rows of {part}") as encoder:
        pool = TextPool(tokenizer, encoder)
        fitted = fit(messages, pool, source.options)
        tokens = render(learnt(fitted.messages), fitted.windows, pool, source.options)
    ids = pl.Series(tokens.ids, dtype=pl.String)
    is_sampled = fraction_column(ids, "certificate") < context.sample
    sampled = certificate.chosen_rows(tokens, source.options.train_on, is_sampled)
    parity = encoders.proved(CERTIFICATE, context, (source.options.train_on, sampled))
    outcomes = pl.concat([fitted.outcomes, tokens.outcomes])
    unknown = unknown_tokens.count(tokens, tokenizer)
    return RenderedPart(tokens.messages, tokens, outcomes, parity, encoder.audit, unknown)


def _compared(context: BuildContext, task: tuple[TrainOn, list[Row]]) -> ParityCounts:
    """What the certificate counts in rows. Raises RenderError where one is not what the template
    writes.

    `task` is what is learnt of answers, and the rows.
    """
    assert context.tokenizer is not None
    train_on, rows = task
    tokenizer = encoders.load_tokenizer(context.tokenizer)
    parity = certificate.compare(rows, tokenizer, train_on)
    certificate.raise_on_failure(parity, tokenizer)
    return parity


# Of rows with all their ids, labels and words, so that none is taken for another.
CERTIFICATE: Stage[tuple[TrainOn, list[Row]], ParityCounts] = Stage(
    "certificate",
    _compared,
    frozenset(),
    encoders.of_tokenizer,
    parts_of_context=frozenset(["tokenizer"]),
)


def save_rows(context: BuildContext, part: int, rows: Rows, made: Sequence[Table]) -> None:
    """Writes tables of the rows of a part, from which shards are written."""
    for table in made:
        for name, table_rows in table.make(rows).items():
            shard_rows.save(context.files, part, table, name, table_rows)
