"""Rows of builds as trainers take them, and audits of rows that trainers make: TRL's masks, the
usual collator, the seed's own masking."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from chatdata.core.constants import IGNORE_INDEX
from chatdata.dataset import reader
from chatdata.render.tokenizer import byte_tokenizer
from chatdata.verify.audit import around, auditing, known
from tests.support.builds import TALKS as TALKS_RECIPE
from tests.support.builds import make, talk_file
from tests.support.loopback import Hub
from tests.support.loopback.clients import Clients
from tests.support.publishing import ADA, pushed

Turn = dict[str, str]
TALKS: list[list[Turn]] = [
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": f"What is {number} and {number}?"},
        {"role": "assistant", "content": f"It is {2 * number}."},
        {"role": "user", "content": "And once more?"},
        {"role": "assistant", "content": f"Then it is {3 * number}."},
    ]
    for number in range(6)
]
HEADER = "<|assistant|>\n"
END = "<|end|>"


def faults(folder: Path, tokenizer: Path) -> dict[str, tuple[int, int]]:
    """The cases of each check that found faults, and of how many they are."""
    audit = auditing.audit([folder], known.of_tokenizer(tokenizer, "t"))
    assert audit.read["rows"]
    return {
        result.check.name: (result.cases.count, result.cases.of)
        for result in audit.results
        if result.outcome == "fault"
    }


def loaded(sample: Path, **settings: str) -> Any:
    """The tokenizer of the sample, as transformers loads it."""
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(sample / "tokenizer")
    for name, value in settings.items():
        setattr(tokenizer, name, value)
    return tokenizer


def saved(tokenizer: Any, folder: Path) -> Path:
    """The folder in which a tokenizer was saved."""
    tokenizer.save_pretrained(folder)
    return folder


# ---------------------------------------------------------------------------------------- TRL


def generating(end_inside: bool) -> str:
    """A chat template that tags what the assistant writes, with its end token or without."""
    inside = "{{ message['content'] }}" + (END if end_inside else "")
    answer = f"{HEADER}{{% generation %}}{inside}{{% endgeneration %}}"
    answer += "\n" if end_inside else f"{END}\n"
    return (
        "{% for message in messages %}{% if message['role'] == 'assistant' %}"
        f"{answer}"
        "{% else %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}"
        "{% endif %}{% endfor %}"
        f"{{% if add_generation_prompt %}}{HEADER}{{% endif %}}"
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("end_inside", "expected"), [(True, {}), (False, {"untrained_end": (12, 12)})]
)
def test_assistant_only_loss_of_trl(
    sample: Path, tmp_path: Path, end_inside: bool, expected: dict[str, tuple[int, int]]
) -> None:
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    from tests.support import tiny

    tokenizer = loaded(sample, chat_template=generating(end_inside), pad_token="<|endoftext|>")
    options = trl.SFTConfig(
        str(tmp_path / "run"),
        assistant_only_loss=True,
        use_cpu=True,
        bf16=False,
        report_to=[],
        max_length=None,
    )
    rows = datasets.Dataset.from_list([{"messages": talk} for talk in TALKS])
    model = tiny.model("llama", 0, vocab_size=len(tokenizer))
    trainer = trl.SFTTrainer(model, options, train_dataset=rows, processing_class=tokenizer)
    trainer.train_dataset.save_to_disk(tmp_path / "rows")
    assert faults(tmp_path / "rows", saved(tokenizer, tmp_path / "tokenizer")) == expected


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_the_rows_of_tokens_train_in_trl_as_they_are(sample: Path, tmp_path: Path) -> None:
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    from tests.support import tiny

    tokenizer, cache = loaded(sample), str(tmp_path / "cache")
    rows = datasets.load_dataset(str(sample), "tokens-starchat", split="train", cache_dir=cache)
    plain: dict[str, Any] = {"use_cpu": True, "bf16": False, "report_to": []}
    whole = {"max_steps": 2, "per_device_train_batch_size": len(rows), "max_length": None}
    whole |= {"save_strategy": "no", "disable_tqdm": True}
    options = trl.SFTConfig(str(tmp_path / "run"), **plain, **whole)
    model = tiny.model("gpt_bigcode", 0, vocab_size=len(tokenizer), n_positions=1024)
    trainer = trl.SFTTrainer(model, options, train_dataset=rows, processing_class=tokenizer)
    batch = next(iter(trainer.get_train_dataloader()))
    assert (batch["labels"] != IGNORE_INDEX).sum().item() == sum(rows["trained"])
    assert trainer.train().training_loss > 0
    short = trl.SFTConfig(str(tmp_path / "cut"), max_length=64, **plain)
    cut = trl.SFTTrainer(model, short, train_dataset=rows, processing_class=tokenizer)
    assert max(len(row["input_ids"]) for row in cut.train_dataset) == 64
    assert trl.SFTConfig(str(tmp_path / "cut"), **plain).max_length == 1024


@pytest.mark.slow
def test_collators_of_transformers_keep_or_make_labels(sample: Path) -> None:
    """One keeps the labels of rows; the usual of language models trains all tokens."""
    transformers = pytest.importorskip("transformers")
    tokenizer = loaded(sample, pad_token="<|endoftext|>")
    columns = ["input_ids", "attention_mask", "labels"]
    rows = reader.scan(sample, "tokens").select(*columns, "trained").collect()
    batch = rows.select(columns).to_dicts()
    kept = transformers.DataCollatorForSeq2Seq(tokenizer)(batch)["labels"]
    unlabelled = [{name: row[name] for name in columns[:2]} for row in batch]
    collator = transformers.DataCollatorForLanguageModeling(tokenizer, mlm=False)
    made = collator(unlabelled)["labels"]
    trained = rows["trained"].sum()
    assert (kept != IGNORE_INDEX).sum().item() == trained < (made != IGNORE_INDEX).sum().item()


# ------------------------------------------------------------------- a collator, as often written


def collated(tokenizer: Any, by_id: bool) -> list[dict[str, list[int]]]:
    """Rows padded to one length, only answers trained; labels of padding are masked by its id, as
    in many scripts, or by the attention mask."""
    rows = [row_of(tokenizer, talk) for talk in TALKS]
    longest = 1 + max(len(row["input_ids"]) for row in rows)
    for row in rows:
        missing = longest - len(row["input_ids"])
        row["attention_mask"] = [1] * len(row["input_ids"]) + [0] * missing
        row["input_ids"] = row["input_ids"] + [tokenizer.pad_token_id] * missing
        row["labels"] = row["labels"] + [tokenizer.pad_token_id] * missing
        is_padding = [id == tokenizer.pad_token_id for id in row["input_ids"]]
        if not by_id:
            is_padding = [not attended for attended in row["attention_mask"]]
        row["labels"] = [
            IGNORE_INDEX if masked else label
            for label, masked in zip(row["labels"], is_padding, strict=True)
        ]
    return rows


def row_of(tokenizer: Any, talk: list[Turn]) -> dict[str, list[int]]:
    """The ids of a conversation, and labels that train its answers with their end tokens."""
    ids: list[int] = []
    labels: list[int] = []
    for turn in talk:
        header = encoded(tokenizer, f"<|{turn['role']}|>\n")
        words = encoded(tokenizer, turn["content"] + END)
        ids += header + words
        is_answer = turn["role"] == "assistant"
        labels += [IGNORE_INDEX] * len(header)
        labels += words if is_answer else [IGNORE_INDEX] * len(words)
    return {"input_ids": ids, "labels": labels}


def encoded(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.slow
def test_a_collator_that_masks_the_padding_by_its_id(sample: Path, tmp_path: Path) -> None:
    tokenizer = loaded(sample, pad_token=END, eos_token=END)
    folder = saved(tokenizer, tmp_path / "tokenizer")
    for by_id, expected in ((True, {"untrained_end": (12, 12)}), (False, {})):
        rows = collated(tokenizer, by_id)
        path = tmp_path / f"{by_id}.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        assert faults(path, folder) == expected


# ------------------------------------------------------------------------------ the seed's masking


def mask_user_labels(tokenizer: Any, labels: list[Any]) -> None:
    """Masks from each user token to the assistant token behind it, as the seed's article did."""
    user, assistant = encoded(tokenizer, "<|user|>")[0], encoded(tokenizer, "<|assistant|>")[0]
    is_user = False
    for place, label in enumerate(labels):
        is_user = (is_user or label == user) and label != assistant
        if is_user:
            labels[place] = IGNORE_INDEX


@pytest.mark.slow
def test_the_masking_of_the_seed(sample: Path, tmp_path: Path) -> None:
    """Called on blocks, as the seed's training called it, the function masks nothing; called on a
    row it leaves the system's turn and the header of each answer in the loss."""
    tokenizer = loaded(sample)
    ids = [row_of(tokenizer, talk)["input_ids"] for talk in TALKS]
    blocks = [list(block) for block in ids]
    mask_user_labels(tokenizer, blocks)
    by_row = [list(row) for row in ids]
    for row in by_row:
        mask_user_labels(tokenizer, row)
    found_in: dict[str, Any] = {}
    for name, labels in (("blocks", blocks), ("rows", by_row)):
        path = tmp_path / f"{name}.jsonl"
        rows = [{"input_ids": i, "labels": each} for i, each in zip(ids, labels, strict=True)]
        path.write_text("\n".join(map(json.dumps, rows)))
        found_in[name] = faults(path, sample / "tokenizer")
    assert found_in["blocks"] == {"nothing_masked": (6, 6), "trained_prompt": (6, 6)}
    assert found_in["rows"] == {"trained_prompt": (6, 6)}


# -------------------------------------------------------------------------------------- real data


def test_real_conversations_have_their_known_faults(real_data: Path) -> None:
    audit = auditing.audit([real_data / "sharegpt-zh-1k"], known.without_tokenizer())
    counts = {result.check.name: result.cases.count for result in audit.results}
    assert audit.read == {"conversations": 1000, "messages": 8751}
    assert counts["last_turn"] == 7
    assert counts["secrets"] == 2
    audit = auditing.audit([real_data / "sharegpt-format-demos"], known.without_tokenizer())
    counts = {result.check.name: result.cases.count for result in audit.results}
    assert (counts["undeclared_tool"], counts["orphan_result"]) == (9, 2)
    assert counts["odd_arguments"] == counts["encoded_twice"] == counts["unreadable"] == 0


# --------------------------------------------------------------------------------------- chatdata


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["render.template=chatml"], set()),
        (["render.template=starchat", "render.overflow=split", "render.max_tokens=250"], set()),
        (["render.template=dialogue"], set()),
        (["render.template=starchat", "render.overflow=cut", "render.max_tokens=250"], set()),
        (["render.train_on=assistant_with_header"], {"trained_prompt"}),
        (["render.train_on=all"], {"trained_prompt", "nothing_masked"}),
    ],
)
def test_rows_of_builds_train_what_the_recipe_says(
    tmp_path: Path, settings: list[str], expected: set[str]
) -> None:
    out = make(tmp_path, TALKS_RECIPE, talk_file(tmp_path), "out", *settings)
    audit = auditing.audit([out], known.of_tokenizer(out / "tokenizer", "t"))
    results = [result for result in audit.results if result.kind == "tokens"]
    assert {result.check.name for result in results if result.outcome == "fault"} == expected
    assert audit.read["rows"] > 20
    for result in results:
        if result.check.name in expected:
            assert result.cases.count == audit.read["rows"]


# ----------------------------------------------------------------------------------- the tokenizer

HEADERS = {
    "<|im_start|>assistant",
    "<|assistant|>",
    "<|start|>assistant",
    "<|start_header_id|>assistant<|end_header_id|>",
    "<start_of_turn>model",
    "<|turn>model",
    "<｜Assistant｜>",
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
}
TOKENS = re.compile(r"<\|?[\w/ ]+\|?>|<｜[^｜]+｜>|\[/?[A-Z_]+\]")
ENDS = ["<|im_end|>", "<|end|>", "<turn|>", "<end_of_turn>", "<|END_OF_TURN_TOKEN|>"]


@pytest.mark.slow
def test_templates_of_many_families_tell_their_header() -> None:
    """The templates that TRL ships: a header is right, or is not known and nothing is checked."""
    trl = pytest.importorskip("trl")
    paths = sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
    known_headers = 0
    for path in paths:
        written = around.of_template(path.read_text(), {"bos": "<bos>", "eos": "<eos>"})
        tokenizer = tokenizers.Tokenizer.from_str(byte_tokenizer()[0])
        tokenizer.add_special_tokens(sorted({*TOKENS.findall("".join(written)), *ENDS}))
        ends = [tokenizer.token_to_id(end) for end in ENDS]
        ids = list(around.header(written, tokenizer, ends))
        header = tokenizer.decode(ids, skip_special_tokens=False)
        assert header in {"", *HEADERS}, path.name
        known_headers += bool(header)
    assert known_headers > 0.8 * len(paths)


def test_a_template_that_cannot_be_rendered_has_no_header() -> None:
    for source in ("{{ raise_exception('no') }}", "{{ messages.nothing.at_all }}", "{% if", "hi"):
        assert around.of_template(source, {}) == around.Around(), source


@pytest.mark.parametrize("name", ["qwen3", "smollm2"])
def test_real_templates_tell_their_header_and_end(real_data: Path, name: str) -> None:
    facts = known.of_tokenizer(real_data / "tokenizers" / name, name)
    assert facts.tokenizer is not None
    assert facts.words(facts.header) == "<|im_start|>assistant"
    assert {"<|im_end|>"} <= {facts.words([id]) for id in facts.ends}
    assert facts.words(sorted(facts.blanks)).strip() == ""


def test_a_faster_library_counts_the_same(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["Hello <|im_end|> world 12345", "", "naïve 東京 \n\n x", "a" * 50] * 5
    facts = known.of_tokenizer(real_data / "tokenizers" / "qwen3", "qwen3")
    slow = facts.sizes(texts)
    monkeypatch.setattr(known, "_MANY_CHARACTERS", 0)
    assert facts.sizes(texts).tolist() == slow.tolist()
    assert slow[1] == 0
    assert slow[0] > 8, "control tokens are counted as text"


def test_a_tokenizer_without_template_has_its_end_token(real_data: Path) -> None:
    facts = known.of_tokenizer(real_data / "tokenizers" / "gpt2", "gpt2")
    assert [facts.words([id]) for id in facts.ends] == ["<|endoftext|>"]
    assert facts.header == ()
    assert facts.begin is None
    assert facts.unmet(["header"]) == known.UNMET["header"]


# ------------------------------------------------------------------------------------------ the Hub


@pytest.mark.slow
def test_datasets_of_anybody_are_fetched(hub: Hub, client: Clients, all_rows: Path) -> None:
    """A version of ours, and a repository that chatdata did not publish, by its branch."""
    pushed(client, all_rows, "ada/audited", "1.0.0")
    report = json.loads(client.run("audit", "ada/audited@1.0.0", "--json", token=ADA).stdout)
    names = [check["check"] for check in report["checks"] if check["outcome"] == "fault"]
    assert names == ["forged_control"], "the sample quotes control tokens, and has no rows here"
    assert report["read"]["conversations"] > 0
    talks = [{"messages": TALKS[0]}, {"messages": [*TALKS[1][:2], {**TALKS[1][2], "content": ""}]}]
    lines = "\n".join(map(json.dumps, talks)).encode()
    hub.store.seed("dataset", "ada/foreign", {"data/train.jsonl": lines, "README.md": b"# Hi"})
    done = client.run("audit", "ada/foreign@main", token=ADA)
    assert done.code == 1, done.stderr
    assert "data/train.jsonl" in done.stdout
    assert "✗ empty_answer            1 of 3 answers" in done.stdout
    hub.store.seed("dataset", "ada/no-rows", {"README.md": b"# Hi"})
    for name, words in (
        ("ada/no-rows@main", "dataset 'ada/no-rows' at"),
        ("ada/foreign@nowhere", "dataset 'ada/foreign' has no nowhere"),
        ("ada/nothing@main", "dataset 'ada/nothing' "),
    ):
        done = client.run("audit", name, token=ADA)
        assert done.code == 1
        assert done.stderr.startswith(f"Error: {words}")
        assert done.stderr.count("\n") == 1
