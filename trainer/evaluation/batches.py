"""A batch of rows that come and go: where an answer has ended, the next prompt takes its place.

The rows of a batch are generated a few tokens at a time by transformers' own loop. Between, rows
that have ended leave, and others come in with prompts of their own length: all are padded on the
left, behind a mask, so that no row depends on its neighbours. Otherwise a batch would be as slow as
its longest answer.

Models whose cache is not one key and one value for each position (sliding windows, states) are
generated batch by batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch

    from trainer.chat.generation import ChatModel, Sampling

_TOKENS = 16  # between two looks at which rows have ended


class Ended(NamedTuple):
    """What was written behind a prompt, up to and with the token that ends it."""

    prompt: int  # its number
    ids: list[int]


def generate(
    chat_model: ChatModel, sampling: Sampling, prompts: Sequence[Sequence[int]], size: int
) -> Iterator[list[Ended]]:
    """Yields answers as they end, with at most `size` under way; prompts are begun in order."""
    writer = _Writer(chat_model, sampling)
    if not writer.can_mix():
        for start in range(0, len(prompts), size):
            written = writer.whole(prompts[start : start + size])
            yield [Ended(start + place, ids) for place, ids in enumerate(written)]
        return
    begun, rows = 0, _Rows.none()
    while len(rows.written) or begun < len(prompts):
        free = min(size - len(rows.written), len(prompts) - begun)
        if free and (free >= size // 4 or begun + free == len(prompts)):
            new = writer.begin(prompts[begun : begun + free], begun)
            rows, begun = rows.with_more(new), begun + free
        rows = writer.go_on(rows)
        ended = [place for place, ids in enumerate(rows.written) if writer.has_ended(ids)]
        if ended:
            yield [
                Ended(rows.numbers[place], writer.trimmed(rows.written[place])) for place in ended
            ]
            rows = rows.without(set(ended))


class _Rows(NamedTuple):
    """Rows under way: their prompts' numbers, what was written behind each, all ids with padding on
    the left, the mask that hides the padding, and the cache of all but the last column."""

    numbers: list[int]
    written: list[list[int]]
    ids: torch.Tensor
    mask: torch.Tensor
    cache: Any

    @classmethod
    def none(cls) -> _Rows:
        """No rows."""
        import torch

        empty = torch.empty((0, 0), dtype=torch.int64)
        return cls([], [], empty, empty, None)

    def without(self, places: set[int]) -> _Rows:
        """The rows that stand elsewhere, without the columns that are padding in all of them."""
        import torch

        stay = [place for place in range(len(self.numbers)) if place not in places]
        if not stay:
            return self.none()
        index = torch.tensor(stay, device=self.ids.device)
        first = int(self.mask[index].any(0).int().argmax())
        for layer in self.cache.layers:
            layer.keys = layer.keys[index, :, first:]
            layer.values = layer.values[index, :, first:]
        return _Rows(
            [self.numbers[place] for place in stay],
            [self.written[place] for place in stay],
            self.ids[index, first:],
            self.mask[index, first:],
            self.cache,
        )

    def with_more(self, more: _Rows) -> _Rows:
        """These rows and others, as wide as the wider of both."""
        import torch
        from torch.nn.functional import pad

        if not self.numbers:
            return more
        width = max(self.ids.shape[1], more.ids.shape[1])
        left, right = width - self.ids.shape[1], width - more.ids.shape[1]
        ids, mask = (
            torch.cat([pad(a, (left, 0)), pad(b, (right, 0))])
            for a, b in ((self.ids, more.ids), (self.mask, more.mask))
        )
        for layer, added in zip(self.cache.layers, more.cache.layers, strict=True):
            layer.keys, layer.values = (
                torch.cat([pad(a, (0, 0, left, 0)), pad(b, (0, 0, right, 0))])
                for a, b in ((layer.keys, added.keys), (layer.values, added.values))
            )
        return _Rows(
            self.numbers + more.numbers, self.written + more.written, ids, mask, self.cache
        )


class _Writer:
    """A model, and how it writes."""

    def __init__(self, chat_model: ChatModel, sampling: Sampling) -> None:
        self.chat_model, self.sampling = chat_model, sampling
        self.network: Any = chat_model.network
        self.stop_ids = chat_model.stop_ids()
        self.pad = (self.stop_ids or [0])[
            0
        ]  # a mask hides it in front; behind an end it ends again
        self.strings = list(chat_model.writer.stop_strings)

    def can_mix(self) -> bool:
        """Whether rows can leave the model's cache, and others come in."""
        from transformers.cache_utils import DynamicLayer

        layers = self._cache().layers
        return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)

    def _cache(self) -> Any:
        from transformers import DynamicCache

        return DynamicCache(config=self.network.config)

    def whole(self, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        """What is written behind each prompt, in a single batch."""
        ids, mask = padded(prompts, self.pad)
        written = self._write(ids, mask, None, self.sampling.max_new_tokens)
        return [self.trimmed(row) for row in written[:, ids.shape[1] :].tolist()]

    def begin(self, prompts: Sequence[Sequence[int]], first: int) -> _Rows:
        """Prompts as rows, with a token written behind each."""
        ids, mask = padded(prompts, self.pad)
        numbers = list(range(first, first + len(prompts)))
        rows = _Rows(numbers, [[] for _ in prompts], ids, mask, self._cache())
        return self._longer(rows, 1)

    def go_on(self, rows: _Rows) -> _Rows:
        """The rows with a few tokens more."""
        left = min(self.sampling.max_new_tokens - len(ids) for ids in rows.written)
        return self._longer(rows, min(_TOKENS, left)) if left else rows

    def _longer(self, rows: _Rows, tokens: int) -> _Rows:
        width = rows.ids.shape[1]
        ids = self._write(rows.ids, rows.mask, rows.cache, tokens).to(rows.ids.device)
        new = ids[:, width:]
        written = [old + more for old, more in zip(rows.written, new.tolist(), strict=True)]
        mask = rows.mask.new_ones(ids.shape)
        mask[:, :width] = rows.mask
        return _Rows(rows.numbers, written, ids, mask, rows.cache)

    def _write(self, ids: Any, mask: Any, cache: Any, tokens: int) -> Any:
        """The ids with what the model writes behind them."""
        import torch

        held = {} if cache is None else {_cache_name(): cache}
        if self.strings:
            held |= {"stop_strings": self.strings, "tokenizer": self.chat_model.tokenizer}
        arguments = self.sampling.arguments() | {"max_new_tokens": tokens}
        with torch.inference_mode():
            return self.network.generate(
                ids.to(self.network.device),
                attention_mask=mask.to(self.network.device),
                eos_token_id=self.stop_ids or None,
                pad_token_id=self.pad,
                use_cache=True,
                **held,
                **arguments,
            )

    def has_ended(self, ids: list[int]) -> bool:
        """Whether an answer is complete, or as long as it may be."""
        if len(ids) >= self.sampling.max_new_tokens or not set(self.stop_ids).isdisjoint(ids):
            return True
        if not self.strings:
            return False
        text = str(self.chat_model.tokenizer.decode(ids))
        return any(stop in text for stop in self.strings)

    def trimmed(self, ids: list[int]) -> list[int]:
        """An answer up to and with the token that ends it."""
        end = next((place for place, id in enumerate(ids) if id in self.stop_ids), len(ids))
        return ids[: end + 1]


def padded(prompts: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts in a batch, padded on the left, and the mask that hides the padding."""
    import torch

    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), pad, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    return ids, mask


def _cache_name() -> str:
    """What `generate` calls its cache, which changed with transformers 5.24."""
    from transformers import GenerationMixin

    parameters = inspect.signature(GenerationMixin.prepare_inputs_for_generation).parameters
    return "cache" if "cache" in parameters else "past_key_values"
