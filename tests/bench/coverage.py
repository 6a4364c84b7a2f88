"""How often the 95 % interval of a win rate holds the truth, by simulation.

    python tests/bench/coverage.py --runs 2000

Each run draws prompts whose true chance that A wins differs, judges that see it through noise of
their own and a liking for the answer in front, and verdicts in both orders. The truth is the win
rate over all prompts that could be drawn. Beside the interval of `trainer.evaluation` stands that
of a bootstrap which draws pairs and not prompts.
"""

from __future__ import annotations

from typing import NamedTuple

import click
import numpy as np

from trainer.evaluation import statistics

COUNTED = 1_000_000  # prompts whose mean is taken for the truth


class Design(NamedTuple):
    """What is drawn: prompts, judges of each, and in logits how good A is, how far prompts differ,
    and how much more a judge likes what is in front."""

    name: str
    prompts: int
    judges: int
    better: float
    spread: float
    front: float


DESIGNS = (
    Design("20 prompts, 1 judge, even", 20, 1, 0.0, 1.0, 0.0),
    Design("40 prompts, 1 judge, even", 40, 1, 0.0, 1.0, 0.0),
    Design("40 prompts, 1 judge, A better", 40, 1, 1.0, 1.0, 0.0),
    Design("40 prompts, 1 judge, A far better", 40, 1, 3.0, 1.0, 0.0),
    Design("40 prompts, 1 judge, the place matters", 40, 1, 0.5, 1.0, 2.0),
    Design("40 prompts, 3 judges, prompts differ", 40, 3, 0.5, 2.0, 0.5),
    Design("115 prompts, 1 judge, A better", 115, 1, 0.7, 1.5, 0.5),
    Design("115 prompts, 3 judges, prompts differ", 115, 3, 0.7, 2.0, 0.5),
)


def verdicts(design: Design, prompts: int, rng: np.random.Generator) -> statistics.Floats:
    """Verdicts of judges of prompts in both orders; close calls are ties."""
    quality = design.better + design.spread * rng.standard_normal(prompts)
    seen = np.repeat(quality, design.judges)[:, None] + np.array([1, -1]) * design.front
    noise = rng.logistic(size=seen.shape)
    return np.where(np.abs(seen + noise) < 0.3, 0.5, (seen + noise > 0).astype(float))


def simulate(design: Design, runs: int) -> tuple[float, float, float, float]:
    """The share of runs whose interval holds the truth, and the mean width; then the same where
    pairs are drawn."""
    rng = np.random.default_rng(17)
    truth = verdicts(design._replace(judges=1), COUNTED, rng).mean()
    held, widths = np.zeros(2), np.zeros(2)
    prompts = np.repeat(np.arange(design.prompts), design.judges)
    for seed in range(runs):
        drawn = verdicts(design, design.prompts, rng)
        for way, numbers in enumerate((prompts, np.arange(len(drawn)))):
            low, high = statistics.interval(drawn, numbers, seed)
            held[way] += low <= truth <= high
            widths[way] += high - low
    (ours, pairs), (width, width_of_pairs) = held / runs, widths / runs
    return ours, width, pairs, width_of_pairs


@click.command()
@click.option("--runs", default=2000, show_default=True)
def main(runs: int) -> None:
    """Print a table of coverages."""
    print("| what is drawn | holds the truth | mean width | pairs drawn instead | mean width |")
    print("|---|--:|--:|--:|--:|")
    for design in DESIGNS:
        ours, width, pairs, width_of_pairs = simulate(design, runs)
        same = design.judges == 1
        second = "the same | " if same else f"{pairs:.1%} | {width_of_pairs:.3f}"
        print(f"| {design.name} | {ours:.1%} | {width:.3f} | {second} |", flush=True)
    error = 1.96 * np.sqrt(0.95 * 0.05 / runs)
    print(f"\n{runs:,} runs each: where 95 % is true, {0.95 - error:.1%} to {0.95 + error:.1%}.")


if __name__ == "__main__":
    main()
