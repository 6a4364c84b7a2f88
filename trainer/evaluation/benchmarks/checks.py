"""What lm-eval is about to ask a model, looked at token by token before it asks.

Each check is a function of the requests, as strings and as the ids that the model will read, and of
the model as lm-eval has it. A check that finds nothing returns None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from chatdata.core.errors import ConfigError

if TYPE_CHECKING:
    from trainer.evaluation.benchmarks.harness import Model

LOOKED_AT = 256  # requests that are written and tokenised once more, evenly over all
COSTS = 0.05  # nats: a prompt's end below is as good as certain


class Request(NamedTuple):
    """A text whose probability is asked, behind its context."""

    context: str
    continuation: str
    context_ids: list[int]
    continuation_ids: list[int]

    @property
    def ids(self) -> list[int]:
        """What the model reads."""
        return [*self.context_ids, *self.continuation_ids]


class Warning(NamedTuple):
    """What a check has seen: in how many requests, of how many, and what that means."""

    check: str
    requests: int
    of: int
    words: str


def of_scored(requests: Sequence[Request], model: Model) -> Iterator[Warning]:
    """Yields what is wrong with texts that are scored.

    Raises ConfigError for ids that the model does not have.
    """
    for check in _SCORED:
        if (seen := check(requests, model)) is not None:
            yield seen


def of_generated(prompts: Sequence[str], settings: dict[str, Any], model: Model) -> list[Warning]:
    """What is wrong with prompts behind which the model is to write.

    Raises ConfigError where no room is left for a prompt.
    """
    encoded = [model.tok_batch_encode([prompt])[0][0].tolist() for prompt in prompts]
    written = int(settings.get("max_gen_toks") or model.max_gen_toks)
    if written >= model.max_length:
        raise ConfigError(
            f"the task lets a model write {written} tokens, and this model has "
            f"{model.max_length} positions; take a model with more, or another task."
        )
    rows = [Request(prompt, "", ids, []) for prompt, ids in zip(prompts, encoded, strict=True)]
    seen = [
        two_begin_tokens(rows, model),
        _cut(rows, model.max_length - written),
        end_tokens(rows, model, settings),
    ]
    return [warning for warning in seen if warning is not None]


def two_begin_tokens(requests: Sequence[Request], model: Model) -> Warning | None:
    """Prompts in which both the template and the tokenizer have put a begin token."""
    special = set(model.tokenizer.all_special_ids)
    start = model.start_ids()  # GLM has two of them

    def has_two(ids: Sequence[int]) -> bool:
        is_again = len(ids) > 1 and ids[0] == ids[1] and ids[0] in special
        return is_again or (bool(start) and ids[: 2 * len(start)] == start * 2)

    twice = [r for r in requests if has_two(r.ids)]
    if not twice:
        return None
    token = "".join(model.tokenizer.convert_ids_to_tokens(start or twice[0].ids[:1]))
    words = (
        f"the model reads {token!r} twice in front: the template writes it and the tokenizer adds "
        "it again; leave it out of the template."
    )
    return Warning("two_begin_tokens", len(twice), len(requests), words)


def delimiter(requests: Sequence[Request], model: Model) -> Warning | None:
    """Answers whose tokens are not those with which they would stand there."""
    if not model.is_templated:
        return _glued(requests)
    looked_at = _some(requests)
    wrong = []
    for request in looked_at:
        expected = model.as_answered(request)
        if expected is not None and expected[: len(request.ids)] != request.ids:
            wrong.append((request, expected))
    if not wrong:
        return None
    request, expected = wrong[0]
    place = next(
        (i for i, (a, b) in enumerate(zip(request.ids, expected, strict=False)) if a != b),
        min(len(expected), len(request.ids)) - 1,
    )
    scored, written = model.tokenizer.convert_ids_to_tokens([request.ids[place], expected[place]])
    words = (
        f"{_short(request.continuation)} is scored with the token {scored!r}, and the template "
        f"writes this answer with {written!r}; give the task choices and a delimiter without "
        "spaces in front."
    )
    return Warning("delimiter", len(wrong), len(looked_at), words)


def _glued(requests: Sequence[Request]) -> Warning | None:
    glued = [
        r
        for r in requests
        if r.context and r.continuation and not r.context[-1:].isspace()
        if not r.continuation[0].isspace() and r.continuation[0].isalnum()
    ]
    if not glued:
        return None
    text = glued[0].context[-12:] + glued[0].continuation[:12]
    words = f"no space is between question and answer ({text!r}); set the task's target_delimiter."
    return Warning("delimiter", len(glued), len(requests), words)


def boundary(requests: Sequence[Request], model: Model) -> Warning | None:
    """Texts whose tokens change where the answer is put behind the question."""
    looked_at = [r for r in _some(requests) if r.context]
    merged = [r for r in looked_at if model.tok_encode(r.context + r.continuation) != r.ids]
    if not merged:
        return None
    tail = merged[0].context[-6:] + merged[0].continuation[:6]
    words = (
        f"a token spans the end of the question and the beginning of the answer (in {tail!r}), so "
        "the model reads ids that no text has; end the question where a token ends."
    )
    return Warning("boundary", len(merged), len(looked_at), words)


def prompt_scored(requests: Sequence[Request], model: Model) -> Warning | None:
    """The white space that ends a template's prompt, which lm-eval scores with every answer.

    Where the model is sure of it that changes nothing; else acc_norm, which divides the sum by the
    length of the answer, prefers long answers.
    """
    if not model.is_templated or not model.divides:
        return None
    ends = [r for r in requests if r.context != r.context.rstrip()]
    costs = model.costs(_ends_of_prompts(_some(ends, 32), model))
    mean = -sum(costs) / len(costs) if costs else 0.0
    if mean < COSTS:
        return None
    end = ends[0].context[len(ends[0].context.rstrip()) :]
    words = (
        f"the template's prompt ends with {end!r}, which lm-eval scores as part of each answer; "
        f"this model gives it {mean:.2f} nats on average, so acc_norm prefers long answers."
    )
    return Warning("prompt_scored", len(ends), len(requests), words)


def _ends_of_prompts(requests: Sequence[Request], model: Model) -> list[Request]:
    """What ends each prompt, as the answer to all before."""
    rows = []
    for r in requests:
        whole = model.tok_encode(r.context)
        cut = len(r.context_ids)
        if whole[:cut] == r.context_ids and len(whole) > cut:
            rows.append(Request("", "", r.context_ids, whole[cut:]))
    return rows


def truncated(requests: Sequence[Request], model: Model) -> Warning | None:
    """Texts longer than the model's context, of which lm-eval leaves out the beginning.

    Raises ConfigError for an answer that is longer by itself.
    """
    longest = max((len(r.continuation_ids) for r in requests), default=0)
    if longest > model.max_length:
        raise ConfigError(
            f"an answer of the task has {longest} tokens, and the model {model.max_length} "
            "positions; take a model with more, or another task."
        )
    return _cut(requests, model.max_length + 1)


def _cut(requests: Sequence[Request], room: int) -> Warning | None:
    long = [len(r.ids) for r in requests if len(r.ids) > room]
    if not long:
        return None
    words = (
        f"up to {max(long)} tokens are asked, and {room} fit: lm-eval leaves out the beginning, "
        "with the begin token, the description and the first examples; lower --shots."
    )
    return Warning("truncated", len(long), len(requests), words)


def empty_answers(requests: Sequence[Request], model: Model) -> None:
    """Raises ConfigError for answers of which no token is left to score."""
    if empty := [r for r in requests if not r.continuation_ids]:
        tail, answer = empty[0].context[-12:], empty[0].continuation
        raise ConfigError(
            f"nothing is left to score of the answer {answer!r} to '...{tail}': it is empty, or a "
            "token spans both; change the task's target_delimiter or its choices."
        )


def unknown_ids(requests: Sequence[Request], model: Model) -> None:
    """Raises ConfigError for ids for which the model has no embedding."""
    rows = model.model.get_input_embeddings().weight.shape[0]
    largest = max((max(r.ids) for r in requests if r.ids), default=0)
    if largest >= rows:
        token = model.tokenizer.convert_ids_to_tokens(largest)
        raise ConfigError(
            f"the tokenizer writes {token!r} as {largest}, and the model has {rows} embeddings; "
            "this tokenizer is of another model."
        )


def template_of_another(requests: Sequence[Request], model: Model) -> Warning | None:
    """A template that ends turns with a token that does not end the model's texts."""
    if not model.is_templated or not (missing := model.unknown_ends()):
        return None
    words = (
        f"the template ends a turn with {missing[0]!r}, which is no end token of the model: it "
        "looks like a base model that has a chat template and never learnt it."
    )
    return Warning("template_of_another", len(requests), len(requests), words)


def end_tokens(
    requests: Sequence[Request], model: Model, settings: dict[str, Any]
) -> Warning | None:
    """Ends of turns at which neither the model nor the task stops."""
    until = settings.get("until") or []
    until = [until] if isinstance(until, str) else until
    missing = [token for token in model.unknown_ends() if token not in until]
    if not model.is_templated or not missing:
        return None
    words = (
        f"nothing stops at {missing[0]!r}, with which the template ends an answer: not the model's "
        f"end tokens, nor the task's `until` ({until}); set eos_token_id in generation_config.json."
    )
    return Warning("end_tokens", len(requests), len(requests), words)


def _short(text: str, most: int = 40) -> str:
    return repr(text if len(text) <= most else text[: most - 3] + "...")


def _some(requests: Sequence[Request], number: int = LOOKED_AT) -> list[Request]:
    """Requests, evenly over all."""
    step = max(1, len(requests) // number)
    return list(requests[::step][:number])


_SCORED: tuple[Callable[[Sequence[Request], Model], Warning | None], ...] = (
    empty_answers,
    unknown_ids,
    two_begin_tokens,
    delimiter,
    boundary,
    truncated,
    prompt_scored,
    template_of_another,
)
