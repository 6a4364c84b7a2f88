"""A model as lm-eval asks it, and a task run by lm-eval."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from transformers.utils import logging as transformers_logging

from chatdata.core.errors import ChatdataError
from chatdata.core.hashing import sha256_file, sha256_json
from trainer.chat import generation
from trainer.chat.prompt_window import TemplateWriter
from trainer.evaluation.benchmarks import checks
from trainer.evaluation.benchmarks.checks import Request, Warning
from trainer.evaluation.benchmarks.tasks import SEED, Loaded

Tell = Callable[[Warning], object]


class Model(HFLM):
    """A model of transformers in lm-eval, whose requests are checked before they are answered."""

    is_templated = False  # whether the requests of this run are written by the chat template
    divides = False  # whether a metric divides the sum of an answer by its length
    tell: Tell = staticmethod(lambda warning: None)

    def __init__(self, network: Any, tokenizer: Any, batch_size: int) -> None:
        super().__init__(pretrained=network, tokenizer=tokenizer, batch_size=batch_size)
        self.messages: dict[str, list[dict[str, str]]] = {}

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The prompt, of which the messages are remembered."""
        text = super().apply_chat_template(chat_history, add_generation_prompt)
        self.messages[text] = chat_history
        return text

    def as_answered(self, request: Request) -> list[int] | None:
        """The ids of the conversation in which the continuation is the answer; None where the
        template writes the question otherwise once it is answered."""
        messages = self.messages.get(request.context)
        if messages is None:
            return None
        *before, last = messages
        if last["role"] == "assistant":  # begun by the task, and to be continued
            answer = f"{last['content']}{request.continuation}"
        else:
            before, answer = messages, request.continuation.strip()
        whole = [*before, {"role": "assistant", "content": answer}]
        try:
            text = self.tokenizer.apply_chat_template(whole, tokenize=False)
        except Exception:  # a template may raise anything
            return None
        return self.tok_encode(text) if text.startswith(request.context) else None

    def start_ids(self) -> list[int]:
        """The ids that the tokenizer puts before a text."""
        whole, text = self.tok_encode("a"), self.tok_encode("a", add_special_tokens=False)
        start = len(whole) - len(text)
        return whole[:start] if whole[start:] == text else []

    def unknown_ends(self) -> list[str]:
        """What the template writes at the end of an answer, and does not end the model's texts."""
        try:
            written = TemplateWriter(self.tokenizer).stop_tokens
        except ChatdataError:
            return []
        listed = self.model.generation_config.eos_token_id
        known = set(listed if isinstance(listed, list) else [listed])
        known.add(self.tokenizer.eos_token_id)
        return [t for t in written if self.tokenizer.convert_tokens_to_ids(t) not in known]

    def costs(self, requests: Sequence[Request]) -> list[float]:
        """The log-probability of each continuation."""
        rows = [(("", ""), r.context_ids, r.continuation_ids) for r in requests]
        answers = super()._loglikelihood_tokens(rows, disable_tqdm=True) if rows else []
        return [float(answer[0]) for answer in answers]

    def _loglikelihood_tokens(
        self, requests: list[Any], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        looked_at = [Request(*texts, *ids) for texts, *ids in requests]
        for warning in checks.of_scored(looked_at, self):
            self.tell(warning)
        return super()._loglikelihood_tokens(requests, disable_tqdm, override_bs)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """What the model writes behind each prompt."""
        prompts, settings = zip(*(request.args for request in requests), strict=True)
        for warning in checks.of_generated(prompts, settings[0], self):
            self.tell(warning)
        written = super().generate_until(requests, disable_tqdm)
        if (nothing := _nothing(written)) is not None:
            self.tell(nothing)
        return written


class Ran(NamedTuple):
    """What lm-eval says of a task, and what was noticed."""

    results: dict[str, Any]  # lm-eval's, with its samples
    warnings: list[Warning]
    remarks: list[str]  # lm-eval's own warnings


def load(path: str, revision: str | None, batch_size: int) -> Model:
    """A model in a folder or on the Hub, in lm-eval. Raises ConfigError where there is none."""
    with quiet():
        network, tokenizer = generation.load(path, revision)
        return Model(network, tokenizer, batch_size)


def free(model: Model) -> None:
    """Gives back the memory of a model, so that the next has room."""
    del model._model
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def files_hash(path: str) -> str | None:
    """A hash of the files that tell a model in a folder from others; None for one on the Hub."""
    folder = Path(path)
    if not folder.is_dir():
        return None
    names = ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.model", "*.txt")
    files = sorted({file for name in names for file in folder.glob(name)})
    # What the trainer writes about a run beside a model is not the model.
    return sha256_json({f.name: sha256_file(f) for f in files if f.name != "chatdata.json"})


def about(path: str, model: Model) -> dict[str, Any]:
    """What a model is: its name, its commit on the Hub, its size and the type of its numbers."""
    network = model.model
    return {
        "name": path,
        "commit": getattr(network.config, "_commit_hash", None),
        "parameters": int(network.num_parameters()),
        "dtype": str(network.dtype).removeprefix("torch."),
    }


def of_answers(model: Model, texts: Sequence[str], is_templated: bool) -> list[Warning]:
    """What is noticed of answers that were not written by lm-eval."""
    model.is_templated = is_templated
    seen = [checks.template_of_another([], model), _nothing(texts)]
    return [warning for warning in seen if warning is not None]


def _nothing(texts: Sequence[str]) -> Warning | None:
    if not (empty := sum(not text.strip() for text in texts)):
        return None
    words = "the model wrote nothing before it stopped, or the question does not fit its context."
    return Warning("empty_answers", empty, len(texts), words)


def run(
    model: Model,
    task: Loaded,
    *,
    is_templated: bool,
    limit: int | None,
    system: str | None,
    tell: Tell,
) -> Ran:
    """A task, run by lm-eval. `tell` is called with each warning before the model is asked."""
    seen: list[Warning] = []

    def note(warning: Warning) -> None:
        seen.append(warning)
        tell(warning)

    model.is_templated, model.tell, model.messages = is_templated, note, {}
    singles = list(task.tasks["tasks"].values())
    model.divides = any("acc_norm" in single.higher_is_better() for single in singles)
    for single in singles:
        single.set_fewshot_seed(seed=SEED)
    with quiet(), _remarks() as remarks:
        results = evaluate(
            lm=model,
            task_dict=task.tasks,
            limit=limit,
            bootstrap_iters=1000,
            log_samples=True,
            system_instruction=system,
            apply_chat_template=is_templated,
            fewshot_as_multiturn=is_templated,
        )
    model.messages = {}
    return Ran(dict(results or {}), seen, remarks)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps progress bars out of what is no terminal, and what transformers says of long texts,
    which `truncated` says of those that are asked."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        with contextlib.ExitStack() as held:
            if not sys.stderr.isatty():
                held.enter_context(contextlib.redirect_stderr(io.StringIO()))
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)


@contextlib.contextmanager
def _remarks() -> Iterator[list[str]]:
    """The warnings that lm-eval logs, each once."""
    logger, listed = logging.getLogger("lm_eval"), list[str]()

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = " ".join(record.getMessage().split())
            # Its sentences on cut texts differ in their numbers alone: `truncated` says it once.
            if "from the left" not in text and text not in listed:
                listed.append(text)

    handler, before = Kept(logging.WARNING), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield listed
    finally:
        logger.removeHandler(handler)
        logger.propagate = before
