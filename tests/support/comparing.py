"""Two processes that compare hashes; a module apart, so that they import little."""

from __future__ import annotations

import os
from typing import Any

import torch

from chatdata.core.errors import ChatdataError
from trainer.run import strategy


def compare(rank: int, port: int, cases: list[list[str]], queue: Any) -> None:
    """Puts what this rank finds in each case, where ranks have one hash each."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    for case, digests in enumerate(cases):
        try:
            strategy.same_on_all_ranks("embeddings", digests[rank])
            queue.put((case, "same"))
        except ChatdataError as error:
            queue.put((case, str(error)))
    strategy.leave()
