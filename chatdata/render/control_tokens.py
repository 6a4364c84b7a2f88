"""Control tokens: written by a template alone, and text wherever content quotes them.

The rows of a dataset and the prompts of a chat follow the rules of this module, so that a model
is asked with the ids that it was trained on. A message that quotes `<|end|>` is a message about
seven characters and ends nothing.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby, takewhile
from typing import Any

import tokenizers
from tokenizers import models

from chatdata.core.errors import RenderError
from chatdata.render.conversation import UnrenderableError

# Stands for a control token that content quotes while a template is rendered: the number of the
# token, in a plane for private use.
_QUOTED = 0xF0000
_HIDDEN = re.compile("[\U000f0000-\U000ffffd]")
# What a token with `rstrip` swallows: Unicode's white space, not U+001C to U+001F as for Python.
_SWALLOWED = re.compile(r"[^\S\x1c-\x1f]*")


# Tags that content itself may hold: reasoning, tools and calls of them, as sources write them.
CONTENT_TAGS = frozenset(
    f"<{slash}{name}>"
    for name in ("think", "tools", "tool_call", "tool_response")
    for slash in ("", "/")
)
_NOBODYS = "\U0010fffd"  # a character for private use, in no vocabulary
_NO_TEXT = "\U0010ffff"  # no character, in no text
_MARKER = re.compile(r"[<\[]\S*[>\]]")


def markers(tokenizer: tokenizers.Tokenizer, written: Sequence[str]) -> tuple[str, ...]:
    """The added tokens by which a template marks turns though the tokenizer calls them ordinary.

    These stand in brackets, in what the template writes around plain turns (`written`), and are
    no tags of content. Like special tokens they cut turns, and are text where content quotes them.
    """
    ordinary = [t.content for t in tokenizer.get_added_tokens_decoder().values() if not t.special]
    return tuple(
        token
        for token in ordinary
        if _MARKER.fullmatch(token)
        and token not in CONTENT_TAGS
        and any(token in text for text in written)
    )


class ControlTokens:
    """The control tokens of a tokenizer, and where a text holds them.

    These are all tokens that the tokenizer calls special, and `more`: added tokens by which a
    template marks turns. `pattern` matches one of them in a text, the longest of those that begin
    at a place. `ids` are the ids by content of those that no text may turn into: of all but the
    unknown token, which the tokenizer writes for what it has no token for (`unknown_id`).
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, more: Iterable[str] = ()) -> None:
        added = tokenizer.get_added_tokens_decoder()
        ids = {token.content: id for id, token in added.items()}
        special = [token.content for token in added.values() if token.special]
        more = tuple(more)
        self._ids = {token: ids[token] for token in dict.fromkeys([*special, *more])}
        self.unknown_id = _unknown_id(tokenizer)
        self.ids = {
            token: id for token, id in self._ids.items() if id != self.unknown_id or token in more
        }
        self.pattern = control_pattern(self._ids)
        control = [token for token in added.values() if token.content in self._ids]
        self._swallowing = frozenset(token.content for token in control if token.rstrip)
        # Whether none of them takes characters that stand beside it.
        self.stand_alone = not any(t.lstrip or t.rstrip or t.single_word for t in control)
        self._tokens = list(self._ids)
        self._numbers = {token: number for number, token in enumerate(self._tokens)}

    def id(self, token: str) -> int:
        """The id of a control token."""
        return self._ids[token]

    def quoted_in(self, content: str) -> bool:
        """Whether a text holds a control token."""
        return self.pattern.search(content) is not None

    def parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """Yields the parts of a text, none of them empty, and whether each is a control token."""
        end = 0
        for match in self.pattern.finditer(text):
            if match.start() > end:
                yield text[end : match.start()], False
            yield match[0], True
            end = match.end()
        if end < len(text):
            yield text[end:], False

    def hide(self, content: str) -> str:
        """The content, a private character in place of each control token that the content quotes.

        A template can be rendered with it, and its own control tokens be told apart afterwards.
        Raises UnrenderableError for content that holds such characters itself.
        """
        if not content.isascii() and _HIDDEN.search(content):
            raise UnrenderableError("its content holds characters for private use (U+F0000 ff.)")
        return self.pattern.sub(lambda match: chr(_QUOTED + self._numbers[match[0]]), content)

    def show(self, text: str) -> str:
        """The text with the control tokens that `hide` replaced."""
        if text.isascii():
            return text
        return _HIDDEN.sub(lambda match: self._tokens[ord(match[0]) - _QUOTED], text)

    def without_swallowed(self, before: str, text: str) -> str:
        """The text after the control token `before`, less the white space that this swallows."""
        return _SWALLOWED.sub("", text, count=1) if before in self._swallowing else text


class PlainTokenizer:
    """A tokenizer for which control tokens are text, and what tells where they are quoted."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, more: Collection[str] = ()) -> None:
        self.control = ControlTokens(tokenizer, more)
        self._control_ids = frozenset(self.control.ids.values())
        self._at_start = text_only(tokenizer, more)
        self._text = behind_the_start(self._at_start)

    def ids(self, text: str, is_start: bool = False) -> list[int]:
        """The ids of a text behind a control token, or at the start of all.

        Raises RenderError where one is a control token's all the same.
        """
        encoder = self._at_start if is_start else self._text
        ids = list(encoder.encode(text, add_special_tokens=False).ids)
        if not self._control_ids.isdisjoint(ids):
            raise RenderError("the tokenizer makes control tokens out of plain text.")
        return ids

    def template_ids(self, text: str) -> list[int]:
        """The ids of a text that a template made of contents given through `control.hide`."""
        ids: list[int] = []
        before, is_start = "", True
        for part, is_control in self.control.parts(text):
            if is_control:
                ids.append(self.control.id(part))
            else:
                words = self.control.show(part)
                ids += self.ids(self.control.without_swallowed(before, words), is_start)
            before, is_start = part if is_control else "", False
        return ids


def control_pattern(tokens: Iterable[str]) -> re.Pattern[str]:
    """A pattern of any of these tokens, the longest of those that begin at a place.

    Tokens share what they begin with, so that looking for thousands takes no longer than for few.
    """
    return re.compile(_alternatives(sorted(set(tokens))) or r"(?!)")


def _alternatives(tokens: Sequence[str]) -> str:
    """The pattern of sorted tokens, none of them empty."""
    groups = [[*group] for _, group in groupby(tokens, operator.itemgetter(0))]
    return "|".join(map(_with_common_start, groups))


def _with_common_start(tokens: Sequence[str]) -> str:
    pairs = zip(tokens[0], tokens[-1], strict=False)  # sorted, so the others begin so too
    start = "".join(first for first, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    ends = [token.removeprefix(start) for token in tokens if token != start]
    if not ends:
        return re.escape(start)
    return f"{re.escape(start)}(?:{_alternatives(ends)}){'?' if start in tokens else ''}"


def text_only(full: tokenizers.Tokenizer, control: Collection[str]) -> tokenizers.Tokenizer:
    """The same tokenizer for which control tokens are ordinary text, and that adds none.

    `control` are the control tokens beside those that the tokenizer calls special. Tokens stay in
    the vocabulary, since the ids of others would move if they were taken out. Without a
    post-processor offsets cover white space too. Both tokenizers share one model, which is by far
    the most of them, unless the model makes control tokens of text.
    """
    added = [token for _, token in sorted(full.get_added_tokens_decoder().items())]
    for token in added:
        token.special = token.special or token.content in control
    model, names = _without_pieces(full, [t.content for t in added if t.special])
    text = tokenizers.Tokenizer(model)
    for name in ("normalizer", "pre_tokenizer", "decoder"):
        if (component := getattr(full, name)) is not None:
            setattr(text, name, component)
    for token in added:
        token.content = names.get(token.content, token.content)
    text.add_tokens(added)  # in one call, since each call reads all tokens
    text.encode_special_tokens = True
    return text


def _without_pieces(
    full: tokenizers.Tokenizer, control: Collection[str]
) -> tuple[models.Model, dict[str, str]]:
    """The model, and names of control tokens that it might make of a text, under which they keep
    their ids in it. Unigram takes any piece of its vocabulary for a piece of text."""
    if not isinstance(full.model, models.Unigram):
        return full.model, {}
    parts = json.loads(full.to_str())["model"]
    pieces = {piece for piece, _ in parts["vocab"]}
    names = {token: f"{_NO_TEXT}{number}" for number, token in enumerate(control)}
    names = {token: name for token, name in names.items() if token in pieces}
    vocabulary = [(names.get(piece, piece), score) for piece, score in parts["vocab"]]
    return models.Unigram(vocabulary, parts["unk_id"], parts["byte_fallback"]), names


def behind_the_start(text: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """The same tokenizer for texts that do not begin a row; itself where places do not matter.

    SentencePiece's space before the first word (`prepend_scheme: first`) is the only part of a
    tokenizer that asks where a text stands. Both tokenizers share one model.
    """
    if text.pre_tokenizer is None:
        return text
    stage = json.loads(text.pre_tokenizer.__getstate__())
    stages = [stage, *stage.get("pretokenizers", ())]
    first = [stage for stage in stages if stage.get("prepend_scheme") == "first"]
    if not first:
        return text
    for each in first:
        each["prepend_scheme"] = "never"
    behind = text_only(text, ())
    behind.pre_tokenizer = _pre_tokenizer(stage)
    return behind


def _pre_tokenizer(stage: dict[str, Any]) -> Any:
    shell = json.loads(tokenizers.Tokenizer(models.BPE()).to_str())
    return tokenizers.Tokenizer.from_str(
        json.dumps({**shell, "pre_tokenizer": stage})
    ).pre_tokenizer


def _unknown_id(tokenizer: tokenizers.Tokenizer) -> int | None:
    """The id that a tokenizer writes for a character of which it knows nothing, if any."""
    try:
        tokens = tokenizer.model.tokenize(_NOBODYS)
    except Exception:  # the model has no unknown token, and the library raises bare Exception
        return None
    return tokens[0].id if len(tokens) == 1 else None
