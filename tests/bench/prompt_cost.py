"""What a turn costs a base model behind a few-shot prompt, and a tuned one behind its template.

    chatdata build sharegpt --input sharegpt92k_sample.json.gz --set render=null --out out/talks
    python tests/bench/prompt_cost.py --folder out/talks --tokenizer tokenizers/starcoder

Tokens that the model is given for the n-th answer, the mean over the same conversations for every
n: those with at least as many exchanges as the table has lines. Nothing is generated, so the
numbers are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import click
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from chatdata.dataset import reader
from trainer.chat import few_shot
from trainer.chat.few_shot import FewShot, Prompt
from trainer.chat.prompt_window import Message

ROOT = Path(__file__).parent.parent.parent
PROMPTS = sorted((ROOT / "recipes" / "prompts").glob("*.yaml"))


def talks(folder: Path, exchanges: int, most: int) -> list[list[Message]]:
    """Conversations that begin with a user and have so many exchanges, the first by id."""
    rows = reader.scan(folder, "messages").select("id", "messages").sort("id").collect()
    roles = ("user", "assistant") * exchanges
    fitting = (
        messages[: len(roles)]
        for messages in rows["messages"].to_list()
        if tuple(message["role"] for message in messages[: len(roles)]) == roles
    )
    return [message for message, _ in zip(fitting, range(most), strict=False)]


def of_text(path: Path, tokenizer: PreTrainedTokenizerBase) -> FewShot:
    """A prompt that is one text, its dialogues in it."""
    text = path.read_text(encoding="utf-8").strip().removesuffix(few_shot.SEPARATOR).rstrip()
    return FewShot(Prompt.model_construct(about="", system=text, dialogues=[]), tokenizer)


def tokens(few: FewShot, asked: Sequence[list[Message]]) -> float:
    """The mean length of the whole prompt."""
    return fmean(len(few.ids(conversation)) for conversation in asked)


def cut(few: FewShot, asked: Sequence[list[Message]], room: int) -> float:
    """The share of the conversations of which something does not fit into the context."""
    return fmean(len(few.ids(conversation)) > room for conversation in asked)


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="A built dataset.")
@click.option("--tokenizer", required=True, help="A folder or a repository on the Hub.")
@click.option("--text", type=click.Path(path_type=Path), multiple=True, help="A prompt as a text.")
@click.option("--exchanges", default=8, show_default=True)
@click.option("--conversations", default=200, show_default=True)
@click.option("--context", default=8192, show_default=True, help="Positions of the model.")
@click.option("--answer", default=512, show_default=True, help="max_new_tokens.")
def main(
    folder: Path,
    tokenizer: str,
    text: tuple[Path, ...],
    exchanges: int,
    conversations: int,
    context: int,
    answer: int,
) -> None:
    """Print tokens, and how many times those of a tuned model they are."""
    loaded = AutoTokenizer.from_pretrained(tokenizer)
    loaded.chat_template = None  # as a base model's, so that the other side is StarChat's template
    prompts = {path.stem: FewShot(few_shot.load(path), loaded) for path in PROMPTS}
    prompts |= {path.stem: of_text(path, loaded) for path in text}
    chosen = talks(folder, exchanges, conversations)
    click.echo(
        f"{len(chosen)} conversations, {context} positions, {answer} of them for the answer\n"
    )
    click.echo(f"| turn | tuned | {' | '.join(prompts)} |\n|--:|--:|{'--:|' * len(prompts)}")
    total = [0.0] * (1 + len(prompts))
    for turn in range(1, exchanges + 1):
        asked = [messages[: 2 * turn - 1] for messages in chosen]
        tuned = fmean(prompts["assistant"].tuned_tokens(messages) for messages in asked)
        line = [tuned, *(tokens(few, asked) for few in prompts.values())]
        total = [sum(pair) for pair in zip(total, line, strict=True)]
        click.echo(_row(str(turn), line))
    click.echo(_row("all", total))
    shares = [f"{cut(few, asked, context - answer):.0%}" for few in prompts.values()]
    click.echo(f"| cut at turn {exchanges} | | {' | '.join(shares)} |")


def _row(name: str, line: Sequence[float]) -> str:
    cells = [f"{cost:,.0f} ({cost / line[0]:.1f})" for cost in line[1:]]
    return f"| {name} | {line[0]:,.0f} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
