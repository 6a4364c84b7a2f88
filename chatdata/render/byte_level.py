"""Byte-level vocabularies, in which a printable letter stands for each byte."""

from __future__ import annotations

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

_END = "<|endoftext|>"


def letters() -> list[str]:
    """The letter that stands for each of the 256 bytes, as GPT-2's encoder chose them."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    substitutes = iter(range(256, 512))
    return [chr(byte if byte in printable else next(substitutes)) for byte in range(256)]


def byte_tokenizer() -> tuple[str, dict[str, str]]:
    """A tokenizer of 256 bytes, whose ids are the bytes, and an end-of-text token.

    Returns the JSON of the tokenizer and the values of its tokenizer_config.json.
    """
    vocabulary = {letter: byte for byte, letter in enumerate(letters())}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(_END, special=True, normalized=False)])
    return tokenizer.to_str(), {"eos_token": _END}
