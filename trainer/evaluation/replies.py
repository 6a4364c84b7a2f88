"""What a judge's reply says: two scores, and which answer is better.

The grammar, over the reply without thoughts (`<think>...</think>`) and without `*`, `_`, backticks
and `#`. Letters may be of either case, spaces may stand anywhere between words:

    reply    = anything, in which the last VERDICT and the last SCORES count
    VERDICT  = ("verdict" | "winner") (":" | "=" | "is") CHOICE
             | "[[" CHOICE "]]" | '"verdict"' ":" '"' CHOICE '"'
    CHOICE   = NAME? ("1" | "2" | "a" | "b") | "tie" | "draw" | "equal" | "both" | "neither" | "c"
    NAME     = "answer" | "assistant" | "response" | "model"
    SCORES   = "score" "s"? (":" | "=") PAIR | a line that is PAIR and nothing else
             | two of NAME? ("1" | "a" | "2" | "b") "score"? (":" | "=") SCORE, one for each answer
             | '"scores"' ":" "[" SCORE "," SCORE "]"
    PAIR     = SCORE ("," | ";" | "and" | spaces) SCORE
    SCORE    = number ("/" ("8" | "8.0"))?

A reply without a verdict has that of its scores. Scores outside 1 to 8 are no scores. A reply with
neither has a verdict where its last line is CHOICE and nothing else, or else where it says

    NAME CHOICE "is" ("clearly" | "slightly" | "much" | "the")? "better"
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from trainer.evaluation.rubric import HIGHEST, LOWEST

Verdict = Literal["first", "second", "tie"]
Fault = Literal["empty", "refused", "unparsed"]


class Reading(NamedTuple):
    """What a reply says; `verdict` is None where a `fault` says why."""

    verdict: Verdict | None
    scores: tuple[float, float] | None = None
    fault: Fault | None = None
    is_by_scores: bool = False  # the verdict is that of the scores
    is_contradictory: bool = False  # the scores prefer the answer that the verdict does not


_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_MARKUP = re.compile(r"[*_`#]")
_NAME = r"(?:answer|assistant|response|model)\s*"
_CHOICE = rf"(?:{_NAME})?(1|2|a|b)\b(?!\.\d)|(tie|draw|equal|both|neither|c)\b"
_VERDICT = re.compile(
    rf"(?:\b(?:verdict|winner)\b[\"']?\s*(?:[:=]|is\b)\s*[\"'\[(<]*\s*(?:{_CHOICE}))"
    rf"|\[\[\s*(?:{_CHOICE})\s*\]\]",
    re.IGNORECASE,
)
_NUMBER = r"(\d+(?:\.\d+)?)(?:\s*/\s*8(?:\.0)?(?![.\d]))?"
_PAIR = rf"{_NUMBER}\s*(?:[,;]|and|\s)\s*{_NUMBER}"
_SCORES = re.compile(
    rf"\bscores?[\"']?\s*[:=]\s*[\[(]?\s*{_PAIR}|^\s*[\[(]?{_PAIR}[\])]?[.]?\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_SCORE_OF = re.compile(
    rf"\b{_NAME}(1|2|a|b)\b[^\n:=]{{0,20}}[:=]\s*(?:score\s*[:=]?\s*)?{_NUMBER}", re.IGNORECASE
)
_ALONE = re.compile(rf"^\W*(?:{_CHOICE})\W*\Z", re.IGNORECASE | re.MULTILINE)
_IS_BETTER = re.compile(
    rf"\b{_NAME}(1|2|a|b)\s+is\s+(?:(?:clearly|slightly|much|the)\s+)?better\b",
    re.IGNORECASE,
)
_REFUSES = re.compile(
    r"\bI(?:'m| am)? (?:sorry|can(?:no|')t|unable|not able|won't|must decline)|\bas an ai\b",
    re.IGNORECASE,
)
_TIES = {"tie", "draw", "equal", "both", "neither", "c"}


def read(reply: str | None) -> Reading:
    """What a reply says, by the grammar above."""
    text = _MARKUP.sub("", _THOUGHT.sub("", (reply or "").replace("\u2019", "'"))).strip()
    if not text:
        return Reading(None, fault="empty")
    verdict, scores = _verdict(_VERDICT, text), _scores(text)
    preferred = _preferred(scores) if scores else None
    if verdict is None and preferred is None:
        verdict = _verdict(_ALONE, text) or _verdict(_IS_BETTER, text)
    if verdict is None and preferred is None:
        return Reading(None, fault="refused" if is_refusal(text) else "unparsed")
    is_contradictory = {verdict, preferred} == {"first", "second"}
    return Reading(verdict or preferred, scores, None, verdict is None, is_contradictory)


def is_refusal(text: str) -> bool:
    """Whether a text says that its writer does not do what was asked."""
    return _REFUSES.search(text) is not None


def _verdict(pattern: re.Pattern[str], text: str) -> Verdict | None:
    """The last choice that a pattern finds."""
    choices = [next(filter(None, match.groups())) for match in pattern.finditer(text)]
    if not choices:
        return None
    choice = choices[-1].lower()
    if choice in _TIES:
        return "tie"
    return "first" if choice in ("1", "a") else "second"


def _scores(text: str) -> tuple[float, float] | None:
    pairs = [_two(match.groups()) for match in _SCORES.finditer(text)]
    pairs = [pair for pair in pairs if pair is not None]
    if pairs:
        return pairs[-1]
    of_each = {name.lower(): score for name, score in _SCORE_OF.findall(text)}
    first, second = of_each.get("1", of_each.get("a")), of_each.get("2", of_each.get("b"))
    return _two((first, second))


def _two(numbers: tuple[str | None, ...]) -> tuple[float, float] | None:
    """The two numbers among these as scores; None where they are none."""
    given = [float(number) for number in numbers if number is not None]
    if len(given) != 2 or not all(LOWEST <= score <= HIGHEST for score in given):
        return None
    return given[0], given[1]


def _preferred(scores: tuple[float, float]) -> Verdict:
    if scores[0] == scores[1]:
        return "tie"
    return "first" if scores[0] > scores[1] else "second"
