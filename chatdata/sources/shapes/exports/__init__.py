"""Exports of accounts: ChatGPT, Claude, Gemini, LibreChat, Open WebUI, SillyTavern.

Where an export keeps answers that were made again, and questions that were asked again, the
conversation is a tree. Its current path, where the export tells it, has the best rank at each
fork, so that the policy `best_rank` follows it; other branches have no rank.
"""

from __future__ import annotations

from chatdata.sources.shapes.exports import (
    chatgpt,
    claude,
    gemini,
    librechat,
    open_webui,
    sillytavern,
)

SHAPES = (
    *chatgpt.SHAPES,
    *claude.SHAPES,
    *gemini.SHAPES,
    *librechat.SHAPES,
    *open_webui.SHAPES,
    *sillytavern.SHAPES,
)
