"""The builds whose bytes `same_bytes` compares: a list of cases, and the tokenizers they need.

`$DATA`, `$DUMP` and `$MADE` stand for the folder of real data, the ShareGPT dump and the folder of
tokenizers that `carriers` makes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

Command = tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """A build by a recipe of this name, or else by this text, and commands on what it built.

    It is built into `out`; the commands of `then` see that folder and make others beside it.
    """

    name: str
    recipe: str
    inputs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    workers: int = 1
    engine: str = "local"
    verify: str = "audit"
    then: tuple[Command, ...] = ()
    refused: bool = False
    large: bool = False

    @property
    def text(self) -> str | None:
        """The text of a recipe of its own, or None where the recipe is a shipped one."""
        return self.recipe if "\n" in self.recipe else None

    def commands(self) -> list[Command]:
        """The arguments of chatdata, one command after the other."""
        inputs = [word for path in self.inputs for word in ("--input", path)]
        settings = [word for setting in self.settings for word in ("--set", setting)]
        how = ["--workers", str(self.workers), "--engine", self.engine, "--verify", self.verify]
        recipe = self.recipe if self.text is None else "./recipe.yaml"
        return [("build", recipe, *inputs, *settings, *how, "--out", "out"), *self.then]


# -------------------------------------------------------------------------------------- inputs

VALIDATION = "$DATA/oasst1-validation-en/en-validation.jsonl"
TREES = "$DATA/oasst1-en-100-trees/en_100_tree.jsonl"
ROOTS = "$DATA/oasst1-en-100-trees/en_100_message.jsonl"
LANGUAGES = "$DATA/oasst1-best-replies-multilingual/threads_534_non_english.jsonl"
LEGACY = "$DATA/oasst-legacy"
EN = "$DATA/sharegpt-en-1k/sharegpt92k_sample.json.gz"
ZH = "$DATA/sharegpt-zh-1k/sharegpt_zh_1K_format.jsonl.gz"
HTML = "$DATA/sharegpt-raw-html/sharegpt_html_1.json"
DEMOS = "$DATA/sharegpt-format-demos"
TOOLS = f"{DEMOS}/llamafactory_glaive_toolcall_en_demo.json"
VICUNA = f"{DEMOS}/fastchat_dummy_conversation.json"
DOLLY = f"{DEMOS}/llamafactory_alpaca_en_demo.json"
TOKENIZERS = "$DATA/tokenizers"

_HEAD = "name: bytes\nversion: 1.0.0\nmax_dropped: 1\n"
OASST = _HEAD + "source: {oasst: {files: [none]}}\n"
SHAREGPT = _HEAD + "source: {sharegpt: {files: [none]}}\nthreads: {start: user}\n"
JSONL = _HEAD + "source: {jsonl: {files: [none]}}\n"
MIXED = (
    _HEAD
    + """\
source:
  oasst: {files: [none], license: apache-2.0, MORE_OF_OASST}
  sharegpt: {files: [none], license: cc0-1.0, MORE_OF_SHAREGPT}
  dolly: {format: jsonl, files: [none], license: cc-by-sa-3.0, MORE_OF_DOLLY}
threads: {start: user, end: assistant, repeated_role: merge}
drop: [empty, not_alternating]
split: {test_percent: 10}
"""
)
MIXED_INPUTS = (f"oasst={TREES}", f"sharegpt={VICUNA}", f"dolly={DOLLY}")
PLAIN = "drop=[empty, not_alternating, no_assistant]"


def _mixed(oasst: str, sharegpt: str, dolly: str) -> str:
    """The recipe of three sources with more options of each."""
    text = MIXED.replace("MORE_OF_OASST", oasst).replace("MORE_OF_SHAREGPT", sharegpt)
    return text.replace("MORE_OF_DOLLY", dolly)


def _render(tokenizer: str, **options: object) -> str:
    """The setting of `render` with a tokenizer of the data, `bytes`, or one of ours."""
    known = tokenizer == "bytes" or tokenizer.startswith("$")
    path = tokenizer if known else f"{TOKENIZERS}/{tokenizer}"
    return "render=" + json.dumps({"tokenizer": path, **options})


# ------------------------------------------------------------------------------------- recipes

SHIPPED = [
    Case("sample", "sample"),
    Case("sample-workers", "sample", workers=2),
    Case("oasst1-trees", "oasst1", (TREES,)),
    Case("oasst1-both-files", "oasst1", ("$DATA/oasst1-en-100-trees",), ("max_dropped=1",)),
    Case("oasst1-legacy-trees", "oasst1", (f"{LEGACY}/backend_test.trees.jsonl",)),
    Case("oasst1-legacy-list", "oasst1", (f"{LEGACY}/realistic_seed_data.444.json",)),
    Case("oasst1-legacy-generic", "oasst1", (f"{LEGACY}/test_generic_data.json",)),
    Case("oasst1-en", "oasst1-en", (VALIDATION,)),
    Case("oasst1-en-roots", "oasst1-en", (ROOTS,)),
    Case("oasst1-en-ray", "oasst1-en", (TREES,), workers=2, engine="ray"),
    Case("sharegpt-en", "sharegpt", (EN,)),
    Case(
        "sharegpt-en-workers",
        "sharegpt",
        (EN,),
        ("max_dropped=1", _render("starcoder", max_tokens=1024, overflow="cut")),
        workers=2,
    ),
    Case(
        "sharegpt-zh",
        "sharegpt",
        (ZH,),
        ("drop=[empty, {wrong_language: {allow: [zh], decide: detected}}, not_alternating]",),
    ),
    Case("sharegpt-html", "sharegpt", (HTML,), ("max_dropped=1", "drop=[empty]")),
    Case("sharegpt-demos", "sharegpt", (DEMOS,), ("max_dropped=1",)),
    Case(
        "starchat-alpha",
        "starchat-alpha",
        (f"oasst={VALIDATION}", f"dolly={DOLLY}"),
        (f"render.tokenizer={TOKENIZERS}/starcoder",),
    ),
    Case(
        "starchat-alpha-without-dolly",
        "starchat-alpha",
        (TREES,),
        ("source.dolly.cap=0", f"render.tokenizer={TOKENIZERS}/starcoder"),
    ),
]

JSONL_FILES = {
    "alpaca": "llamafactory_alpaca_en_demo.json",
    "identity": "llamafactory_identity.json",
    "parts": "llamafactory_v1_sft_demo.jsonl",
    "openai": "xtuner_openai_sft.jsonl",
    "thoughts": "xtuner_qwen35_tokenize_data.jsonl",
}
SOURCES = [
    Case(f"jsonl-{name}", JSONL, (f"{DEMOS}/{file}",), (_render("bytes", template="chatml"),))
    for name, file in JSONL_FILES.items()
] + [
    Case("jsonl-all-demos", JSONL, (DEMOS,)),
    Case("jsonl-languages", JSONL, (LANGUAGES,), (_render("gpt2", template="dialogue"),)),
    Case("jsonl-of-sharegpt", JSONL, (VICUNA,), refused=True),
    Case("sharegpt-tools", SHAREGPT, (TOOLS,), (_render("qwen3", template="tokenizer"),)),
    Case("sharegpt-firefly", SHAREGPT, (f"{DEMOS}/firefly_dummy_data.jsonl",)),
]

# ------------------------------------------------------------------- threads, cleaning, dropping

THREADS = {
    "best-rank": "best_rank",
    "top-k": "{top_k: 2}",
    "all-prefixes": "all_prefixes",
    "train-once": "{policy: all_leaves, train_once: true}",
    "prefixes-once": "{policy: all_prefixes, train_once: true}",
    "any-end": "{policy: all_leaves, end: any}",
}
ON_TREES = [
    Case(f"threads-{name}", OASST, (VALIDATION,), (f"threads={value}", "drop=[deleted, empty]"))
    for name, value in THREADS.items()
] + [Case("threads-best-rank-workers", "oasst1", (TREES,), ("threads=best_rank",), workers=2)]

_OF_LANGUAGE = "wrong_language: {allow: [en], decide: both, on_removed: "
ON_REMOVED = [
    case
    for how in ("cut", "drop", "skip", "untrain")
    for case in (
        Case(
            f"removed-{how}-trees",
            OASST,
            (VALIDATION,),
            (f"drop=[deleted: {{on_removed: {how}}}, {_OF_LANGUAGE}{how}}}]", _render("bytes")),
        ),
        Case(
            f"removed-{how}-linear",
            SHAREGPT,
            (EN,),
            (f"drop=[{_OF_LANGUAGE}{how}}}, {{secret: {{on_removed: {how}}}}}]", _render("bytes")),
        ),
    )
]

TURNS = [
    Case(f"repeated-{role}", SHAREGPT, (EN, ZH), (f"threads.repeated_role={role}",))
    for role in ("keep", "merge", "drop")
] + [Case("linear-any-end", SHAREGPT, (EN, ZH), ("threads={start: any, end: any}",))]

CLEANED = [
    Case(
        f"clean-{name}",
        SHAREGPT,
        (EN, HTML),
        (f"clean=[{steps}]",),
    )
    for name, steps in {
        "all": "html, entities, escapes, artefacts, invisible, white_space: {max_blank_lines: 1}",
        "backwards": "white_space, invisible, artefacts, escapes, entities, html",
        "html": "html",
    }.items()
] + [
    Case("redact-all", SHAREGPT, (EN,), ("redact={}",)),
    Case("redact-some", SHAREGPT, (EN,), ("redact={kinds: [email, phone]}",)),
    Case("redact-trees", OASST, (VALIDATION,), ("redact={}",)),
    Case("secret-kinds", SHAREGPT, (EN,), ("drop=[secret: {kinds: [key, email]}]",)),
]

_QUESTIONS = (
    "[$DATA/eval/mt_bench/question.jsonl, $DATA/eval/humaneval/HumanEval.jsonl.gz, "
    "$DATA/eval/truthfulqa/TruthfulQA.csv]"
)
DROPPED = [
    Case(f"drop-{name}", recipe, inputs, (f"drop=[{filters}]",))
    for name, recipe, inputs, filters in [
        (
            "of-trees",
            OASST,
            (VALIDATION,),
            "deleted, not_reviewed, unfinished_tree, empty, error_answer, tool_use",
        ),
        (
            "quality",
            SHAREGPT,
            (EN,),
            "refusal, boilerplate_opening, repetition, truncated, url_only, "
            "too_many_characters: {above: 9000}, too_many_turns: {above: 20}",
        ),
        (
            "shape",
            SHAREGPT,
            (EN, ZH),
            "empty, error_answer, tool_use, not_alternating, no_assistant, "
            "too_few_turns: {below: 4}",
        ),
        ("declared", JSONL, (LANGUAGES,), "wrong_language: {allow: [ru, de, fr]}"),
        ("detected", JSONL, (LANGUAGES,), "wrong_language: {allow: [es], decide: detected}"),
        ("duplicate", SHAREGPT, (EN, ZH), "duplicate, duplicate_prompt: {min_words: 2}"),
        ("duplicate-trees", OASST, (TREES, ROOTS), "duplicate"),
        ("near", SHAREGPT, (EN,), "near_duplicate: {threshold: 0.5}"),
        ("near-smallest", SHAREGPT, (EN,), "near_duplicate: {threshold: 0.5, keep: smallest_id}"),
        ("near-all", SHAREGPT, (EN,), "near_duplicate: {threshold: 0.4, ngram: 3, keep: all}"),
        ("near-prompt", SHAREGPT, (EN,), "near_duplicate_prompt: {threshold: 0.5}"),
        ("contaminated", SHAREGPT, (EN,), f"contaminated: {{against: {_QUESTIONS}}}"),
        (
            "contaminated-short",
            OASST,
            (VALIDATION,),
            f"contaminated: {{against: {_QUESTIONS}, ngram: 6, min_words: 4, on_removed: cut}}",
        ),
    ]
]

MIXES = [
    Case("mixed-whole", _mixed("", "", ""), MIXED_INPUTS),
    Case("mixed-weights", _mixed("weight: 3", "weight: 1", "weight: 0.5"), MIXED_INPUTS),
    Case("mixed-caps", _mixed("cap: 40", "cap: 0", "cap: 25"), MIXED_INPUTS[::2]),
    Case(
        "mixed-both",
        _mixed("weight: 1", "weight: 1, cap: 60", "weight: 2, name: notes"),
        MIXED_INPUTS,
        (_render("bytes", template="dialogue", max_tokens=1500, overflow="cut"),),
        workers=2,
    ),
]

# -------------------------------------------------------------------------------------- rendering

BY_US = [
    Case(
        f"render-{template}-{tokenizer}", OASST, (TREES,), (_render(tokenizer, template=template),)
    )
    for template, tokenizer in [
        ("starchat", "bytes"),
        ("chatml", "bytes"),
        ("dialogue", "bytes"),
        ("starchat", "starcoder"),
        ("starchat", "starcoder2"),
        ("chatml", "smollm2"),
        ("chatml", "qwen3"),
        ("dialogue", "gpt2"),
        ("chatml", "gpt-neox-20b"),
    ]
]

LIMITS = [
    Case(f"overflow-{name}", SHAREGPT, (EN,), (PLAIN, _render(tokenizer, **options)))
    for name, tokenizer, options in [
        ("drop", "bytes", {"max_tokens": 2000}),
        ("cut", "bytes", {"max_tokens": 2000, "overflow": "cut"}),
        ("split", "bytes", {"max_tokens": 2000, "overflow": "split"}),
        ("split-none", "gpt2", {"max_tokens": 400, "overflow": "split", "carry_tokens": 0}),
        ("split-some", "starcoder", {"max_tokens": 400, "overflow": "split", "carry_tokens": 64}),
        (
            "split-tokenizer",
            "smollm2",
            {"max_tokens": 500, "overflow": "split", "template": "tokenizer"},
        ),
        (
            "split-each-answer",
            "qwen3",
            {"max_tokens": 500, "overflow": "split", "template": "tokenizer"},
        ),
        (
            "cut-each-answer",
            "qwen3",
            {"max_tokens": 500, "overflow": "cut", "template": "tokenizer"},
        ),
    ]
]

_TRAIN_ON = ("assistant", "last_assistant", "assistant_with_header", "all")
TRAINED = [
    Case(f"train-{on}-{tokenizer}", OASST, (TREES,), (_render(tokenizer, train_on=on, **value),))
    for on in _TRAIN_ON
    for tokenizer, value in {
        "bytes": {"system": "Be short."},
        "smollm2": {"template": "tokenizer"},
    }.items()
]

PACKED = [
    Case(
        "pack-bytes",
        OASST,
        (VALIDATION,),
        (_render("bytes", max_tokens=2048, overflow="cut"), "pack={max_tokens: 2048}"),
    ),
    Case(
        "pack-split",
        SHAREGPT,
        (EN,),
        (PLAIN, _render("gpt2", max_tokens=512, overflow="split"), "pack={max_tokens: 1024}"),
        workers=2,
    ),
]

ENGINES = [
    Case(
        "verify-full",
        SHAREGPT,
        (VICUNA,),
        (_render("starcoder2", template="chatml"),),
        verify="full",
    ),
    Case("verify-off", SHAREGPT, (VICUNA,), (_render("starcoder2"),), verify="off"),
    Case(
        "ray-mixed",
        _mixed("weight: 1", "weight: 1", "weight: 1"),
        MIXED_INPUTS,
        (_render("gpt2", max_tokens=600, overflow="split"), "pack={max_tokens: 600}"),
        workers=2,
        engine="ray",
    ),
]

_TEMPLATES = {
    "llama": ("meta-llama-Llama-3.1-8B-Instruct", {"date": "2026-01-31"}),
    "gemma": ("google-gemma-2-2b-it", {}),
    "phi": ("microsoft-Phi-3.5-mini-instruct", {}),
    "mistral": ("mistralai-Mistral-Nemo-Instruct-2407", {}),
    "qwen2": ("Qwen-Qwen2.5-7B-Instruct", {}),
    "hermes": ("NousResearch-Hermes-3-Llama-3.1-8B-tool_use", {"variables": {"tools": []}}),
    "deepseek": ("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", {}),
    "functionary": ("meetkai-functionary-medium-v3.1", {}),
    "command": ("CohereForAI-c4ai-command-r-plus-tool_use", {}),
}
# Their generation prompts are not what a conversation holds.
_NEVER_EXACT = ("deepseek", "command")
BY_THEIRS = [
    Case(
        "template-qwen3",
        SHAREGPT,
        (VICUNA,),
        (_render("qwen3", template="tokenizer", variables={"enable_thinking": False}),),
    ),
    Case("template-smollm2", SHAREGPT, (TOOLS,), (_render("smollm2", template="tokenizer"),)),
] + [
    Case(
        f"template-{name}",
        JSONL,
        (f"{DEMOS}/xtuner_openai_sft.jsonl", f"{DEMOS}/xtuner_qwen35_tokenize_data.jsonl"),
        (_render(f"$MADE/{name}", template="tokenizer", **options),),
    )
    for name, (_, options) in _TEMPLATES.items()
    if name not in _NEVER_EXACT
]

# ------------------------------------------------------------------------- commands and refusals

_SECOND = ("--set", "version=2.0.0", "--set", "threads.policy=best_rank", "--out", "second")
_LOOKS: tuple[Command, ...] = (
    ("stats", "out", "--json"),
    ("stats", "out"),
    ("verify", "out", "--json"),
    ("verify", "out", "--full"),
    ("report", "out"),
    ("show", "out", "-n", "2"),
)
COMMANDS = [
    Case(
        "commands-sample",
        "sample",
        then=(
            *_LOOKS,
            ("list",),
            ("check", "sample", "--json"),
            ("explain", "out", "sql-join-b1", "--json"),
            ("pack", "out", "--max-tokens", "4096", "--json"),
            ("verify", "out", "--rebuild", "--workers", "1", "--json"),
            ("build", "sample", *_SECOND, "--workers", "1"),
            ("diff", "out", "second", "--json"),
            ("diff", "out", "second"),
        ),
    ),
    Case(
        "commands-oasst",
        "oasst1-en",
        (VALIDATION,),
        (_render("starcoder", max_tokens=1024, overflow="cut"),),
        then=(
            *_LOOKS,
            ("pack", "out", "--max-tokens", "1024", "--json"),
            ("build", "oasst1-en", "--input", TREES, *_SECOND, "--workers", "1"),
            ("diff", "out", "second", "--json"),
        ),
    ),
    Case(
        "commands-each-answer",
        SHAREGPT,
        (VICUNA,),
        (_render("qwen3", template="tokenizer", max_tokens=800, overflow="split"),),
        then=(*_LOOKS, ("pack", "out", "--max-tokens", "1000", "--json")),
    ),
]

REFUSALS = [
    Case(f"refuse-{name}", recipe, inputs, settings, refused=True)
    for name, recipe, inputs, settings in [
        ("unknown-key", "sample", (), ("threds.policy=best_rank",)),
        ("unknown-recipe", "sampel", (), ()),
        ("unknown-filter", OASST, (TREES,), ("drop=[deletd]",)),
        ("missing-column", SHAREGPT, (EN,), ("drop=[deleted]",)),
        ("missing-file", "oasst1", ("$DATA/none.jsonl",), ()),
        ("which-source", "starchat-alpha", (TREES,), ()),
        ("too-many-dropped", "oasst1-en", (LANGUAGES,), ()),
        ("nothing-left", JSONL, (LANGUAGES,), ("drop=[wrong_language: {allow: [en]}]",)),
        ("filter-order", SHAREGPT, (EN,), ("drop=[duplicate, empty]",)),
        ("pack-too-small", OASST, (TREES,), (_render("bytes"), "pack={max_tokens: 10}")),
        ("no-template", OASST, (TREES,), (_render("gpt2", template="tokenizer"),)),
        ("no-questions", OASST, (TREES,), ("drop=[contaminated: {against: [none.jsonl]}]",)),
        ("carry-in-vain", "sample", (), ("render.carry_tokens=5",)),
        ("some-weights", _mixed("weight: 1", "", ""), MIXED_INPUTS, ()),
    ]
]

REFUSALS += [
    Case(
        f"refuse-template-{name}",
        JSONL,
        (DOLLY,),
        (_render(f"$MADE/{name}", template="tokenizer", variables={"tools": []}),),
        refused=True,
    )
    for name in _NEVER_EXACT
]

_DUMP_LIMIT = {"max_tokens": 1024, "overflow": "cut"}
LARGE = [
    Case(
        "dump-starcoder",
        "sharegpt",
        ("$DUMP",),
        (_render("starcoder", **_DUMP_LIMIT), "max_dropped=1"),
        workers=2,
        large=True,
    ),
    Case(
        "dump-qwen3",
        "sharegpt",
        ("$DUMP",),
        (_render("qwen3", template="tokenizer", **_DUMP_LIMIT),),
        workers=2,
        large=True,
    ),
]

CASES = [
    case
    for cases in (
        SHIPPED, SOURCES, ON_TREES, ON_REMOVED, TURNS, CLEANED, DROPPED, MIXES, BY_US, LIMITS,
        TRAINED, PACKED, ENGINES, BY_THEIRS, COMMANDS, REFUSALS, LARGE,
    )
    for case in cases
]  # fmt: skip

# ------------------------------------------------------------------------------------- tokenizers

_CONTROL = re.compile(r"<[|｜][^<>|｜\s]+[|｜]>|<(?:start|end)_of_turn>|\[/?INST\]|<tool_call>")
_ENDS = ("<|begin_of_text|>", "<|end_of_text|>")


def carriers(data: Path, folder: Path) -> Path:
    """Makes the tokenizers that carry templates of real models. Returns their folder."""
    for name, (file, _) in _TEMPLATES.items():
        template = (data / "chat-templates" / f"{file}.jinja").read_text(encoding="utf-8")
        _carry(template, folder / name)
    return folder


def _carry(template: str, to: Path) -> None:
    """Writes a tokenizer of bytes whose control tokens are those that stand in a template."""
    letters = sorted(ByteLevel.alphabet())
    value = Tokenizer(BPE({letter: number for number, letter in enumerate(letters)}, []))
    value.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    value.decoder = decoders.ByteLevel()
    control = dict.fromkeys([*_ENDS, *_CONTROL.findall(template)])
    value.add_tokens([AddedToken(text, special=True, normalized=False) for text in control])
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": _ENDS[0],
        "eos_token": _ENDS[1],
    }
    to.mkdir(parents=True, exist_ok=True)
    (to / "tokenizer.json").write_text(value.to_str(), encoding="utf-8")
    (to / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (to / "chat_template.jinja").write_text(template, encoding="utf-8")
