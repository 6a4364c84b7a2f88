"""How a build watches a fast tokenizer library: names alone, light enough for a command line."""

from __future__ import annotations

from typing import Literal, get_args

TokenizerCheck = Literal["audit", "full", "off"]
TOKENIZER_CHECKS: tuple[TokenizerCheck, ...] = get_args(TokenizerCheck)
