"""What a model writes that was asked for prompts, and what of it is a prompt."""

from __future__ import annotations

import json
import random

import pytest

from trainer.evaluation import lenient_json, prompt_replies

A, B = "Write a function that adds numbers.", "Write a loop that prints its number."
CODE = 'def f(d={}):\n    return {"a": [1, 2}'
REVIEW = f"What is wrong here?\n\n```python\n{CODE}\n```"
LINE = json.dumps({"prompt": A})
LINES = f"{LINE}\n{json.dumps({'prompt': B})}"

TABLE = {
    "as asked": (LINES, [A, B], 0),
    "empty lines between": (f"{LINE}\n\n\n{json.dumps({'prompt': B})}\n", [A, B], 0),
    "a fence": (f"```json\n{LINES}\n```", [A, B], 0),
    "a fence for each": (f"```json\n{LINE}\n```\n\n```\n{LINES[len(LINE) :]}\n```", [A, B], 0),
    "a fence that is not closed": (f"```jsonl\n{LINES}", [A, B], 0),
    "prose around": (f"Sure! Here are 2 prompts:\n\n{LINES}\n\nLet me know.", [A, B], 0),
    "prose with braces": (f"I use {{curly}} braces [1].\n{LINES}\nDone {{}}", [A, B], 0),
    "extra keys": (json.dumps({"id": 1, "prompt": A, "tags": ["x"], "answer": {"p": 1}}), [A], 0),
    "a key of another case": (f'{{"Prompt": "{A}"}}', [A], 0),
    "another key": (f'{{"instruction": "{A}", "output": ""}}', [A], 0),
    "a comma behind the last": (f'{{"prompt": "{A}",}}', [A], 0),
    "commas behind lines": (f"{LINE},\n{json.dumps({'prompt': B})},", [A, B], 0),
    "an array": (json.dumps([{"prompt": A}, {"prompt": B}], indent=2), [A, B], 0),
    "an array with a last comma": (f"[{LINE}, {json.dumps({'prompt': B})},]", [A, B], 0),
    "an array without commas": (f"[\n{LINES}\n]", [A, B], 0),
    "an array of texts": (json.dumps([A, B]), [A, B], 0),
    "nested": (json.dumps({"prompts": [{"prompt": A}, {"prompt": B}]}), [A, B], 0),
    "nested texts": (json.dumps({"language": "C", "prompts": [A, B]}), [A, B], 0),
    "deeper": (json.dumps({"data": {"items": [{"prompt": A}]}, "n": 1}), [A], 0),
    "numbered keys": (json.dumps({"prompt1": A, "prompt_2": B}), [A, B], 0),
    "an object inside": (json.dumps({"prompt": {"text": A, "level": 3}}), [A], 0),
    "several under the key": (json.dumps({"prompt": [{"prompt": A}, {"prompt": B}]}), [A, B], 0),
    "a list of lines": (json.dumps({"prompt": REVIEW.split("\n")}), [REVIEW], 0),
    "code of its own": (
        json.dumps({"prompt": "What is wrong here?", "code": CODE}),
        [f"What is wrong here?\n\n```\n{CODE}\n```"],
        0,
    ),
    "numbered lines of JSON": (f"1. {LINE}\n2. {json.dumps({'prompt': B})}", [A, B], 0),
    "numbered": (f"Here you are:\n1. {A}\n2. {B}\n\nGood luck!", [A, B], 0),
    "numbered with brackets": (f'1) "{A}"\n2) "{B}"', [A, B], 0),
    "numbered with points below": (
        f"1. {A}\n   - Input: two numbers.\n   - Output: a number.\n\n2. {B}",
        [f"{A}\n   - Input: two numbers.\n   - Output: a number.", B],
        0,
    ),
    "numbered with code": (f"1. {A}\n2. {REVIEW}\n\nBye.", [A, REVIEW], 0),
    "dots": (f"* {A}\n* {B}", [A, B], 0),
    "labels": (f"**Prompt 1:** {A}\n\n**Prompt 2:** {B}", [A, B], 0),
    "a label": (f"Prompt: {A}", [A], 0),
    "the last is half": (f'{LINE}\n{{"prompt": "Write a fu', [A], 1),
    "the last of an array is half": (f'{{"prompts": [{LINE}, {{"prompt": "Wri', [A], 1),
    "the first is half": (f'{{"prompt": "Write a \n{LINE}', [A], 1),
    "single quotes": (f"{{'prompt': '{A}'}}", [A], 0),
    "an apostrophe in single quotes": ("{'prompt': 'Is it's right?'}", ["Is it's right?"], 0),
    "an escaped apostrophe": (r"{'prompt': 'Is it\'s right?'}", ["Is it's right?"], 0),
    "quotes that are not escaped": ('{"prompt": "Print "hi" now"}', ['Print "hi" now'], 0),
    "curly quotes": (f"{{\u201cprompt\u201d: \u201c{A}\u201d}}", [A], 0),
    "three quotes": (f'{{"prompt": """{REVIEW}"""}}', [REVIEW], 0),
    "a key without quotes": (f'{{prompt: "{A}"}}', [A], 0),
    "Python's names": (f"{{'prompt': '{A}', 'test': None, 'easy': True}}", [A], 0),
    "a comment": (f'{{\n  // the first\n  "prompt": "{A}"\n}}', [A], 0),
    "escaped line breaks": (json.dumps({"prompt": REVIEW}), [REVIEW], 0),
    "line breaks that are not escaped": (f'{{"prompt": "{A}\nNow."}}', [f"{A}\nNow."], 0),
    "line breaks that are escaped twice": (
        json.dumps({"prompt": REVIEW.replace("\n", "\\n")}),
        [REVIEW],
        0,
    ),
    "an escape that is meant": (
        json.dumps({"prompt": r"Split a text at \n and count."}),
        [r"Split a text at \n and count."],
        0,
    ),
    "an escape that JSON lacks": (
        r'{"prompt": "Match \d+ in a text."}',
        [r"Match \d+ in a text."],
        0,
    ),
    "braces in code": (
        json.dumps({"prompt": "Is {x: [1}] }{ valid here?"}),
        ["Is {x: [1}] }{ valid here?"],
        0,
    ),
    "JSON in code": (
        json.dumps({"prompt": 'Read {"prompt": "x"} from a file.'}),
        ['Read {"prompt": "x"} from a file.'],
        0,
    ),
    "JSON in a text": (json.dumps({"prompt": LINE}), [A], 0),
    "JSON as texts": (json.dumps([LINE, json.dumps({"prompt": B})]), [A, B], 0),
    "thoughts": (f'<think>Perhaps {{"prompt": "no"}}</think>\n{LINE}', [A], 0),
    "thoughts that the template began": (f'Perhaps {{"prompt": "no"}}.\n</think>\n{LINE}', [A], 0),
    "thoughts without an end": ('<think>I could write {"prompt": "Write a thing of it"}', [], 0),
    "nothing": (" \n", [], 0),
    "a refusal": ("I'm sorry, but I can't help with that.", [], 0),
    "babble": ("Once upon a time there was a {little} [girl].", [], 0),
    "half characters": (
        '{"prompt": "Print the sign \\ud83d now"}',
        ["Print the sign \ufffd now"],
        0,
    ),
    "a whole character": (
        '{"prompt": "Print the sign \\ud83d\\ude00 now"}',
        ["Print the sign \U0001f600 now"],
        0,
    ),
    "an empty prompt": ('{"prompt": ""}', [], 0),
    "a number": ('{"prompt": 7}', [], 0),
}
FAULTS = {
    "thoughts without an end": "empty",
    "nothing": "empty",
    "a refusal": "refused",
    "babble": "unread",
    "an empty prompt": "unread",
    "a number": "unread",
}


@pytest.mark.parametrize("name", TABLE)
def test_replies_are_read(name: str) -> None:
    reply, prompts, unread = TABLE[name]
    reading = prompt_replies.read(reply)
    assert (reading.prompts, len(reading.unread)) == (prompts, unread)
    assert reading.fault == FAULTS.get(name)


def test_strict_json_is_read_as_json_reads_it() -> None:
    """Values of all kinds, whose texts are full of what ends a text elsewhere."""
    drawn = random.Random(7)

    def value(depth: int) -> object:
        kind = drawn.choice(["text", "text", "list", "object"] if depth else ["text"])
        if kind == "text":
            return "".join(drawn.choices("ab\"'\\{}[],: \n\t\u201c\u00e9/", k=drawn.randrange(12)))
        if kind == "list":
            return [value(depth - 1) for _ in range(drawn.randrange(3))]
        return {f'k{i}"': value(depth - 1) for i in range(drawn.randrange(3))}

    for _ in range(500):
        drawn_value = {"prompt": value(3)}
        for written in (json.dumps(drawn_value), json.dumps(drawn_value, indent=1)):
            assert lenient_json.read(written, 0) == (drawn_value, len(written))


@pytest.mark.parametrize("reply", ["[" * 50_000, '{"a":' * 20_000, '["' * 5_000, "{" * 50_000])
def test_a_reply_that_nests_without_end_is_unread(reply: str) -> None:
    assert prompt_replies.read(reply).prompts == []


def test_every_beginning_of_a_reply_is_read_or_counted() -> None:
    """Cut off anywhere, a line is never a prompt that is half."""
    whole = "\n".join(json.dumps({"prompt": text}) for text in (A, REVIEW, B))
    for end in range(len(whole) + 1):
        reading = prompt_replies.read(whole[:end])
        assert reading.prompts == [A, REVIEW, B][: len(reading.prompts)]
        assert len(reading.unread) <= 1
