"""Answers: a model, how its words are drawn, and the answer as it is written, piece by piece."""

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
    AutoModelForCausalLM,
    AutoTokenizer,
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


class Sampling(Strict):
    """How tokens are drawn: transformers' own names, the settings of StarChat's demo."""

    temperature: float = Field(default=0.2, ge=0)  # 0: the likeliest token, always
    top_p: float = Field(default=0.95, gt=0, le=1)
    top_k: int = Field(default=50, ge=0)  # 0: of all tokens
    repetition_penalty: float = Field(default=1.2, gt=0)
    max_new_tokens: int = Field(default=512, ge=1)

    def arguments(self) -> dict[str, Any]:
        """The arguments for `generate`, each of them, so that none is taken from the model."""
        drawn = {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k}
        return {
            "repetition_penalty": float(self.repetition_penalty),
            "max_new_tokens": self.max_new_tokens,
            "do_sample": self.temperature > 0,
            **(drawn if self.temperature > 0 else {"temperature": 1.0, "top_p": 1.0, "top_k": 50}),
        }


def load(path: str, revision: str | None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model in a folder or on the Hub and its tokenizer, on the GPU where there is one.

    Raises ConfigError where it cannot be loaded.
    """
    if (Path(path) / "adapter_config.json").is_file():
        raise ConfigError(f"'{path}' holds an adapter alone; merge it into its model first.")
    device = "auto" if torch.cuda.is_available() else "cpu"
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision)
        network = AutoModelForCausalLM.from_pretrained(
            path, revision=revision, dtype="auto", device_map=device
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"'{path}' cannot be loaded: {reason}") from None
    return network.eval(), tokenizer


@dataclass(frozen=True, slots=True)
class Speaker:
    """A model that answers, and the way in which conversations are written for it."""

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    writer: Writer

    def sampling(self, settings: Mapping[str, Any]) -> Sampling:
        """Settings for this model. The default answer takes no more than half of its context."""
        context = self.context()
        longest = 512 if context is None else min(512, context // 2)
        return config.parse(Sampling, {"max_new_tokens": longest, **settings}, "sampling")

    def see(self, messages: Sequence[Message], sampling: Sampling) -> PromptWindow:
        """What the model is shown, so that an answer of full length fits behind it.

        Raises ChatdataError where the last question does not fit.
        """
        context = self.context()
        if context is not None and sampling.max_new_tokens >= context:
            raise ConfigError(
                f"max_new_tokens is {sampling.max_new_tokens}, and the model has {context} "
                "positions for question and answer; ask for a shorter answer."
            )
        room = None if context is None else context - sampling.max_new_tokens
        return fit(self.writer, messages, room)

    def answer(self, seen: PromptWindow, sampling: Sampling) -> Answer:
        """The answer to what the model is shown; it is written while one iterates over it."""
        return Answer(self, seen.ids, sampling)

    def context(self) -> int | None:
        """How many tokens the model can see, if it is limited."""
        text = self.network.config.get_text_config()
        return getattr(text, "max_position_embeddings", None)

    def stop_ids(self) -> list[int]:
        """The tokens that end an answer: those of the generation config, the tokenizer's end of
        text, and what the template writes behind an answer."""
        config: Any = self.network.generation_config
        listed = (
            config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
        )
        encode: Any = self.tokenizer.convert_tokens_to_ids
        written = [encode(token) for token in self.writer.stop_tokens]
        found = {*listed, self.tokenizer.eos_token_id, *written}
        return sorted(id for id in found if id is not None)


class Answer:
    """An answer as it is written: iterate over it for the pieces of its text.

    To stop iterating is to stop the model.
    """

    tokens = 0  # how many were generated, once it has ended
    cut = False  # whether it was ended by max_new_tokens

    def __init__(self, speaker: Speaker, ids: list[int], sampling: Sampling) -> None:
        self.speaker, self.ids, self.sampling = speaker, ids, sampling
        self._stopped = threading.Event()

    def __iter__(self) -> Generator[str, None, None]:
        """Yields the text. What goes wrong in the model is raised here."""
        streamer = TextIteratorStreamer(
            self.speaker.tokenizer, skip_prompt=True, skip_special_tokens=True
        )
        with ThreadPoolExecutor(max_workers=1) as pool:
            running = pool.submit(self._generate, streamer)
            running.add_done_callback(lambda _: streamer.end())  # also where it has failed
            try:
                yield from self.speaker.writer.read(streamer)
            finally:
                self._stopped.set()
            self._close(running.result())

    def _generate(self, streamer: TextIteratorStreamer) -> list[int]:
        speaker = self.speaker
        prompt = torch.tensor([self.ids], device=speaker.network.device)
        stop_ids = speaker.stop_ids()
        strings = list(speaker.writer.stop_strings)
        network: Any = speaker.network
        written = network.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            streamer=streamer,
            stopping_criteria=StoppingCriteriaList([_WhenSet(self._stopped)]),
            eos_token_id=stop_ids or None,
            pad_token_id=(stop_ids or [0])[0],  # of one row, nothing is padded
            use_cache=True,
            **({"stop_strings": strings, "tokenizer": speaker.tokenizer} if strings else {}),
            **self.sampling.arguments(),
        )
        return list(written[0, len(self.ids) :].tolist())

    def _close(self, written: list[int]) -> None:
        self.tokens = len(written)
        text = self.speaker.tokenizer.decode(written)
        stopped = any(own in text for own in self.speaker.writer.stop_strings)
        full = self.tokens == self.sampling.max_new_tokens
        self.cut = full and not stopped and written[-1] not in self.speaker.stop_ids()


class _WhenSet(StoppingCriteria):
    """Stops generation when somebody says so."""

    def __init__(self, event: threading.Event) -> None:
        self.event = event

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        return torch.full((len(input_ids),), self.event.is_set(), device=input_ids.device)
