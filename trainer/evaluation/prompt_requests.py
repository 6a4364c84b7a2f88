"""What a model is asked that makes prompts: the words, and what varies from request to request.

As in the article that this repeats, some prompts ask for code, and others for a review of code that
has a bug, three to one. The words are part of every result: the summary of a run holds them.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from chatdata.core.hashing import hash64

Kind = Literal["write", "review"]
KINDS: tuple[Kind, ...] = ("write", "review")

SYSTEM = (
    "You collect requests that programmers bring to an assistant, to find out how well it helps "
    "them. You write requests, and never answers."
)

WRITE = """\
Write {count} requests for code, each different from the rest in what has to be done.

Language: {language}
About: {topic}
Manner: {manner}

Each request stands alone: whoever reads it needs no file, no earlier talk and no picture. It says
what goes in and what comes out, names what has to have a certain name, and can be fulfilled in
fewer than sixty lines. It holds no solution.\
"""

REVIEW = """\
Write {count} requests for a review, each with code of its own that does something different.

Language: {language}
About: {topic}
The mistake: {mistake}

Each request says in a sentence what the code is for, shows ten to thirty lines of it in a fenced
block, and asks what is wrong with it. The code looks as if it were right, and has this mistake
once, and no second. Neither the request, nor a name, nor a comment in the code gives it away.\
"""

FORM = """\
Write one JSON object a line, with a single key, line breaks inside as \\n, and nothing before,
between or behind:
{"prompt": "..."}\
"""

# The lengths of the lists that a request draws on have no common divisor: see `_pick`.
LANGUAGES = (
    *("Python", "Python", "Python", "Python", "Python", "Python", "Python", "Python"),
    *("JavaScript", "C", "Java", "SQL", "Rust", "Go", "a shell script", "C++"),
)
TOPICS = (
    *("text and its words", "dates and calendars", "files and folders", "tables of measurements"),
    *("sorting and searching", "graphs and routes", "trees", "queues and priorities"),
    *("numbers and their digits", "matrices", "geometry in the plane", "probability"),
    *("random numbers and simulation", "statistics of a sample", "money and rounding"),
    *("units and their conversion", "parsing a small language", "regular expressions"),
    *("JSON and nested data", "CSV with faults", "an address book", "a shop and its stock"),
    *("a game on a board", "cards and dice", "scheduling", "caches", "retries and time-outs"),
    *("web requests and their answers", "a command line", "logs of a server", "a database"),
    *("threads and locks", "asynchronous work", "streams that do not fit memory", "plots"),
    *("images as arrays", "sound as samples", "bits and bytes", "encodings of text"),
    *("classes that model something", "iterators and generators", "recursion"),
    "versions and their order",
)
MANNERS = (
    "a short sentence, as somebody writes who is in a hurry",
    "a full description with an example of input and output",
    "with limits on time or memory that rule out the first idea",
    "with the cases named that are easily forgotten",
    "as a beginner asks, in everyday words",
    "as an item in a list of work, terse and exact",
    "with a signature that is given, and has to be kept",
)
MISTAKES = (
    "a bound that is off by one",
    "a value that is shared where each call needs a new one",
    "a condition that is true too often",
    "an operator that binds otherwise than it looks",
    "a collection that is changed while it is walked through",
    "whole numbers where fractions are needed, or the reverse",
    "an error that is caught and forgotten",
    "a resource that is not given back on some path",
    "an empty input that nobody thought of",
    "a name that hides another",
    "a comparison of unlike things",
)


def messages(kind: Kind, number: int, count: int, seed: int) -> list[Any]:
    """The messages of a request, of its kind the `number`-th, for `count` prompts."""
    values = {
        "count": count,
        "language": _pick(LANGUAGES, "language", number, seed),
        "topic": _pick(TOPICS, "topic", number, seed),
        "manner": _pick(MANNERS, "manner", number, seed),
        "mistake": _pick(MISTAKES, "mistake", number, seed),
    }
    asked = {"write": WRITE, "review": REVIEW}[kind].format(**values)
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": f"{asked}\n\n{FORM}"},
    ]


def sha256() -> str:
    """The hash of all words of requests."""
    lists = ["\n".join(words) for words in (LANGUAGES, TOPICS, MANNERS, MISTAKES)]
    return hashlib.sha256("\n\n".join([SYSTEM, WRITE, REVIEW, FORM, *lists]).encode()).hexdigest()


def words() -> dict[str, Any]:
    """All words of requests, for the summary of a run."""
    asked = {"system": SYSTEM, "write": WRITE, "review": REVIEW, "form": FORM}
    lists = {"languages": LANGUAGES, "topics": TOPICS, "manners": MANNERS, "mistakes": MISTAKES}
    return asked | {name: list(values) for name, values in lists.items()}


def _pick(values: tuple[str, ...], name: str, number: int, seed: int) -> str:
    """The entry for a request; another seed begins elsewhere. All entries of a list come in turn,
    and, since the lengths of the lists share no divisor, each with each."""
    begin = hash64(f"{seed}", name)
    return values[(begin + number) % len(values)]
