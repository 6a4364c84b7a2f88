"""Manifests with figures of every step."""

from __future__ import annotations

from chatdata.dataset import manifest
from chatdata.dataset.manifest import Manifest


def rich_facts(facts: Manifest) -> Manifest:
    """A manifest in which every step has left its facts."""
    figures = {
        "cleaned": {"html": {"messages": 3, "characters": 1200}},
        "language_disagreements": [
            {
                "declared": "en",
                "detected": "de",
                "messages": 7,
                "examples": [{"message": "m|1`<b>", "text": "of a folder of 0.1"}],
            }
        ],
        "near_duplicates": {
            "near_duplicate": {
                "threshold": 0.8,
                "permutations": 128,
                "clusters": 4,
                "largest": 3,
                "dropped": 5,
            }
        },
        "contamination": [
            {
                "set": "humaneval",
                "sha256": "a" * 64,
                "items": 164,
                "items_found": 2,
                "conversations": 3,
            }
        ],
        "kept_by_hand": {"messages": {"deleted": 1}},
        "secrets": {"email": {"messages": 2, "found": 3, "masked": 3}},
        "shares": [
            {
                "source": "oasst",
                "rows": 16,
                "share": 0.571,
                "weight": None,
                "cap": 20,
                "license": "apache-2.0",
            }
        ],
    }
    return manifest.parsed({**facts.as_json(), **figures})
