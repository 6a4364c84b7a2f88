"""Tokenizers of many kinds, trained on a few lines: each is a small relative of a known family."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import (
    AddedToken,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

CONTROL = ("<|im_start|>", "<|im_end|>")
_LINES = (
    "Hello, can you help me? Of course I can help you with that, what is it about?",
    "def f(a):\n    return a[0]\n\nx = 1234567890 + 3.14",
    "user assistant system Human: Assistant: leading trailing spaces newlines indented control",
    "lower Upper can't won't we'll naïve émigré the quick brown fox jumps over the lazy dog",
) * 4
_TEXT = {"special_tokens": ["<unk>", "<s>", "</s>"], "show_progress": False}
_METASPACE: dict[str, Any] = {"replacement": "▁"}


def _bytes_of_all() -> list[str]:
    return [f"<0x{byte:02X}>" for byte in range(256)]


def _byte_level(**settings: Any) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(**{"add_prefix_space": False, **settings})
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, **_TEXT)
    tokenizer.train_from_iterator(_LINES, trainer)
    return tokenizer


def _sentencepiece_bpe(scheme: str) -> tokenizers.Tokenizer:
    model = models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
        prepend_scheme=scheme, split=False, **_METASPACE
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    special = [*_TEXT["special_tokens"], *_bytes_of_all()]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([line.replace(" ", "▁") for line in _LINES], trainer)
    return _with_ordinary_bytes(tokenizer)


def _with_ordinary_bytes(tokenizer: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """The tokenizer whose bytes stand in the vocabulary alone, as SentencePiece has them."""
    parts = json.loads(tokenizer.to_str())
    parts["added_tokens"] = parts["added_tokens"][:3]
    return tokenizers.Tokenizer.from_str(json.dumps(parts))


def _legacy_sentencepiece() -> tokenizers.Tokenizer:
    """Llama 2 as it was first written: a normalizer puts a space before each part."""
    tokenizer = _sentencepiece_bpe("never")
    tokenizer.pre_tokenizer = None  # type: ignore[assignment]
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    return tokenizer


def _unigram(scheme: str, normalizer: Any = None) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, **_METASPACE)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme, **_METASPACE)
    trainer = trainers.UnigramTrainer(vocab_size=200, unk_token="<unk>", **_TEXT)
    tokenizer.train_from_iterator(_LINES, trainer)
    return tokenizer


def _merging() -> tokenizers.Tokenizer:
    """A tokenizer with merges that make "</s>" of its characters."""
    parts = json.loads(_byte_level(use_regex=False).to_str())
    vocabulary, merges = parts["model"]["vocab"], parts["model"]["merges"]
    for piece in ("</", "s>"):
        vocabulary.setdefault(piece, len(vocabulary))
    merges[:0] = [["<", "/"], ["s", ">"], ["</", "s>"]]
    return tokenizers.Tokenizer.from_str(json.dumps(parts))


def _word_piece() -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(_LINES, trainers.WordPieceTrainer(vocab_size=300, **_TEXT))
    return tokenizer


def _without_unknown() -> tokenizers.Tokenizer:
    parts = json.loads(_word_piece().to_str())
    parts["model"]["unk_token"] = "<missing>"
    return tokenizers.Tokenizer.from_str(json.dumps(parts))


def _normalized(normalizer: Any) -> tokenizers.Tokenizer:
    tokenizer = _byte_level()
    tokenizer.normalizer = normalizer
    return tokenizer


def _with_begin(end: bool = False) -> tokenizers.Tokenizer:
    """A tokenizer that puts tokens around each text that is encoded alone."""
    tokenizer = _byte_level()
    single = "<s> $A </s>" if end else "<s> $A"
    ids = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=ids)
    return tokenizer


def _with_added(**flags: bool) -> tokenizers.Tokenizer:
    """A tokenizer with added words that are not special."""
    tokenizer = _byte_level()
    words = ("Hello", "return", "<think>", "e\u0301", "spaces")
    tokenizer.add_tokens([AddedToken(word, special=False, **flags) for word in words])
    return tokenizer


MADE: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    "byte level": _byte_level,
    "byte level, prefix space": functools.partial(_byte_level, add_prefix_space=True),
    "NFC": functools.partial(_normalized, normalizers.NFC()),
    "lower case": functools.partial(_normalized, normalizers.Lowercase()),
    "NFKC, stripped": functools.partial(
        _normalized, normalizers.Sequence([normalizers.NFKC(), normalizers.Strip()])
    ),
    "begins": _with_begin,
    "begins and ends": functools.partial(_with_begin, end=True),
    "added": _with_added,
    "added, normalized": functools.partial(_with_added, normalized=True),
    "added, lstrip": functools.partial(_with_added, lstrip=True),
    "added, rstrip": functools.partial(_with_added, rstrip=True),
    "added, single word": functools.partial(_with_added, single_word=True),
    "SentencePiece, space first": functools.partial(_sentencepiece_bpe, "first"),
    "SentencePiece, space always": functools.partial(_sentencepiece_bpe, "always"),
    "SentencePiece, no space": functools.partial(_sentencepiece_bpe, "never"),
    "SentencePiece, legacy": _legacy_sentencepiece,
    "Unigram, space first": functools.partial(_unigram, "first"),
    "Unigram, space always": functools.partial(_unigram, "always"),
    "Unigram, NFKC": functools.partial(_unigram, "always", normalizers.NFKC()),
    "merges a control token": _merging,
    "WordPiece": _word_piece,
    "WordPiece, no unknown token": _without_unknown,
}


@functools.cache
def made(kind: str) -> str:
    """The tokenizer.json of a kind."""
    return MADE[kind]().to_str()


def write(kind: str, to: Path, template: str | None = None, **config: Any) -> Path:
    """Writes the folder of a kind of tokenizer, with the control tokens of ChatML."""
    tokenizer = tokenizers.Tokenizer.from_str(made(kind))
    flags = {"special": True, "normalized": False}
    tokenizer.add_tokens([AddedToken(token, **flags) for token in CONTROL])
    to.mkdir(parents=True)
    (to / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    values = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        **config,
    }
    (to / "tokenizer_config.json").write_text(json.dumps(values), encoding="utf-8")
    if template is not None:
        (to / "chat_template.jinja").write_text(template, encoding="utf-8")
    return to
