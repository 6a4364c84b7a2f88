"""What the parts of a recipe ask of each other. Each rule raises ValueError with the way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chatdata import sources
from chatdata.pipeline.recipe_parts import Pack, SourceOptions
from chatdata.render.options import Render
from chatdata.steps.filtering import Drop
from chatdata.steps.mixing import Mix
from chatdata.steps.threads import Threads

Sources = Mapping[str, SourceOptions]


def check_weights(given: Sources) -> None:
    """Sources have names of their own, and all of them have a weight or none has."""
    names = [options.name or key for key, options in given.items()]
    if len(set(names)) < len(names):
        raise ValueError("two sources have the same `name`; give each source a name")
    without = [name for name, options in given.items() if options.weight is None]
    if without and len(without) < len(given):
        raise ValueError(
            f"source '{without[0]}' has no weight, but others have; give each a weight, or "
            "use `cap`, which limits a single source"
        )


def check_mix(mix: Mix | None, given: Sources, render: Render | None) -> None:
    """Each option of `mix` has a meaning in the recipe."""
    if mix is None:
        return
    if mix.by != "conversations" and render is None:
        raise ValueError(
            f"mix.by is {mix.by}, and nothing is rendered, so that no tokens can be counted; "
            "name a tokenizer, for example --set render.tokenizer=PATH (or bytes), or mix by "
            "conversations"
        )
    has_weights = any(options.weight is not None for options in given.values())
    if mix.temperature is not None and has_weights:
        raise ValueError(
            f"mix.temperature is {mix.temperature:g}, which makes weights of the sizes, and "
            "the sources have weights; leave either out"
        )
    if mix.max_epochs > 1 and not has_weights and mix.temperature is None:
        raise ValueError(
            f"mix.max_epochs is {mix.max_epochs:g}, and without weights or a temperature no "
            "source is taken more than once; give each source a weight, or leave it out"
        )


def check_variables(given: Sources) -> None:
    """`fields` and `variables` stand at sources whose format reads them."""
    for name, options in given.items():
        if options.fields and not sources.reads(options.format, "fields"):
            raise ValueError(
                f"source '{name}' has fields, and '{options.format}' has a shape of its own; "
                "read it with `format: auto`, or leave them out"
            )
        if options.variables and not sources.reads(options.format, "variables"):
            raise ValueError(
                f"source '{name}' has variables, and records of '{options.format}' bring none "
                "along; leave them out, or name them for all rows in render.variables"
            )


def check_filters(drops: Sequence[Drop], given: Sources) -> None:
    """Sources have the columns that filters look at."""
    columns = _columns(given)
    for drop in drops:
        if missing := drop.filter.needs - columns:
            raise ValueError(
                f"filter '{drop.filter.name}' needs '{min(missing)}', which source "
                f"'{', '.join(given)}' does not have; leave it out"
            )


def check_pack(pack: Pack | None, render: Render | None) -> None:
    """No row may be longer than a bin: rows are never cut for it."""
    if pack is None:
        return
    if render is None:
        raise ValueError("pack needs rows of tokens; add `render`, or leave `pack` out")
    longest = render.max_tokens
    if longest is None or longest > pack.max_tokens:
        raise ValueError(
            f"pack.max_tokens is {pack.max_tokens} and render.max_tokens is "
            f"{'not set' if longest is None else longest}; rows must fit into a bin, so set "
            f"render.max_tokens to {pack.max_tokens} or less"
        )


def check_threads(threads: Threads, given: Sources) -> None:
    """Each option of `threads` that is set is of use to a source, and has what it needs."""
    policy, top_k = threads.policy, threads.top_k
    if policy == "top_k" and (top_k is None or top_k < 1):
        raise ValueError("threads: policy top_k needs a number, for example {top_k: 2}")
    if policy != "top_k" and top_k is not None:
        raise ValueError(
            f"threads: top_k {top_k} has no meaning with policy {policy}; leave it out"
        )
    columns = _columns(given)
    if "parent" not in columns:
        _refuse_set(threads, "policy", "which chooses replies of a tree", "no source has trees")
        words = "which limits the conversations of a tree"
        _refuse_set(threads, "max_paths", words, "no source has trees")
    if "rank" not in columns and threads.pairs is not None:
        raise ValueError(
            f"threads.pairs is {threads.pairs}, which are pairs of ranked answers of "
            f"trees, and source '{', '.join(given)}' has no ranks; leave it out, or read "
            "files of preferences with source `auto`"
        )
    if threads.pairs is None:
        _refuse_set(threads, "margin", "which is of pairs", "`threads.pairs` is not set")
    if "position" not in columns:
        lists = "the sources have trees"
        _refuse_set(threads, "repeated_role", "which is for lists of messages", lists)
        _refuse_set(threads, "join", "which are those of lists of messages", lists)


def _refuse_set(threads: Threads, option: str, means: str, why: str) -> None:
    """Raises ValueError where an option is set, of which no source has a use."""
    value = getattr(threads, option)
    if value != getattr(Threads(), option):
        raise ValueError(f"threads.{option} is {value}, {means}, and {why}; leave it out")


def _columns(given: Sources) -> set[str]:
    """The columns that any of the sources has."""
    return {name for options in given.values() for name in sources.get(options.format).SCHEMA}
