"""A command looks at its arguments before it imports what takes a second."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HEAVY = ("polars", "pyarrow", "numpy", "transformers", "huggingface_hub.hf_api", "jinja2")
# By what is wrong: command lines, and the words that name it.
WRONG = {
    "'nope' is not there; make one with `chatdata build`": (
        "show nope",
        "explain nope x",
        "stats nope",
        "report nope",
        "report nope --serve",
        "diff nope nope",
        "verify nope",
        "pack nope --max-tokens 9",
        "push nope ada/x --version 1.0.0",
        "render nope --tokenizer bytes --out x",
        "render nope --tokenizer bytes --add",
        "render nope --remove x",
    ),
    "'.' is not a finished build (it has no manifest.json)": ("show .", "verify .", "stats ."),
    "there is no 'nope'; name files": ("audit nope",),
    "or name a published version (org/x@1.0.0)": ("show org/x",),
    "'org/x@1.0.0' is a published version; `chatdata pull": ("pack org/x@1.0.0 --max-tokens 9",),
    "'talk.jsonl' is a file, and not the folder of a build": ("show talk.jsonl",),
    "there is no recipe 'nope'; known: chats,": ("check nope", "build nope", "recipe nope"),
    "starchat-alpha. A recipe of your own": ("check nope",),
    "write one by `chatdata new NAME --from talk.jsonl`": ("build talk.jsonl",),
    "there is no file 'nope'": ("new mine --from nope",),
    "recipe 'sample': unknown key 'drpo'; did you mean 'drop'?": (
        "check sample --set drpo=[]",
        "build sample --set drpo=[]",
    ),
    "render: unknown key 'max_token'; did you mean": ("build sample --set render.max_token=9",),
    "--set nothing: write it as KEY=VALUE": ("build sample --set nothing",),
    "only `render.KEY` and `max_dropped`": ("render nope --tokenizer bytes --set drop=[] --out x",),
}

IN_A_PROCESS = """
import json, sys
from click.testing import CliRunner
from chatdata.cli import main
heavy, lines = json.loads(sys.argv[1])
for line in lines:
    shown = CliRunner().invoke(main, line.split())
    print(json.dumps([shown.exit_code, shown.output, [m for m in heavy if m in sys.modules]]))
"""


def test_what_is_wrong_is_known_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    (tmp_path / "talk.jsonl").touch()
    expected = [(line, words) for words, lines in WRONG.items() for line in lines]
    given = json.dumps([HEAVY, [line for line, _ in expected]])
    command = [sys.executable, "-c", IN_A_PROCESS, given]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    outcomes = map(json.loads, done.stdout.splitlines())
    for (line, words), (code, output, imported) in zip(expected, outcomes, strict=True):
        assert code == 1, line
        assert words in " ".join(output.split()), line
        assert imported == [], line
