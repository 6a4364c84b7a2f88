"""Measures how well a model answers, with numbers that say how sure they are.

python -m trainer.evaluation judge base.jsonl tuned.jsonl --endpoint URL --model NAME --out run
"""

from __future__ import annotations

import click

from chatdata.core import interrupts
from trainer.evaluation.commands.answer import answer
from trainer.evaluation.commands.arena import arena
from trainer.evaluation.commands.benchmark import benchmark
from trainer.evaluation.commands.judge import judge
from trainer.evaluation.commands.prompts import prompts
from trainer.evaluation.commands.report import report
from trainer.evaluation.commands.run_code import run_code


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure how well a model answers."""


for command in (answer, arena, benchmark, judge, prompts, report, run_code):
    main.add_command(command)


if __name__ == "__main__":
    interrupts.run(main)
