"""What each key of a recipe means, in a line: for editors and for the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chatdata.core.config import nearest
from chatdata.core.errors import ConfigError

_SETTABLE = ("render.", "max_dropped=")  # by what renders a built folder again
# By the model of `recipe.Recipe` that has the key; '' is the recipe itself.
KEYS: dict[str, dict[str, str]] = {
    "": {
        "name": "The name of the dataset.",
        "version": "The version of the dataset: three numbers, MAJOR.MINOR.PATCH.",
        "about": "What the dataset is, in a line; it begins the card.",
        "source": "Where conversations come from: a source with its files, or several.",
        "clean": "Cleaners of texts, in the order in which they run (`chatdata list cleaners`).",
        "redact": "Secrets and personal data become placeholders such as <EMAIL_1>.",
        "threads": "Which paths of a tree are conversations, and how conversations begin and end.",
        "drop": "Filters, each named for what it removes (`chatdata list filters`).",
        "mix": "How much of each source is taken.",
        "forget": "Files of ids of conversations that are taken out for good.",
        "keep": "Ids of messages and conversations that no filter drops.",
        "split": "How much is kept for testing. All conversations of a tree share a split.",
        "render": "Rows of tokens: by which tokenizer and template, and what is trained.",
        "pack": "An index that puts several rows into a bin.",
        "publish": "The repository on the Hub, and the licence of the dataset.",
        "max_dropped": "The share that filters may drop before the build stops.",
    },
    "SourceOptions": {
        "format": "What reads the files; by default the key above names it.",
        "repo": "A dataset on the Hub: org/name.",
        "revision": "The commit of the repository that is read.",
        "files": "Files, folders or patterns: in the repository, or seen from the recipe.",
        "name": "What the source is called in ids and in the column `source`.",
        "weight": "The share of this source, relative to the weights of the rest.",
        "cap": "The most that is taken of this source, in the unit of `mix.by`.",
        "license": "The licence of the source.",
        "variables": "Variables of a chat template, and the key of a record that holds each.",
        "strict_keys": "Whether files with keys that nobody reads are refused.",
        "fields": "Where the parts of a conversation stand, in records of no known shape.",
        "python": "A function that makes the records: FILE.py:FUNCTION.",
    },
    "Redact": {
        "kinds": "Which kinds are replaced (`chatdata list 'kinds of secrets'`).",
        "countries": "Whose national phone numbers are known: codes of countries, or all.",
    },
    "Threads": {
        "policy": "Of a tree: every path to a leaf, the best by rank, or every prefix.",
        "top_k": "With policy top_k: how many of the best replies are followed.",
        "max_paths": "The most conversations of a tree; a tree of more is refused.",
        "start": "Whether a conversation must begin with the user.",
        "end": "Whether a conversation must end with an answer.",
        "repeated_role": "What becomes of turns of the same role in a row.",
        "join": "Whether pieces of a conversation that a dump has cut are joined.",
        "train_once": "Whether an answer that stands in several paths is trained in one alone.",
        "pairs": "Pairs of ranked answers, for learning from preferences.",
        "margin": "The least difference of the ranks of a pair.",
    },
    "Mix": {
        "by": "What weights and caps measure.",
        "max_epochs": "How often a source may be taken to reach its weight.",
        "temperature": "Makes weights of sizes: 1 leaves them, more makes them more alike.",
    },
    "Split": {"test_percent": "How many percent of the groups are kept for testing."},
    "Render": {
        "tokenizer": "`bytes`, a folder, or a repository on the Hub (org/name@revision).",
        "template": "How turns are written; `tokenizer` is the template that a tokenizer carries.",
        "train_on": "Which answers, or which parts of them, are learnt.",
        "max_tokens": "The most tokens of a row.",
        "overflow": "What becomes of a longer row: it is dropped, cut, or split into several.",
        "carry_tokens": "With overflow split: how much of a row may repeat what came before.",
        "system": "A system message for conversations that have none.",
        "variables": "Variables that the chat template is given.",
        "date": "The date that a chat template is told.",
        "add_end": "Whether the last answer is made to end as earlier answers do.",
    },
    "Pack": {"max_tokens": "The most tokens of a bin."},
    "Publish": {
        "repo": "The dataset's repository: org/name.",
        "license": "The licence of the dataset.",
    },
}

# The keys of a recipe that hold keys in turn.
MODELS = {
    "redact": "Redact",
    "threads": "Threads",
    "mix": "Mix",
    "split": "Split",
    "render": "Render",
    "pack": "Pack",
    "publish": "Publish",
}


def check(values: Mapping[str, Any], where: str) -> None:
    """Raises ConfigError, which names the nearest key, for a key that recipes do not have."""
    _check(values, KEYS[""], where)
    for key, model in MODELS.items():
        if isinstance(inner := values.get(key), Mapping):
            _check(inner, KEYS[model], f"{where}: {key}")


def check_rendering(settings: Sequence[str]) -> None:
    """Raises ConfigError for a setting that changes more than the rendering of a built folder."""
    for setting in settings:
        if not setting.startswith(_SETTABLE):
            raise ConfigError(
                f"--set {setting}: only `render.KEY` and `max_dropped` can be set, since the "
                "conversations stay as they are; build again to change anything else."
            )


def _check(values: Mapping[str, Any], known: Mapping[str, str], where: str) -> None:
    for key in values:
        if key not in known:
            raise ConfigError(f"{where}: unknown key '{key}'; {nearest(str(key), known)}")
