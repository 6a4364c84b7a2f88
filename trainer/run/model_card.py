"""The model card: what a model is, what it learnt from and what not to expect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2


def text(description: dict[str, Any], name: str) -> str:
    """The text of a model's `README.md`, from the values in `chatdata.json`; `name` is the folder
    or the repository from which others load the model."""
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    environment.filters["words"] = _words
    source = Path(__file__).with_name("model_card.md.jinja").read_text(encoding="utf-8")
    recipe = description["train_recipe"]
    return environment.from_string(source).render(
        **description,
        name=name,
        recipe=recipe,
        training=recipe["training"],
        objective=recipe.get("objective", "sft"),
        lora=recipe["adapter"],
        adapter=None if description.get("merged") else recipe["adapter"],
        title=Path(recipe["output"]).name,
        base=recipe["model"]["path"],
        on_hub=_is_repository(recipe["model"]["path"]),
        rows_per_step=_rows_per_step(description),
    )


def _words(value: object) -> str:
    """The value as text that cannot break out of a line of Markdown, nor out of its backticks."""
    return " ".join(str(value).split()).replace("`", "'")


def _is_repository(path: str | None) -> bool:
    """Whether the path reads as the name of a repository, and is not a folder on this machine."""
    return path is not None and path.count("/") == 1 and not Path(path).exists()


def _rows_per_step(description: dict[str, Any]) -> int:
    training = description["train_recipe"]["training"]
    per_rank = training["per_device_train_batch_size"] * training["gradient_accumulation_steps"]
    return int(per_rank * description["run"]["ranks"])
