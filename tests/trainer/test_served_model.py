"""Judge, answer and prompts with a small real model behind `transformers serve`: it babbles."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import AutoTokenizer

from tests.support import tiny
from tests.support.commands import free_port
from tests.support.later import Later, need
from trainer.evaluation.__main__ import main

need("fastapi", "openai", "uvicorn")
openai, uvicorn = Later("openai"), Later("uvicorn")
served = Later("trainer.chat.endpoint")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
TOKENS = 20


@pytest.fixture(scope="module")
def model(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "random"
    tokenizer = AutoTokenizer.from_pretrained(sample / "tokenizer")
    made = tiny.model("llama", 3, vocab_size=len(tokenizer), max_position_embeddings=8192)
    made.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<|end|>")
    made.float().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def endpoint(model: Path) -> Iterator[str]:
    """What `--serve` serves, by this process; `test_chat` starts a process."""
    port = free_port()
    application = served.application(str(model), None)
    server = uvicorn.Server(uvicorn.Config(application, host="127.0.0.1", port=port))
    thread = threading.Thread(target=server.run)
    thread.start()
    _wait(f"http://127.0.0.1:{port}/health")
    yield f"http://127.0.0.1:{port}/v1"
    server.should_exit = True
    thread.join()


def _wait(address: str) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).read()
            return
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)


def run(command: str, *arguments: object) -> Any:
    return CliRunner().invoke(main, [*command.split(), *map(str, arguments)])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_judge_that_babbles_is_unparsed_and_counted(
    endpoint: str, model: Path, tmp_path: Path
) -> None:
    files = []
    for name, answer in (("a", "```python\nprint(1)\n```"), ("b", "I do not know.")):
        files.append(tmp_path / f"{name}.jsonl")
        rows = [{"id": i, "prompt": f"Print {i}", "answer": answer} for i in range(3)]
        files[-1].write_text("".join(json.dumps(row) + "\n" for row in rows))
    where = ["--endpoint", endpoint, "--model", model, "--out", tmp_path / "out"]
    done = run("judge", *files, *where, "--max-tokens", TOKENS, "--concurrency", 2)
    assert done.exit_code == 0, done.output
    assert "no pair has a verdict" in done.output
    numbers = json.loads((tmp_path / "out" / "summary.json").read_text())
    counted = ("n", "win_rate", "unparsed", "refused", "failed")
    assert [numbers[name] for name in counted] == [0, None, 3, 0, 0]
    assert numbers["usage"]["replies"] == 6
    assert numbers["usage"]["tokens_read"] > 6 * 300  # the rubric alone
    assert 6 < numbers["usage"]["tokens_written"] <= 6 * TOKENS
    verdicts = lines(tmp_path / "out" / "verdicts.jsonl")
    replies = [order["reply"] for verdict in verdicts for order in verdict["orders"]]
    assert all(isinstance(reply, str) and reply for reply in replies)


def test_a_served_model_answers_as_it_does_here(endpoint: str, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(
        "".join(json.dumps({"prompt": f"Print {i} {'x ' * i}"}) + "\n" for i in range(3))
    )
    made = []
    for name, more in (("here", ()), ("served", ("--endpoint", endpoint))):
        out = tmp_path / f"{name}.jsonl"
        done = run("answer", model, "--prompts", file, "--out", out, "--max-new-tokens", 9, *more)
        assert done.exit_code == 0, done.output
        keys = ("id", "answer", "tokens", "finish_reason")
        made.append([{key: line[key] for key in keys} for line in lines(out)])
    assert made[0] == made[1]
    assert all(0 < line["tokens"] <= 9 for line in made[0])


def test_a_model_that_makes_no_prompts_is_left_with_the_count(
    endpoint: str, model: Path, tmp_path: Path
) -> None:
    where = ["--endpoint", endpoint, "--model", model, "--out", tmp_path / "p.jsonl"]
    limits = ["--n", 4, "--max-requests", 3, "--max-tokens", TOKENS]
    done = run("prompts generate", *where, *limits)
    assert done.exit_code == 1
    assert "0 of 4 prompts after 3 requests" in done.output
    numbers = json.loads((tmp_path / "p.summary.json").read_text())
    assert numbers["replies"]["unread"] + numbers["replies"]["empty"] == 3
    assert numbers["usage"]["tokens_read"] > 3 * 100


# -------------------------------------------------------------- what a client of OpenAI's asks for


def asked(endpoint: str, model: Path, **parameters: Any) -> tuple[str, str]:
    """An answer and why it ended."""
    client = openai.OpenAI(base_url=endpoint, api_key="none", max_retries=0)
    messages: Any = [{"role": "user", "content": "Print 1"}]
    usual = {"model": str(model), "messages": messages, "max_tokens": TOKENS}
    reply = client.chat.completions.create(**usual | parameters)
    if not parameters.get("stream"):
        return reply.choices[0].message.content, reply.choices[0].finish_reason
    choices = [chunk.choices[0] for chunk in reply]
    return "".join(choice.delta.content or "" for choice in choices), choices[-1].finish_reason


def test_an_answer_ends_before_a_stop_string(endpoint: str, model: Path) -> None:
    usual = {"temperature": 0, "n": 1, "logprobs": False, "user": "somebody"}
    whole, reason = asked(endpoint, model, **usual)
    assert reason == "length"
    assert asked(endpoint, model, **usual, stream=True) == (whole, reason)
    at = next(n for n in range(3, len(whole)) if whole[n : n + 2].isascii())
    stop = [whole[at : at + 2], "never written"]
    expected = (whole[: whole.index(stop[0])], "stop")
    for stream in (False, True):
        assert asked(endpoint, model, **usual, stop=stop, stream=stream) == expected


def test_a_temperature_draws_by_a_seed(endpoint: str, model: Path) -> None:
    first, again, second = (
        asked(endpoint, model, temperature=1.5, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again != second


@pytest.mark.parametrize("parameters", [{"n": 2}, {"logprobs": True}, {"n": 2, "stream": True}])
def test_what_is_not_served_is_refused_by_name(
    endpoint: str, model: Path, parameters: dict[str, Any]
) -> None:
    name = next(iter(parameters))
    with pytest.raises(openai.BadRequestError, match=f"'{name}' is not served") as refused:
        asked(endpoint, model, **parameters)
    assert refused.value.param == name
