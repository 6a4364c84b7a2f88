"""The limits and biases of the data, from the manifest.

`COLLECTIONS` keeps, by repository, what the makers of well-known collections tell about writers
and bias. All the rest follows from what the build did, and from what the build left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chatdata import sources
from chatdata.dataset.entries import SourceOptions
from chatdata.dataset.manifest import Manifest
from chatdata.sources import EMBEDDED
from chatdata.steps import filters
from chatdata.steps.filtering import Filter
from chatdata.steps.filters import FILTERS


@dataclass(frozen=True, slots=True)
class Collection:
    """What the makers of a collection say of the data, and how the collection is cited."""

    limits: tuple[str, ...]
    citation: str = ""


_OASST = Collection(
    (
        "Volunteers of Open Assistant wrote both sides; by their own survey nine in ten are men "
        "and half are under 27, and a few of them wrote a large part.",
        "Reviews and ranks are the opinions of those volunteers. Unsafe and false messages were "
        "filtered by them, and not all were found.",
    ),
    """@inproceedings{kopf2023openassistant,
  title     = {{OpenAssistant} Conversations -- Democratizing Large Language Model Alignment},
  author    = {K{\\"o}pf, Andreas and Kilcher, Yannic and von R{\\"u}tte, Dimitri and others},
  booktitle = {Advances in Neural Information Processing Systems 36},
  year      = {2023},
  url       = {https://arxiv.org/abs/2304.07327}
}""",
)
_SHAREGPT = Collection(
    (
        "The answers are those of ChatGPT, with its mistakes and its style; the terms of its "
        "maker may limit what a model trained on them is used for.",
        "People chose what they shared, up to early 2023, and nobody took out what they said of "
        "themselves and of others.",
    ),
)
_DOLLY = Collection(
    (
        "Employees of Databricks wrote instructions and answers in March and April 2023; contexts "
        "are passages of Wikipedia, with its bias and its mistakes.",
        "Questions and answers are short, of one turn, and few are about code.",
    ),
    """@misc{conover2023dolly,
  title  = {Free {Dolly}: Introducing the World's First Truly Open Instruction-Tuned {LLM}},
  author = {Conover, Mike and Hayes, Matt and Mathur, Ankit and Xie, Jianwei and others},
  year   = {2023},
  url    = {https://huggingface.co/datasets/databricks/databricks-dolly-15k}
}""",
)
COLLECTIONS = {
    "databricks/databricks-dolly-15k": _DOLLY,
    "OpenAssistant/oasst1": _OASST,
    "OpenAssistant/oasst2": _OASST,
    "RyokoAI/ShareGPT52K": _SHAREGPT,
    "anon8231489123/ShareGPT_Vicuna_unfiltered": _SHAREGPT,
}


def citations(manifest: Manifest) -> list[str]:
    """BibTeX entries of the collections that the recipe names."""
    repos = [repo for _, repo in _repositories(manifest) if repo]
    citations = [COLLECTIONS[repo].citation for repo in repos]
    return list(dict.fromkeys(citation for citation in citations if citation))


def limits(manifest: Manifest) -> list[str]:
    """The limits that a reader should know before trusting the data, in a sentence or two each."""
    return [
        *_of_sources(manifest),
        *_of_languages(manifest),
        *_of_repetition(manifest),
        *_of_checks(manifest),
        "Nothing in a build judges whether an answer is true, safe or good.",
    ]


def is_embedded(options: SourceOptions) -> bool:
    """Whether the files of a source of a recipe come with chatdata."""
    return bool(options.files) and all(file.startswith(EMBEDDED) for file in options.files)


def is_replaced(manifest: Manifest, key: str) -> bool:
    """Whether other files took the place of the repository of a source, as manifests of 0.1 say;
    later ones have the files in the recipe."""
    options = manifest.recipe.source[key]
    files = [file for file in manifest.sources if file.name == (options.name or key)]
    is_fetched = any("repo" in file.model_fields_set for file in files)
    return bool(options.repo) and not is_fetched


def _repositories(manifest: Manifest) -> Iterator[tuple[str, str | None]]:
    """Yields the name of each source of the recipe, and its repository if in `COLLECTIONS`."""
    for key, options in manifest.recipe.source.items():
        is_known = options.repo in COLLECTIONS and not is_replaced(manifest, key)
        yield options.name or key, options.repo if is_known else None


def _of_sources(manifest: Manifest) -> Iterator[str]:
    embedded = [is_embedded(options) for options in manifest.recipe.source.values()]
    if any(embedded):
        yield "The files that come with chatdata are there to show it at work, not to learn from."
    for (name, repo), is_ours in zip(_repositories(manifest), embedded, strict=True):
        if repo is None and not is_ours:
            yield (
                f"Who wrote the messages of `{name}`, and for what, is not known to this card; "
                "ask whoever collected them."
            )
        for limit in COLLECTIONS[repo].limits if repo else ():
            yield f"`{name}` ({repo}): {limit}"


def _of_languages(manifest: Manifest) -> Iterator[str]:
    rows = sum(manifest.languages.values())
    for lang, number in list(manifest.languages.items())[:1]:
        share = f"{100 * number / rows:.0f} %"
        if lang == "unknown":
            yield f"Nobody said in which language {share} of the rows are, and it was not detected."
        elif len(manifest.languages) > 1:
            yield f"{share} of the rows are in one language, {lang}."
    wrong = sum(pair.messages for pair in manifest.language_disagreements or ())
    if wrong:
        yield f"In {wrong} messages a detector saw another language than their source declares."


def _of_repetition(manifest: Manifest) -> Iterator[str]:
    times = manifest.splits.total("messages") / max(1, manifest.counts.messages.kept)
    if times > 1.005:
        once = manifest.recipe.threads.train_once
        how = "and is trained in one of them" if once else "and is trained in each of them"
        yield f"A message stands in {times:.2f} rows on average, {how}."


_CHECKS = {
    "near_duplicates": "Conversations that nearly say the same were not looked for.",
    "contamination": "No evaluation set was compared with the data; test questions may be in it.",
    "secrets": "Keys, addresses and other personal data were not looked for.",
}


def _of_checks(manifest: Manifest) -> Iterator[str]:
    yield from (words for key, words in _CHECKS.items() if getattr(manifest, key) is None)
    known = [name for name in manifest.recipe.source if name in sources.names()]
    columns = set().union(*(sources.get(name).SCHEMA for name in known))
    checked = {name for name, filter_ in FILTERS.items() if filter_.key in _CHECKS}
    always = [drop.filter.name for drop in filters.always()]
    ran = {*manifest.recipe.filters, *checked, *always}
    idle = [
        name
        for name, filter_ in FILTERS.items()
        if name not in ran and filter_.needs <= columns and not _asks_for_options(filter_)
    ]
    if idle:
        yield f"Filters of chatdata that did not run: {', '.join(f'`{name}`' for name in idle)}."
    if not any(split.rows for name, split in manifest.splits.items() if name != "train"):
        yield "There is no test split."


def _asks_for_options(filter_: Filter) -> bool:
    """Whether a filter removes nothing before a recipe says what: that it does not run, says
    nothing."""
    return any(option.is_required() for option in filter_.options.model_fields.values())
