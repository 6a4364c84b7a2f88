"""A chat model, how its tokens are drawn, and an answer as it is generated, piece by piece."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
    TextIteratorStreamer,
)

from chatdata.core import config
from chatdata.core.config import Strict
from chatdata.core.errors import ConfigError
from trainer.chat.prompt_window import Message, PromptWindow, Writer, fit
from trainer.model import pretrained


class Sampling(Strict):
    """How tokens are drawn: the names of transformers, the settings of StarChat's demo."""

    temperature: float = Field(default=0.2, ge=0)  # 0: always the most likely token
    top_p: float = Field(default=0.95, gt=0, le=1)
    top_k: int = Field(default=50, ge=0)  # 0: from all tokens
    repetition_penalty: float = Field(default=1.2, gt=0)
    max_new_tokens: int = Field(default=512, ge=1)

    def arguments(self) -> dict[str, Any]:
        """All sampling arguments of `generate`, so that no setting of the model is used."""
        drawn = {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k}
        return {
            "repetition_penalty": float(self.repetition_penalty),
            "max_new_tokens": self.max_new_tokens,
            "do_sample": self.temperature > 0,
            **(drawn if self.temperature > 0 else {"temperature": 1.0, "top_p": 1.0, "top_k": 50}),
        }


def load(path: str, revision: str | None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model in a folder or on the Hub and its tokenizer, on a GPU if the machine has one.

    Raises ConfigError for a model that cannot be loaded.
    """
    if (Path(path) / "adapter_config.json").is_file():
        raise ConfigError(
            f"'{path}' holds an adapter; merge it into its model first (python -m trainer.merge)."
        )
    device = "auto" if torch.cuda.is_available() else "cpu"
    try:
        tokenizer = pretrained.load_tokenizer(path, revision=revision)
        network = pretrained.load_network(path, revision=revision, dtype="auto", device_map=device)
    except (OSError, ValueError) as error:
        raise ConfigError(f"'{path}' cannot be loaded: {pretrained.reason(error)}") from None
    return network.eval(), tokenizer


@dataclass(frozen=True, slots=True)
class ChatModel:
    """A model that answers, with its tokenizer and the writer of its prompts."""

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    writer: Writer

    def sampling(self, settings: Mapping[str, Any]) -> Sampling:
        """Settings for this model. The longest answer by default is half of the model's context.

        Raises ConfigError for an unknown setting or a wrong value.
        """
        context = self.context()
        longest = 512 if context is None else min(512, context // 2)
        return config.parse(Sampling, {"max_new_tokens": longest, **settings}, "sampling")

    def prompt_window(self, messages: Sequence[Message], sampling: Sampling) -> PromptWindow:
        """The part of the conversation that leaves room for an answer of full length.

        Raises ChatdataError for a question that does not fit.
        """
        context = self.context()
        if context is not None and sampling.max_new_tokens >= context:
            raise ConfigError(
                f"max_new_tokens is {sampling.max_new_tokens}, and the model has {context} "
                "positions for question and answer; lower max_new_tokens."
            )
        room = None if context is None else context - sampling.max_new_tokens
        return fit(self.writer, messages, room)

    def answer(self, window: PromptWindow, sampling: Sampling) -> Answer:
        """The answer to a prompt; the model generates while the caller iterates over the answer."""
        return Answer(self, window.ids, sampling)

    def context(self) -> int | None:
        """How many tokens the model can see; None for a model without a limit."""
        text = self.network.config.get_text_config()
        return getattr(text, "max_position_embeddings", None)

    def stop_ids(self) -> list[int]:
        """The tokens that end an answer: those of the generation config, the tokenizer's end of
        text, and the token that the template writes after an answer."""
        config: Any = self.network.generation_config
        listed = (
            config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
        )
        encode: Any = self.tokenizer.convert_tokens_to_ids
        from_template = [encode(token) for token in self.writer.stop_tokens]
        ids = {*listed, self.tokenizer.eos_token_id, *from_template}
        return sorted(id for id in ids if id is not None)


class Answer:
    """An answer as it is generated: iterate over the answer for the pieces of its text.

    The model stops when the iteration stops.
    """

    tokens = 0  # how many were generated, once the answer has ended
    is_truncated = False  # whether max_new_tokens ended the answer

    def __init__(self, chat_model: ChatModel, ids: list[int], sampling: Sampling) -> None:
        self.chat_model, self.ids, self.sampling = chat_model, ids, sampling
        self._stopped = threading.Event()

    def __iter__(self) -> Generator[str, None, None]:
        """Yields the text in pieces. Raises the errors of the model's thread."""
        streamer = TextIteratorStreamer(
            self.chat_model.tokenizer, skip_prompt=True, skip_special_tokens=True
        )
        with ThreadPoolExecutor(max_workers=1) as pool:
            running = pool.submit(self._generate, streamer)
            running.add_done_callback(lambda _: streamer.end())  # also after an error
            try:
                yield from self.chat_model.writer.read(streamer)
            finally:
                self._stopped.set()
            self._close(running.result())

    def _generate(self, streamer: TextIteratorStreamer) -> list[int]:
        chat_model = self.chat_model
        prompt = torch.tensor([self.ids], device=chat_model.network.device)
        stop_ids = chat_model.stop_ids()
        strings = list(chat_model.writer.stop_strings)
        network: Any = chat_model.network
        written = network.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            streamer=streamer,
            stopping_criteria=StoppingCriteriaList([_WhenSet(self._stopped)]),
            eos_token_id=stop_ids or None,
            pad_token_id=(stop_ids or [0])[0],  # unused: a single row has no padding
            use_cache=True,
            **({"stop_strings": strings, "tokenizer": chat_model.tokenizer} if strings else {}),
            **self.sampling.arguments(),
        )
        return list(written[0, len(self.ids) :].tolist())

    def _close(self, written: list[int]) -> None:
        self.tokens = len(written)
        text = self.chat_model.tokenizer.decode(written)
        is_stopped = any(stop in text for stop in self.chat_model.writer.stop_strings)
        is_full = self.tokens == self.sampling.max_new_tokens
        self.is_truncated = (
            is_full and not is_stopped and written[-1] not in self.chat_model.stop_ids()
        )


class _WhenSet(StoppingCriteria):
    """Stops generation when an event is set."""

    def __init__(self, event: threading.Event) -> None:
        self.event = event

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        return torch.full((len(input_ids),), self.event.is_set(), device=input_ids.device)
