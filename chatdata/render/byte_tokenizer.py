"""The built-in tokenizer: 256 bytes, for tests and for looking at rows without a download."""

from __future__ import annotations

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from chatdata.render.encoding.byte_level import byte_letters

_END = "<|endoftext|>"


def byte_tokenizer() -> tuple[str, dict[str, str]]:
    """A tokenizer of 256 bytes, whose ids are the bytes, and an end-of-text token.

    Returns the JSON of the tokenizer and the values of its tokenizer_config.json.
    """
    vocabulary = {letter: byte for byte, letter in enumerate(byte_letters())}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(_END, special=True, normalized=False)])
    return tokenizer.to_str(), {"eos_token": _END}
