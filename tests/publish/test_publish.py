"""Publishing to a Hub on loopback, by the real clients: what is there then, and what loads."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatdata import add_rendering
from chatdata.core.hashing import sha256_pairs
from chatdata.dataset import manifest, schemas, shards, tables
from chatdata.dataset.card_merge import merge
from chatdata.hub.repository import Entry, File
from chatdata.publish import published_diff, release
from chatdata.publish.versions import parse
from chatdata.verify import recount
from tests.support.loopback import Hub
from tests.support.loopback.clients import Clients
from tests.support.publishing import (
    ADA,
    FEWER,
    READER,
    SMALL,
    build,
    push,
    pushed,
    repository,
    to_publish,
)


def commits(hub: Hub, name: str) -> list[str]:
    """The titles of the commits after the one that the Hub made."""
    return [commit.title for commit in repository(hub, name).history()[:-1]]


def check_published(hub: Hub, out: Path, name: str, version: str) -> None:
    """The tag names a commit that holds the folder, byte for byte, and nothing else of ours."""
    repo = repository(hub, name)
    tree = repo.commits[repo.tags[f"v{version}"]].tree
    facts = manifest.read(out)
    built = manifest.hashes(facts)
    if facts["version"] != version:
        built.pop("recipe.yaml")
    for path, sha256 in built.items():
        assert tree[path].sha256 == sha256, path
        assert hub.store.path(sha256).is_file() or not tree[path].is_lfs
    ours = {path for path in tree if release.is_managed(path, built)}
    assert ours == set(built)
    published = json.loads(hub.store.text(repo, "manifest.json", f"v{version}"))
    assert published["version"] == version
    assert published["content_hash"] == facts["content_hash"]


# ------------------------------------------------------------------------------ the first time


@pytest.mark.slow
def test_a_version_is_one_commit_and_one_tag(hub: Hub, client: Clients, sample: Path) -> None:
    done = pushed(client, sample, "ada/first", "1.0.0")
    published = repository(hub, "ada/first")
    assert published.private
    assert commits(hub, "ada/first") == ["sample 1.0.0"]
    assert published.tags == {"v1.0.0": published.branches["main"]}
    check_published(hub, sample, "ada/first", "1.0.0")
    tree = published.resolve("v1.0.0").tree
    for path in to_publish(sample):
        name = path.relative_to(sample).as_posix()
        assert hub.store.read(tree[name]) == path.read_bytes()
    assert (sample / "dropped").is_dir()
    assert not [name for name in tree if name.startswith("dropped")]
    assert "published ada/first v1.0.0, commit" in done.stdout
    assert done.stdout.endswith(f"\n{hub.endpoint}/datasets/ada/first/tree/v1.0.0\n")
    assert "a new private repository" in done.stdout
    assert done.stderr == ""
    assert not list(sample.parent.glob(".*.push.jsonl"))


@pytest.mark.slow
def test_the_same_again_is_nothing_to_publish(hub: Hub, client: Clients, few_rows: Path) -> None:
    pushed(client, few_rows, "ada/again", "1.0.0")
    head = repository(hub, "ada/again").branches["main"]
    again = pushed(client, few_rows, "ada/again", "1.0.0", "--json")
    assert again.json()["state"] == "nothing"
    later = pushed(client, few_rows, "ada/again", "1.0.1")
    assert "nothing to publish: ada/again v1.0.0 has the same content" in later.stdout
    assert repository(hub, "ada/again").branches["main"] == head
    pushed(client, few_rows, "ada/again", "1.0.1", "--allow-version")
    assert set(repository(hub, "ada/again").tags) == {"v1.0.0", "v1.0.1"}
    check_published(hub, few_rows, "ada/again", "1.0.1")


@pytest.mark.slow
def test_a_version_that_is_there_is_never_replaced(
    hub: Hub, client: Clients, few_rows: Path, all_rows: Path
) -> None:
    pushed(client, few_rows, "ada/taken", "1.0.0")
    hub.log.clear()
    done = push(client, all_rows, "ada/taken", "1.0.0", "--allow-version")
    assert done.code == 1
    assert "has v1.0.0 with other content" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not hub.asked("POST|PUT|DELETE")  # refused before anything is sent


@pytest.mark.slow
def test_a_dry_run_changes_nothing(hub: Hub, client: Clients, few_rows: Path) -> None:
    planned = pushed(client, few_rows, "ada/dry", "1.0.0", "--dry-run")
    assert "would publish ada/dry v1.0.0" in planned.stdout
    facts = pushed(client, few_rows, "ada/dry", "1.0.0", "--dry-run", "--json").json()
    assert facts["creates_repository"]
    assert facts["url"] is None  # nothing is there yet
    assert {file["path"] for file in facts["upload"]} == {
        path.relative_to(few_rows).as_posix() for path in to_publish(few_rows)
    }
    assert not hub.asked("POST|PUT|DELETE")
    assert ("dataset", "ada/dry") not in hub.store.repositories


@pytest.mark.slow
def test_public_and_private_are_for_repositories_that_are_new(
    hub: Hub, client: Clients, few_rows: Path, all_rows: Path
) -> None:
    pushed(client, few_rows, "ada/open", "1.0.0", "--public")
    assert not repository(hub, "ada/open").private
    done = pushed(client, all_rows, "ada/open", "2.0.0", "--private")
    assert "'ada/open' stays public" in done.stderr
    assert not repository(hub, "ada/open").private


@pytest.mark.slow
def test_published_under_another_version_is_as_built_under_it(
    hub: Hub, client: Clients, few_rows: Path, tmp_path: Path
) -> None:
    """Manifest, recipe and card say the version that is published; the rows are the same."""
    pushed(client, few_rows, "ada/other", "3.1.4")
    built = build(tmp_path / "built", *SMALL, *FEWER, "version=3.1.4")
    published = repository(hub, "ada/other")
    for path in to_publish(built):
        name = path.relative_to(built).as_posix()
        assert hub.store.read(published.resolve("v3.1.4").tree[name]) == path.read_bytes(), name


@pytest.mark.slow
def test_sixty_shards_and_more_are_one_commit(
    hub: Hub, client: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_BYTES", 500)
    out = build(tmp_path / "many", "max_dropped=1")
    paths = [file.path for file in manifest.read(out).files]
    assert len(paths) > 60
    pushed(client, out, "ada/many", "1.0.0")
    assert commits(hub, "ada/many") == ["sample 1.0.0"]
    check_published(hub, out, "ada/many", "1.0.0")
    monkeypatch.undo()
    fewer = build(tmp_path / "fewer", "max_dropped=1")
    done = pushed(client, fewer, "ada/many", "1.0.1", "--allow-version", "--json")
    assert len(done.json()["delete"]) > 60  # else the card's patterns would find all rows twice
    check_published(hub, fewer, "ada/many", "1.0.1")
    loaded = client.run(code=LOAD.format(repo="ada/many", tags="v1.0.1"), token=ADA)
    assert loaded.stdout.split() == ["22", "22"], loaded.stderr


def test_large_files_go_in_parts_where_the_hub_asks_for_it(
    hub: Hub, client: Clients, few_rows: Path
) -> None:
    hub.options.multipart_above = 1000
    pushed(client, few_rows, "ada/parts", "1.0.0")
    check_published(hub, few_rows, "ada/parts", "1.0.0")
    assert hub.asked("PUT .*/part/2")
    assert hub.asked("POST .*/complete")


# --------------------------------------------------------------------------------- the next one

LOAD = """
import datasets
for tag in "{tags}".split():
    for streaming in (False, True):
        rows = datasets.load_dataset(
            "{repo}", "messages", split="train", revision=tag, streaming=streaming
        )
        print(sum(1 for row in rows if row["messages"][0]["role"]))
"""


@pytest.mark.slow
def test_old_rows_load_by_their_tag_when_the_head_has_moved_on(
    hub: Hub, client: Clients, few_rows: Path, all_rows: Path
) -> None:
    pushed(client, few_rows, "ada/next", "1.0.0")
    done = pushed(client, all_rows, "ada/next", "2.0.0")
    assert "since v1.0.0" in done.stdout
    rows = [str(manifest.read(out)["splits"]["train"]["rows"]) for out in (few_rows, all_rows)]
    assert rows[0] != rows[1]
    loaded = client.run(code=LOAD.format(repo="ada/next", tags="v1.0.0 v2.0.0"), token=ADA)
    assert loaded.stdout.split() == [rows[0], rows[0], rows[1], rows[1]], loaded.stderr
    assert commits(hub, "ada/next") == ["sample 2.0.0", "sample 1.0.0"]
    assert 206 in {exchange.status for exchange in hub.log}  # streaming reads ranges


@pytest.mark.slow
def test_tokens_load_by_the_configs_of_the_card(hub: Hub, client: Clients, sample: Path) -> None:
    pushed(client, sample, "ada/tokens", "1.0.0")
    code = """
from datasets import get_dataset_config_names, load_dataset
names = get_dataset_config_names("ada/tokens", revision="v1.0.0")
own = [name for name in names if name.startswith("tokens")]
rows = load_dataset("ada/tokens", own[0], split="train", revision="v1.0.0")
from huggingface_hub import snapshot_download
from transformers import AutoTokenizer
folder = snapshot_download(
    "ada/tokens", repo_type="dataset", revision="v1.0.0", allow_patterns="tokenizer/*"
)
tokenizer = AutoTokenizer.from_pretrained(f"{folder}/tokenizer")
print(names[0], len(own), sum(map(len, rows["input_ids"])))
print(tokenizer.decode(rows[0]["input_ids"][:1]))
"""
    loaded = client.run(code=code, token=ADA)
    tokens = manifest.read(sample)["splits"]["train"]["tokens"]
    shown = ["messages", "1", str(tokens), "<|user|>"]
    assert loaded.stdout.split() == shown, loaded.stderr


def conversations(folder: Path) -> list[str]:
    """The ids of the conversations of a folder, in order."""
    return [id for id, _ in recount.digests(folder, manifest.read(folder))]


@pytest.mark.slow
def test_rows_that_are_added_need_a_minor_version_and_rows_that_go_a_major(
    hub: Hub, client: Clients, tmp_path: Path
) -> None:
    trees = "source={oasst: {files: ['chatdata:sample/oasst.trees.jsonl']}}"
    few = build(tmp_path / "few", *SMALL, trees, "threads=best_rank")
    more = build(tmp_path / "more", *SMALL, trees, "threads={top_k: 9}")
    ids = [set(conversations(out)) for out in (few, more)]
    assert ids[0] < ids[1]
    pushed(client, few, "ada/rule", "1.0.0")
    refused = push(client, more, "ada/rule", "1.0.1")
    assert refused.code == 1
    number = len(ids[1] - ids[0])
    assert (
        f"{number} rows were added since 1.0.0, which needs a new minor version" in refused.stderr
    )
    assert "publish as 1.1.0" in refused.stderr
    pushed(client, more, "ada/rule", "1.1.0")
    refused = push(client, few, "ada/rule", "1.2.0")
    assert f"{number} rows were removed since 1.1.0" in refused.stderr
    pushed(client, few, "ada/rule", "2.0.0")
    assert len(commits(hub, "ada/rule")) == 3


@pytest.mark.slow
def test_rows_that_change_need_a_major_version(
    hub: Hub, client: Clients, sample: Path, tmp_path: Path
) -> None:
    """The ids and the number of rows are the same; only what is trained in them is not."""
    retrained = build(tmp_path / "other", "render.train_on=all")
    assert conversations(sample) == conversations(retrained)
    pushed(client, sample, "ada/changed", "1.0.0")
    refused = push(client, retrained, "ada/changed", "1.9.0")
    assert (
        "the content of rows changed since 1.0.0, which needs a new major version" in refused.stderr
    )
    pushed(client, retrained, "ada/changed", "1.9.0", "--allow-version")


@pytest.mark.slow
def test_a_card_alone_is_a_patch(hub: Hub, client: Clients, few_rows: Path, tmp_path: Path) -> None:
    reworded = build(tmp_path / "o", *SMALL, *FEWER, "about=Said in other words.")
    pushed(client, few_rows, "ada/card", "1.0.0")
    done = pushed(client, reworded, "ada/card", "1.0.1", "--json")
    assert (done.json()["step"], done.json()["reason"]) == ("patch", "no row changed")
    assert "Said in other words." in hub.store.text(repository(hub, "ada/card"), "README.md")


@pytest.mark.slow
def test_other_columns_need_a_major_version_and_load(
    hub: Hub, client: Clients, sample: Path, tmp_path: Path
) -> None:
    without = build(tmp_path / "without", "render=null")
    pushed(client, sample, "ada/columns", "1.0.0")
    refused = push(client, without, "ada/columns", "1.1.0")
    assert "the columns of tokens changed since 1.0.0" in refused.stderr
    done = pushed(client, without, "ada/columns", "2.0.0", "--json").json()
    assert any(path.startswith("tokens/") for path in done["delete"])
    assert any(path.startswith("tokenizer/") for path in done["delete"])
    check_published(hub, without, "ada/columns", "2.0.0")
    loaded = client.run(code=LOAD.format(repo="ada/columns", tags="v2.0.0"), token=ADA)
    assert loaded.stdout.split() == ["22", "22"], loaded.stderr


@pytest.mark.slow
def test_a_version_must_come_after_the_last(
    hub: Hub, client: Clients, few_rows: Path, all_rows: Path
) -> None:
    pushed(client, few_rows, "ada/order", "1.4.0")
    refused = push(client, all_rows, "ada/order", "1.3.9")
    assert "version 1.3.9 does not come after 1.4.0" in refused.stderr


@pytest.mark.slow
def test_a_last_version_that_is_broken_does_not_stop_who_allows_it(
    hub: Hub, client: Clients, few_rows: Path, all_rows: Path
) -> None:
    """A shard of it was deleted by hand, and the tag moved there: its rows cannot be compared."""
    pushed(client, few_rows, "ada/broken", "1.0.0")
    published = repository(hub, "ada/broken")
    shard = next(path for path in published.resolve("main").tree if path.startswith("messages/"))
    published.tags["v1.0.0"] = hub.store.commit(
        published, {}, [shard], title="oh", author="bob"
    ).oid
    refused = push(client, all_rows, "ada/broken", "2.0.0")
    assert "dataset 'ada/broken' lacks a file that should be there." in refused.stderr
    pushed(client, all_rows, "ada/broken", "2.0.0", "--allow-version")
    check_published(hub, all_rows, "ada/broken", "2.0.0")


def test_tags_of_others_are_no_versions(
    hub: Hub, client: Clients, few_rows: Path, all_rows: Path
) -> None:
    seeded = hub.store.seed("dataset", "ada/tagged", {"a.txt": b"a", "manifest.json": b'{"a": 1}'})
    seeded.tags |= {"v9.9.9": seeded.branches["main"], "stable": seeded.branches["main"]}
    done = pushed(client, few_rows, "ada/tagged", "1.0.0", "--json")
    assert done.json()["previous"] is None
    assert "a.txt" in seeded.resolve("main").tree


# ------------------------------------------------------------------------- what users wrote


@pytest.mark.slow
def test_what_users_wrote_is_kept(
    hub: Hub, client: Clients, few_rows: Path, all_rows: Path
) -> None:
    pushed(client, few_rows, "ada/words", "1.0.0")
    published = repository(hub, "ada/words")
    page = hub.store.text(published, "README.md")
    page = (
        page.replace("---\n", "---\nannotations_creators: [crowd]\n", 1) + "\n## Thanks\n\nBob.\n"
    )
    hub.store.commit(
        published, {"README.md": hub.store.put(page.encode())}, title="t", author="bob"
    )
    hub.store.commit(published, {"notes.txt": hub.store.put(b"mine")}, title="t", author="bob")
    pushed(client, all_rows, "ada/words", "2.0.0")
    after = hub.store.text(published, "README.md", "v2.0.0")
    assert "annotations_creators" in after.split("---")[1]
    assert after.endswith("## Thanks\n\nBob.\n")
    assert manifest.read(all_rows)["content_hash"] in after
    assert "notes.txt" in published.resolve("v2.0.0").tree


def test_merging_a_card_twice_is_merging_it_once(sample: Path) -> None:
    page = (sample / "README.md").read_text()
    written = page.replace("---\n", "---\nfoo: [1]\n", 1) + "\n## Thanks\n\nBob.\n"
    once = merge(page, written)
    assert merge(page, once) == once
    assert merge(page, page) == merge(page, None) == page


@pytest.mark.slow
def test_a_card_that_was_edited_here_is_published_the_first_time(
    hub: Hub, client: Clients, few_rows: Path, tmp_path: Path
) -> None:
    out = build(tmp_path / "o", *SMALL, *FEWER)
    page = out / "README.md"
    page.write_text(page.read_text() + "\n## Contact\n\nAda.\n")
    pushed(client, out, "ada/edited", "1.0.0")
    assert "Ada." in hub.store.text(repository(hub, "ada/edited"), "README.md")


def test_foreign_shards_in_folders_of_the_dataset_are_deleted(
    hub: Hub, client: Clients, few_rows: Path
) -> None:
    """The card's patterns would take them for rows of ours."""
    seeded = hub.store.seed(
        "dataset",
        "ada/mixed",
        {"messages/train-00007-of-00009.parquet": b"PAR1", "data/x.parquet": b"PAR1"},
    )
    done = pushed(client, few_rows, "ada/mixed", "1.0.0", "--json")
    assert done.json()["delete"] == ["messages/train-00007-of-00009.parquet"]
    assert "data/x.parquet" in seeded.resolve("main").tree


# ------------------------------------------------------------------------- errors of users


@pytest.mark.slow
@pytest.mark.parametrize(
    ("repo", "version", "token", "words"),
    [
        ("ada/x", "1.0", ADA, "version '1.0' is not three numbers; write 1.0.0"),
        ("ada", "1.0.0", ADA, "'ada' is not the name of a repository; write org/name."),
        ("a/b/c", "1.0.0", ADA, "'a/b/c' is not the name of a repository"),
        ("ada/-x-", "1.0.0", ADA, "'ada/-x-' is not the name of a repository"),
        ("bob/theirs", "1.0.0", ADA, "may not be written with this token"),
        ("ada/new", "1.0.0", READER, "may not be written with this token"),
        ("ada/new", "1.0.0", "", "needs a token: set HF_TOKEN, or log in with `hf auth login`"),
        ("ada/new", "1.0.0", "hf_wrong", "does not accept this token"),
    ],
)
def test_what_cannot_be_published_is_named(
    hub: Hub, client: Clients, few_rows: Path, repo: str, version: str, token: str, words: str
) -> None:
    done = push(client, few_rows, repo, version, token=token)
    assert done.code == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert ("dataset", repo) not in hub.store.repositories


def test_a_read_only_token_is_refused_before_anything_is_uploaded(
    hub: Hub, client: Clients, few_rows: Path
) -> None:
    hub.store.seed("dataset", "eve/there", {"a.txt": b"a"})
    done = push(client, few_rows, "eve/there", "1.0.0", token=READER)
    assert "may not be written with this token: make a token with write access" in done.stderr
    assert not hub.asked("PUT")


def test_a_gated_repository_of_others_is_named(hub: Hub, client: Clients, few_rows: Path) -> None:
    hub.store.seed("dataset", "bob/gated", {"a.txt": b"a"}).gated = True
    done = push(client, few_rows, "bob/gated", "1.0.0")
    assert done.code == 1
    assert "is gated: accept its terms on its page" in done.stderr


@pytest.mark.slow
def test_a_folder_that_is_not_whole_is_not_published(
    hub: Hub, client: Clients, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    done = push(client, tmp_path / "empty", "ada/unfinished", "1.0.0")
    assert "is not a finished build" in done.stderr
    out = build(tmp_path / "o", *SMALL, *FEWER)
    shard = next(out.glob("messages/*.parquet"))
    shard.write_bytes(shard.read_bytes() + b"!")
    done = push(client, out, "ada/broken", "1.0.0")
    assert done.code == 1
    assert shard.name in done.stderr
    shard.unlink()
    done = push(client, out, "ada/broken", "1.0.0")
    assert done.code == 1
    assert shard.name in done.stderr
    assert not hub.log


@pytest.mark.slow
def test_a_card_whose_metadata_the_hub_refuses_is_named(
    hub: Hub, client: Clients, few_rows: Path
) -> None:
    hub.store.seed("dataset", "ada/yaml", {"README.md": b"---\nlicense: [1\n---\n# mine\n"})
    done = push(client, few_rows, "ada/yaml", "1.0.0")
    assert done.code == 1
    assert "not valid YAML" in done.stderr
    assert "Traceback" not in done.stderr
    body = json.dumps({"errors": [{"message": '"pretty_name" is too long'}], "warnings": []})
    hub.faults.add("POST /api/validate-yaml", status=400, body=body.encode())
    done = push(client, few_rows, "ada/named", "1.0.0")
    assert done.code == 1
    assert 'Invalid metadata in README.md. - "pretty_name" is too long' in done.stderr


@pytest.mark.parametrize("line", ["*.parquet", "manifest.json", "/messages/"])
def test_files_that_the_repository_ignores_are_noticed(
    hub: Hub, client: Clients, few_rows: Path, line: str
) -> None:
    """The client leaves out what a .gitignore names, and says nothing."""
    name = f"ada/ignores-{len(line)}"
    seeded = hub.store.seed("dataset", name, {".gitignore": line.encode()})
    done = push(client, few_rows, name, "1.0.0")
    assert done.code == 1
    assert f"the .gitignore of '{name}' ignores" in done.stderr
    assert (seeded.resolve("main").title, seeded.tags) == ("seed", {})


# ------------------------------------------------------------------------------- the parts


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["render=null"],
        ["threads.policy=all_prefixes"],
        ["render.max_tokens=200", "render.overflow=split", "render.carry_tokens=50"],
    ],
)
def test_the_content_hash_follows_from_the_folder(tmp_path: Path, settings: list[str]) -> None:
    out = build(tmp_path / "o", *settings, "max_dropped=1")
    assert (
        sha256_pairs(recount.digests(out, manifest.read(out))) == manifest.read(out)["content_hash"]
    )


@pytest.mark.slow
def test_a_content_hash_sees_a_changed_label(tmp_path: Path) -> None:
    out = build(tmp_path / "o")
    path = next(out.glob("tokens/train-*"))
    rows = pq.read_table(path)
    labels = rows["labels"].to_pylist()
    labels[3][-1] += 1
    column = rows.schema.get_field_index("labels")
    changed = rows.set_column(column, rows.schema.field(column), pa.array(labels, schemas.IDS))
    pq.write_table(changed, path)
    assert (
        sha256_pairs(recount.digests(out, manifest.read(out))) != manifest.read(out)["content_hash"]
    )


def test_columns_are_compared_as_a_reader_sees_them() -> None:
    large = pa.schema([("a", pa.large_list(pa.large_string())), ("b", pa.int32())])
    small = pa.schema([pa.field("a", pa.list_(pa.string()), nullable=False), ("b", pa.int32())])
    assert published_diff.columns(large) == published_diff.columns(small)
    for different in (
        pa.schema([("b", pa.int32()), ("a", pa.list_(pa.string()))]),
        pa.schema([("a", pa.list_(pa.string())), ("b", pa.int64())]),
        pa.schema([("a", pa.list_(pa.string()))]),
    ):
        assert published_diff.columns(different) != published_diff.columns(small)


def test_a_file_is_compared_by_its_git_and_its_lfs_hash(tmp_path: Path) -> None:
    content = b"What is it?\n"
    sha256 = hashlib.sha256(content).hexdigest()
    (tmp_path / "f").write_bytes(content)
    for file in (File("f", content, sha256), File("f", tmp_path / "f", sha256)):
        oid = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
        assert file.is_at(Entry(len(content), oid, sha256))
        assert not file.is_at(Entry(len(content), oid, "0" * 64))
        git = hashlib.sha1(b"blob 12\0" + content).hexdigest()
        assert file.is_at(Entry(len(content), git, None))
        assert not file.is_at(Entry(len(content), oid, None))
        assert not file.is_at(None)


@pytest.mark.parametrize(
    "junk", [None, 1, "x", [], {}, [1], [[]], {"a": 1}, [{"path": 1}]], ids=repr
)
def test_any_json_parses_as_a_manifest_or_as_none(sample: Path, junk: object) -> None:
    """What a repository holds in place of a key, or of a manifest, breaks nothing here."""
    facts = manifest.read(sample)
    values = facts.as_json()
    assert manifest.parse(json.dumps(junk).encode()) is None
    assert manifest.parse(b"\xff{") is None
    for key in values:
        parsed = manifest.parse(json.dumps({**values, key: junk}).encode())
        if parsed is not None:
            manifest.hashes(parsed)
            assert release.is_same_dataset(parsed, facts) in (True, False)
            tables.MESSAGES.shards(parsed.files, "train")


def test_stamping_changes_the_version_and_nothing_else(sample: Path) -> None:
    prepared = release.prepare(sample, parse("7.8.9"))
    facts = manifest.read(sample)
    assert {key for key, value in facts if value != getattr(prepared.manifest, key)} == {
        "version",
        "recipe",
        "recipe_hash",
        "extras",
    }
    assert release.is_same_dataset(prepared.manifest, facts)
    changed = facts.model_copy(update={"content_hash": "sha256:0"})
    assert not release.is_same_dataset(changed, facts)


# ------------------------------------------------------------------------------- added renderings


@pytest.mark.slow
def test_a_rendering_is_a_minor_version_and_without_it_a_major(
    hub: Hub, client: Clients, sample: Path, tmp_path: Path
) -> None:
    name, added = "ada/rendered", tmp_path / "added"
    pushed(client, sample, name, "1.0.0")
    add_rendering(sample, added, tokenizer="bytes", template="chatml")
    small = push(client, added, name, "1.0.1")
    assert small.code == 1
    assert "the rendering chatml was added since 1.0.0, which needs a new minor" in small.stderr
    done = pushed(client, added, name, "1.1.0")
    assert "upload" in done.stdout
    check_published(hub, added, name, "1.1.0")
    tree = repository(hub, name).resolve("v1.1.0").tree
    assert "tokenizer-chatml/tokenizer.json" in tree
    page = hub.store.text(repository(hub, name), "README.md", "v1.1.0")
    assert "rendering, chatml: none → template chatml, tokenizer bytes" in page

    changed = tmp_path / "changed"
    limit = ["render.max_tokens=400", "max_dropped=1"]
    add_rendering(sample, changed, tokenizer="bytes", template="chatml", settings=limit)
    refused = push(client, changed, name, "1.2.0")
    assert "in the rendering chatml" in refused.stderr
    assert "removed since 1.1.0, which needs a new major version" in refused.stderr

    refused = push(client, sample, name, "1.2.0")
    assert "the rendering chatml was removed since 1.1.0, which needs a new major" in refused.stderr
    pushed(client, sample, name, "2.0.0")
    check_published(hub, sample, name, "2.0.0")
    assert not any("chatml" in path for path in repository(hub, name).resolve("v2.0.0").tree)


@pytest.mark.slow
def test_a_rendering_is_added_to_a_published_version(
    hub: Hub, client: Clients, sample: Path, tmp_path: Path
) -> None:
    """Its copy has the card of that version, and what was published before is unchanged."""
    pushed(client, sample, "ada/copied", "1.0.0")
    chosen = ("--tokenizer", "bytes", "--template", "chatml", "--add")
    refused = client.run("render", "ada/copied@1.0.0", *chosen, token=ADA)
    assert refused.code == 2
    assert "name a folder for a copy" in refused.stderr
    out = tmp_path / "out"
    done = client.run("render", "ada/copied@1.0.0", *chosen, "--out", out, token=ADA)
    assert done.code == 0, done.stderr
    pushed(client, out, "ada/copied", "1.1.0")
    pulled = client.run("pull", "ada/copied@1.1.0", "--out", tmp_path / "pulled", token=ADA)
    assert pulled.code == 0, pulled.stderr
    assert list(manifest.read(tmp_path / "pulled").renders) == ["chatml"]
    first, second = (
        repository(hub, "ada/copied").resolve(tag).tree for tag in ("v1.0.0", "v1.1.0")
    )
    same = [path for path in first if path.endswith((".parquet", ".png"))]
    assert same
    assert all(first[path] == second[path] for path in same)


# ------------------------------------------------------------------------------ pairs of answers


@pytest.mark.slow
def test_pairs_are_published_and_their_changes_need_a_version(
    hub: Hub, client: Clients, tmp_path: Path
) -> None:
    """New pairs a minor version; pairs that go, or no pairs any more, a major."""
    name, settings = "ada/pairs", ["render=null", "split=null", "max_dropped=1"]
    plain, every, fewer = (
        build(tmp_path / str(pairs), *settings, f"threads.pairs={pairs}")
        for pairs in ("null", "all", "best_worst")
    )
    pushed(client, plain, name, "1.0.0")
    refused = push(client, every, name, "1.0.1")
    assert "pairs were added since 1.0.0, which needs a new minor version" in refused.stderr
    pushed(client, every, name, "1.1.0")
    check_published(hub, every, name, "1.1.0")
    page = hub.store.text(repository(hub, name), "README.md", "v1.1.0")
    assert "config_name: pairs" in page
    assert "pairs, questions: none → " in page
    refused = push(client, fewer, name, "1.2.0")
    assert "in the pairs " in refused.stderr
    assert "removed since 1.1.0, which needs a new major version" in refused.stderr
    refused = push(client, plain, name, "1.2.0")
    assert (
        "the columns of pairs and ranked changed since 1.1.0, which needs a new major"
        in refused.stderr
    )
    pushed(client, fewer, name, "2.0.0")
    check_published(hub, fewer, name, "2.0.0")


def test_what_stands_beside_pairs_needs_a_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New ranked answers or rows of tokens a minor version, other ones a major."""
    out = build(tmp_path / "o", "max_dropped=1", "threads.pairs=best_worst")
    facts, unlike = manifest.read(out), f"sha256:{'0' * 64}"
    monkeypatch.setattr(
        published_diff,
        "_ids",
        lambda repository, commit, shards: {
            id for shard in shards for id in pq.read_table(out / shard.path)["id"].to_pylist()
        },
    )
    for key, words in (("ranked", "ranked answers"), ("pair_tokens", "rows of tokens of pairs")):
        changed = getattr(facts, key).model_copy(update={"content_hash": unlike})
        for before, step, reason in (
            (None, "minor", f"{words} were added"),
            (changed, "major", f"in the {words} "),
        ):
            old = facts.model_copy(update={key: before})
            (made,) = published_diff._beside_pairs(None, "c", old, out, facts)  # type: ignore[arg-type]
            assert (made.step, made.reason[: len(reason)]) == (step, reason)
    assert list(published_diff._beside_pairs(None, "c", facts, out, facts)) == []  # type: ignore[arg-type]
