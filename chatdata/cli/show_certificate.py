"""The certificate of a rendering: checks whose numbers add up, for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from chatdata.render.entries import EncoderEntry, ParityEntry, RenderEntry, UnknownEntry

# Which rows were compared with the template.
_ROWS = {
    "probes": "certificate, on probes (conversations made to try the template):",
    "sample": "certificate, on a sample of the rows:",
}


def print_certificate(render: RenderEntry | None, console: Console) -> None:
    """Prints the certificate: a line for each check of the probes and of the sample."""
    if render is None:
        console.print("nothing is rendered: set render.tokenizer to add token rows", style="dim")
        return
    console.print(_rendering(render), highlight=False, soft_wrap=True)
    whole = render.model_copy(update={"train_on": "assistant"})  # as probes always are
    certificate = render.certificate
    for name, counted, learnt in (
        ("probes", certificate.probes, whole),
        ("sample", certificate.sample, render),
    ):
        console.print(_ROWS[name], highlight=False, soft_wrap=True)
        for words, is_right in _checks(counted, learnt):
            mark = "✓" if is_right else "✗"
            console.print(f"  {mark} {words}", soft_wrap=True)
    if render.unknown is not None:
        console.print(_unknown(render.unknown), soft_wrap=True)
    console.print(_library(render.certificate.engine), highlight=False, soft_wrap=True)


def _unknown(unknown: UnknownEntry) -> str:
    """What became unknown tokens."""
    return (
        f"{unknown.tokens} tokens in {unknown.rows} rows are {unknown.token}: the tokenizer has no "
        "token for a part of their text"
    )


def _checks(counted: ParityEntry, render: RenderEntry) -> Iterator[tuple[str, bool]]:
    """Yields the checks of a certificate in words, and whether each came out right."""
    equal = counted.compared - counted.differences
    words = f"{equal:,} of {counted.compared:,} rows are, token by token, what the template writes"
    yield words, not counted.differences
    if counted.quoting:
        words = f"{counted.quoting:,} more rows quote control tokens as text, and forge"
        yield f"{words} {counted.forged or 'none'}", not counted.forged
    if counted.answers:
        yield _ends(counted, render)
        yield _labels(counted, render)
        yield _prompts(counted)
    if counted.passed_over:
        words = (
            "more answers stand in rows of very many answers; of these, only the row is compared"
        )
        yield f"{counted.passed_over} {words}", True


def _ends(counted: ParityEntry, render: RenderEntry) -> tuple[str, bool]:
    answers, stopped, stop = counted.answers, counted.stops_trained, render.template.stop
    if render.learns_ends:
        ending, left_out = answers - counted.ends_left_out, counted.ends_left_out
        words = f"{stopped} of {ending} answers end with a trained {stop}"
        words += f", {left_out} leave it out by their train_parts" if left_out else ""
        return words, stopped == ending
    return f"{answers - stopped} of {answers} answers end with an untrained {stop}", not stopped


def _labels(counted: ParityEntry, render: RenderEntry) -> tuple[str, bool]:
    answers = counted.answers
    exact = answers - counted.headers_trained
    named = counted.in_parts
    if not isinstance(render.train_on, str):
        words = f"{exact} of {answers} answers are trained in the parts {render.learnt}"
        return words + (f", {named} of them only in their train_parts" if named else ""), True
    words = f"{exact - named} of {answers - named} answers are trained from end to end"
    words += f", and {named} in their train_parts" if named else ""
    if counted.texts_altered:
        words += f", {counted.texts_altered} as the tokenizer alters their text"
    return words, exact == answers


def _prompts(counted: ParityEntry) -> tuple[str, bool]:
    """What stands before the trained tokens of the answers; the numbers add up."""
    if "in_quoting" not in counted.model_fields_set:  # format 1 counted rows
        return f"{counted.prompts} rows begin with the generation prompt", counted.prompts > 0
    behind = counted.prompts + counted.thoughts
    words = f"{behind:,} of {counted.answers:,} answers begin right behind their generation prompt"
    exceptions = {
        "where the row quotes control tokens (its text is compared, above)": counted.in_quoting,
        "whose first token also covers the end of the prompt, and is not trained": (
            counted.straddling
        ),
        "before which nobody asks": counted.unasked,
    }
    apart = sum(exceptions.values())
    if apart:
        parts = [f"{number:,} {why}" for why, number in exceptions.items() if number]
        words += f": {counted.answers:,} = {behind:,} + {' + '.join(parts)}"
    if counted.thoughts:
        words += f"; in {counted.thoughts:,} an empty thought that the template writes is between"
    return words, behind + apart == counted.answers and (behind > 0 or not counted.straddling)


def _rendering(render: RenderEntry) -> str:
    """Template, tokenizer and what is trained."""
    template = render.template
    words = f"template {template.name}, tokenizer {render.tokenizer.name}"
    words += f", trained on {render.learnt}"
    if template.method is not None:
        words += f", written by {template.method}"
        words += "" if template.keeps_history else ", a row for each answer"
    return words


def _library(library: EncoderEntry) -> str:
    """The tokenizer library that made the ids, and how it was compared with `tokenizers`."""
    words = f"ids made by {library.name}"
    if library.audit is not None:
        audit = library.audit
        words += (
            f"; of {audit['texts']} texts, {audit['whole']} and {audit['excerpts']} excerpts were "
            f"compared with tokenizers, {audit['differences']} differ; "
            f"{audit['routed'] + audit['failed']} were left to tokenizers"
        )
    return words + (f" ({library.remark})" if library.remark else "")
