"""Numbers and names that several packages share, and limits that file formats set."""

from __future__ import annotations

IGNORE_INDEX = -100  # the label of a token that is not trained; PyTorch's cross entropy skips it
SPLITS = ("train", "test")
RECIPE_FILE = "recipe.yaml"  # in a built folder
TOKENIZER_FOLDER = "tokenizer"  # in a built folder; `AutoTokenizer.from_pretrained` reads it
MOST_TOKENS = 2**31 - 1  # in a bin of an index, which counts tokens in int32
