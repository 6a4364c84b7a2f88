"""Pairs as batches: as trees, in which the prompt stands once, or as a padded row for each answer.

A token of an answer is predicted from its parent, the token before it. The parent of the first is
the last token of the prompt, in a tree too, where another answer may stand between both. A batch is

    pairs           (items,) the number of each item in its split
    input_ids ...   what the model takes: a row for each item, or for each answer
    parents         (rows, targets) where the parent of each target stands in its row
    targets         (rows, targets) the ids that are learnt, -100 where a row has no more
    answers         (rows, targets) the number of the answer that a target is of, in the batch
    reference       (items, answers) the log-probabilities by the base, where they are known
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.utils.rnn import pad_sequence

from trainer.data.tree_packing import PackedTree, TreeCollator
from trainer.preference.pairs import Answer, Ints, Item, Pairs

MODEL_KEYS = ("input_ids", "attention_mask", "position_ids")


def tree_of(prompt: Ints, answers: Sequence[Answer]) -> PackedTree:
    """The tree of a prompt and the answers behind it. Its targets are those of the answers, one
    answer after another."""
    size = len(prompt)
    ids = np.concatenate([prompt, *(answer.ids for answer in answers)]).astype(np.int64)
    starts = size + np.cumsum([0, *(len(answer.ids) for answer in answers)])
    depths, ends = [np.arange(size)], [np.full(size, len(ids))]
    parents, children = [], []
    for answer, start, end in zip(answers, starts[:-1], starts[1:], strict=True):
        at = targets_of(prompt, answer)
        depths.append(np.arange(size, size + end - start))
        ends.append(np.full(end - start, end))
        parents.append(np.where(at > 0, start + at - 1, size - 1))
        children.append(start + at)
    parts = (depths, ends, parents, children)
    return PackedTree(ids, *(np.concatenate(arrays).astype(np.int64) for arrays in parts))


def targets_of(prompt: Ints, answer: Answer) -> npt.NDArray[np.int64]:
    """Where the learnt tokens of an answer stand in it; nothing predicts the first of a row."""
    at = np.flatnonzero(answer.is_trained)
    return at if len(prompt) else at[at > 0]


@dataclass(frozen=True, slots=True)
class Collator:
    """Makes batches of items. With `trees` an item is a row, in which its prompt stands once."""

    pad_id: int
    trees: bool

    def __call__(self, items: Sequence[Item]) -> dict[str, torch.Tensor]:
        """The batch of some items."""
        batch = {"pairs": torch.tensor([item.number for item in items])}
        batch |= self._rows(items)
        if items[0].reference is not None:
            reference = np.stack([np.asarray(item.reference) for item in items])
            batch["reference"] = torch.from_numpy(reference.astype(np.float32))
        return batch

    def _rows(self, items: Sequence[Item]) -> dict[str, torch.Tensor]:
        parts = [(item.prompt, answers) for item in items for answers in self._parts(item)]
        trees = [tree_of(*part) for part in parts]
        made = TreeCollator(self.pad_id)(trees)
        batch = {key: made[key] for key in MODEL_KEYS}
        if not self.trees:
            sizes = torch.tensor([len(tree.ids) for tree in trees])
            tokens = torch.arange(batch.pop("position_ids").shape[1])
            batch["attention_mask"] = (tokens < sizes[:, None]).long()
        numbers = _numbers(parts)
        return batch | {
            "parents": made["logits_to_keep"],
            "targets": made["shift_labels"],
            "answers": pad_sequence(numbers, batch_first=True),
        }

    def _parts(self, item: Item) -> list[Sequence[Answer]]:
        """The answers of each row of an item."""
        return [item.answers] if self.trees else [[answer] for answer in item.answers]


def _numbers(parts: Sequence[tuple[Ints, Sequence[Answer]]]) -> list[torch.Tensor]:
    """The number of the answer of each target, row by row; answers are counted over all rows."""
    rows, first = [], 0
    for prompt, answers in parts:
        sizes = torch.tensor([len(targets_of(prompt, answer)) for answer in answers])
        rows.append(torch.arange(first, first + len(answers)).repeat_interleave(sizes))
        first += len(answers)
    return rows


# ------------------------------------------------------------------------------------- the items


class Items(torch.utils.data.Dataset[Item]):
    """The pairs of a split, in an order, as items; `reference` may be set once it is known.

    An answer to another question is cut where it would make a row longer than any of the pairs.
    """

    def __init__(self, pairs: Pairs, order: Ints | None = None, strangers: Ints | None = None):
        self.pairs = pairs
        self.order = np.arange(len(pairs)) if order is None else order
        self.strangers = strangers
        self.reference: Ints | None = None
        self.longest = int(pairs.sizes().max())  # tokens of a side

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, number: int) -> Item:
        pair = self.pairs[int(self.order[number])]
        answers = [*pair.answers]
        if self.strangers is not None:
            room = self.longest - len(pair.prompt)
            strangers = self.strangers[number].tolist()
            answers += [self._answer(of, side, room) for of, side in strangers]
        reference = None if self.reference is None else self.reference[number]
        return Item(number, pair.prompt, answers, reference)

    def _answer(self, number: int, side: int, room: int) -> Answer:
        answer = self.pairs[int(self.order[number])].answers[side]
        return Answer(answer.ids[:room], answer.is_trained[:room])

    def ids(self) -> list[str]:
        """The ids of the pairs, in their order."""
        return [self.pairs.id(number) for number in self.order.tolist()]

    def row_tokens(self) -> int:
        """The tokens of a row for each answer."""
        answers = 2 if self.strangers is None else 4
        return int(self.item_tokens().sum() + (answers - 1) * self.pairs.prompt_sizes().sum())

    def item_tokens(self) -> Ints:
        """The tokens of each item, its prompt once."""
        sizes, prompts = self.pairs.sizes(), self.pairs.prompt_sizes()
        answers, prompts = (sizes - prompts[:, None])[self.order], prompts[self.order]
        tokens = prompts + answers.sum(1)
        if self.strangers is None:
            return tokens
        strange = answers[self.strangers[..., 0], self.strangers[..., 1]]
        return tokens + np.minimum(strange, self.longest - prompts[:, None]).sum(1)


def in_blocks(pairs: int, block: int, seed: int | None) -> tuple[Ints, Ints]:
    """For KTO: an order of pairs, and for each of them two answers to other questions of its block,
    as the number of an item and its side, of shape (pairs, 2, 2).

    In a block of B pairs, the chosen answers and then the rejected, each prompt is given the answer
    before its own, the first that of the last. A block of a single pair takes the answers of the
    pair before it; a split of a single pair has no others than its own. Without a seed the order is
    that of the data.
    """
    order = np.arange(pairs) if seed is None else np.random.default_rng(seed).permutation(pairs)
    strangers = np.empty((pairs, 2, 2), np.int64)
    for start in range(0, pairs, block):
        numbers = np.arange(start, min(start + block, pairs))
        if len(numbers) == 1:
            strangers[start] = [[(start - 1) % pairs, side] for side in (0, 1)]
            continue
        flat = np.array([(number, side) for side in (0, 1) for number in numbers])
        before = np.roll(flat, 1, axis=0).reshape(2, len(numbers), 2)
        strangers[numbers] = before.transpose(1, 0, 2)
    return order, strangers
