"""The three answers whose pictures the article of 2023 shows: what they need and do not say.

    python tests/bench/showcases.py --python plots/bin/python --out out/showcases

The answers are taken out of the article (`--article`) when this runs. Each is run as it is printed,
and then with what it needs, in each Python; `OUT/gallery.html` shows all of it side by side.
docs/running.md tells how to make a Python with a map of the world.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from trainer.evaluation import running
from trainer.evaluation.running import Job
from trainer.evaluation.sandbox import Limits, Sandbox

ROOT = Path(__file__).parent.parent.parent
ARTICLE = ROOT.parent / "shared" / "seed" / "starchat-alpha.zh.md"
FENCED = re.compile(r"^```\w*\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
MAP = """
import geopandas
try:
    world = geopandas.read_file(geopandas.datasets.get_path("naturalearth_lowres"))
except AttributeError:
    raise SystemExit("geopandas 1 ships no map")
geopandas.read_file = lambda url: world.rename(columns={"name": "ADMIN"})
"""
STYLE = """
import matplotlib.style
matplotlib.style.library.setdefault("seaborn-talk", matplotlib.style.library["seaborn-v0_8-talk"])
"""
# What each answer needs in front of it: code of ours.
NEEDS = (STYLE + "import seaborn as sns\n", MAP, "")


def showcases(article: Path) -> list[tuple[str, str]]:
    """The prompts and answers of the article's three pictures."""
    text = article.read_text(encoding="utf-8")
    first, last = (text.index(words) for words in ("### 绘图", "## 评估"))
    blocks = FENCED.findall(text[first:last])
    return list(zip(blocks[::2], blocks[1::2], strict=True))


def answers(cases: list[tuple[str, str]], name: str, needs: tuple[str, ...]) -> str:
    """A file of answers, each behind what it needs."""
    lines = [
        {
            "id": f"showcase-{number}",
            "prompt": prompt,
            "answer": f"```python\n{need}{code}\n```",
            "model": name,
        }
        for number, ((prompt, code), need) in enumerate(zip(cases, needs, strict=True), 1)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def versions(python: str) -> str:
    """The versions of what draws in a Python."""
    listed = dict(text.split("-")[:2] for text in Sandbox(python).python.packages)
    drawing = ("matplotlib", "seaborn", "geopandas")
    return ", ".join(f"{name} {listed.get(name, 'missing')}" for name in drawing)


def tell(line: dict[str, Any]) -> None:
    last = line["stderr"].strip().splitlines()[-1:] if line["status"] != "ran" else []
    print(
        f"  {line['id']}: {line['status']}, taken out {line['removed']}, "
        f"{len(line['figures'])} figures {last}"
    )


@click.command()
@click.option("--article", type=click.Path(exists=True, path_type=Path), default=ARTICLE)
@click.option("--python", "pythons", multiple=True, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(article: Path, pythons: tuple[str, ...], out: Path) -> None:
    """Runs the answers, and prints what became of each."""
    cases, columns = showcases(article), []
    out.mkdir(parents=True)
    for python in pythons:
        for how, needs in (("as printed", ("", "", "")), ("with what it needs", NEEDS)):
            name = f"{how}, {versions(python)}"
            file = out / f"{len(columns)}.jsonl"
            file.write_text(answers(cases, name, needs), encoding="utf-8")
            limits = Limits(seconds=60, cpu_seconds=60, memory_mb=2048)
            job = Job(file, limits, python, beside=tuple(columns))
            columns.append(out / f"run-{len(columns)}")
            running.run(job, columns[-1])
            print(name)
            results = (columns[-1] / "results.jsonl").read_text(encoding="utf-8")
            for line in results.splitlines():
                tell(json.loads(line))
    (out / "gallery.html").write_bytes((columns[-1] / "gallery.html").read_bytes())


if __name__ == "__main__":
    main()
