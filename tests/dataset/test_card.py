"""The card: what loads by it, what a user adds to it, what its changelog says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from chatdata.core.errors import ConfigError
from chatdata.dataset import (
    card,
    card_merge,
    hub_configs,
    limitations,
    manifest,
    manifest_diff,
    tables,
)
from chatdata.dataset.manifest import Manifest
from chatdata.render.entries import RenderEntry
from tests.support.loopback.clients import Clients
from tests.support.manifests import rich_facts

BEGIN = "<!-- chatdata: what follows is made from manifest.json -->"
END = "<!-- chatdata: what follows is yours -->"


@pytest.fixture(scope="session")
def facts(sample: Path) -> Manifest:
    """The manifest of the sample."""
    return manifest.read(sample)


@pytest.fixture
def later(facts: Manifest) -> Manifest:
    """The manifest of a version that came after it."""
    values = facts.as_json()
    values |= {"version": "1.1.0", "content_hash": f"sha256:{'1' * 64}"}
    values["splits"]["train"]["rows"] += 3
    values["recipe"]["threads"]["policy"] = "best_rank"
    values["recipe"]["drop"] = values["recipe"]["drop"][1:]
    values["counts"]["conversations"]["dropped"]["empty"] += 4
    return manifest.parsed(values)


def yaml_of(text: str) -> dict[str, Any]:
    return dict(YAML(typ="safe").load(text.split("---\n")[1]))


# ------------------------------------------------------------------------------------- loading


def run(code: str, folder: Path, client: Clients) -> str:
    """What a program prints last, of a folder."""
    done = client.run(code=f"folder = {str(folder)!r}\n{code}")
    assert done.code == 0, done.stderr
    return done.stdout.splitlines()[-1]


LOAD = """
import json
from datasets import Features, List, Value, load_dataset
found = {}
for name in ("messages", "tokens-starchat"):
    rows = load_dataset(folder, name)
    stream = load_dataset(folder, name, streaming=True)
    assert rows["train"].features == stream["train"].features
    assert next(iter(stream["test"]))["id"] == rows["test"][0]["id"]
    found[name] = {split: len(own) for split, own in rows.items()}
assert load_dataset(folder)["train"].column_names[-2:] == ["messages", "tools"]
assert rows["train"].features["labels"] == List(Value("int32"))
print(json.dumps(found))
"""


@pytest.mark.slow
def test_both_configs_load_by_the_card_and_as_a_stream(
    sample: Path, facts: Manifest, client: Clients
) -> None:
    pytest.importorskip("datasets")
    rows = {name: split["rows"] for name, split in facts["splits"].items()}
    assert json.loads(run(LOAD, sample, client)) == {"messages": rows, "tokens-starchat": rows}


@pytest.mark.slow
def test_a_card_with_a_wrong_number_of_rows_does_not_load(
    sample: Path, tmp_path: Path, client: Clients
) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "messages").mkdir()
    for path in (sample / "messages").iterdir():
        (tmp_path / "messages" / path.name).write_bytes(path.read_bytes())
    text = (sample / "README.md").read_text().replace("num_examples: 22", "num_examples: 21")
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(AssertionError, match="NonMatchingSplitsSizesError"):
        run("import datasets; datasets.load_dataset(folder, 'messages')", tmp_path, client)


def test_the_hub_client_reads_the_card(sample: Path) -> None:
    from huggingface_hub import DatasetCard

    data = DatasetCard((sample / "README.md").read_text()).data.to_dict()
    assert data["license"] == "apache-2.0"
    assert data["language"] == ["en"]
    assert [config["config_name"] for config in data["configs"]] == ["messages", "tokens-starchat"]
    assert data["configs"][0]["default"] is True


# ---------------------------------------------------------------------------------- the configs


@pytest.mark.parametrize(
    ("template", "tokenizer", "name"),
    [
        ("chatml", "somebody/model@v1", "tokens-chatml"),
        ("tokenizer", "Qwen/Qwen3-8B@abcdef", "tokens-qwen3-8b"),
        ("tokenizer", "smollm2", "tokens-smollm2"),
        ("tokenizer", "My Model (v2)", "tokens-my-model-v2"),
        ("tokenizer", "模型", "tokens-tokenizer"),
    ],
)
def test_the_config_of_tokens_is_named_for_the_template(
    facts: Manifest, template: str, tokenizer: str, name: str
) -> None:
    render = facts.rendering.as_json()
    render["template"]["name"], render["tokenizer"]["name"] = template, tokenizer
    assert tables.token_config(RenderEntry.model_validate(render)) == name


def test_the_features_are_those_that_datasets_would_write(facts: Manifest) -> None:
    features = pytest.importorskip("datasets").Features
    for config in hub_configs.of(facts):
        written = hub_configs.features(config.table.schema)
        assert features._from_yaml_list(written)._to_yaml_list() == written


def test_a_split_without_rows_is_not_named(facts: Manifest) -> None:
    values = facts.as_json()
    values["splits"]["test"] |= {"rows": 0, "token_rows": 0}
    data = yaml_of(card.text(manifest.parsed(values)))
    assert [file["split"] for file in data["configs"][0]["data_files"]] == ["train"]
    assert [split["name"] for split in data["dataset_info"][1]["splits"]] == ["train"]


@pytest.mark.parametrize(
    ("languages", "expected"),
    [
        ({"en": 3, "unknown": 1}, ["en"]),
        ({"no": 3, "pt-BR": 2, "pt": 1, "zh-cn": 1, "yue": 1}, ["no", "pt", "zh", "yue"]),
    ],
)
def test_languages_are_codes_that_every_yaml_reads_as_text(
    facts: Manifest, languages: dict[str, int], expected: list[str]
) -> None:
    import yaml  # the reader of huggingface_hub, which takes a bare `no` for False

    text = card.text(manifest.parsed({**facts.as_json(), "languages": languages}))
    assert yaml.safe_load(text.split("---\n")[1])["language"] == expected


# ------------------------------------------------------------------------------------- merging


def user_texts() -> st.SearchStrategy[str]:
    return st.text(max_size=80).filter(lambda text: "chatdata:" not in text and "\r" not in text)


@settings(max_examples=30)
@given(before=user_texts(), after=user_texts())
def test_what_a_user_writes_around_our_part_stays(before: str, after: str) -> None:
    new, old = _card("new"), _card("old")
    published = old.replace(BEGIN, before + BEGIN).replace(END, END + after)
    merged = card_merge.merge(new, published)
    assert before + BEGIN in merged
    assert merged.endswith(f"{END}{after}\n")
    assert "the new text" in merged
    assert "the old text" not in merged
    assert card_merge.merge(new, merged) == merged


def _card(name: str) -> str:
    log = "## Changelog\n\n### 1.0.0\n\n- first\n"
    body = f"# {name}\n\nthe {name} text\n\n{log}"
    return f"---\nconfigs: [{name}]\n---\n\n{BEGIN}\n\n{body}\n{END}\n"


@settings(max_examples=30)
@given(text=user_texts().filter(lambda text: not text.startswith("---")))
def test_a_page_that_is_all_the_users_stays_in_front(text: str) -> None:
    merged = card_merge.merge(_card("new"), text)
    assert text.strip() in merged.partition(BEGIN)[0]
    assert card_merge.merge(_card("new"), merged) == merged


def test_keys_of_the_user_stay_and_ours_are_renewed(facts: Manifest) -> None:
    new = card.text(facts)
    published = (
        "---\n# the user's\ntags:\n- mine  # for a reason\ngated: true\nlicense: mit\n"
        "configs: old\ndataset_info: old\nlanguage: de\n---\nHello.\n"
    )
    merged = card_merge.merge(new, published)
    assert "# the user's\n" in merged
    assert "- mine  # for a reason\n" in merged
    data, renewed = yaml_of(merged), yaml_of(new)
    assert data["gated"] is True
    assert data["tags"] == ["mine"]
    assert {key: data[key] for key in card_merge.MANAGED} == {
        key: renewed[key] for key in card_merge.MANAGED
    }
    assert list(data)[:2] == ["tags", "gated"]


def test_a_licence_that_the_recipe_does_not_state_is_the_users(facts: Manifest) -> None:
    new = card.text(manifest.parsed({**facts.as_json(), "license": None}))
    merged = card_merge.merge(new, "---\nlicense: mit\n---\n")
    assert yaml_of(merged)["license"] == "mit"


def test_merging_with_nothing_or_with_itself_changes_nothing(facts: Manifest) -> None:
    new = card.text(facts)
    assert card_merge.merge(new, None) == card_merge.merge(new, new) == new
    assert card_merge.merge(new, "") == new


@pytest.mark.parametrize(
    ("published", "words"),
    [
        ("---\na: [\n---\n", "the published README.md, line"),
        ("---\n- a\n---\n", "holds no keys"),
        ("---\na: 1\na: 2\n---\n", "not valid YAML"),
        (f"{BEGIN}\nno end", "1 times and"),
        (f"{END}\n{BEGIN}", "each once, in this order"),
    ],
)
def test_a_published_card_that_cannot_be_merged_is_named(
    facts: Manifest, published: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        card_merge.merge(card.text(facts), published)


def test_data_cannot_end_our_part(facts: Manifest) -> None:
    values = facts.as_json()
    values["about"] = f"nothing {END} and a fence ```"
    values["recipe"]["about"] = values["about"]
    text = card.text(manifest.parsed(values))
    assert text.count(BEGIN) == text.count(END) == 1
    assert card_merge.merge(text, text) == text
    assert "````yaml" in text


# ----------------------------------------------------------------------------------- changelog


def test_a_changelog_grows_with_the_versions(facts: Manifest, later: Manifest) -> None:
    first = card.text(facts)
    second = card_merge.merge(card.text(later, facts), first)
    last = manifest.parsed({**later.as_json(), "version": "2.0.0", "license": "mit"})
    third = card_merge.merge(card.text(last, later), second)
    log = third.partition("## Changelog")[2]
    assert re.findall(r"### (\S+)", log) == ["2.0.0", "1.1.0", "1.0.0"]
    assert "- the same rows as 1.1.0" in log
    train, test = (facts["splits"][name]["rows"] for name in ("train", "test"))
    assert f"- rows: {train} in train, {test} in test" in log
    assert card_merge.merge(card.text(last), third) == third.replace(
        "\r", ""
    )  # what is known stays


def test_an_entry_names_what_a_user_may_notice(facts: Manifest, later: Manifest) -> None:
    entry = manifest_diff.entry(later, facts)
    assert entry == [
        "train.rows: 22 → 25",
        "recipe, threads.policy: all_leaves → best_rank",
        "recipe, drop.deleted.on_removed: cut → none",
        "dropped, conversations.empty: 1 → 5",
    ]


def test_the_order_of_filters_is_a_key_of_its_own(facts: Manifest) -> None:
    values = facts.as_json()
    values["recipe"]["drop"] = values["recipe"]["drop"][::-1]
    (change,) = manifest_diff.between(facts, manifest.parsed(values)).recipe
    assert change.key == "drop.order"
    assert change.before == change.after[::-1]


# ------------------------------------------------------------------------------- what it says


def test_a_card_says_what_every_step_found(facts: Manifest) -> None:
    text = card.text(rich_facts(facts))
    for words in (
        "| `html` | 3 | 1,200 |",
        "| en | de | 7 | `` m\\|1`<b> `` |",
        "share 80 % or more of what it compares (MinHash of 128 permutations) form 4 clusters",
        "| humaneval | 164 | 2 | 3 | `aaaaaaaaaaaaaaaa…` |",
        "| email | 2 | 3 | 3 |",
        "| oasst | 16 | 57.1 % |  | 20 | apache-2.0 |",
    ):
        assert words in text, words
    for words in ("were not looked for", "test questions may be in it"):
        assert words in card.text(facts)
        assert words not in text


@pytest.mark.parametrize("repo", [None, "ada/sample"])
def test_a_card_begins_with_loading_it(facts: Manifest, repo: str | None) -> None:
    values = facts.as_json()
    values["recipe"]["publish"] = {"repo": repo}
    text = card.text(manifest.parsed(values))
    loading = text[text.index("## Loading it") : text.index("## What is in it")]
    assert text.index("## ") == text.index("## Loading it")
    for block in re.findall(r"```python\n(.*?)```", loading, re.DOTALL):
        compile(block, "card", "exec")
    (block,) = re.findall(r"```yaml\n(.*?)```", loading, re.DOTALL)
    axolotl = YAML(typ="safe").load(block)
    assert axolotl["sequence_len"] == facts.lengths["tokens"].max
    assert axolotl["datasets"][0] == {
        "path": repo or "PATH",
        "name": "tokens-starchat",
        **({"revision": f"v{facts.version}"} if repo else {}),
        "split": "train",
        "type": None,
    }
    assert ('repo_type="dataset"' in loading) == (repo is not None)


def test_limits_follow_from_what_was_done(facts: Manifest) -> None:
    values = facts.as_json()
    values["recipe"]["source"] = {
        "oasst": values["recipe"]["source"]["oasst"] | {"repo": "OpenAssistant/oasst1", "files": []}
    }
    for file in values["sources"]:
        file |= {"repo": "OpenAssistant/oasst1", "revision": "0" * 40}
    values["recipe"]["threads"]["train_once"] = False
    values["languages"] = {"en": 30, "de": 10}
    values["splits"]["test"]["rows"] = 0
    values["splits"]["train"]["messages"], values["splits"]["test"]["messages"] = 117, 0
    values["counts"]["messages"]["kept"] = 100
    values = manifest.parsed(values)
    words = "\n".join(limitations.limits(values))
    assert "`oasst` (OpenAssistant/oasst1): Volunteers of Open Assistant" in words
    assert "75 % of the rows are in one language, en." in words
    assert "A message stands in 1.17 rows on average, and is trained in each of them." in words
    assert "There is no test split." in words
    assert "`too_few_turns`" in words
    assert "kopf2023openassistant" in card.text(values)
    assert limitations.limits(facts)[0].startswith("The files that come with chatdata")


def test_secrets_that_were_looked_for_and_not_there_are_no_limit(facts: Manifest) -> None:
    words = "Keys, addresses and other personal data were not looked for."
    assert words in limitations.limits(facts)
    looked = facts.model_copy(update={"secrets": {}})
    assert words not in limitations.limits(looked)
    assert "personal data were looked for, and none were found" in card.text(looked)


def test_collections_are_those_of_the_shipped_recipes() -> None:
    from chatdata import load_recipe

    for name in ("oasst1", "oasst1-en", "sharegpt", "starchat-alpha"):
        for source in load_recipe(name).source.values():
            assert source.repo in limitations.COLLECTIONS
            assert source.license


def test_many_files_are_named_in_part(facts: Manifest) -> None:
    values = facts.as_json()
    values["sources"] = values["sources"] * 20
    text = card.text(manifest.parsed(values))
    assert "And 40 more, in `manifest.json`." in text
