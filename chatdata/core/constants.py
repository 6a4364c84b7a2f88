"""Numbers and names that the whole field agrees on, and limits that file formats set."""

from __future__ import annotations

IGNORE_INDEX = -100  # the label of a token that is not trained; PyTorch's cross entropy skips it
SPLITS = ("train", "test")
MOST_TOKENS = 2**31 - 1  # in a bin of an index, which counts tokens in int32
