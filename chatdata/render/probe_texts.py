"""Texts on which the ids of two tokenizers are compared."""

from __future__ import annotations

PROBE_TEXTS = (
    "Hello, can you help me?",
    " leading and trailing ",
    "   ",
    "\n\n\tindented\r\n  text\n",
    "a  b   c    d",
    "1234567890 3.14 1,000,000 2024-01-31",
    "٣ ½ Ⅷ ²",
    "can't WON'T we'll 'tis I'm",
    "def f(a):\n\n\n    return a[0] != b.c_d  # done\n",
    '{"key": [1, 2.5e-3, null], "path": "C:\\\\x"}',
    "\u00e9migr\u00e9 na\u00efve \u00c5",  # composed
    "e\u0301migre\u0301 nai\u0308ve A\u030a",  # decomposed
    "\ufb01 \uff21\uff22 \u2126 \u3000 \u00a0",
    "Straße İstanbul ǅ ΑΣ",
    "日本語の文章。한국어 中文字",
    "العربية עברית हिन्दी ไทย",
    "👩‍👩‍👧 🏳️‍🌈 😀",
    "zero\u200bwidth \ufeff\u00ad",
    "control\x01\x1b characters",
    "<s> </s> <unk> [INST] <|im_start|>user\n<|im_end|>",
    "<think>\nso\n</think>\n\nHuman: hi\n\nAssistant: hello",
    "\u2581lower \u2581\u2581 \u0120gpt",
    "https://example.org/a?b=c&d=%20 me@example.org #tag",
    "x" * 300,
)
