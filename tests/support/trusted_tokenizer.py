"""A byte-level BPE that a fast library is trusted with, trained here, and texts for it."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers


def words(seed: int, count: int) -> list[str]:
    """Texts of made-up words, code, digits and characters of several scripts."""
    draw = Random(seed)
    alphabet = "etaoin shrdlu  \n\n\t'_(){}[]=.,:;0123456789éüß日本語한국 ²½٣Ⅷ👍\u0301"
    pieces = ["def ", "return ", "don't ", " the", "\n    ", "can't", "=> ", "the ", "a_b", " 42"]
    texts = []
    for _ in range(count):
        parts = [draw.choice(pieces) for _ in range(draw.randint(0, 12))]
        parts += ["".join(draw.choices(alphabet, k=draw.randint(0, 20)))]
        draw.shuffle(parts)
        texts.append("".join(parts))
    return texts


def starcoder_like(folder: Path) -> Path:
    """A folder with a tokenizer that has StarCoder's stages and lacks a byte as StarCoder's
    vocabulary does."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = [letter for letter in pre_tokenizers.ByteLevel.alphabet() if letter != "ñ"]
    tokenizer.train_from_iterator(
        words(1, 3000),
        trainers.BpeTrainer(
            vocab_size=1200, initial_alphabet=sorted(alphabet), show_progress=False
        ),
    )
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
    tokenizer.add_tokens([AddedToken("<tool>", special=False, normalized=False)])
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
    return folder
