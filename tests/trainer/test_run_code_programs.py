"""The program that a reader would take out of an answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainer.evaluation import programs

pytestmark = pytest.mark.slow

PROMPTS = Path(__file__).parents[2] / "recipes" / "prompts" / "coding.jsonl"
DOUBLE = "def double(x):\n    return 2 * x\n"
USE = "print(double(4))\n"
TEST = "assert double(2) == 4\n"


def fenced(*blocks: str, language: str = "python") -> str:
    return "Look:\n\n" + "\nand\n".join(f"```{language}\n{block}```\n" for block in blocks)


@pytest.mark.parametrize(
    ("answer", "test", "program"),
    [
        (fenced(DOUBLE), TEST, DOUBLE),
        (fenced(USE, DOUBLE), None, DOUBLE),
        (fenced("x = 1\n", DOUBLE), None, DOUBLE),
        (fenced(DOUBLE, USE), None, DOUBLE + "\n" + USE),
        (fenced(DOUBLE, USE), TEST, DOUBLE),
        (fenced("import math\n", "def double(x):\n    return math.pi\n"), TEST,
         "import math\n\ndef double(x):\n    return math.pi\n"),
        (fenced("from math import *\n", "print(pi)\n"), None, "from math import *\n\nprint(pi)\n"),
        (fenced("total = 9\n", "def f():\n    total = 1\n    return total\n"), None,
         "def f():\n    total = 1\n    return total\n"),
        (fenced("def double(x):\n    return x\n", DOUBLE), TEST, DOUBLE),
        (fenced(DOUBLE, "x = 1\n"), "assert 1\n", "x = 1\n"),
        (fenced(DOUBLE, "def double(x:\n"), TEST, "def double(x:\n"),
        (fenced(DOUBLE, language=""), TEST, DOUBLE),
        (fenced("def double(x:\n", language=""), TEST, "def double(x:\n"),
        (fenced(DOUBLE, language="Python3"), TEST, DOUBLE),
        (fenced(DOUBLE, language="{.python .numberLines}"), TEST, DOUBLE),
        (fenced(DOUBLE, language='py title="a.py"'), TEST, DOUBLE),
        (fenced(DOUBLE).replace("```", "~~~~"), TEST, DOUBLE),
        (fenced(DOUBLE).replace("\n", "\r\n"), TEST, DOUBLE),
        (fenced(DOUBLE) + "```text\n8\n```\n```bash\npip install x\n```\n", TEST, DOUBLE),
        ("```markdown\nLook:\n" + fenced(DOUBLE) + "```\n", TEST, DOUBLE),
        ("1. So:\n\n   ```python\n   def double(x):\n       return 2 * x\n   ```\n", TEST, DOUBLE),
        ("```python\n" + DOUBLE, TEST, DOUBLE),
        ("```pycon\n>>> x = 1\n>>> for y in ():\n...     print(y)\n...\n8\n>>> print(x)\n1\n```",
         None,
         "x = 1\nfor y in ():\n    print(y)\n\nprint(x)\n"),
        (DOUBLE, TEST, DOUBLE),
        ("    def double(x):\n        return 2 * x\n", TEST, DOUBLE),
        (f"Sure, here it is:\n\n{DOUBLE}\nIt works by doubling.\nDone\n", TEST, DOUBLE),
        (f"Sure:\n{DOUBLE}\nNote: for 4\n{USE}", None, DOUBLE + "\n" + USE),
        ("Sure:\n'''\ndef double(x):\n    '''Doubles'''\n        return 2\n'''\n", TEST,
         "def double(x):\n    '''Doubles'''\n        return 2\n'''\n"),
        ("It is 4.", TEST, None),
        ("Yes", TEST, None),
        ("Note: this is a word", TEST, None),
        ("", TEST, None),
        ("from the list of words, import is the best. It is so.", TEST, None),
    ],
)  # fmt: skip
def test_the_program_is_what_a_reader_takes(
    answer: str, test: str | None, program: str | None
) -> None:
    assert programs.find(answer, test).text == program


@pytest.mark.parametrize(
    ("answer", "language"),
    [
        (fenced("let x = 1\n", language="javascript"), "javascript"),
        (fenced("int x;\n", language="c++"), "c++"),
        (fenced("%%bash\nls\n"), "python"),
        (fenced("8\n", language="text"), None),
        ("Words.", None),
    ],
)
def test_code_in_another_language_is_named(answer: str, language: str | None) -> None:
    program = programs.find(answer)
    assert (program.text, program.language) == (None, language)


def test_what_a_notebook_adds_is_taken_out_and_named() -> None:
    answer = fenced(
        "import math\n%matplotlib inline\n!pip install x\nif math:\n    %load_ext y\n"
        '%time print("100 %d" % 1)\ntext = """\n%kept\n"""\n'
    )
    program = programs.find(answer)
    assert program.removed == (
        "%matplotlib inline",
        "!pip install x",
        "%load_ext y",
        '%time print("100 %d" % 1)',
        "%kept",
    )
    assert program.text is not None
    assert 'pass\npass\nif math:\n    pass\nprint("100 %d" % 1)\n' in program.text


def test_lines_that_look_like_a_notebook_stay_where_the_code_compiles() -> None:
    block = 'text = """\n%matplotlib inline\n"""\nprint(8\n%3)\n'
    assert programs.find(fenced(block)) == (block, "python", (), 1)


@pytest.mark.parametrize(
    "text", ["(" * 5000, "x = " + "-" * 100_000 + "1", "\0", "def f():\n" * 999]
)
def test_what_no_parser_takes_is_no_error(text: str) -> None:
    programs.find(fenced(text + "\n"), TEST)
    programs.find(text, TEST)


def test_the_references_that_ship_are_programs_as_they_are() -> None:
    lines = [json.loads(line) for line in PROMPTS.read_text().splitlines()]
    known = [line for line in lines if "reference" in line]
    assert len(known) == 92
    for line in known:
        for answer in (line["reference"], fenced(line["reference"])):
            assert programs.find(answer, line["test"]).text == line["reference"], line["id"]
