"""Small models with a fixed answer, made rather than trained: each token has a single successor.

The models are Llamas whose layers add nothing to the embedding of the last token, so that the head
is a table from the last token to the next. Tokenizer, template, generation and files are real.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

PARTS = ("It is:\n\n", "```python\n", "print(6 * 7)\n", "```")
ANSWER = "".join(PARTS)
CONTEXT = 4096


def tuned(tokenizer: Path, folder: Path) -> Path:
    """The folder of a model that gives ANSWER to every question, then `<|end|>`."""
    return _write(tokenizer, folder, PARTS, ["\n", *PARTS, "<|end|>"], "<|end|>")


def endless(tokenizer: Path, folder: Path) -> Path:
    """The folder of a model that never ends its turn."""
    return _write(tokenizer, folder, ["on and "], ["\n", "on and ", "on and "], "<|end|>")


def base(tokenizer: Path, folder: Path) -> Path:
    """The folder of a model of plain text, which answers and then writes the next human turn."""
    parts = [f" {PARTS[0]}", *PARTS[1:], "\n\nHu"]
    path = [":", *parts, *"man:"]
    return _write(tokenizer, folder, parts, path, "<|endoftext|>", template=None)


def _write(
    tokenizer: Path,
    folder: Path,
    words: Sequence[str],
    path: Sequence[str],
    end: str,
    **changes: Any,
) -> Path:
    tokens = AutoTokenizer.from_pretrained(tokenizer, eos_token=end, pad_token=end)
    tokens.add_tokens([word for word in words if word not in tokens.get_vocab()])
    if "template" in changes:
        tokens.chat_template = changes["template"]
    ids = [tokens.encode(token, add_special_tokens=False) for token in path]
    assert all(len(token_ids) == 1 for token_ids in ids), ids
    network = _table(len(tokens), [token_ids[0] for token_ids in ids])
    network.generation_config.eos_token_id = tokens.eos_token_id
    network.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


def _table(size: int, path: Sequence[int]) -> LlamaForCausalLM:
    """A model that generates a path of tokens, each from the token before."""
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=size + size % 2,
        intermediate_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=CONTEXT,
        bos_token_id=None,
        eos_token_id=None,
    )
    network = LlamaForCausalLM(config)
    with torch.no_grad():
        network.model.layers[0].self_attn.o_proj.weight.zero_()
        network.model.layers[0].mlp.down_proj.weight.zero_()
        network.model.embed_tokens.weight.copy_(torch.eye(size, config.hidden_size))
        network.lm_head.weight.zero_()
        for last, following in itertools.pairwise(path):
            network.lm_head.weight[following, last] = 3
    return network.eval()


def readme_command(option: str, model: Path) -> list[str]:
    """The arguments of the guide's chat command with this option (or with none), for a model."""
    guide = (Path(__file__).parent.parent.parent / "docs" / "chatting.md").read_text()
    block = guide.split("```sh\n")[1].split("```")[0]
    lines = [shlex.split(line, comments=True)[3:] for line in block.splitlines()]
    (command,) = [words for words in lines if (option in words if option else len(words) == 1)]
    return [str(model), *command[1:]]
